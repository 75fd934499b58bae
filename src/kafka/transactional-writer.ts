/**
 * The transactional producer of a worker: the Kafka requests of a commit, one at a time, under the one-strike rule.
 *
 *   closed ──open──► ready ──addPartitions──► … ──end──► ready
 *                      any failure, at any point ──► dead ──open──► ready
 *
 * After any outcome but a definite one, this (producer id, epoch) is never used again: its sockets are destroyed and
 * `open` asks for a new epoch, which fences and aborts what the old one left behind. There is no EndTxn(abort).
 */
import { DruseError, type ErrorCode } from '../errors.ts'
import type { Connection, Membership, PartitionCode, Producing, Request, ResponseOf } from '../ports.ts'
import type { TopicPartition } from '../types.ts'
import type { Cluster } from './cluster.ts'
import { CODE, classifyTransactional, nameOf } from './error-codes.ts'
import { partitionKey } from './partition-key.ts'
import type { BatchWriter } from './record-batch.ts'
import { Again, pause, reasonOf, retry } from './retry.ts'

export interface TransactionalWriterOptions {
  readonly transactionalId: string
  /** The broker aborts a transaction this long after its first AddPartitionsToTxn. Kafka Streams' default is 10 000. */
  readonly transactionTimeoutMs: number
}

/** The batches of one partition, in order. */
export interface PartitionBatches extends TopicPartition {
  readonly batches: readonly BatchWriter[]
}

export interface OffsetToCommit extends TopicPartition {
  readonly offset: number
  readonly metadata: string
}

/** Who commits, as captured when the transaction's first record was processed. Outside of a group: NO_MEMBERSHIP. */
export type CommitAs = Pick<Membership, 'memberId' | 'generationId' | 'groupInstanceId'>
export const NO_MEMBERSHIP: CommitAs = { memberId: '', generationId: -1, groupInstanceId: null }

const FIRST_RETRY_MS = 5
const LAST_RETRY_MS = 200

export class TransactionalWriter {
  readonly #cluster: Cluster
  readonly #options: TransactionalWriterOptions
  #connection: Connection | undefined
  #producing: Producing | undefined
  readonly #sequences = new Map<string, number>()
  /** On the monotonic clock: what is not answered by then is indefinite. */
  #deadlineMs = 0

  constructor(cluster: Cluster, options: TransactionalWriterOptions) {
    this.#cluster = cluster
    this.#options = options
  }

  get isOpen(): boolean {
    return this.#producing !== undefined
  }

  /**
   * InitProducerId: a new epoch, the predecessor fenced, its open transaction aborted and over.
   * Errors: BROKER_UNAVAILABLE, KAFKA_REFUSED.
   */
  async open(): Promise<void> {
    this.close()
    const { transactionalId, transactionTimeoutMs } = this.#options
    const { clock, retryBudgetMs, requestTimeoutMs } = this.#cluster
    const what = `initialise the transactional id '${transactionalId}'`
    const answer = await retry({ clock, what, budgetMs: retryBudgetMs + transactionTimeoutMs }, async () => {
      const connection = this.#connect()
      const node = await this.#coordinator()
      const request = { api: 'InitProducerId', transactionalId, transactionTimeoutMs } as const
      const outcome = await connection.send(node, request, requestTimeoutMs)
      if (!outcome.ok) {
        this.close()
        return new Again(reasonOf(outcome))
      }
      const { errorCode } = outcome.response
      if (errorCode === CODE.NONE) return outcome.response
      if (classifyTransactional(errorCode) === 'retry') {
        this.#forgetIfMoved(errorCode)
        return new Again(nameOf(errorCode))
      }
      throw new DruseError('KAFKA_REFUSED', `Could not ${what}: Kafka answered ${nameOf(errorCode)}`, {
        kafkaCode: errorCode,
      })
    })
    this.#sequences.clear()
    const { producerId, producerEpoch } = answer
    this.#producing = { transactionalId, producerId, producerEpoch }
    this.#cluster.log.debug({ transactionalId, producerId, producerEpoch }, 'producer: ready')
  }

  /** Ends the use of this epoch. What is under way may still be carried out, until the next `open` fences it. */
  close(): void {
    this.#connection?.destroy()
    this.#connection = undefined
    this.#producing = undefined
  }

