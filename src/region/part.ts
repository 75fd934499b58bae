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
import type { KeyRange, TimedRegion } from './definition.ts'
import type { EntryCache } from './entry-cache.ts'
import { readStoreValue, storeValue } from './layout.ts'
import { type Overlay, type OverlayEntry, overlayId } from './overlay.ts'
import { type ByteRange, readRange } from './range.ts'
import type { TypedEntries } from './typed.ts'

/** Of a record in a batch: lengths, deltas and the batch's own head, generously. */
const RECORD_OVERHEAD_BYTES = 128

export class RegionPart<K = unknown, V = unknown> implements TimedRegion<K, V> {
  readonly name: string
  readonly #entries: TypedEntries<K, V>
  readonly #store: Store
  #cache: EntryCache | undefined
  readonly #maxRecordBytes: number
  /** The time of the record being processed: that of entries put without one. */
  readonly #now: () => number
  #current: Overlay = new Map()
  #sealed: Overlay | undefined
  #sealedIsCommitted = false
  #undo: (readonly [id: string, before: OverlayEntry | undefined])[] | undefined
  #bytes = 0

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
    const ordered = this.#entries.toOrdered(this.#entries.encodeKey(key))
    const id = overlayId(ordered)
    const written = this.#written(id)
    if (written !== undefined) return written.value !== null
    return this.#stored(id, ordered) !== null
  }

  entry(key: K): { readonly value: V; readonly timestamp: number } | undefined {
    const ordered = this.#entries.toOrdered(this.#entries.encodeKey(key))
    const id = overlayId(ordered)
    const written = this.#written(id)
    if (written !== undefined) {
      if (written.value === null) return undefined
      return { value: this.#entries.value.decode(written.value), timestamp: written.timestamp }
    }
    const stored = this.#stored(id, ordered)
    if (stored === null) return undefined
    const { value, timestamp } = readStoreValue(stored)
    return { value: this.#entries.value.decode(value), timestamp }
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
    if (this.#undo !== undefined) this.#undo.length = 0
  }

  /** Takes back the writes since the mark: the record they came from has failed and is left out. */
  undo(): void {
    for (const [id, before] of (this.#undo ?? []).toReversed()) {
      if (before === undefined) this.#current.delete(id)
      else this.#current.set(id, before)
    }
    this.mark()
  }

  /** Closes the current overlay for a commit and opens the next one on top. At most one is sealed at a time. */
  seal(): Overlay {
    if (this.#sealed !== undefined) throw new Error(`region ${this.name} has a sealed overlay already`)
    const sealed = this.#current
    this.#sealed = sealed
    this.#sealedIsCommitted = false
    this.#current = new Map()
    this.#bytes = 0
    this.mark()
    return sealed
  }

  /** The sealed overlay's transaction has been answered: queries may see it. */
  committed(): void {
    this.#sealedIsCommitted = true
  }

  /** The sealed overlay stands in the store. */
  applied(): void {
    if (this.#cache !== undefined) {
      for (const [id, { timestamp, value }] of this.#sealed ?? []) this.#cache.written(id, timestamp, value)
    }
    this.#sealed = undefined
  }

  /** The store is, or is about to be, closed: nothing is answered in its place any more. */
  close(): void {
    this.#cache?.close()
    this.#cache = undefined
  }

  // --- for queries: what is committed ---

  committedGet(key: K): V | undefined {
    const ordered = this.#entries.toOrdered(this.#entries.encodeKey(key))
    const written = this.#sealedIsCommitted ? this.#sealed?.get(overlayId(ordered)) : undefined
    if (written !== undefined)
      return written.value === null ? undefined : this.#entries.value.decode(written.value)
    const stored = this.#store.getSync(this.#entries.storeKey(ordered))
    return stored === undefined ? undefined : this.#entries.value.decode(readStoreValue(stored).value)
  }

  committedRange(bounds: KeyRange<K>): AsyncIterable<readonly [key: K, value: V]> {
    return this.#read(this.#entries.byteRange(bounds), [this.#sealedIsCommitted ? this.#sealed : undefined])
  }

  committedPrefix(prefix: K): AsyncIterable<readonly [key: K, value: V]> {
    return this.#read(this.#entries.prefixRange(prefix), [this.#sealedIsCommitted ? this.#sealed : undefined])
  }

  #written(id: string): OverlayEntry | undefined {
    return this.#current.get(id) ?? this.#sealed?.get(id)
  }

  /** What the store has under a key that stands in no overlay; null: nothing. */
  #stored(id: string, ordered: Uint8Array): Uint8Array | null {
    const known = this.#cache?.get(id)
    if (known !== undefined) return known
    const stored = this.#store.getSync(this.#entries.storeKey(ordered)) ?? null
    this.#cache?.learn(id, stored)
    return stored
  }

  #write(key: K, value: Uint8Array | null, timestamp: number): void {
    const topicKey = this.#entries.encodeKey(key)
    const size = topicKey.length + (value?.length ?? 0) + RECORD_OVERHEAD_BYTES
    if (size > this.#maxRecordBytes) {
      throw new DruseError(
        'RECORD_TOO_LARGE',
        `An entry of region '${this.name}' has ${size} bytes, its changelog topic takes ${this.#maxRecordBytes}; raise the topic's max.message.bytes or store less`,
        { region: this.name, bytes: size, limitBytes: this.#maxRecordBytes },
      )
    }
    const ordered = this.#entries.toOrdered(topicKey)
    const id = overlayId(ordered)
    const before = this.#current.get(id)
    this.#undo?.push([id, before])
    this.#current.set(id, { topicKey, storeKey: this.#entries.storeKey(ordered), value, timestamp })
    this.#bytes += size
  }

  async *#decode(
    entries: AsyncIterable<{ storeKey: Uint8Array; value: Uint8Array }>,
  ): AsyncGenerator<readonly [K, V]> {
    for await (const { storeKey, value } of entries) {
      yield [this.#entries.decodeStoreKey(storeKey), this.#entries.value.decode(value)]
    }
  }

  #read(range: ByteRange, overlays: (Overlay | undefined)[]): AsyncIterable<readonly [key: K, value: V]> {
    return this.#decode(readRange(this.#store, this.#entries.prefix, this.#entries.end, overlays, range))
  }
}

/** An overlay as writes of a store. */
export function overlayWrites(overlay: Overlay): Write[] {
  return Array.from(overlay.values(), ({ storeKey, value, timestamp }) => [
    storeKey,
    value === null ? null : storeValue(timestamp, value),
  ])
}
