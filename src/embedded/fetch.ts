/**
 * Fetch, with its long poll, as Kafka's ReplicaManager and DelayedFetch have it. What is read is read when the answer is
 * made. A read_committed fetch ends at the last stable offset. An answer waits for `maxWaitMs` unless
 *
 * - there are `minBytes`, or `maxBytes` if that is less, where no partition counts for more than its own limit;
 * - an offset is out of range when the request arrives (one that falls out of range later is told when it is answered);
 * - an offset lies behind the limit of reading: under read_committed, behind the last stable offset;
 * - a topic is deleted;
 * - no partition is known. One unknown partition among others does not end the wait, and is unknown for all of it.
 */

import { CODE } from '../kafka/error-codes.ts'
import type { FetchedPartition, Requests, Responses } from '../ports.ts'
import type { PartitionLog, Slice } from './partition-log.ts'
import type { Context } from './settings.ts'
import type { Topics } from './topics.ts'

type Request = Requests['Fetch']
type Asked = Request['partitions'][number]
/** Of each asked partition, as it was when the request arrived; undefined: unknown. */
type Logs = readonly (PartitionLog | undefined)[]

/** What a partition would answer now: an error, or a place to read from. */
type Look =
  | { readonly errorCode: number; readonly log?: undefined; readonly limit?: undefined }
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
    const logs = request.partitions.map((asked) => this.#topics.log(asked))
    if (!this.#isDueAtOnce(request, logs)) await this.#wait(request, logs)
    const partitions: FetchedPartition[] = []
    let bytesLeft = request.maxBytes
    // The first partition that has anything gives at least one batch, however large.
    let mustGive = true
    for (const [i, asked] of request.partitions.entries()) {
      const fetched =
        logs[i] === undefined
          ? failed(asked, CODE.UNKNOWN_TOPIC_OR_PARTITION, request.isolation === 'read_committed')
          : await this.#read(asked, request, bytesLeft, mustGive)
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
    return { errorCode: CODE.NONE, log, limit: limitOf(log, isolation) }
  }

  #isDueAtOnce(request: Request, logs: Logs): boolean {
    const { partitions, isolation, maxWaitMs } = request
    if (maxWaitMs <= 0 || logs.every((log) => log === undefined)) return true
    // The first batch is given whatever the limits, and here, not while the request waits, counts as it is.
    let extraBytes: number | undefined
    for (const [i, asked] of partitions.entries()) {
      if (logs[i] === undefined) continue
      const { log, limit } = this.#look(asked, isolation)
      if (log === undefined) return true
      if (extraBytes !== undefined || asked.offset >= limit) continue
      extraBytes = Math.max(0, log.slice(asked.offset, limit, 1).sizeBytes - asked.maxBytes)
    }
    return this.#isDue(request, logs, extraBytes)
  }

  #isDue(request: Request, logs: Logs, extraBytes = 0): boolean {
    const enough = Math.min(request.minBytes, request.maxBytes)
    let bytes = extraBytes
    for (const [i, { offset, maxBytes }] of request.partitions.entries()) {
      const log = logs[i]
      if (log === undefined) continue
      const limit = limitOf(log, request.isolation)
      if (log.isDeleted || offset > limit) return true
      if (offset === limit || bytes >= enough) continue
      const most = Math.max(1, Math.min(maxBytes, enough - bytes))
      bytes += Math.min(maxBytes, log.slice(offset, limit, most).sizeBytes)
    }
    return bytes >= enough
  }

  #wait(request: Request, logs: Logs): Promise<void> {
    return new Promise((resolve) => {
      const stops: (() => void)[] = []
      const end = (): void => {
        for (const stop of stops) stop()
        resolve()
      }
      const onChange = (): void => {
        if (this.#isDue(request, logs)) end()
      }
      stops.push(this.#context.clock.wake(request.maxWaitMs, end))
      for (const log of logs) if (log !== undefined) stops.push(log.watch(onChange))
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

function limitOf(log: PartitionLog, isolation: Request['isolation']): number {
  return isolation === 'read_committed' ? log.lastStableOffset : log.highWatermark
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
