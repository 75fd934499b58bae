/**
 * What a part of a region knows of its entries' times: which stand under a key, which are due, which are over.
 *
 *   due      the entries whose time has come, in the order of time. Whether there are any is known without a look into
 *            the store: `isDue` compares with the earliest time that may be pending
 *   between  the entries of one key in a stretch of time; the store is asked only for keys that did not come lately
 *   over     an entry whose time is `retentionMs` or more before the newest time in the region is gone: not seen from
 *            that moment on, and taken out of the store with one of the next commits. Nothing of that is in the
 *            changelog, for it follows from the entries
 *
 * A place in time is a hint, in the store as in an overlay: what counts is the entry. So one that is left behind does no
 * harm.
 */
import type { Store, Write } from '../ports.ts'
import { type EntryTable, idOf } from './entry-table.ts'
import type { KeyDirectory } from './key-directory.ts'
import { afterPrefix, readStoreValue, storeKey } from './layout.ts'
import { NextPlaces, PLACES_AHEAD } from './next-places.ts'
import { FORGOTTEN_SLOT, NEWEST_SLOT, type OperatorTimes } from './operator-times.ts'
import { clearRange } from './range.ts'
import { firstPlace, type TimeOrder, timeAt } from './time-order.ts'

/** Of a retention: how finely is known what stands where in the changelog. */
const STRETCHES = 8

/** Taken out of the store with one commit; and so many for each entry that the commit writes, or they would pile up. */
const REMOVED_MAX = 1_000
const REMOVED_PER_WRITTEN = 2

const NOTHING = Buffer.alloc(0)

/** What the index asks of the part that it belongs to. */
export interface IndexedPart {
  readonly store: Store
  readonly order: TimeOrder
  /** What every place in time begins with in the store. */
  readonly indexPrefix: Uint8Array
  /** What every entry begins with in the store. */
  readonly prefix: Uint8Array
  readonly retentionMs: number | undefined
  readonly times: OperatorTimes
  readonly keys: KeyDirectory
  /** From the newest to the oldest. */
  overlays(): readonly EntryTable[]
  /** What operators see under an id, in the form of the store, whether it is over or not. */
  find(id: string): Uint8Array | null
  isIn(overlay: EntryTable, id: string): boolean
}

/** The entries of a region that stand in time, in a store. */
export interface PlacedEntries {
  readonly prefix: Uint8Array
  readonly end: Uint8Array
  readonly timed: { readonly order: TimeOrder } | undefined
  readonly places: Uint8Array | undefined
}

const PLACES_PER_WRITE = 1_000

/** Writes the places of all entries anew, as these say them. */
export async function placeAnew(store: Store, { prefix, end, timed, places }: PlacedEntries): Promise<void> {
  if (timed === undefined || places === undefined) return
  await clearRange(store, { gte: places, lt: afterPrefix(places) as Buffer })
  let writes: Write[] = []
  // The first key of all is no entry's: see operator-times.ts.
  for await (const [key, value] of store.range({ gt: prefix, lt: end })) {
    const place = timed.order.placeOf(idOf(key.subarray(prefix.length)), readStoreValue(value).value)
    writes.push([storeKey(places, Buffer.from(place, 'latin1')), NOTHING])
    if (writes.length < PLACES_PER_WRITE) continue
    await store.write(writes)
    writes = []
  }
  if (writes.length > 0) await store.write(writes)
}

/** Whether retention hides an entry, when an entry with this time was the newest. */
export function isOver(
  { order, retentionMs }: Pick<IndexedPart, 'order' | 'retentionMs'>,
  id: string,
  newestMs: number,
): boolean {
  if (retentionMs === undefined || order.keys === undefined || id === '') return false
  return timeAt(id, id.length - order.keys.timesBytes - order.keys.numberBytes) <= newestMs - retentionMs
}

export class TimeIndex {
  readonly #part: IndexedPart
  readonly #directory: KeyDirectory
  /** No entry that is pending has an earlier time. */
  #dueMs = Number.NEGATIVE_INFINITY
  readonly #next = new NextPlaces()
  /** No entry in the store has an earlier time; nor has one that is being written there. */
  #oldestMs = Number.NEGATIVE_INFINITY
  #writtenMs = Number.POSITIVE_INFINITY
  #sealedNewestMs: number
  #committedNewestMs: number
  /** Up to these offsets the changelog holds no entry later than these times; the oldest first. */
  #stretches: { readonly position: number; readonly newestMs: number }[] = []

  constructor(part: IndexedPart) {
    this.#part = part
    this.#directory = part.keys
    this.#committedNewestMs = part.times.at(NEWEST_SLOT)
    this.#sealedNewestMs = this.#committedNewestMs
  }

