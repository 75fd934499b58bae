/**
 * One part of a partitioned region, in the hands of its task.
 *
 *   put ──> current overlay ──seal──> sealed overlay ──applied──> store
 *
 * Operators read current, sealed, store, in this order. Queries read what is committed: the sealed overlay once its
 * commit has been answered, else the store. Nothing reaches the store before that answer.
 */
import { DruseError } from '../errors.ts'
import type { Store, Write } from '../ports.ts'
import { Windowed } from '../serde/windowed.ts'
import type { KeyRange, TimedRegion } from './definition.ts'
import type { EntryCache } from './entry-cache.ts'
import { EntryTable, idOf, type Place } from './entry-table.ts'
import { readStoreValue } from './layout.ts'
import { OperatorTimes } from './operator-times.ts'
import { type ByteRange, readRange } from './range.ts'
import type { TypedEntries } from './typed.ts'

/** Of a record in a batch: lengths, deltas and the batch's own head, generously. */
const RECORD_OVERHEAD_BYTES = 128

/** Under it stand the times of the operators. */
const TIMES_ID = ''

/** The bytes of a key, in the forms in which they are needed. */
interface KeyBytes {
  /** As in the changelog. */
  readonly topicKey: Uint8Array
  readonly orderedKey: Uint8Array
  readonly id: string
}

export class RegionPart<K = unknown, V = unknown> implements TimedRegion<K, V> {
  readonly name: string
  readonly times: OperatorTimes
  readonly #entries: TypedEntries<K, V>
  readonly #store: Store
  #cache: EntryCache | undefined
  readonly #maxRecordBytes: number
  /** The time of the record being processed: that of entries put without one. */
  readonly #now: () => number
  #current = new EntryTable()
  #sealed: EntryTable | undefined
  #sealedIsCommitted = false
  #undo: (readonly [id: string, before: Place | undefined])[] | undefined
  #bytes = 0
  /** Operators that write a key have mostly just read it. */
  #lastKey: K | undefined
  #lastBytes: KeyBytes | undefined

