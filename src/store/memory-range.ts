import type { Entry } from '../ports.ts'
import type { Selection } from './memory-table.ts'

const END: IteratorReturnResult<undefined> = { done: true, value: undefined }

export class MemoryRange implements AsyncIterableIterator<Entry, undefined> {
  readonly #selection: Selection
  readonly #assertOpen: () => void
  #at: number
  #left: number

  constructor(selection: Selection, assertOpen: () => void) {
    this.#selection = selection
    this.#assertOpen = assertOpen
    this.#at = selection.first
    this.#left = selection.count
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<Entry, undefined>> {
    if (this.#left <= 0) return END
    this.#assertOpen()
    const row = this.#selection.rows[this.#at]
    if (row === undefined) return END
    this.#at += this.#selection.step
    this.#left--
    // Copies, as LevelDB gives: what a caller does to them must not reach the table.
    return { done: false, value: [Buffer.from(row.key), Buffer.from(row.value)] }
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#left = 0
    return END
  }
}
