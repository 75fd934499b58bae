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
import type { Compression } from './compression.ts'
import { CODE, classifyTransactional, nameOf } from './error-codes.ts'
import { partitionKey } from './partition-key.ts'
import type { BatchWriter } from './record-batch.ts'
import { Again, pause, reasonOf, retry } from './retry.ts'

export interface TransactionalWriterOptions {
  readonly transactionalId: string
  /** The broker aborts a transaction this long after its first AddPartitionsToTxn. Kafka Streams' default is 10 000. */
  readonly transactionTimeoutMs: number
  /** Of what is produced. Default 'none'. */
  readonly compression?: Compression
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

/** One epoch, on sockets of its own. What is asked under it never reaches the sockets of another. */
interface Epoch {
  readonly producing: Producing
  readonly connection: Connection
  readonly sequences: Map<string, number>
}

export class TransactionalWriter {
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

  /**
   * InitProducerId: a new epoch, the predecessor fenced, its open transaction aborted and over.
   * Errors: BROKER_UNAVAILABLE (also when the signal is aborted), KAFKA_REFUSED.
   */
  async open(signal?: AbortSignal): Promise<void> {
    this.close()
    const { transactionalId, transactionTimeoutMs } = this.#options
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
          this.#cluster.forgetCoordinator('transaction', transactionalId)
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

  /** Ends the use of this epoch. What is under way may still be carried out, until the next `open` fences it. */
  close(): void {
    this.#stopOpening?.()
    if (this.#epoch !== undefined) this.#giveUp(this.#epoch)
  }

  /** Begins a transaction's time at the broker. Every partition that `produce` will be given. */
  addPartitions(partitions: readonly TopicPartition[]): Promise<void> {
    this.begin()
    return this.#under(async (epoch) => {
      if (partitions.length === 0) return
      const request = { api: 'AddPartitionsToTxn', ...epoch.producing, partitions } as const
      await this.#transact(epoch, 'add partitions to the transaction', request, (answer) =>
        worst(partitions, answer.partitions),
      )
    })
  }

  /** Starts the clock of a transaction without partitions. */
  begin(): void {
    this.#deadlineMs = this.#cluster.clock.monotonicMs() + this.#options.transactionTimeoutMs
  }

  /** Appends; resolves to the offset behind each partition's last record, by `partitionKey`. */
  produce(partitions: readonly PartitionBatches[]): Promise<ReadonlyMap<string, number>> {
    return this.#under(async (epoch) => {
      const ends = new Map<string, number>()
      const rounds = Math.max(0, ...partitions.map(({ batches }) => batches.length))
      for (let round = 0; round < rounds; round++) {
        await Promise.all(
          partitions.map(async ({ topic, partition, batches }) => {
            const writer = batches[round]
            if (writer === undefined) return
            const baseOffset = await this.#append(epoch, { topic, partition }, writer)
            ends.set(partitionKey({ topic, partition }), baseOffset + writer.count)
          }),
        )
      }
      return ends
    })
  }

  addOffsets(groupId: string): Promise<void> {
    return this.#under(async (epoch) => {
      const request = { api: 'AddOffsetsToTxn', ...epoch.producing, groupId } as const
      const what = `add offsets of group '${groupId}' to the transaction`
      await this.#transact(epoch, what, request, ({ errorCode }) => ({ errorCode }))
    })
  }

  /** Only after `addOffsets`. The generation fences: not the one of now, the one captured. */
  commitOffsets(groupId: string, as: CommitAs, offsets: readonly OffsetToCommit[]): Promise<void> {
    const { memberId, generationId, groupInstanceId } = as
    return this.#under(async (epoch) => {
      for (let from = 0; from < offsets.length; from += OFFSETS_PER_REQUEST_MAX) {
        const partitions = offsets.slice(from, from + OFFSETS_PER_REQUEST_MAX)
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

  /** Commits. Resolved: everything of the transaction is, or becomes, visible. */
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
      if (!outcome.ok) throw strike(what, reasonOf(outcome))
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
    { connection }: Epoch,
    what: string,
    request: R,
    verdictOf: (answer: ResponseOf<R>) => Verdict,
    keyType: 'transaction' | 'group' = 'transaction',
    coordinatorKey = this.#options.transactionalId,
  ): Promise<void> {
    for (let pauseMs = FIRST_RETRY_MS; ; pauseMs = Math.min(pauseMs * 2, LAST_RETRY_MS)) {
      const node = await this.#cluster.coordinator(keyType, coordinatorKey, this.#timeLeft(what))
      const outcome = await connection.send(node, request, this.#timeLeft(what))
      if (!outcome.ok) {
        this.#cluster.forgetCoordinator(keyType, coordinatorKey)
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

/** Nobody knows whether it was carried out. */
function strike(what: string, reason: string): DruseError {
  return new DruseError(
    'TRANSACTION_INDEFINITE',
    `Could not ${what}: ${reason}. Whether the transaction ended is read from the committed offsets`,
    { what, reason },
  )
}

function failed(what: string, kafkaCode: number, where: Partial<TopicPartition>): DruseError {
  const failure = classifyTransactional(kafkaCode)
  if (failure === 'indefinite' || failure === 'ok' || failure === 'retry') {
    return strike(what, nameOf(kafkaCode))
  }
  return new DruseError(
    FAILURES[failure],
    `Could not ${what}: Kafka answered ${nameOf(kafkaCode)} (${kafkaCode})`,
    { what, kafkaCode, topic: where.topic, partition: where.partition },
  )
}

/** The code that decides, and the partition that it is about. */
type Verdict = { readonly errorCode: number } & Partial<TopicPartition>

const OFFSETS_PER_REQUEST_MAX = 200
/** Of one look for a coordinator, while there is time for more. */
const LOOK_UP_MS = 5_000

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
