/** A handle on a table in memory, with LevelDB's manners: a write takes effect some time after its call. */
import type { Entry, RangeBounds, Store, Write } from '../ports.ts'
import { diskFailed, storeClosed } from './failure.ts'
import { MemoryRange } from './memory-range.ts'
import type { MemoryTable } from './memory-table.ts'

/** open: takes calls. closed: takes none, what was called is finished. crashed: not even that. */
type State = 'open' | 'closed' | 'crashed'

export interface MemoryStoreOptions {
  readonly table: MemoryTable
  readonly place: string
  readonly isFull: () => boolean
  readonly released: () => void
}

export class MemoryStore implements Store {
  readonly asClosed: boolean
  readonly #table: MemoryTable
  readonly #place: string
  readonly #isFull: () => boolean
  readonly #released: () => void
  #state: State = 'open'
  #lastWrite: Promise<void> = Promise.resolve()
  #closing: Promise<void> | undefined
  #failed = false
  #isTrusted = true

  constructor(options: MemoryStoreOptions) {
    this.#table = options.table
    this.asClosed = options.table.asClosed
    options.table.asClosed = false
    this.#place = options.place
    this.#isFull = options.isFull
    this.#released = options.released
  }

  getSync(key: Uint8Array): Uint8Array | undefined {
    this.#assertOpen()
    return this.#table.get(key)
  }

  async getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    this.#assertOpen()
    return keys.map((key) => this.#table.get(key))
  }

  range(bounds: RangeBounds): AsyncIterable<Entry> {
    this.#assertOpen()
    return new MemoryRange(this.#table.select(bounds), () => this.#assertOpen())
  }

  async write(writes: readonly Write[]): Promise<void> {
    this.#assertOpen()
    if (writes.length === 0) return
    const copies = writes.map(
      ([key, value]): Write => [Buffer.from(key), value === null ? null : Buffer.from(value)],
    )
    const answer = this.#lastWrite.then(() => {
      if (this.#state === 'crashed') throw storeClosed(this.#place)
      if (this.#isFull() || this.#failed) {
        this.#failed = true
        throw diskFailed(this.#place, 'write to', new Error('no space left (simulated)'))
      }
      this.#table.apply(copies)
    })
    this.#lastWrite = answer.catch(() => undefined)
    return answer
  }

  distrust(): void {
    this.#isTrusted = false
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** As if the process had died: writes that were not answered are dropped, the lock is free. */
  crash(): void {
    this.#state = 'crashed'
  }

  async #close(): Promise<void> {
    if (this.#state === 'open') this.#state = 'closed'
    await this.#lastWrite
    // After a crash the path may have been opened again: it is no longer this handle's.
    if (this.#state !== 'closed') return
    this.#table.asClosed = this.#isTrusted && !this.#failed
    this.#released()
  }

  #assertOpen(): void {
    if (this.#state !== 'open') throw storeClosed(this.#place)
  }
}
