/**
 * What operators find under the keys of regions, in memory: those used last, so that the ones that come again and again
 * need neither the overlays nor LevelDB.
 *
 * A cache belongs to one part of a region and answers what the part would find in its overlays and its store, or that it
 * does not know. It learns every write, and what was read from the store; what is taken back it forgets.
 *
 * It is bounded by generations: what is read or written goes into the young one. When the young ones of all caches are
 * full together, they become the old ones, and the old ones before go as a whole.
 */
import { type EntryKey, EntryTable } from './entry-table.ts'
import { KeyDirectory } from './key-directory.ts'

/** What a key takes beside its entries, roughly. */
const INDEX_BYTES = 24

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
  /** Of a region whose entries stand in time: it shares the room. */
  readonly keys: KeyDirectory
  #young = new EntryTable()
  #old = new EntryTable()

  /** @internal See `EntryCaches.open`. */
  constructor(spend: (bytes: number) => void, closed: () => void) {
    this.#spend = spend
    this.#closed = closed
    this.keys = new KeyDirectory(spend)
  }

  /** In the form of the store; null where there is nothing under the key. Undefined: not known. */
  get(key: EntryKey): Uint8Array | null | undefined {
    const found = this.#young.get(key)
    if (found !== undefined) return found
    const older = this.#old.get(key)
    if (older !== undefined) this.learn(key, older)
    return older
  }

  /** What the store has answered; null for nothing. */
  learn(key: EntryKey, stored: Uint8Array | null): void {
    const { size, appended } = this.#young
    this.#young.copy(key, stored)
    this.#account(size, appended)
  }

  /** What an operator has written; null: deleted. */
  written(key: EntryKey, check: number, timestamp: number, value: Uint8Array | null): void {
    const { size, appended } = this.#young
    this.#young.set(key, check, timestamp, value)
    this.#account(size, appended)
  }

  forget(key: EntryKey): void {
    this.#young.reset(key, undefined)
    this.#old.reset(key, undefined)
  }

  /** @internal */
  age(): void {
    this.#old = this.#young
    this.#young = new EntryTable()
    this.keys.age()
  }

  close(): void {
    this.#closed()
  }

  #account(sizeBefore: number, appendedBefore: number): void {
    const isNew = this.#young.size > sizeBefore
    this.#spend(this.#young.appended - appendedBefore + (isNew ? INDEX_BYTES : 0))
  }
}
