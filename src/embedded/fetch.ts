/**
 * Fetch, with its long poll: an answer waits until there are `minBytes`, an error, or `maxWaitMs` have passed. What is
 * read is read when the answer is made, as in Kafka. A read_committed fetch ends at the last stable offset.
 */

import { CODE } from '../kafka/error-codes.ts'
import type { FetchedPartition, Requests, Responses } from '../ports.ts'
import type { PartitionLog, Slice } from './partition-log.ts'
import type { Context } from './settings.ts'
import type { Topics } from './topics.ts'

type Request = Requests['Fetch']
type Asked = Request['partitions'][number]

/** What a partition would answer now: an error, or a place to read from. */
type Look =
  | { readonly errorCode: number; readonly log?: undefined }
  | { readonly errorCode: 0; readonly log: PartitionLog; readonly limit: number }

const READ_ATTEMPTS = 5
const NOTHING = new Uint8Array(0)

export class Fetching {
  readonly #context: Context
  readonly #topics: Topics

  constructor(context: Context, topics: Topics) {
    this.#context = context
    this.#topics = topics
  }

  async fetch(request: Request): Promise<Responses['Fetch']> {
    if (!this.#isDue(request) && request.maxWaitMs > 0) await this.#wait(request)
    const partitions: FetchedPartition[] = []
    let bytesLeft = request.maxBytes
    // The first partition that has anything gives at least one batch, however large.
    let mustGive = true
    for (const asked of request.partitions) {
      const fetched = await this.#read(asked, request, bytesLeft, mustGive)
      if (fetched.records.length > 0) mustGive = false
      bytesLeft = Math.max(0, bytesLeft - fetched.records.length)
      partitions.push(fetched)
    }
    return { errorCode: CODE.NONE, partitions }
  }

  #look(asked: Asked, isolation: Request['isolation']): Look {
    const log = this.#topics.log(asked)
    if (log === undefined) return { errorCode: CODE.UNKNOWN_TOPIC_OR_PARTITION }
    if (asked.offset < log.start || asked.offset > log.highWatermark) {
      return { errorCode: CODE.OFFSET_OUT_OF_RANGE }
    }
    const limit = isolation === 'read_committed' ? log.lastStableOffset : log.highWatermark
    return { errorCode: CODE.NONE, log, limit }
  }

  #isDue({ partitions, isolation, minBytes }: Request): boolean {
    if (partitions.length === 0) return true
    let bytes = 0
    for (const asked of partitions) {
      const look = this.#look(asked, isolation)
      if (look.log === undefined) return true
      if (asked.offset < look.limit) {
        bytes += look.log.slice(asked.offset, look.limit, Math.max(1, minBytes - bytes)).sizeBytes
      }
      if (bytes >= minBytes) return true
    }
    return bytes >= minBytes
  }

  #wait(request: Request): Promise<void> {
    return new Promise((resolve) => {
      const stops: (() => void)[] = []
      const end = (): void => {
        for (const stop of stops) stop()
        resolve()
      }
      const onChange = (): void => {
        if (this.#isDue(request)) end()
      }
      stops.push(this.#context.clock.wake(request.maxWaitMs, end))
      for (const asked of request.partitions) {
        const log = this.#topics.log(asked)
        if (log !== undefined) stops.push(log.watch(onChange))
      }
    })
  }

  async #read(
    asked: Asked,
    request: Request,
    bytesLeft: number,
    mustGive: boolean,
  ): Promise<FetchedPartition> {
    const { topic, partition, offset } = asked
    const isCommitted = request.isolation === 'read_committed'
    for (let attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
      const look = this.#look(asked, request.isolation)
      if (look.log === undefined) return failed(asked, look.errorCode, isCommitted)
      const { log, limit } = look
      const { highWatermark, lastStableOffset, start: logStartOffset } = log
      const maxBytes = Math.min(asked.maxBytes, bytesLeft)
      const slice = log.slice(offset, limit, mustGive ? Math.max(1, maxBytes) : maxBytes)
      const abortedTransactions = isCommitted ? log.abortedBetween(offset, slice.nextOffset) : null
      const state = {
        topic,
        partition,
        errorCode: CODE.NONE,
        highWatermark,
        lastStableOffset,
        logStartOffset,
      }
      const buffers = log.read(slice.entries)
      const read = Array.isArray(buffers) ? buffers : await buffers
      // Compaction or DeleteRecords came between: look again.
      if (!read.every((bytes) => bytes !== undefined)) continue
      return { ...state, abortedTransactions, records: cut(read, slice, maxBytes, mustGive) }
    }
    // The index knows of a batch that the store does not have.
    this.#context.log.error({ topic, partition, offset }, 'A batch is missing from the store')
    return failed(asked, CODE.KAFKA_STORAGE_ERROR, isCommitted)
  }
}

/**
 * The bytes of the slice, cut off at the limit, in the middle of a batch if need be, as Kafka does. A first batch that
 * does not fit is left out altogether, unless something must be given.
 */
function cut(read: readonly Buffer[], slice: Slice, maxBytes: number, mustGive: boolean): Uint8Array {
  const first = slice.entries[0]
  if (first === undefined || (!mustGive && first.sizeBytes > maxBytes)) return NOTHING
  const sizeBytes = Math.min(slice.sizeBytes, Math.max(maxBytes, mustGive ? first.sizeBytes : 0))
  return Buffer.concat(read, sizeBytes)
}

function failed({ topic, partition }: Asked, errorCode: number, isCommitted: boolean): FetchedPartition {
  return {
    topic,
    partition,
    errorCode,
    highWatermark: -1,
    lastStableOffset: -1,
    logStartOffset: -1,
    abortedTransactions: isCommitted ? [] : null,
    records: NOTHING,
  }
}