  /** Begins a transaction's time at the broker. Every partition that `produce` will be given. */
  async addPartitions(partitions: readonly TopicPartition[]): Promise<void> {
    this.begin()
    if (partitions.length === 0) return
    const producing = this.#alive()
    await this.#transact(
      'add partitions to the transaction',
      { api: 'AddPartitionsToTxn', ...producing, partitions },
      (answer) => worst(partitions, answer.partitions),
    )
  }

  /** Starts the clock of a transaction without partitions. */
  begin(): void {
    this.#deadlineMs = this.#cluster.clock.monotonicMs() + this.#options.transactionTimeoutMs
  }

  /** Appends; resolves to the offset behind each partition's last record, by `partitionKey`. */
  async produce(partitions: readonly PartitionBatches[]): Promise<ReadonlyMap<string, number>> {
    const ends = new Map<string, number>()
    const rounds = Math.max(0, ...partitions.map(({ batches }) => batches.length))
    for (let round = 0; round < rounds; round++) {
      await Promise.all(
        partitions.map(async ({ topic, partition, batches }) => {
          const writer = batches[round]
          if (writer === undefined) return
          const baseOffset = await this.#append({ topic, partition }, writer)
          ends.set(partitionKey({ topic, partition }), baseOffset + writer.count)
        }),
      )
    }
    return ends
  }

  async addOffsets(groupId: string): Promise<void> {
    await this.#transact(
      `add offsets of group '${groupId}' to the transaction`,
      { api: 'AddOffsetsToTxn', ...this.#alive(), groupId },
      (answer) => ({ errorCode: answer.errorCode }),
    )
  }

  /** Only after `addOffsets`. The generation fences: not the one of now, the one captured. */
  async commitOffsets(groupId: string, as: CommitAs, offsets: readonly OffsetToCommit[]): Promise<void> {
    const { memberId, generationId, groupInstanceId } = as
    for (let from = 0; from < offsets.length; from += OFFSETS_PER_REQUEST_MAX) {
      const partitions = offsets.slice(from, from + OFFSETS_PER_REQUEST_MAX)
      await this.#transact(
        `commit offsets of group '${groupId}'`,
        {
          api: 'TxnOffsetCommit',
          ...this.#alive(),
          groupId,
          memberId,
          generationId,
          groupInstanceId,
          partitions,
        },
        (answer) => worst(partitions, answer.partitions),
        'group',
        groupId,
      )
    }
  }

  /** Commits. Resolved: everything of the transaction is, or becomes, visible. */
  async end(): Promise<void> {
    await this.#transact(
      'end the transaction',
      { api: 'EndTxn', ...this.#alive(), committed: true },
      (answer) => ({ errorCode: answer.errorCode }),
    )
  }

  /** One batch into one partition, its bytes the same at each attempt. */
  async #append(to: TopicPartition, writer: BatchWriter): Promise<number> {
    const producing = this.#alive()
    const key = partitionKey(to)
    const baseSequence = this.#sequences.get(key) ?? 0
    const records = writer.build({ ...producing, baseSequence, isTransactional: true })
    const what = `produce to ${to.topic}/${to.partition}`
    const { requestTimeoutMs } = this.#cluster
    for (let pauseMs = FIRST_RETRY_MS; ; pauseMs = Math.min(pauseMs * 2, LAST_RETRY_MS)) {
      const leader = await this.#leaderInTime(what, to)
      const outcome = await this.#connected().send(
        leader,
        {
          api: 'Produce',
          transactionalId: producing.transactionalId,
          acks: -1,
          timeoutMs: requestTimeoutMs,
          partitions: [{ ...to, records }],
        },
        this.#timeLeft(what),
      )
      if (!outcome.ok) throw this.#strike(what, reasonOf(outcome))
      const answer = outcome.response.partitions.find(
        (p) => p.topic === to.topic && p.partition === to.partition,
      )
      const code = answer?.errorCode ?? CODE.UNKNOWN_SERVER_ERROR
      if (answer !== undefined && code === CODE.NONE) {
        if (answer.baseOffset < 0) throw this.#strike(what, 'the answer has no base offset')
        this.#sequences.set(key, (baseSequence + writer.count) % 2 ** 31)
        return answer.baseOffset
      }
      // The leader may have moved, whatever comes of this transaction.
      this.#cluster.forgetTopic(to.topic)
      if (classifyTransactional(code) !== 'retry') throw this.#failed(what, code, to)
      await this.#pauseInTime(what, pauseMs, nameOf(code))
    }
  }

  async #transact<R extends Request>(
    what: string,
    request: R,
    verdictOf: (answer: ResponseOf<R>) => Verdict,
    keyType: 'transaction' | 'group' = 'transaction',
    coordinatorKey = this.#options.transactionalId,
  ): Promise<void> {
    for (let pauseMs = FIRST_RETRY_MS; ; pauseMs = Math.min(pauseMs * 2, LAST_RETRY_MS)) {
      const node = await this.#cluster.coordinator(keyType, coordinatorKey)
      const outcome = await this.#connected().send(node, request, this.#timeLeft(what))
      if (!outcome.ok) throw this.#strike(what, reasonOf(outcome))
      const { errorCode: code, ...where } = verdictOf(outcome.response)
      if (code === CODE.NONE) return
      if (classifyTransactional(code) !== 'retry') throw this.#failed(what, code, where)
      this.#forgetIfMoved(code, keyType, coordinatorKey)
      await this.#pauseInTime(what, pauseMs, nameOf(code))
    }
  }

  async #leaderInTime(what: string, to: TopicPartition): Promise<number> {
    for (;;) {
      const leader = await this.#cluster.leader(to)
      if (!(leader instanceof Again)) return leader
      await this.#pauseInTime(what, LAST_RETRY_MS, leader.reason)
    }
  }

  async #pauseInTime(what: string, ms: number, reason: string): Promise<void> {
    if (this.#cluster.clock.monotonicMs() + ms >= this.#deadlineMs) throw this.#strike(what, reason)
    await pause(this.#cluster.clock, ms)
  }

  #timeLeft(what: string): number {
    const left = this.#deadlineMs - this.#cluster.clock.monotonicMs()
    if (left <= 0) throw this.#strike(what, 'the time of the transaction is over')
    return Math.min(left, this.#cluster.requestTimeoutMs)
  }

  #alive(): Producing {
    if (this.#producing !== undefined) return this.#producing
    throw new DruseError('TRANSACTION_INDEFINITE', 'The producer was given up; open() it again')
  }

  #connected(): Connection {
    this.#alive()
    return this.#connection as Connection
  }

  #connect(): Connection {
    this.#connection ??= this.#cluster.wire.connect('produce')
    return this.#connection
  }

  #coordinator(): Promise<number> {
    return this.#cluster.coordinator('transaction', this.#options.transactionalId)
  }

  #forgetIfMoved(
    code: number,
    keyType: 'transaction' | 'group' = 'transaction',
    key = this.#options.transactionalId,
  ): void {
    if (code === CODE.NOT_COORDINATOR || code === CODE.COORDINATOR_NOT_AVAILABLE) {
      this.#cluster.forgetCoordinator(keyType, key)
    }
  }

  /** Nobody knows whether it was carried out. */
  #strike(what: string, reason: string): DruseError {
    this.close()
    return new DruseError(
      'TRANSACTION_INDEFINITE',
      `Could not ${what}: ${reason}. Whether the transaction ended is read from the committed offsets`,
      { what, reason },
    )
  }

  #failed(what: string, kafkaCode: number, where: Partial<TopicPartition>): DruseError {
    const failure = classifyTransactional(kafkaCode)
    if (failure === 'indefinite' || failure === 'ok' || failure === 'retry') {
      return this.#strike(what, nameOf(kafkaCode))
    }
    this.close()
    return new DruseError(
      FAILURES[failure],
      `Could not ${what}: Kafka answered ${nameOf(kafkaCode)} (${kafkaCode})`,
      { what, kafkaCode, topic: where.topic, partition: where.partition },
    )
  }
}

