/**
 * The producer of a worker under at-least-once: a commit's steps without the transaction around them.
 *
 * It is idempotent, and a request without an answer is sent again with the same bytes and sequence until its time is
 * over: so an append that came late cannot land behind newer ones. After any other failure the producer id is given up
 * and everything since the last commit is processed again, under another.
 */
import { DruseError } from '../errors.ts'
import { ANY_NODE, type Connection, type Outcome, type Request, type ResponseOf } from '../ports.ts'
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

const FIRST_RETRY_MS = 5
const LAST_RETRY_MS = 500
/** Without a transactional id nothing comes of it. */
const NO_TRANSACTION_TIMEOUT_MS = 2 ** 31 - 1

interface Epoch {
  readonly producerId: bigint
  readonly producerEpoch: number
  readonly connection: Connection
  readonly sequences: Map<string, number>
  /** Of the commit under way, on the monotonic clock. */
  deadlineMs: number
}

export class PlainWriter implements CommitWriter {
  readonly #cluster: Cluster
  readonly #compression: Compression | undefined
  #epoch: Epoch | undefined
  #stopOpening: (() => void) | undefined

  constructor(cluster: Cluster, { compression }: { readonly compression?: Compression } = {}) {
    this.#cluster = cluster
    this.#compression = compression
  }

  get isOpen(): boolean {
    return this.#epoch !== undefined
  }

  async open(signal?: AbortSignal): Promise<void> {
    this.close()
    const { clock, wire, log, retryBudgetMs: budgetMs, requestTimeoutMs } = this.#cluster
    const what = 'get a producer id'
    const connection = wire.connect('produce')
    this.#stopOpening = () => connection.destroy()
    try {
      const { producerId, producerEpoch } = await retry(
        { clock, what, budgetMs, ...(signal && { signal }) },
        async () => {
          const request = {
            api: 'InitProducerId',
            transactionalId: null,
            transactionTimeoutMs: NO_TRANSACTION_TIMEOUT_MS,
          } as const
          const outcome = await connection.send(ANY_NODE, request, requestTimeoutMs)
          if (!outcome.ok) return new Again(reasonOf(outcome))
          const { errorCode } = outcome.response
          if (errorCode === CODE.NONE) return outcome.response
          if (classifyTransactional(errorCode) === 'refused') throw failed(what, errorCode, {})
          return new Again(nameOf(errorCode))
        },
      )
      this.#epoch = { producerId, producerEpoch, connection, sequences: new Map(), deadlineMs: 0 }
      log.debug({ producerId, producerEpoch }, 'producer: ready')
    } catch (error) {
      connection.destroy()
      throw error
    } finally {
      this.#stopOpening = undefined
    }
  }

