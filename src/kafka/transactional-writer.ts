/**
 * The transactional producer of a worker: the Kafka requests of a commit, one at a time, under the one-strike rule.
 *
 *   closed ──open──► ready ──addPartitions──► … ──end──► ready
 *                      any failure, at any point ──► dead ──open──► ready
 *
 * After any outcome but a definite one, this (producer id, epoch) is never used again: its sockets are destroyed and
 * `open` asks for a new epoch, which fences and aborts what the old one left behind. There is no EndTxn(abort).
 */
import { DruseError } from '../errors.ts'
import type { Connection, Producing, Request, ResponseOf } from '../ports.ts'
import type { TopicPartition } from '../types.ts'
import type { Cluster } from './cluster.ts'
import { failed, strike, type Verdict, worst } from './commit-failures.ts'
import {
  appendInOrder,
  type CommitAs,
  type CommitWriter,
  offsetChunks,
  type PartitionBatches,
  type TaskOffsets,
} from './commit-writer.ts'
import type { Compression } from './compression.ts'
import { CODE, classifyTransactional, nameOf } from './error-codes.ts'
import { partitionKey } from './partition-key.ts'
import type { BatchWriter } from './record-batch.ts'
import { Again, pause, reasonOf, retry } from './retry.ts'

export interface TransactionalWriterOptions {
  /** Asked at each `open`. */
  readonly transactionalId: () => string
  /** The broker aborts a transaction this long after its first AddPartitionsToTxn. Kafka Streams' default is 10 000. */
  readonly transactionTimeoutMs: number
  /** Of what is produced. Default 'none'. */
  readonly compression?: Compression
}

/**
 * How long a transaction that is over time may still hold its offsets: brokers look for such every 10 s
 * (`transaction.abort.timed.out.transaction.cleanup.interval.ms`), and then its markers have to be written.
 */
export const ABORT_LATENCY_MS = 15_000

const FIRST_RETRY_MS = 5
const LAST_RETRY_MS = 200

/** One epoch, on sockets of its own. What is asked under it never reaches the sockets of another. */
interface Epoch {
  readonly producing: Producing
  readonly connection: Connection
  readonly sequences: Map<string, number>
}

export class TransactionalWriter implements CommitWriter {
  readonly #cluster: Cluster
  readonly #options: TransactionalWriterOptions
  #epoch: Epoch | undefined
  #stopOpening: (() => void) | undefined
  /** On the monotonic clock: what is not answered by then is indefinite. */
  #deadlineMs = 0

  constructor(cluster: Cluster, options: TransactionalWriterOptions) {
    this.#cluster = cluster
    this.#options = options
  }

  get isOpen(): boolean {
    return this.#epoch !== undefined
  }

