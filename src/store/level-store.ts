/**
 * A Store on LevelDB.
 *
 * - Writes reach LevelDB in the order of their calls, one at a time: its binding runs them on a pool of threads,
 *   where two unawaited ones may overtake each other.
 * - Writes are not synced: a crash of the process loses nothing, power loss loses a tail of whole batches.
 * - After a failed write the handle takes no more: LevelDB would accept them behind the torn one, and its next
 *   recovery may drop them with it.
 */
import type { Level } from 'level'
import type { DruseError } from '../errors.ts'
import type { Entry, RangeBounds, Store, Write } from '../ports.ts'
import { tightest } from './bounds.ts'
import { diskFailed, storeClosed } from './failure.ts'
import { levelFailure } from './level-failure.ts'
import { LevelRange } from './level-range.ts'

/** An iterator reads at most this far ahead. Measured: larger is not faster. */
const READ_AHEAD_BYTES = 64 * 1024
/** What the binding takes as a limit. */
const LIMIT_MAX = 2 ** 31 - 1

export type ByteLevel = Level<Uint8Array, Uint8Array>

export interface LevelStoreOptions {
  readonly level: ByteLevel
  readonly place: string
  readonly asClosed: boolean
  /** LevelDB has let go of its files; nobody else has them yet. */
  readonly closed: (isTrusted: boolean) => Promise<void>
  readonly released: () => void
}

export class LevelStore implements Store {
  readonly asClosed: boolean
  readonly #level: ByteLevel
  readonly #place: string
  readonly #closed: LevelStoreOptions['closed']
  readonly #released: () => void
  #isTrusted = true
  #closing: Promise<void> | undefined
  #lastWrite: Promise<void> = Promise.resolve()
  #failure: DruseError | undefined

  constructor({ level, place, asClosed, closed, released }: LevelStoreOptions) {
    this.#level = level
    this.#place = place
    this.asClosed = asClosed
    this.#closed = closed
    this.#released = released
  }

  getSync(key: Uint8Array): Uint8Array | undefined {
    this.#assertOpen()
    try {
      return this.#level.getSync(key)
    } catch (cause) {
      throw this.#readFailure(cause)
    }
  }

  async getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    this.#assertOpen()
    try {
      return await this.#level.getMany([...keys])
    } catch (cause) {
      throw this.#readFailure(cause)
    }
  }

  /** Read once. A range that is never read holds its snapshot until the store is closed. */
  range(bounds: RangeBounds): AsyncIterable<Entry> {
    this.#assertOpen()
    const { limit, ...rest } = tightest(bounds)
    // LevelDB's snapshot is taken here, not at the first read.
    const iterator = this.#level.iterator({
      ...rest,
      ...(limit !== undefined && limit <= LIMIT_MAX && { limit }),
      highWaterMarkBytes: READ_AHEAD_BYTES,
    })
    return new LevelRange(
      iterator,
      this.#place,
      () => this.#closing !== undefined,
      (cause) => this.#readFailure(cause),
    )
  }

  async write(writes: readonly Write[]): Promise<void> {
    this.#assertOpen()
    this.#assertWhole()
    if (writes.length === 0) return
    // The batch copies the bytes now: the caller may reuse its buffers. It is also faster than an array of operations.
    const batch = this.#level.batch()
    for (const [key, value] of writes) {
      if (value === null) batch.del(key)
      else batch.put(key, value)
    }
    const answer = this.#lastWrite.then(async () => {
      this.#assertWhole()
      try {
        await batch.write()
      } catch (cause) {
        this.#failure = levelFailure(this.#place, 'write to', cause)
        this.distrust()
        throw this.#failure
      }
    })
    this.#lastWrite = answer.catch(() => undefined)
    return answer
  }

  distrust(): void {
    this.#isTrusted = false
  }

  /** Waits for the writes already called. May be called again. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#lastWrite
    try {
      await this.#level.close()
    } catch (cause) {
      throw levelFailure(this.#place, 'close', cause)
    }
    await this.#closed(this.#isTrusted)
    this.#released()
  }

  #readFailure(cause: unknown): DruseError {
    const failure = levelFailure(this.#place, 'read', cause)
    if (failure.code !== 'STORE_CLOSED') this.distrust()
    return failure
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw storeClosed(this.#place)
  }

  #assertWhole(): void {
    if (this.#failure === undefined) return
    throw diskFailed(this.#place, 'write, after an earlier write failed, to', this.#failure)
  }
}