  /** Whether an entry is over, for operators. */
  isOver(id: string): boolean {
    return isOver(this.#part, id, this.#part.times.at(NEWEST_SLOT))
  }

  /** The same for queries. */
  isCommittedOver(id: string): boolean {
    return isOver(this.#part, id, this.#committedNewestMs)
  }

  written(id: string, value: Uint8Array | null): void {
    const { order, times } = this.#part
    if (order.keys !== undefined) this.#directory.written(this.#keyOf(id), id, value !== null)
    if (value === null) return
    const place = order.placeOf(id, value)
    const timeMs = timeAt(place)
    this.#next.add(place, timeMs)
    times.advance(NEWEST_SLOT, timeMs)
    if (timeMs < this.#dueMs) this.#dueMs = timeMs
  }

  /** Writes are taken back: what is known of their keys may be wrong, and what was through may be pending again. */
  undone(ids: Iterable<string>): void {
    if (this.#part.order.keys !== undefined) for (const id of ids) this.#directory.forget(this.#keyOf(id))
    this.#next.forget()
    this.#dueMs = Number.NEGATIVE_INFINITY
  }

  /** False: no entry has a time up to this one that `due` has not seen. */
  isDue(toMs: number): boolean {
    return this.#dueMs <= toMs
  }

  /** The ids of entries later than `afterMs`, up to `toMs`, in the order of time; over or not. */
  async *due(afterMs: number, toMs: number): AsyncGenerator<string> {
    const fromMs = afterMs + 1
    const next = this.#next
    let first = firstPlace(fromMs)
    // Whoever stops early is not through with what it was given last.
    let nextMs = Number.NEGATIVE_INFINITY
    // What is written from now on is not among what is found.
    this.#dueMs = Number.POSITIVE_INFINITY
    try {
      if (!next.knowsFrom(fromMs) || (next.isUsedUp && !next.knows(fromMs, toMs))) {
        await next.read(fromMs, this.#places(first, Number.POSITIVE_INFINITY, PLACES_AHEAD + 1))
      }
      if (next.knowsFrom(fromMs)) {
        const { end } = next
        for (const place of next.between(fromMs, toMs)) {
          nextMs = timeAt(place)
          const id = this.#idAt(place)
          if (id !== undefined) yield id
          else next.remove(place)
        }
        if (end === undefined || timeAt(end) > toMs) {
          nextMs = next.knows(toMs, toMs) ? next.nextMs(toMs) : Number.NEGATIVE_INFINITY
          return
        }
        first = end
      }
      for await (const place of this.#places(first, toMs)) {
        nextMs = timeAt(place)
        if (nextMs > toMs) return
        const id = this.#idAt(place)
        if (id !== undefined) yield id
      }
      nextMs = Number.POSITIVE_INFINITY
    } finally {
      this.#dueMs = Math.min(this.#dueMs, nextMs)
    }
  }

  /** Whose place it is; undefined: there is no such entry any more, or it stands elsewhere. */
  #idAt(place: string): string | undefined {
    const { order, find } = this.#part
    const id = order.idOf(place)
    const found = find(id)
    return found !== null && order.placeOf(id, readStoreValue(found).value) === place ? id : undefined
  }

  /** Ids between these two, both included, of the key that they have in common; those that are over left out. */
  between(first: string, last: string): readonly string[] | Promise<readonly string[]> {
    const ids = this.#directory.ids(this.#keyOf(first), first)
    if (ids !== undefined) return this.#within(ids, first, last)
    return this.#load(first).then((loaded) => this.#within(loaded, first, last))
  }

  #within(ids: readonly string[], first: string, last: string): string[] {
    return ids.filter((id) => id >= first && id <= last && !this.isOver(id))
  }

  async #load(first: string): Promise<readonly string[]> {
    const { store, prefix, overlays } = this.#part
    const key = this.#keyOf(first)
    const isOfKey = (id: string): boolean => id.startsWith(key)
    const written = overlays()
    const ids = new Set(written.flatMap((overlay) => overlay.byKey().from(first, isOfKey)))
    const gte = storeKey(prefix, Buffer.from(first, 'latin1'))
    const lt = storeKey(prefix, afterPrefix(Buffer.from(key, 'latin1')) as Buffer)
    for await (const [stored] of store.range({ gte, lt })) {
      ids.add(idOf(stored.subarray(prefix.length)))
    }
    const there = [...ids].filter((id) => this.#part.find(id) !== null).sort()
    this.#directory.learn(key, first, there)
    return there
  }

  // --- for commits ---

  sealed(): void {
    this.#sealedNewestMs = this.#part.times.at(NEWEST_SLOT)
  }

  /** The sealed overlay is, with what the changelog holds before this position. */
  committed(position: number): void {
    const newestMs = this.#sealedNewestMs
    this.#committedNewestMs = newestMs
    const { retentionMs } = this.#part
    if (retentionMs === undefined) return
    const last = this.#stretches.at(-1)
    if (last !== undefined && newestMs - last.newestMs < Math.max(1, retentionMs / STRETCHES)) return
    this.#stretches.push({ position, newestMs })
  }

  /**
   * Before a seal: up to where the changelog may be deleted when it is committed. All that stands there is over; what the
   * operators remember stands behind it, for the newest time has moved since.
   */
  forget(): void {
    const { retentionMs, times } = this.#part
    if (retentionMs === undefined) return
    const overMs = times.at(NEWEST_SLOT) - retentionMs
    const open = this.#stretches.findIndex(({ newestMs }) => newestMs > overMs)
    const over = this.#stretches.splice(0, open < 0 ? this.#stretches.length : open).at(-1)
    if (over !== undefined) times.advance(FORGOTTEN_SLOT, over.position)
  }

  /** The places of a sealed overlay's entries as writes of the store. */
  placeWrites(sealed: EntryTable): Write[] {
    const { order, store, prefix } = this.#part
    const writes: Write[] = []
    sealed.forEach((at) => {
      const id = sealed.id(at)
      if (id === '') return
      const value = sealed.value(at)
      const place = value && order.placeOf(id, value)
      if (order.keys !== undefined) {
        writes.push([this.#placeKey(place ?? order.placeOf(id, NOTHING)), place === null ? null : NOTHING])
      } else {
        // The place depends on the value, and that which it replaces may have had another.
        const stored = store.getSync(storeKey(prefix, Buffer.from(id, 'latin1')))
        const before = stored && order.placeOf(id, readStoreValue(stored).value)
        if (before !== undefined && before !== place) writes.push([this.#placeKey(before), null])
        if (place !== null) writes.push([this.#placeKey(place), NOTHING])
      }
      if (place !== null) this.#writtenMs = Math.min(this.#writtenMs, timeAt(place))
    })
    return writes
  }

  /**
   * Ids in the store that are over as of the sealed overlay, and are not written by it: some of them, with the places that
   * go with them. After `placeWrites`.
   */
  async over(
    sealed: EntryTable,
  ): Promise<{ readonly ids: readonly string[]; readonly places: readonly Write[] }> {
    const { store, retentionMs, order, indexPrefix, isIn } = this.#part
    const ids: string[] = []
    const places: Write[] = []
    if (retentionMs === undefined) return { ids, places }
    const overMs = this.#sealedNewestMs - retentionMs
    let oldestMs = this.#writtenMs
    this.#writtenMs = Number.POSITIVE_INFINITY
    if (overMs < 0 || this.#oldestMs > overMs) {
      this.#oldestMs = Math.min(this.#oldestMs, oldestMs)
      return { ids, places }
    }
    const most = Math.max(REMOVED_MAX, REMOVED_PER_WRITTEN * sealed.size)
    const gte = this.#placeKey(this.#oldestMs > 0 ? firstPlace(this.#oldestMs) : '')
    for await (const [key] of store.range({ gte, lt: afterPrefix(indexPrefix) as Buffer })) {
      const place = idOf(key.subarray(indexPrefix.length))
      const timeMs = timeAt(place)
      if (timeMs > overMs || ids.length >= most) {
        oldestMs = Math.min(oldestMs, timeMs)
        break
      }
      const id = order.idOf(place)
      if (!isIn(sealed, id)) {
        ids.push(id)
        places.push([key, null])
      } else oldestMs = Math.min(oldestMs, timeMs)
    }
    this.#oldestMs = oldestMs
    return { ids, places }
  }

  // ---

  /** In order, none twice, as of the call; with the first one behind `toMs`. `most`: there need not be more. */
  async *#places(first: string, toMs: number, most = Number.POSITIVE_INFINITY): AsyncGenerator<string> {
    const { store, order, indexPrefix, overlays } = this.#part
    const written = overlays().map((overlay) => {
      let isBehind = false
      let count = 0
      return overlay.byTime(order).from(first, (place) => {
        if (isBehind || count === most) return false
        isBehind = timeAt(place) > toMs
        count += 1
        return true
      })
    })
    const stored = store.range({ gte: this.#placeKey(first), lt: afterPrefix(indexPrefix) as Buffer })
    const heads = written.map(() => 0)
    let last = ''
    /** Those of the overlays that come before this place. */
    function* before(limit: string | undefined): Generator<string> {
      for (;;) {
        let lowest: string | undefined
        for (const [i, places] of written.entries()) {
          let head = heads[i] as number
          while (head < places.length && (places[head] as string) <= last) head += 1
          heads[i] = head
          const place = places[head]
          if (place !== undefined && (lowest === undefined || place < lowest)) lowest = place
        }
        if (lowest === undefined || (limit !== undefined && lowest >= limit)) return
        last = lowest
        yield lowest
      }
    }
    for await (const [key] of stored) {
      const place = idOf(key.subarray(indexPrefix.length))
      yield* before(place)
      last = place
      yield place
    }
    yield* before(undefined)
  }

  #placeKey(place: string): Buffer {
    return storeKey(this.#part.indexPrefix, Buffer.from(place, 'latin1'))
  }

  /** What the ids of one key begin with. */
  #keyOf(id: string): string {
    const { timesBytes, numberBytes } = this.#part.order.keys as NonNullable<TimeOrder['keys']>
    return id.slice(0, id.length - timesBytes - numberBytes)
  }
}
