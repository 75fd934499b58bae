/** Reads whole partitions in order, each delivery handled before the next: for restoring, loading and looking back. */
import { DruseError } from '../errors.ts'
import type { Isolation } from '../ports.ts'
import type { TopicPartition } from '../types.ts'
import type { Cluster } from './cluster.ts'
import { type Delivery, Fetcher } from './fetcher.ts'
import { partitionKey } from './partition-key.ts'

/** Returns, or resolves to, true when it has seen enough. */
export type ReadHandler = (delivery: Delivery) => boolean | Promise<boolean>

interface Reading {
  readonly at: TopicPartition
  readonly handle: ReadHandler
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
  handling: Promise<void>
  over: boolean
}

export class PartitionReader {
  readonly #fetcher: Fetcher
  readonly #readings = new Map<string, Reading>()
  #isClosed = false

  constructor(cluster: Cluster, isolation: Isolation = 'read_committed', maxWaitMs?: number) {
    this.#fetcher = new Fetcher(
      cluster,
      { isolation, ...(maxWaitMs === undefined ? {} : { maxWaitMs }) },
      {
        deliver: (delivery) => this.#deliver(delivery),
        failed: (partition, error) => this.#failed(partition, error),
      },
    )
  }

  /**
   * Resolves when the handler has seen enough, and only then. A partition is read once at a time.
   * Errors: READ_ABANDONED (the signal was aborted, or the reader closed), those of the handler and of `Fetcher`.
   */
  read(at: TopicPartition, from: number, handle: ReadHandler, signal?: AbortSignal): Promise<void> {
    const key = partitionKey(at)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    if (signal?.aborted || this.#isClosed) return Promise.reject(abandoned(at))
    const reading: Reading = { at, handle, resolve, reject, handling: Promise.resolve(), over: false }
    this.#readings.set(key, reading)
    this.#fetcher.add(at, from)
    const abort = (): void => this.#end(at, reading, abandoned(at))
    signal?.addEventListener('abort', abort, { once: true })
    return promise.finally(() => signal?.removeEventListener('abort', abort))
  }

  close(): void {
    this.#isClosed = true
    this.#fetcher.close()
    for (const reading of this.#readings.values()) this.#end(reading.at, reading, abandoned(reading.at))
  }

  #deliver(delivery: Delivery): void {
    const reading = this.#readings.get(partitionKey(delivery))
    if (reading === undefined) return
    this.#fetcher.pause(delivery)
    reading.handling = reading.handling
      .then(async () => {
        if (reading.over) return
        if (await reading.handle(delivery)) this.#end(delivery, reading)
        else this.#fetcher.resume(delivery)
      })
      .catch((error: unknown) => this.#end(delivery, reading, error))
  }

  #failed(partition: TopicPartition, error: unknown): void {
    const reading = this.#readings.get(partitionKey(partition))
    if (reading !== undefined) this.#end(partition, reading, error)
  }

  #end(at: TopicPartition, reading: Reading, error?: unknown): void {
    if (reading.over) return
    reading.over = true
    if (this.#readings.get(partitionKey(at)) === reading) {
      this.#readings.delete(partitionKey(at))
      this.#fetcher.remove(at)
    }
    if (error === undefined) reading.resolve()
    else reading.reject(error)
  }
}

function abandoned(at: TopicPartition): DruseError {
  return new DruseError('READ_ABANDONED', `Reading ${partitionKey(at)} was given up before its end`)
}