  /** InitProducerId: the predecessor is fenced, its open transaction aborted and over. */
  async open(signal?: AbortSignal): Promise<void> {
    this.close()
    const transactionalId = this.#options.transactionalId()
    const { transactionTimeoutMs } = this.#options
    const { clock, retryBudgetMs, requestTimeoutMs } = this.#cluster
    const what = `initialise the transactional id '${transactionalId}'`
    const budgetMs = retryBudgetMs + transactionTimeoutMs
    let connection: Connection | undefined
    this.#stopOpening = () => connection?.destroy()
    try {
      const answer = await retry({ clock, what, budgetMs, ...(signal && { signal }) }, async () => {
        connection ??= this.#cluster.wire.connect('produce')
        const node = await this.#cluster.coordinator('transaction', transactionalId, LOOK_UP_MS)
        const request = { api: 'InitProducerId', transactionalId, transactionTimeoutMs } as const
        const outcome = await connection.send(node, request, requestTimeoutMs)
        if (!outcome.ok) {
          // Asking again only takes another epoch, but not on sockets that may still answer.
          connection.destroy()
          connection = undefined
          this.#cluster.forgetNode(node)
          return new Again(reasonOf(outcome))
        }
        const { errorCode } = outcome.response
        if (errorCode === CODE.NONE) return outcome.response
        const verdict = classifyTransactional(errorCode)
        if (verdict === 'retry' || verdict === 'indefinite') {
          this.#forgetIfMoved(errorCode, 'transaction', transactionalId)
          return new Again(nameOf(errorCode))
        }
        throw new DruseError('KAFKA_REFUSED', `Could not ${what}: Kafka answered ${nameOf(errorCode)}`, {
          kafkaCode: errorCode,
        })
      })
      const { producerId, producerEpoch } = answer
      this.#epoch = {
        producing: { transactionalId, producerId, producerEpoch },
        connection: connection as Connection,
        sequences: new Map(),
      }
      this.#cluster.log.debug({ transactionalId, producerId, producerEpoch }, 'producer: ready')
    } catch (error) {
      connection?.destroy()
      throw error
    } finally {
      this.#stopOpening = undefined
    }
  }

  close(): void {
    this.#stopOpening?.()
    if (this.#epoch !== undefined) this.#giveUp(this.#epoch)
  }

  /** The broker's clock of the transaction starts with its first partition, ours here. */
  begin(partitions: readonly TopicPartition[]): Promise<void> {
    this.#deadlineMs = this.#cluster.clock.monotonicMs() + this.#options.transactionTimeoutMs
    return this.#under(async (epoch) => {
      if (partitions.length === 0) return
      const request = { api: 'AddPartitionsToTxn', ...epoch.producing, partitions } as const
      await this.#transact(epoch, 'add partitions to the transaction', request, (answer) =>
        worst(partitions, answer.partitions),
      )
    })
  }

  produce(partitions: readonly PartitionBatches[]): Promise<ReadonlyMap<string, number>> {
    return this.#under((epoch) => appendInOrder(partitions, (to, writer) => this.#append(epoch, to, writer)))
  }

  addOffsets(groupId: string): Promise<void> {
    return this.#under(async (epoch) => {
      const request = { api: 'AddOffsetsToTxn', ...epoch.producing, groupId } as const
      const what = `add offsets of group '${groupId}' to the transaction`
      await this.#transact(epoch, what, request, ({ errorCode }) => ({ errorCode }))
    })
  }

  commitOffsets(groupId: string, as: CommitAs, offsets: readonly TaskOffsets[]): Promise<void> {
    const { memberId, generationId, groupInstanceId } = as
    return this.#under(async (epoch) => {
      for (const partitions of offsetChunks(offsets)) {
        const who = { groupId, memberId, generationId, groupInstanceId }
        const request = { api: 'TxnOffsetCommit', ...epoch.producing, ...who, partitions } as const
        await this.#transact(
          epoch,
          `commit offsets of group '${groupId}'`,
          request,
          (answer) => worst(partitions, answer.partitions),
          'group',
          groupId,
        )
      }
    })
  }

  end(): Promise<void> {
    return this.#under(async (epoch) => {
      const request = { api: 'EndTxn', ...epoch.producing, committed: true } as const
      await this.#transact(epoch, 'end the transaction', request, ({ errorCode }) => ({ errorCode }))
    })
  }

  /** One strike: whatever goes wrong under an epoch ends its use. */
  async #under<T>(step: (epoch: Epoch) => Promise<T>): Promise<T> {
    const epoch = this.#epoch
    if (epoch === undefined) {
      throw new DruseError('TRANSACTION_INDEFINITE', 'The producer was given up; open() it again')
    }
    try {
      return await step(epoch)
    } catch (error) {
      this.#giveUp(epoch)
      throw error
    }
  }

  #giveUp(epoch: Epoch): void {
    epoch.connection.destroy()
    if (this.#epoch === epoch) this.#epoch = undefined
  }

  /** One batch into one partition, its bytes the same at each attempt. */
  async #append(epoch: Epoch, to: TopicPartition, writer: BatchWriter): Promise<number> {
    const { producing, sequences, connection } = epoch
    const key = partitionKey(to)
    const baseSequence = sequences.get(key) ?? 0
    const owner = { ...producing, baseSequence, isTransactional: true }
    const records = writer.build(owner, this.#options.compression)
    const what = `produce to ${to.topic}/${to.partition}`
    for (let pauseMs = FIRST_RETRY_MS; ; pauseMs = Math.min(pauseMs * 2, LAST_RETRY_MS)) {
      const leader = await this.#leaderInTime(what, to)
      const outcome = await connection.send(
        leader,
        {
          api: 'Produce',
          transactionalId: producing.transactionalId,
          acks: -1,
          timeoutMs: this.#cluster.requestTimeoutMs,
          partitions: [{ ...to, records }],
        },
        this.#timeLeft(what),
      )
      if (!outcome.ok) {
        this.#cluster.forgetNode(leader)
        throw strike(what, reasonOf(outcome))
      }
      const answer = outcome.response.partitions.find((p) => partitionKey(p) === key)
      const code = answer?.errorCode ?? CODE.UNKNOWN_SERVER_ERROR
      if (answer !== undefined && code === CODE.NONE) {
        if (answer.baseOffset < 0) throw strike(what, 'the answer has no base offset')
        sequences.set(key, (baseSequence + writer.count) % 2 ** 31)
        return answer.baseOffset
      }
      // The leader may have moved, whatever comes of this transaction.
      this.#cluster.forgetTopic(to.topic)
      if (classifyTransactional(code) !== 'retry') throw failed(what, code, to)
      await this.#pauseInTime(what, pauseMs, nameOf(code))
    }
  }

  async #transact<R extends Request>(
    { connection, producing }: Epoch,
    what: string,
    request: R,
    verdictOf: (answer: ResponseOf<R>) => Verdict,
    keyType: 'transaction' | 'group' = 'transaction',
    coordinatorKey = producing.transactionalId,
  ): Promise<void> {
    for (let pauseMs = FIRST_RETRY_MS; ; pauseMs = Math.min(pauseMs * 2, LAST_RETRY_MS)) {
      const node = await this.#cluster.coordinator(keyType, coordinatorKey, this.#timeLeft(what))
      const outcome = await connection.send(node, request, this.#timeLeft(what))
      if (!outcome.ok) {
        this.#cluster.forgetNode(node)
        throw strike(what, reasonOf(outcome))
      }
      const { errorCode: code, ...where } = verdictOf(outcome.response)
      if (code === CODE.NONE) return
      if (classifyTransactional(code) !== 'retry') throw failed(what, code, where)
      this.#forgetIfMoved(code, keyType, coordinatorKey)
      await this.#pauseInTime(what, pauseMs, nameOf(code))
    }
  }

  async #leaderInTime(what: string, to: TopicPartition): Promise<number> {
    for (;;) {
      const leader = await this.#cluster.leader(to, this.#timeLeft(what))
      if (!(leader instanceof Again)) return leader
      await this.#pauseInTime(what, LAST_RETRY_MS, leader.reason)
    }
  }

  async #pauseInTime(what: string, ms: number, reason: string): Promise<void> {
    if (this.#cluster.clock.monotonicMs() + ms >= this.#deadlineMs) throw strike(what, reason)
    await pause(this.#cluster.clock, ms)
  }

  #timeLeft(what: string): number {
    const left = this.#deadlineMs - this.#cluster.clock.monotonicMs()
    if (left <= 0) throw strike(what, 'the time of the transaction is over')
    return Math.min(left, this.#cluster.requestTimeoutMs)
  }

  #forgetIfMoved(code: number, keyType: 'transaction' | 'group', key: string): void {
    if (code === CODE.NOT_COORDINATOR || code === CODE.COORDINATOR_NOT_AVAILABLE) {
      this.#cluster.forgetCoordinator(keyType, key)
    }
  }
}

/** Of one look for a coordinator, while there is time for more. */
const LOOK_UP_MS = 5_000
