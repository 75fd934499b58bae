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
import type { FetchOptions, FoundEntry, KeyRange, PrefixOptions, TimeOrderedRegion } from './definition.ts'
import { type EntryCache, EntryCaches } from './entry-cache.ts'
import { type EntryKey, EntryTable, idOf, type Place } from './entry-table.ts'
import { type Fingerprint, OF_NOTHING, RunningFingerprint } from './fingerprint.ts'
import { entryCheck, readCheck, readStoreValue, STORE_HEAD_BYTES } from './layout.ts'
import { FORGOTTEN_SLOT, NO_TIME, OperatorTimes } from './operator-times.ts'
import { type ByteRange, readRange } from './range.ts'
import { TimeIndex } from './time-index.ts'
import type { TypedEntries } from './typed.ts'

/** Of a record in a batch: lengths, deltas and the batch's own head, generously. */
const RECORD_OVERHEAD_BYTES = 128

/** What is known of the keys of a part without a cache, roughly. */
const KEYS_BYTES_MAX = 1 << 20

/** Under it stand the times of the operators. */
const TIMES_ID = ''
const TIMES_KEY = new Uint8Array(0)

/** The bytes of a key, in the forms in which they are needed. */
class KeyBytes implements EntryKey {
  /** As in the changelog. */
  readonly topicKey: Uint8Array
  readonly orderedKey: Uint8Array
  /** What the entry's check begins with. */
  readonly hash: number
  #id: string | undefined

  constructor(topicKey: Uint8Array, orderedKey: Uint8Array, hash: number, id?: string) {
    this.topicKey = topicKey
    this.orderedKey = orderedKey
    this.hash = hash
    this.#id = id
  }

  get id(): string {
    this.#id ??= idOf(this.orderedKey)
    return this.#id
  }
}

/** What of a part is taken back by `undo`. */
export interface Savepoint {
  readonly writes: number
  readonly times: readonly number[]
  readonly change: Fingerprint
}

export class RegionPart<K = unknown, V = unknown> implements TimeOrderedRegion<K, V> {
  readonly name: string
  readonly times: OperatorTimes
  /** Of a region whose entries stand in time. */
  readonly #index: TimeIndex | undefined
  readonly #entries: TypedEntries<K, V>
  readonly #store: Store
  #cache: EntryCache | undefined
  readonly #maxRecordBytes: number
  /** The time of the record being processed: that of entries put without one. */
  readonly #now: () => number
  #current = new EntryTable()
  #sealed: EntryTable | undefined
  #sealedIsCommitted = false
  #undo: (readonly [key: KeyBytes, before: Place | undefined])[] | undefined
  #bytes = 0
  #forgotten = NO_TIME
  /** Of what stands in the store. */
  #fingerprint: Fingerprint
  /** What the current overlay changes about it, and the sealed one; of these keys it is not known what they replace. */
  #change = new RunningFingerprint(OF_NOTHING)
  #unseen = new Set<string>()
  #marked: Savepoint
  #sealedChange = OF_NOTHING
  #sealedUnseen = new Set<string>()
  /** Operators that write a key have mostly just read it. */
  #lastKey: K | undefined
  #lastBytes: KeyBytes | undefined
  /** What was last found, and under which key; undefined: it may have changed since. */
  #foundUnder: KeyBytes | undefined
  #found: Uint8Array | null = null

