import type { DruseError } from '../errors.ts'
import type { Entry } from '../ports.ts'
import { storeClosed } from './failure.ts'

/** Few at first, since many readers stop early; then what the read-ahead allows. */
const ENTRIES_FIRST = 32
const ENTRIES_MAX = 1000

/** What is used of abstract-level's iterator. */
interface EntryIterator {
  nextv(size: number): Promise<[Uint8Array, Uint8Array][]>
  close(): Promise<void>
}

const END: IteratorReturnResult<undefined> = { done: true, value: undefined }

/**
 * Reads a LevelDB iterator in chunks. Not a generator: one that was never started runs no `finally`, and would
 * keep the iterator when told to return.
 */
export class LevelRange implements AsyncIterableIterator<Entry, undefined> {
  readonly #iterator: EntryIterator
  readonly #place: string
  readonly #isClosed: () => boolean
  readonly #failure: (cause: unknown) => DruseError
  #entries: readonly Entry[] = []
  #at = 0
  #chunkSize = ENTRIES_FIRST
  #filling: Promise<void> | undefined
  #ended = false

  constructor(
    iterator: EntryIterator,
    place: string,
    isClosed: () => boolean,
    failure: (cause: unknown) => DruseError,
  ) {
    this.#iterator = iterator
    this.#place = place
    this.#isClosed = isClosed
    this.#failure = failure
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<Entry, undefined>> {
    if (this.#filling !== undefined) return this.#filling.then(() => this.next())
    if (this.#ended) return Promise.resolve(END)
    if (this.#isClosed()) return Promise.reject(storeClosed(this.#place))
    const entry = this.#entries[this.#at]
    if (entry !== undefined) {
      this.#at++
      return Promise.resolve({ done: false, value: entry })
    }
    this.#filling = this.#fill()
    return this.#filling.then(() => this.next())
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    await this.#end()
    return END
  }

  async #fill(): Promise<void> {
    try {
      this.#entries = await this.#iterator.nextv(this.#chunkSize)
      this.#at = 0
      this.#chunkSize = ENTRIES_MAX
      if (this.#entries.length === 0) await this.#end()
    } catch (cause) {
      await this.#end()
      throw this.#failure(cause)
    } finally {
      this.#filling = undefined
    }
  }

  async #end(): Promise<void> {
    this.#ended = true
    this.#entries = []
    await this.#iterator.close()
  }
}
