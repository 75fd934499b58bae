/**
 * Entries of stores, in memory: those read or written last, so that an operator finds the keys that come again and
 * again without LevelDB.
 *
 * A cache belongs to one part of a region and answers what the part's store would, or that it does not know. It learns
 * what was read from the store and what a commit has written to it, and nothing else. Whoever asks it has looked into
 * the overlays first, so no entry is asked for while a write of it is on its way to the store.
 *
 * It forgets by generations: what is read or written goes into the young one. When the young ones of all caches are full
 * together, they become the old ones, and the old ones before go as a whole.
 */
import { STORE_HEAD_BYTES, writeStoreValue } from './layout.ts'

/** What an entry takes beside the bytes of its key and value, roughly: its place in the index, its key's text. */
const INDEX_BYTES = 80
const LENGTH_BYTES = 4
const FIRST_CAPACITY_BYTES = 1024
const ABSENT = -1

/** The caches of a process, and the room that they share. */
export class EntryCaches {
  readonly #youngBytesMax: number
  readonly #caches = new Set<EntryCache>()
  #youngBytes = 0

  /** `bytesMax`: of all caches together, roughly. */
  constructor(bytesMax: number) {
    this.#youngBytesMax = bytesMax / 2
  }

  open(): EntryCache {
    const cache = new EntryCache(
      (bytes) => this.#spend(bytes),
      () => this.#caches.delete(cache),
    )
    this.#caches.add(cache)
    return cache
  }

  #spend(bytes: number): void {
    this.#youngBytes += bytes
    if (this.#youngBytes <= this.#youngBytesMax) return
    this.#youngBytes = 0
    for (const cache of this.#caches) cache.age()
  }
}

export class EntryCache {
  readonly #spend: (bytes: number) => void
  readonly #closed: () => void
  #young = new Generation()
  #old = new Generation()

  /** @internal See `EntryCaches.open`. */
  constructor(spend: (bytes: number) => void, closed: () => void) {
    this.#spend = spend
    this.#closed = closed
  }

  /** As the store would answer; null where it has nothing under the key. Undefined: not known, ask the store. */
  get(id: string): Uint8Array | null | undefined {
    const found = this.#young.get(id)
    if (found !== undefined) return found
    const older = this.#old.get(id)
    if (older !== undefined) this.#spend(this.#young.set(id, older))
    return older
  }

  /** What the store has answered; null for nothing. */
  learn(id: string, stored: Uint8Array | null): void {
    this.#spend(this.#young.set(id, stored))
  }

  /** What has been written to the store; null: deleted. */
  written(id: string, timestamp: number, value: Uint8Array | null): void {
    this.#spend(this.#young.setEntry(id, timestamp, value))
  }

  /** @internal */
  age(): void {
    this.#old = this.#young
    this.#young = new Generation()
  }

  close(): void {
    this.#closed()
  }
}

/** An index into one growing buffer, which is only ever appended to: what `get` has given out stays as it is. */
class Generation {
  readonly #places = new Map<string, number>()
  #bytes = Buffer.allocUnsafeSlow(FIRST_CAPACITY_BYTES)
  #end = 0

  get(id: string): Uint8Array | null | undefined {
    const place = this.#places.get(id)
    if (place === undefined) return undefined
    if (place === ABSENT) return null
    const from = place + LENGTH_BYTES
    return this.#bytes.subarray(from, from + this.#bytes.readUInt32LE(place))
  }

  /** Returns the bytes that this takes. */
  set(id: string, stored: Uint8Array | null): number {
    if (stored === null) return this.#index(id, ABSENT)
    const place = this.#reserve(stored.length)
    this.#bytes.set(stored, place + LENGTH_BYTES)
    return this.#index(id, place)
  }

  /** The same, of an entry that is not in its stored form. */
  setEntry(id: string, timestamp: number, value: Uint8Array | null): number {
    if (value === null) return this.#index(id, ABSENT)
    const place = this.#reserve(STORE_HEAD_BYTES + value.length)
    writeStoreValue(this.#bytes, place + LENGTH_BYTES, timestamp, value)
    return this.#index(id, place)
  }

  #index(id: string, place: number): number {
    const { size } = this.#places
    this.#places.set(id, place)
    const stored = place === ABSENT ? 0 : this.#end - place
    return this.#places.size === size ? stored : stored + INDEX_BYTES + id.length
  }

  #reserve(length: number): number {
    const place = this.#end
    this.#end += LENGTH_BYTES + length
    if (this.#end > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(this.#end, this.#bytes.length * 2))
      this.#bytes.copy(grown, 0, 0, place)
      this.#bytes = grown
    }
    this.#bytes.writeUInt32LE(length, place)
    return place
  }
}
