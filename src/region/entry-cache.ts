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
import { EntryTable } from './entry-table.ts'

/** What an entry takes beside the bytes of its key and value, roughly: its place in the index, its key's text. */
const INDEX_BYTES = 80

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
  #young = new EntryTable()
  #old = new EntryTable()

  /** @internal See `EntryCaches.open`. */
  constructor(spend: (bytes: number) => void, closed: () => void) {
    this.#spend = spend
    this.#closed = closed
  }

  /** In the form of the store; null where there is nothing under the key. Undefined: not known. */
  get(id: string): Uint8Array | null | undefined {
    const found = this.#young.get(id)
    if (found !== undefined) return found
    const older = this.#old.get(id)
    if (older !== undefined) this.learn(id, older)
    return older
  }

  /** What the store has answered; null for nothing. */
  learn(id: string, stored: Uint8Array | null): void {
    const { size, appended } = this.#young
    this.#young.copy(id, stored)
    this.#account(id, size, appended)
  }

  /** What an operator has written; null: deleted. */
  written(id: string, check: number, timestamp: number, value: Uint8Array | null): void {
    const { size, appended } = this.#young
    this.#young.set(id, check, timestamp, value)
    this.#account(id, size, appended)
  }

  forget(id: string): void {
    this.#young.reset(id, undefined)
    this.#old.reset(id, undefined)
  }

  /** @internal */
  age(): void {
    this.#old = this.#young
    this.#young = new EntryTable()
  }

  close(): void {
    this.#closed()
  }

  #account(id: string, sizeBefore: number, appendedBefore: number): void {
    const isNew = this.#young.size > sizeBefore
    this.#spend(this.#young.appended - appendedBefore + (isNew ? INDEX_BYTES + id.length : 0))
  }
}