  constructor(options: {
    entries: TypedEntries<K, V>
    store: Store
    /** Of this part alone. */
    cache?: EntryCache | undefined
    maxRecordBytes: number
    now: () => number
    undoable: boolean
    /** Of what stands in the store. */
    fingerprint?: Fingerprint
  }) {
    this.name = options.entries.name
    this.#entries = options.entries
    this.#store = options.store
    this.#cache = options.cache
    this.#maxRecordBytes = options.maxRecordBytes
    this.#now = options.now
    this.#undo = options.undoable ? [] : undefined
    this.times = new OperatorTimes(this.#storedTimes())
    this.#marked = this.savepoint()
    this.#index = this.#openIndex()
    this.#fingerprint = options.fingerprint ?? OF_NOTHING
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
    return this.entry(key) !== undefined
  }

  entry(key: K): { readonly value: V; readonly timestamp: number } | undefined {
    const bytes = this.#keyBytes(key)
    if (this.#index?.isOver(bytes.id)) return undefined
    const found = this.#find(bytes)
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
    return this.#read(this.#entries.byteRange(bounds), [this.#current, this.#sealed], this.#isOver)
  }

  prefix(prefix: K, options?: PrefixOptions): AsyncIterable<readonly [key: K, value: V]> {
    return this.#read(this.#entries.prefixRange(prefix, options), [this.#current, this.#sealed], this.#isOver)
  }

  fetch(
    key: unknown,
    fromMs: number,
    toMs: number,
    options?: FetchOptions,
  ): AsyncIterable<readonly [key: K, value: V]> {
    const range = this.#entries.windowRange(key, fromMs, toMs, options)
    const found = this.#read(range, [this.#current, this.#sealed], this.#isOver)
    return this.#entries.windowsOf(key, found, fromMs, toMs)
  }

  fetchAll(
    fromMs: number,
    toMs: number,
    options: FetchOptions = {},
  ): AsyncIterable<readonly [key: K, value: V]> {
    return this.#entries.inTime(this.range(options), fromMs, toMs)
  }

  bytesUnder(key: K): number {
    const bytes = this.#keyBytes(key)
    const found = this.#find(bytes)
    return found === null ? 0 : bytes.topicKey.length + found.length - STORE_HEAD_BYTES
  }

  encoded(key: K, value: V): { readonly key: Uint8Array; readonly value: Uint8Array } {
    return { key: this.#entries.encodeKey(key), value: this.#entries.value.encode(value) }
  }

  isDue(toMs: number): boolean {
    return (this.#index as TimeIndex).isDue(toMs)
  }

  async *due(afterMs: number, toMs: number): AsyncGenerator<FoundEntry<K, V>> {
    for await (const id of (this.#index as TimeIndex).due(afterMs, toMs)) {
      const found = this.#foundEntry(id)
      if (found !== undefined) yield found
    }
  }

  between(first: K, last: K): readonly FoundEntry<K, V>[] | Promise<readonly FoundEntry<K, V>[]> {
    const ids = (this.#index as TimeIndex).between(this.#keyBytes(first).id, this.#keyBytes(last).id)
    const entries = (found: readonly string[]): FoundEntry<K, V>[] =>
      found.map((id) => this.#foundEntry(id)).filter((entry) => entry !== undefined)
    return ids instanceof Promise ? ids.then(entries) : entries(ids)
  }

  // --- for the task ---

  /** From here on `undo` takes back what is written. */
  mark(): void {
    if (this.#undo === undefined) return
    this.#undo.length = 0
    this.#marked = this.savepoint()
  }

  /** A place since the mark to which `undo` can go back, any number of times, until the next mark. */
  savepoint(): Savepoint {
    return { writes: this.#undo?.length ?? 0, times: this.times.now, change: this.#change.now }
  }

  /** Takes back the writes since then: what they came from has failed and is left out. */
  undo(to = this.#marked): void {
    const writes = this.#undo?.splice(to.writes) ?? []
    for (const [key, before] of writes.toReversed()) {
      this.#current.reset(key, before)
      if (before === undefined) this.#unseen.delete(key.id)
      this.#cache?.forget(key)
    }
    this.times.undo(to.times)
    this.#index?.undone(writes.map(([{ id }]) => id))
    this.#foundUnder = undefined
    this.#change = new RunningFingerprint(to.change)
  }

  /** Closes the current overlay for a commit and opens the next one on top. At most one is sealed at a time. */
  seal(): EntryTable {
    if (this.#sealed !== undefined) throw new Error(`region ${this.name} has a sealed overlay already`)
    this.#index?.forget()
    if (this.times.isChanged) this.#set(this.#bytesOf(TIMES_ID), this.times.seal(), this.#now())
    this.#index?.sealed()
    this.#forgotten = this.times.at(FORGOTTEN_SLOT)
    const sealed = this.#current
    this.#sealed = sealed
    this.#sealedIsCommitted = false
    this.#sealedChange = this.#change.now
    this.#sealedUnseen = this.#unseen
    this.#current = new EntryTable()
    this.#change = new RunningFingerprint(OF_NOTHING)
    this.#unseen = new Set()
    this.#bytes = 0
    this.mark()
    return sealed
  }

  /** A sealed overlay as records of the changelog. */
  forEachChange(
    sealed: EntryTable,
    visit: (key: Uint8Array, value: Uint8Array | null, timestamp: number) => void,
  ): void {
    sealed.forEach((place) => {
      visit(this.#entries.fromOrdered(sealed.key(place)), sealed.value(place), sealed.timestamp(place))
    })
  }

  /** A sealed overlay as writes of the store. */
  writes(sealed: EntryTable): Write[] {
    const { prefix } = this.#entries
    const writes: Write[] = []
    sealed.forEach((place) => {
      writes.push([sealed.keyBehind(prefix, place), sealed.stored(place)])
    })
    return this.#index === undefined ? writes : [...writes, ...this.#index.placeWrites(sealed)]
  }

  /** What the store is with the sealed overlay in it. Looks up what no operator has; before the overlay is written. */
  async fingerprintSealed(): Promise<Fingerprint> {
    const after = new RunningFingerprint(this.#fingerprint)
    after.add(this.#sealedChange)
    const keys = Array.from(this.#sealedUnseen, (id) => this.#entries.storeKey(Buffer.from(id, 'latin1')))
    const replaced = keys.length === 0 ? [] : await this.#store.getMany(keys)
    for (const [i, stored] of replaced.entries()) {
      if (stored === undefined) continue
      this.#entries.assertStored(this.#store, keys[i] as Uint8Array, stored)
      after.replace(readCheck(stored), undefined)
    }
    this.#sealedChange = OF_NOTHING
    this.#sealedUnseen.clear()
    this.#fingerprint = after.now
    return this.#fingerprint
  }

  /** Takes out of the store what is over, with the sealed overlay; after `fingerprintSealed`. */
  async removals(sealed: EntryTable): Promise<Write[]> {
    if (this.#index === undefined) return []
    const { ids, places } = await this.#index.over(sealed)
    const keys = ids.map((id) => this.#entries.storeKey(Buffer.from(id, 'latin1')))
    const fingerprint = new RunningFingerprint(this.#fingerprint)
    for (const stored of keys.length === 0 ? [] : await this.#store.getMany(keys)) {
      if (stored !== undefined) fingerprint.replace(readCheck(stored), undefined)
    }
    this.#fingerprint = fingerprint.now
    return [...keys.map((key): Write => [key, null]), ...places]
  }

  /** As of the last `fingerprintSealed` and `removals`. */
  get fingerprint(): Fingerprint {
    return this.#fingerprint
  }

  /** The sealed overlay's transaction has been answered, and the changelog stands there: queries may see it. */
  committed(position: number): void {
    this.#sealedIsCommitted = true
    this.#index?.committed(position)
  }

  /** As of the last seal: up to where the changelog holds nothing that is needed; -1: nowhere. */
  get forgotten(): number {
    return this.#forgotten
  }

  /** The sealed overlay stands in the store. */
  applied(): void {
    this.#sealed = undefined
  }

  /** The store is, or is about to be, closed: nothing is answered in its place any more. */
  close(): void {
    this.#cache?.close()
    this.#cache = undefined
    this.#foundUnder = undefined
  }

  // --- for queries: what is committed ---

  committedGet(key: K): V | undefined {
    const bytes = this.#keyBytes(key)
    if (this.#index?.isCommittedOver(bytes.id)) return undefined
    const sealed = this.#sealedIsCommitted ? this.#sealed?.get(bytes) : undefined
    const found = sealed === undefined ? this.#stored(bytes) : sealed
    return found ? this.#entries.decodeState(readStoreValue(found).value) : undefined
  }

  committedRange(bounds: KeyRange<K>): AsyncIterable<readonly [key: K, value: V]> {
    return this.#readCommitted(this.#entries.byteRange(bounds))
  }

  committedPrefix(prefix: K, options?: PrefixOptions): AsyncIterable<readonly [key: K, value: V]> {
    return this.#readCommitted(this.#entries.prefixRange(prefix, options))
  }

  committedFetch(
    key: unknown,
    fromMs: number,
    toMs: number,
    options?: FetchOptions,
  ): AsyncIterable<readonly [key: K, value: V]> {
    const found = this.#readCommitted(this.#entries.windowRange(key, fromMs, toMs, options))
    return this.#entries.windowsOf(key, found, fromMs, toMs)
  }

  committedFetchAll(
    fromMs: number,
    toMs: number,
    options: FetchOptions = {},
  ): AsyncIterable<readonly [key: K, value: V]> {
    return this.#entries.inTime(this.committedRange(options), fromMs, toMs)
  }

  #keyBytes(key: K): KeyBytes {
    if (this.#lastBytes !== undefined && Object.is(key, this.#lastKey)) return this.#lastBytes
    const topicKey = this.#entries.encodeKey(key)
    const orderedKey = this.#entries.toOrdered(topicKey)
    const bytes = new KeyBytes(topicKey, orderedKey, this.#entries.keyHash(orderedKey))
    // What an object looks like inside may change; those that operators make themselves do not.
    if (typeof key !== 'object' || key instanceof Windowed) {
      this.#lastKey = key
      this.#lastBytes = bytes
    }
    return bytes
  }

  #storedTimes(): Uint8Array | undefined {
    if (this.#entries.timed === undefined) return undefined
    const stored = this.#stored({ orderedKey: TIMES_KEY, hash: this.#entries.keyHash(TIMES_KEY) })
    return stored === null ? undefined : readStoreValue(stored).value
  }

  /** What operators see under a key, in the form of the store; null: nothing. */
  #find(bytes: KeyBytes): Uint8Array | null {
    this.#found = this.#lookUp(bytes)
    this.#foundUnder = bytes
    return this.#found
  }

  #lookUp(bytes: KeyBytes): Uint8Array | null {
    const known = this.#known(bytes)
    if (known !== undefined) return known
    const stored = this.#stored(bytes)
    this.#cache?.learn(bytes, stored)
    return stored
  }

  /** Without the store; undefined: only that can say. */
  #known(bytes: KeyBytes): Uint8Array | null | undefined {
    if (this.#foundUnder === bytes) return this.#found
    const known = this.#cache?.get(bytes)
    if (known !== undefined) return known
    const written = this.#current.get(bytes)
    return written === undefined ? this.#sealed?.get(bytes) : written
  }

  #stored({ orderedKey, hash }: Pick<KeyBytes, 'orderedKey' | 'hash'>): Uint8Array | null {
    const stored = this.#store.getSync(this.#entries.storeKey(orderedKey))
    if (stored === undefined) return null
    this.#entries.assertWhole(this.#store, hash, stored)
    return stored
  }

  #write(key: K, value: Uint8Array | null, timestamp: number): void {
    const bytes = this.#keyBytes(key)
    // What is over is so for good.
    if (this.#index?.isOver(bytes.id)) return
    this.#set(bytes, value, timestamp)
    this.#index?.written(bytes.id, value)
  }

  #set(bytes: KeyBytes, value: Uint8Array | null, timestamp: number): void {
    const { topicKey, hash } = bytes
    const size = topicKey.length + (value?.length ?? 0) + RECORD_OVERHEAD_BYTES
    if (size > this.#maxRecordBytes) {
      throw new DruseError(
        'RECORD_TOO_LARGE',
        `An entry of region '${this.name}' has ${size} bytes, its changelog topic takes ${this.#maxRecordBytes}; raise the topic's max.message.bytes or store less`,
        { region: this.name, bytes: size, limitBytes: this.#maxRecordBytes },
      )
    }
    const before = this.#known(bytes)
    const check = value === null ? 0 : entryCheck(hash, timestamp, value)
    if (before === undefined) this.#unseen.add(bytes.id)
    this.#change.replace(before ? readCheck(before) : undefined, value === null ? undefined : check)
    this.#foundUnder = undefined
    this.#undo?.push([bytes, this.#current.place(bytes)])
    this.#current.set(bytes, check, timestamp, value)
    this.#cache?.written(bytes, check, timestamp, value)
    this.#bytes += size
  }

  async *#decode(
    entries: AsyncIterable<{ storeKey: Uint8Array; value: Uint8Array }>,
  ): AsyncGenerator<readonly [K, V]> {
    for await (const { storeKey, value } of entries) {
      yield [this.#entries.decodeStoreKey(storeKey), this.#entries.decodeState(value)]
    }
  }

  #readCommitted(range: ByteRange): AsyncIterable<readonly [key: K, value: V]> {
    const index = this.#index
    const isOver = index && ((id: string): boolean => index.isCommittedOver(id))
    return this.#read(range, [this.#sealedIsCommitted ? this.#sealed : undefined], isOver)
  }

  #read(
    range: ByteRange,
    overlays: (EntryTable | undefined)[],
    isOver: ((id: string) => boolean) | undefined,
  ): AsyncIterable<readonly [key: K, value: V]> {
    return this.#decode(readRange(this.#store, this.#entries, overlays, range, isOver))
  }

  get #isOver(): ((id: string) => boolean) | undefined {
    const index = this.#index
    return index && ((id) => index.isOver(id))
  }

  #openIndex(): TimeIndex | undefined {
    const { timed, prefix, places } = this.#entries
    if (timed === undefined || places === undefined) return undefined
    return new TimeIndex({
      ...timed,
      store: this.#store,
      prefix,
      indexPrefix: places,
      times: this.times,
      keys: (this.#cache ?? new EntryCaches(KEYS_BYTES_MAX).open()).keys,
      overlays: () => [this.#current, this.#sealed].filter((overlay) => overlay !== undefined),
      find: (id) => this.#lookUp(this.#bytesOf(id)),
      isIn: (overlay, id) => overlay.place(this.#bytesOf(id)) !== undefined,
    })
  }

  #foundEntry(id: string): FoundEntry<K, V> | undefined {
    const bytes = this.#bytesOf(id)
    const found = this.#lookUp(bytes)
    if (found === null) return undefined
    const { value, timestamp } = readStoreValue(found)
    return {
      key: this.#entries.decodeOrdered(bytes.orderedKey),
      value: this.#entries.decodeState(value),
      timestamp,
    }
  }

  #bytesOf(id: string): KeyBytes {
    const orderedKey = Buffer.from(id, 'latin1')
    return new KeyBytes(
      this.#entries.fromOrdered(orderedKey),
      orderedKey,
      this.#entries.keyHash(orderedKey),
      id,
    )
  }
}
