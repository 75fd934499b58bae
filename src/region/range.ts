/** A read in key order over overlays and store, as all of them were at the call. */
import type { Entry, RangeBounds, Store, Write } from '../ports.ts'
import { readStoreValue, storeKey } from './layout.ts'
import type { Overlay, OverlayEntry } from './overlay.ts'

/** Bounds on ordered keys, without the region's prefix; the upper ends may be open. */
export interface ByteRange {
  readonly from: Uint8Array | undefined
  readonly fromInclusive: boolean
  readonly to: Uint8Array | undefined
  readonly toInclusive: boolean
  readonly reverse: boolean
  readonly limit: number
}

export interface ByteEntry {
  readonly storeKey: Uint8Array
  readonly value: Uint8Array
}

/**
 * `overlays` from the newest to the oldest. Captures everything before it returns: neither later writes to the
 * overlays nor to the store are seen.
 */
export function readRange(
  store: Store,
  prefix: Uint8Array,
  end: Uint8Array,
  overlays: readonly (Overlay | undefined)[],
  range: ByteRange,
): AsyncIterable<ByteEntry> {
  const bounds = storeBounds(prefix, end, range)
  const changed = changedEntries(overlays, bounds, range.reverse)
  const stored = store.range(bounds)
  return merge(stored, changed, range)
}

const CLEAR_BATCH = 1_000

/** Deletes every entry in the bounds, some at a time. */
export async function clearRange(store: Store, bounds: RangeBounds): Promise<void> {
  let writes: Write[] = []
  for await (const [key] of store.range(bounds)) {
    writes.push([key, null])
    if (writes.length < CLEAR_BATCH) continue
    await store.write(writes)
    writes = []
  }
  if (writes.length > 0) await store.write(writes)
}

function storeBounds(prefix: Uint8Array, end: Uint8Array, range: ByteRange): RangeBounds {
  const from = range.from === undefined ? prefix : storeKey(prefix, range.from)
  const to = range.to === undefined ? end : storeKey(prefix, range.to)
  return {
    ...(range.from === undefined || range.fromInclusive ? { gte: from } : { gt: from }),
    ...(range.to !== undefined && range.toInclusive ? { lte: to } : { lt: to }),
    reverse: range.reverse,
  }
}

function changedEntries(
  overlays: readonly (Overlay | undefined)[],
  { gte, gt, lte, lt }: RangeBounds,
  reverse: boolean,
): OverlayEntry[] {
  const newest = new Map<string, OverlayEntry>()
  for (const overlay of overlays) {
    if (overlay === undefined) continue
    for (const [id, entry] of overlay) {
      const key = entry.storeKey
      if (gte && Buffer.compare(key, gte) < 0) continue
      if (gt && Buffer.compare(key, gt) <= 0) continue
      if (lte && Buffer.compare(key, lte) > 0) continue
      if (lt && Buffer.compare(key, lt) >= 0) continue
      if (!newest.has(id)) newest.set(id, entry)
    }
  }
  const sign = reverse ? -1 : 1
  return [...newest.values()].sort((a, b) => sign * Buffer.compare(a.storeKey, b.storeKey))
}

async function* merge(
  stored: AsyncIterable<Entry>,
  changed: readonly OverlayEntry[],
  { reverse, limit }: ByteRange,
): AsyncGenerator<ByteEntry> {
  let left = limit
  let next = 0
  const sign = reverse ? -1 : 1
  for await (const [key, value] of stored) {
    let hidden = false
    for (; next < changed.length; next++) {
      const entry = changed[next] as OverlayEntry
      const order = sign * Buffer.compare(entry.storeKey, key)
      if (order > 0) break
      if (order === 0) hidden = true
      if (entry.value === null) continue
      if (left-- <= 0) return
      yield { storeKey: entry.storeKey, value: entry.value }
    }
    if (hidden) continue
    if (left-- <= 0) return
    yield { storeKey: key, value: readStoreValue(value).value }
  }
  for (; next < changed.length; next++) {
    const entry = changed[next] as OverlayEntry
    if (entry.value === null) continue
    if (left-- <= 0) return
    yield { storeKey: entry.storeKey, value: entry.value }
  }
}
