/**
 * Bounds the bytes that all logs together keep in memory beside a store: the batches appended last stay, older ones
 * are read from the store. A batch that the store does not hold yet is never given up.
 */
import type { BatchEntry } from './batch-entry.ts'
import type { Journal } from './journal.ts'

export class BatchCache {
  readonly #bytesMax: number
  readonly #journal: Journal
  /** In order of appending. */
  readonly #held = new Set<BatchEntry>()
  #bytes = 0

  constructor(bytesMax: number, journal: Journal) {
    this.#bytesMax = bytesMax
    this.#journal = journal
  }

  get bytes(): number {
    return this.#bytes
  }

  hold(entry: BatchEntry): void {
    // In memory there is nowhere else to read from.
    if (this.#journal.store === undefined) return
    this.#held.add(entry)
    this.#bytes += entry.sizeBytes
    const durable = this.#journal.durableSequence
    for (const oldest of this.#held) {
      if (this.#bytes <= this.#bytesMax || oldest.sequence > durable) break
      oldest.bytes = undefined
      this.release(oldest)
    }
  }

  /** The entry has left its log. */
  release(entry: BatchEntry): void {
    if (this.#held.delete(entry)) this.#bytes -= entry.sizeBytes
  }
}