/** The code that decides, and the partition that it is about. */
type Verdict = { readonly errorCode: number } & Partial<TopicPartition>

const OFFSETS_PER_REQUEST_MAX = 200

const FAILURES = {
  'producer-gone': 'PRODUCER_FENCED',
  reinitialise: 'TRANSACTION_ABORTED',
  'membership-gone': 'MEMBERSHIP_LOST',
  'instance-fenced': 'INSTANCE_FENCED',
  abortable: 'TRANSACTION_ABORTED',
  refused: 'KAFKA_REFUSED',
} as const satisfies Record<string, ErrorCode>

/** One that forbids a retry before one that allows it; a partition left out is unknown. */
function worst(asked: readonly TopicPartition[], answered: readonly PartitionCode[]): Verdict {
  const codes = new Map(answered.map((p) => [partitionKey(p), p.errorCode]))
  let found: Verdict = { errorCode: CODE.NONE }
  for (const { topic, partition } of asked) {
    const errorCode = codes.get(partitionKey({ topic, partition })) ?? CODE.UNKNOWN_SERVER_ERROR
    // Not attempted because of another partition, whose code tells why.
    if (errorCode === CODE.NONE || errorCode === CODE.OPERATION_NOT_ATTEMPTED) continue
    if (found.errorCode === CODE.NONE || classifyTransactional(found.errorCode) === 'retry') {
      found = { errorCode, topic, partition }
    }
  }
  return found
}
