/**
 * Produce, in Kafka's order of checks: the topic, the form of the batch, the transaction coordinator's word that the
 * partition belongs to the transaction, size, checksum, contents, and last the producer's epoch and sequence.
 */
import { crc32c } from '@node-rs/crc32'
import { DruseError } from '../errors.ts'
import { CODE } from '../kafka/error-codes.ts'
import { type BatchHeader, RecordCursor, readBatchHeader, verifyBatch } from '../kafka/record-batch.ts'
import type { Requests, Responses } from '../ports.ts'
import type { TopicPartition } from '../types.ts'
import { originOf } from './batch-entry.ts'
import type { PartitionLog } from './partition-log.ts'
import type { Context } from './settings.ts'
import type { LogConfig } from './topic-configs.ts'
import type { Topics } from './topics.ts'
import type { TransactionCoordinator } from './transaction-coordinator.ts'

const APPEND_TIME_ATTRIBUTE = 0x08

type Produced = Responses['Produce']['partitions'][number]

export class Producing {
  readonly #context: Context
  readonly #topics: Topics
  readonly #transactions: TransactionCoordinator
  readonly #onAppended: (log: PartitionLog, config: LogConfig) => void

  constructor(parts: {
    readonly context: Context
    readonly topics: Topics
    readonly transactions: TransactionCoordinator
    readonly onAppended: (log: PartitionLog, config: LogConfig) => void
  }) {
    this.#context = parts.context
    this.#topics = parts.topics
    this.#transactions = parts.transactions
    this.#onAppended = parts.onAppended
  }

  /** Takes the records' bytes as its own: the caller has made a copy. */
  produce({ transactionalId, partitions }: Requests['Produce']): Responses['Produce'] {
    const isForeign =
      transactionalId === null &&
      partitions.some(({ records }) => headerOf(asBuffer(records))?.isTransactional === true)
    return {
      partitions: partitions.map((place) => {
        const { topic, partition } = place
        const produced = isForeign
          ? CODE.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
          : this.#append(place, asBuffer(place.records), transactionalId)
        if (typeof produced === 'number') return { topic, partition, errorCode: produced, baseOffset: -1 }
        return { topic, partition, ...produced }
      }),
    }
  }

  /** An error code alone when nothing was appended. */
  #append(
    place: TopicPartition,
    bytes: Buffer,
    transactionalId: string | null,
  ): number | Pick<Produced, 'errorCode' | 'baseOffset'> {
    const topic = this.#topics.get(place.topic)
    const log = topic?.logs[place.partition]
    if (topic === undefined || log === undefined) return CODE.UNKNOWN_TOPIC_OR_PARTITION

    const header = onlyBatch(bytes)
    if (typeof header === 'number') return header

    // The coordinator is asked only for the first batch of a transaction in a partition.
    const { producerId, producerEpoch, isTransactional } = header
    if (isTransactional && transactionalId !== null && !log.producers.hasOpenTransaction(producerId)) {
      const code = this.#transactions.verify({ transactionalId, producerId, producerEpoch }, place)
      if (code === CODE.CONCURRENT_TRANSACTIONS) return CODE.NOT_ENOUGH_REPLICAS
      if (code !== CODE.NONE) return code
    }

    const code = this.#contentsFault(bytes, header, topic.config)
    if (code !== CODE.NONE) return code

    const verdict = log.producers.judge(originOf(header, undefined), header.recordCount)
    if (verdict.kind === 'refuse') return verdict.errorCode
    if (verdict.kind === 'duplicate') return { errorCode: CODE.NONE, baseOffset: verdict.baseOffset }

    if (topic.config.isAppendTime) stampAppendTime(bytes, this.#context.clock.wallMs())
    const stamped = topic.config.isAppendTime ? (readBatchHeader(bytes, 0) as BatchHeader) : header
    const baseOffset = log.append(bytes, stamped)
    if (topic.config.isCompacted && !isTransactional) this.#onAppended(log, topic.config)
    return { errorCode: CODE.NONE, baseOffset }
  }

  #contentsFault(bytes: Buffer, header: BatchHeader, config: LogConfig): number {
    if (header.baseOffset !== 0) return CODE.INVALID_RECORD
    if (header.sizeBytes > config.maxMessageBytes) return CODE.MESSAGE_TOO_LARGE
    try {
      verifyBatch(bytes, 0, header)
      if (header.lastOffset - header.baseOffset + 1 !== header.recordCount) {
        return CODE.INVALID_RECORD
      }
      if (header.isControl || (header.producerId >= 0n && header.baseSequence < 0)) return CODE.INVALID_RECORD
      // The records of other topics are not looked at.
      if (config.isCompacted && hasNullKey(bytes, header)) return CODE.INVALID_RECORD
    } catch (error) {
      if (DruseError.is(error, 'BATCH_CORRUPT')) return CODE.CORRUPT_MESSAGE
      if (DruseError.is(error, 'BATCH_TOO_LARGE')) return CODE.MESSAGE_TOO_LARGE
      if (DruseError.is(error, 'BATCH_UNSUPPORTED')) return CODE.INVALID_RECORD
      throw error
    }
    const latest = this.#context.clock.wallMs() + config.timestampAfterMaxMs
    if (!config.isAppendTime && header.maxTimestamp > latest) return CODE.INVALID_TIMESTAMP
    return CODE.NONE
  }
}

/** The header of the one batch that a partition may bring; an error code when there is none, or more. */
function onlyBatch(bytes: Buffer): BatchHeader | number {
  try {
    const header = readBatchHeader(bytes, 0)
    if (header === undefined || readBatchHeader(bytes, header.sizeBytes) !== undefined)
      return CODE.INVALID_RECORD
    return header
  } catch (error) {
    if (DruseError.is(error, 'BATCH_CORRUPT')) return CODE.CORRUPT_MESSAGE
    if (DruseError.is(error, 'BATCH_UNSUPPORTED')) return CODE.INVALID_RECORD
    throw error
  }
}

function headerOf(bytes: Buffer): BatchHeader | undefined {
  const header = onlyBatch(bytes)
  return typeof header === 'number' ? undefined : header
}

function hasNullKey(bytes: Buffer, header: BatchHeader): boolean {
  const cursor = new RecordCursor(bytes, 0, header)
  for (let record = cursor.next(); record !== undefined; record = cursor.next()) {
    if (record.key === null) return true
  }
  return false
}

function stampAppendTime(bytes: Buffer, nowMs: number): void {
  bytes.writeInt16BE(bytes.readInt16BE(21) | APPEND_TIME_ATTRIBUTE, 21)
  bytes.writeBigInt64BE(BigInt(Math.trunc(nowMs)), 35)
  bytes.writeUInt32BE(crc32c(bytes.subarray(21)), 17)
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
