/** A read in key order over overlays and store, as all of them were at the call. */
import type { Entry, RangeBounds, Store, Write } from '../ports.ts'
import { type EntryTable, idOf } from './entry-table.ts'
import { readStoreValue, storeKey } from './layout.ts'

/** The entries of a region in a store. */
export interface StoredEntries {
  readonly name: string
  readonly prefix: Uint8Array
  /** The first store key after the region's. */
  readonly end: Uint8Array
  /** What the store has answered is what was written under the key. Errors: STORE_CORRUPT. */
  assertStored(store: Store, key: Uint8Array, stored: Uint8Array): void
}

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
  entries: StoredEntries,
  overlays: readonly (EntryTable | undefined)[],
  range: ByteRange,
  isLeftOut: (id: string) => boolean = leaveNoneOut,
): AsyncIterable<ByteEntry> {
  const { prefix, end } = entries
  const bounds = storeBounds(prefix, end, range)
  const changed = changedEntries(overlays, prefix, range, isLeftOut)
  const stored = storedEntries(store, entries, bounds, isLeftOut)
  return merge(stored, changed, range)
}

const leaveNoneOut = (): boolean => false

/** Read as of the call. */
function storedEntries(
  store: Store,
  entries: StoredEntries,
  bounds: RangeBounds,
  isLeftOut: (id: string) => boolean,
): AsyncIterable<Entry> {
  const stored = store.range(bounds)
  return (async function* () {
    for await (const entry of stored) {
      const [key, value] = entry
      if (isLeftOut !== leaveNoneOut && isLeftOut(idOf(key.subarray(entries.prefix.length)))) continue
      entries.assertStored(store, key, value)
      yield entry
    }
  })()
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

/** An entry of an overlay, by its key in the store. */
interface Changed {
  readonly storeKey: Uint8Array
  readonly value: Uint8Array | null
}

function changedEntries(
  overlays: readonly (EntryTable | undefined)[],
  prefix: Uint8Array,
  range: ByteRange,
  isLeftOut: (id: string) => boolean,
): Changed[] {
  const isWithin = within(range)
  const newest = new Map<string, Uint8Array | null>()
  for (const overlay of overlays) {
    overlay?.forEach((place) => {
      const id = overlay.id(place)
      if (isWithin(id) && !newest.has(id) && !isLeftOut(id)) newest.set(id, overlay.value(place))
    })
  }
  // As texts, ids are in the order of the keys.
  const sorted = [...newest].sort(([a], [b]) => (a < b ? -1 : 1))
  if (range.reverse) sorted.reverse()
  return sorted.map(([id, value]) => ({ storeKey: storeKey(prefix, Buffer.from(id, 'latin1')), value }))
}

function within({ from, fromInclusive, to, toInclusive }: ByteRange): (id: string) => boolean {
  const first = from && idOf(from)
  const last = to && idOf(to)
  return (id) => {
    if (first !== undefined && (fromInclusive ? id < first : id <= first)) return false
    return last === undefined || (toInclusive ? id <= last : id < last)
  }
}

async function* merge(
  stored: AsyncIterable<Entry>,
  changed: readonly Changed[],
  { reverse, limit }: ByteRange,
): AsyncGenerator<ByteEntry> {
  let left = limit
  let next = 0
  const sign = reverse ? -1 : 1
  for await (const [key, value] of stored) {
    let hidden = false
    for (; next < changed.length; next++) {
      const entry = changed[next] as Changed
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
    const entry = changed[next] as Changed
    if (entry.value === null) continue
    if (left-- <= 0) return
    yield { storeKey: entry.storeKey, value: entry.value }
  }
}