  close(): void {
    this.#stopOpening?.()
    if (this.#epoch !== undefined) this.#giveUp(this.#epoch)
  }

  /**
   * Asks whether the membership still holds: nothing but the offsets is fenced, so an owner that was frozen must not
   * begin to append. One that is frozen between this and its appends does.
   */
  begin(_: readonly TopicPartition[], groupId: string, as: CommitAs): Promise<void> {
    return this.#under(async (epoch) => {
      epoch.deadlineMs = this.#cluster.clock.monotonicMs() + this.#cluster.retryBudgetMs
      await this.#askGroup(epoch, groupId, { api: 'Heartbeat', groupId, ...as }, ({ errorCode }) => ({
        // The group is about to change, and waits for this commit.
        errorCode: errorCode === CODE.REBALANCE_IN_PROGRESS ? CODE.NONE : errorCode,
      }))
    })
  }

  produce(partitions: readonly PartitionBatches[]): Promise<ReadonlyMap<string, number>> {
    return this.#under((epoch) => appendInOrder(partitions, (to, writer) => this.#append(epoch, to, writer)))
  }

  /** OffsetCommit says it by itself. */
  async addOffsets(): Promise<void> {}

  commitOffsets(groupId: string, as: CommitAs, offsets: readonly TaskOffsets[]): Promise<void> {
    const { memberId, generationId, groupInstanceId } = as
    return this.#under(async (epoch) => {
      for (const partitions of offsetChunks(offsets)) {
        const who = { groupId, memberId, generationId, groupInstanceId }
        await this.#askGroup(epoch, groupId, { api: 'OffsetCommit', ...who, partitions }, (answer) =>
          worst(partitions, answer.partitions),
        )
      }
    })
  }

  async #askGroup<R extends Request>(
    epoch: Epoch,
    groupId: string,
    request: R,
    verdictOf: (answer: ResponseOf<R>) => Verdict,
  ): Promise<void> {
    await this.#send(
      epoch,
      `commit offsets of group '${groupId}'`,
      request,
      (budgetMs) => this.#cluster.coordinator('group', groupId, budgetMs),
      () => this.#cluster.forgetCoordinator('group', groupId),
      verdictOf,
    )
  }

  /** Each step is visible by itself. */
  async end(): Promise<void> {}

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

  async #append(epoch: Epoch, to: TopicPartition, writer: BatchWriter): Promise<number> {
    const { producerId, producerEpoch, sequences } = epoch
    const key = partitionKey(to)
    const baseSequence = sequences.get(key) ?? 0
    const owner = { producerId, producerEpoch, baseSequence, isTransactional: false }
    const records = writer.build(owner, this.#compression)
    const what = `produce to ${to.topic}/${to.partition}`
    const { partitions } = await this.#send(
      epoch,
      what,
      {
        api: 'Produce',
        transactionalId: null,
        acks: -1,
        timeoutMs: this.#cluster.requestTimeoutMs,
        partitions: [{ ...to, records }],
      },
      async (budgetMs) => this.#cluster.leader(to, budgetMs),
      () => this.#cluster.forgetTopic(to.topic),
      (answer) => worst([to], answer.partitions),
    )
    const baseOffset = partitions.find((at) => partitionKey(at) === key)?.baseOffset ?? -1
    if (baseOffset < 0) throw strike(what, 'the answer has no base offset')
    sequences.set(key, (baseSequence + writer.count) % 2 ** 31)
    return baseOffset
  }

  /** The same request until it is answered for good, or the commit's time is over. */
  async #send<R extends Request>(
    epoch: Epoch,
    what: string,
    request: R,
    find: (budgetMs: number) => Promise<number | Again>,
    forget: () => void,
    verdictOf: (answer: ResponseOf<R>) => Verdict,
  ): Promise<ResponseOf<R>> {
    for (let pauseMs = FIRST_RETRY_MS; ; pauseMs = Math.min(pauseMs * 2, LAST_RETRY_MS)) {
      const node = await find(this.#timeLeft(epoch, what))
      let reason: string
      if (node instanceof Again) reason = node.reason
      else {
        const outcome: Outcome<ResponseOf<R>> = await epoch.connection.send(
          node,
          request,
          this.#timeLeft(epoch, what),
        )
        if (outcome.ok) {
          const { errorCode, ...where } = verdictOf(outcome.response)
          if (errorCode === CODE.NONE) return outcome.response
          if (!isRepeatable(errorCode)) throw gaveUp(what, errorCode, where)
          reason = nameOf(errorCode)
        } else {
          this.#cluster.forgetNode(node)
          reason = reasonOf(outcome)
        }
        forget()
      }
      if (this.#cluster.clock.monotonicMs() + pauseMs >= epoch.deadlineMs) throw strike(what, reason)
      await pause(this.#cluster.clock, pauseMs)
    }
  }

  #timeLeft(epoch: Epoch, what: string): number {
    // Another request under it has failed for good: this one is not asked any more either.
    if (this.#epoch !== epoch) throw strike(what, 'the producer was given up')
    const left = epoch.deadlineMs - this.#cluster.clock.monotonicMs()
    if (left <= 0) throw strike(what, 'the time of the commit is over')
    return Math.min(left, this.#cluster.requestTimeoutMs)
  }
}

/** Answers that leave open whether it was done: doing it again changes nothing, by the sequence or by itself. */
const OPEN: ReadonlySet<number> = new Set([
  CODE.NOT_LEADER_OR_FOLLOWER,
  CODE.REQUEST_TIMED_OUT,
  CODE.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
  CODE.KAFKA_STORAGE_ERROR,
  CODE.UNKNOWN_SERVER_ERROR,
])

function isRepeatable(code: number): boolean {
  return classifyTransactional(code) === 'retry' || OPEN.has(code)
}

/** A producer id that the broker no longer takes is nobody's fault: there is nobody to be fenced by. */
function gaveUp(what: string, code: number, where: Partial<TopicPartition>): DruseError {
  const verdict = classifyTransactional(code)
  if (verdict === 'producer-gone' || verdict === 'reinitialise') return strike(what, nameOf(code))
  return failed(what, code, where)
}