  constructor(options: {
    entries: TypedEntries<K, V>
    store: Store
    /** Of this part alone. */
    cache?: EntryCache | undefined
    maxRecordBytes: number
    now: () => number
    undoable: boolean
  }) {
    this.name = options.entries.name
    this.#entries = options.entries
    this.#store = options.store
    this.#cache = options.cache
    this.#maxRecordBytes = options.maxRecordBytes
    this.#now = options.now
    this.#undo = options.undoable ? [] : undefined
    this.times = new OperatorTimes(this.#storedTimes())
  }

  /** Of the current overlay, roughly. */
  get bytes(): number {
    return this.#bytes
  }

  // --- for operators ---

  get(key: K): V | undefined {
    return this.entry(key)?.value
  }

  has(key: K): boolean {
    return this.#find(this.#keyBytes(key)) !== null
  }

  entry(key: K): { readonly value: V; readonly timestamp: number } | undefined {
    const found = this.#find(this.#keyBytes(key))
    if (found === null) return undefined
    const { value, timestamp } = readStoreValue(found)
    return { value: this.#entries.decodeState(value), timestamp }
  }

  put(key: K, value: V): void {
    this.putAt(key, value, this.#now())
  }

  putAt(key: K, value: V, timestamp: number): void {
    if (value === null || value === undefined) {
      throw new DruseError(
        'REGION_VALUE',
        `Region '${this.name}' holds no ${value}; use delete() to remove an entry`,
      )
    }
    this.#write(key, this.#entries.value.encode(value), timestamp)
  }

  putIfAbsent(key: K, value: V): V | undefined {
    const found = this.get(key)
    if (found === undefined) this.put(key, value)
    return found
  }

  putAll(entries: Iterable<readonly [key: K, value: V]>): void {
    for (const [key, value] of entries) this.put(key, value)
  }

  delete(key: K): void {
    this.#write(key, null, this.#now())
  }

  range(bounds: KeyRange<K> = {}): AsyncIterable<readonly [key: K, value: V]> {
    return this.#read(this.#entries.byteRange(bounds), [this.#current, this.#sealed])
  }

  prefix(prefix: K): AsyncIterable<readonly [key: K, value: V]> {
    return this.#read(this.#entries.prefixRange(prefix), [this.#current, this.#sealed])
  }

  // --- for the task ---

  /** From here on `undo` takes back what is written. */
  mark(): void {
    if (this.#undo === undefined) return
    this.#undo.length = 0
    this.times.mark()
  }

  /** Takes back the writes since the mark: the record they came from has failed and is left out. */
  undo(): void {
    for (const [id, before] of (this.#undo ?? []).toReversed()) {
      this.#current.reset(id, before)
      this.#cache?.forget(id)
    }
    this.times.undo()
    this.mark()
  }

  /** Closes the current overlay for a commit and opens the next one on top. At most one is sealed at a time. */
  seal(): EntryTable {
    if (this.#sealed !== undefined) throw new Error(`region ${this.name} has a sealed overlay already`)
    if (this.times.isChanged) this.#current.set(TIMES_ID, this.#now(), this.times.seal())
    const sealed = this.#current
    this.#sealed = sealed
    this.#sealedIsCommitted = false
    this.#current = new EntryTable()
    this.#bytes = 0
    this.mark()
    return sealed
  }

  /** A sealed overlay as records of the changelog. */
  forEachChange(
    sealed: EntryTable,
    visit: (key: Uint8Array, value: Uint8Array | null, timestamp: number) => void,
  ): void {
    for (const [id, place] of sealed.places) {
      visit(this.#entries.topicKeyOf(id), sealed.value(place), sealed.timestamp(place))
    }
  }

  /** A sealed overlay as writes of the store. */
  writes(sealed: EntryTable): Write[] {
    return Array.from(sealed.places, ([id, place]) => [
      this.#entries.storeKey(Buffer.from(id, 'latin1')),
      sealed.stored(place),
    ])
  }

  /** The sealed overlay's transaction has been answered: queries may see it. */
  committed(): void {
    this.#sealedIsCommitted = true
  }

  /** The sealed overlay stands in the store. */
  applied(): void {
    this.#sealed = undefined
  }

  /** The store is, or is about to be, closed: nothing is answered in its place any more. */
  close(): void {
    this.#cache?.close()
    this.#cache = undefined
  }

  // --- for queries: what is committed ---

  committedGet(key: K): V | undefined {
    const { id, orderedKey } = this.#keyBytes(key)
    const sealed = this.#sealedIsCommitted ? this.#sealed?.get(id) : undefined
    const found = sealed === undefined ? this.#store.getSync(this.#entries.storeKey(orderedKey)) : sealed
    return found ? this.#entries.decodeState(readStoreValue(found).value) : undefined
  }

  committedRange(bounds: KeyRange<K>): AsyncIterable<readonly [key: K, value: V]> {
    return this.#read(this.#entries.byteRange(bounds), [this.#sealedIsCommitted ? this.#sealed : undefined])
  }

  committedPrefix(prefix: K): AsyncIterable<readonly [key: K, value: V]> {
    return this.#read(this.#entries.prefixRange(prefix), [this.#sealedIsCommitted ? this.#sealed : undefined])
  }

  #keyBytes(key: K): KeyBytes {
    if (this.#lastBytes !== undefined && Object.is(key, this.#lastKey)) return this.#lastBytes
    const topicKey = this.#entries.encodeKey(key)
    const orderedKey = this.#entries.toOrdered(topicKey)
    const bytes = { topicKey, orderedKey, id: idOf(orderedKey) }
    // What an object looks like inside may change; those that operators make themselves do not.
    if (typeof key !== 'object' || key instanceof Windowed) {
      this.#lastKey = key
      this.#lastBytes = bytes
    }
    return bytes
  }

  #storedTimes(): Uint8Array | undefined {
    if (this.#entries.timed === undefined) return undefined
    const stored = this.#store.getSync(this.#entries.prefix)
    return stored && readStoreValue(stored).value
  }

  /** What operators see under a key, in the form of the store; null: nothing. */
  #find({ id, orderedKey }: KeyBytes): Uint8Array | null {
    const known = this.#cache?.get(id)
    if (known !== undefined) return known
    let written = this.#current.get(id)
    if (written === undefined) written = this.#sealed?.get(id)
    if (written !== undefined) return written
    const stored = this.#store.getSync(this.#entries.storeKey(orderedKey)) ?? null
    this.#cache?.learn(id, stored)
    return stored
  }

  #write(key: K, value: Uint8Array | null, timestamp: number): void {
    const { id, topicKey } = this.#keyBytes(key)
    const size = topicKey.length + (value?.length ?? 0) + RECORD_OVERHEAD_BYTES
    if (size > this.#maxRecordBytes) {
      throw new DruseError(
        'RECORD_TOO_LARGE',
        `An entry of region '${this.name}' has ${size} bytes, its changelog topic takes ${this.#maxRecordBytes}; raise the topic's max.message.bytes or store less`,
        { region: this.name, bytes: size, limitBytes: this.#maxRecordBytes },
      )
    }
    this.#undo?.push([id, this.#current.place(id)])
    this.#current.set(id, timestamp, value)
    this.#cache?.written(id, timestamp, value)
    this.#bytes += size
  }

  async *#decode(
    entries: AsyncIterable<{ storeKey: Uint8Array; value: Uint8Array }>,
  ): AsyncGenerator<readonly [K, V]> {
    for await (const { storeKey, value } of entries) {
      yield [this.#entries.decodeStoreKey(storeKey), this.#entries.decodeState(value)]
    }
  }

  #read(range: ByteRange, overlays: (EntryTable | undefined)[]): AsyncIterable<readonly [key: K, value: V]> {
    return this.#decode(readRange(this.#store, this.#entries.prefix, this.#entries.end, overlays, range))
  }
}
