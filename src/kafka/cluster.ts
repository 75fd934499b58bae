/** What is known of the cluster: topics, leaders, coordinators. Asks, remembers, and forgets when told that it moved. */
import { DruseError } from '../errors.ts'
import {
  ANY_NODE,
  type Clock,
  type Connection,
  type Logger,
  type Outcome,
  type Request,
  type ResponseOf,
  type TopicMetadata,
  type Wire,
} from '../ports.ts'
import type { TopicPartition } from '../types.ts'
import { CODE, nameOf } from './error-codes.ts'
import { Again, reasonOf, retry } from './retry.ts'

export interface ClusterOptions {
  readonly wire: Wire
  readonly clock: Clock
  readonly log: Logger
  /** Of one request. Default 30 000. */
  readonly requestTimeoutMs?: number
  /** Of one question with all its attempts. Default 60 000. */
  readonly retryBudgetMs?: number
}

export class Cluster {
  readonly clock: Clock
  readonly log: Logger
  readonly wire: Wire
  readonly requestTimeoutMs: number
  readonly retryBudgetMs: number
  readonly #connection: Connection
  readonly #closing = new AbortController()
  readonly #topics = new Map<string, TopicMetadata>()
  readonly #coordinators = new Map<string, number>()
  #clusterId: string | undefined

  constructor({ wire, clock, log, requestTimeoutMs = 30_000, retryBudgetMs = 60_000 }: ClusterOptions) {
    this.wire = wire
    this.clock = clock
    this.log = log
    this.requestTimeoutMs = requestTimeoutMs
    this.retryBudgetMs = retryBudgetMs
    this.#connection = wire.connect('admin')
  }

  /** Aborted by `close`. */
  get closed(): AbortSignal {
    return this.#closing.signal
  }

  async clusterId(): Promise<string> {
    if (this.#clusterId === undefined) await this.refresh([])
    return this.#clusterId as string
  }

  /** What Kafka says of these topics now; those that do not exist carry an error code. */
  async refresh(topics: readonly string[] | null, budgetMs?: number): Promise<readonly TopicMetadata[]> {
    const answer = await this.ask(
      `read the metadata of ${topics?.join(', ') ?? 'all topics'}`,
      async () => ({ node: ANY_NODE, request: { api: 'Metadata', topics } }),
      undefined,
      budgetMs,
    )
    this.#clusterId = answer.clusterId
    for (const topic of answer.topics) {
      if (topic.errorCode === CODE.NONE) this.#topics.set(topic.topic, topic)
      else this.#topics.delete(topic.topic)
    }
    return answer.topics
  }

  /** From memory, else from Kafka. Undefined: there is no such topic. */
  async topic(name: string, budgetMs?: number): Promise<TopicMetadata | undefined> {
    const known = this.#topics.get(name)
    if (known !== undefined) return known
    await this.refresh([name], budgetMs)
    return this.#topics.get(name)
  }

  /** The leader's node, or why there is none at the moment. */
  async leader({ topic, partition }: TopicPartition, budgetMs?: number): Promise<number | Again> {
    const metadata = await this.topic(topic, budgetMs)
    if (metadata === undefined) return new Again(`there is no topic ${topic}`)
    const found = metadata.partitions.find((p) => p.partition === partition)
    if (found === undefined || found.leader < 0) {
      this.forgetTopic(topic)
      return new Again(`${topic}/${partition} has no leader`)
    }
    return found.leader
  }

  forgetTopic(topic: string): void {
    this.#topics.delete(topic)
  }

  async coordinator(keyType: 'group' | 'transaction', key: string, budgetMs?: number): Promise<number> {
    const known = this.#coordinators.get(`${keyType} ${key}`)
    if (known !== undefined) return known
    const { nodeId } = await this.ask(
      `find the coordinator of ${keyType} ${key}`,
      async () => ({ node: ANY_NODE, request: { api: 'FindCoordinator', key, keyType } }),
      (answer) => answer.errorCode,
      budgetMs,
    )
    this.#coordinators.set(`${keyType} ${key}`, nodeId)
    return nodeId
  }

  forgetCoordinator(keyType: 'group' | 'transaction', key: string): void {
    this.#coordinators.delete(`${keyType} ${key}`)
  }

  /** It does not answer: whatever it was known to lead or to coordinate may be elsewhere by now. */
  forgetNode(node: number): void {
    for (const { topic, partitions } of this.#topics.values()) {
      if (partitions.some(({ leader }) => leader === node)) this.#topics.delete(topic)
    }
    for (const [key, coordinator] of this.#coordinators) {
      if (coordinator === node) this.#coordinators.delete(key)
    }
  }

  /**
   * Asks what may be asked twice: repeats after a time-out, a lost connection, and codes that pass by themselves.
   * `codeOf` says which code of the answer counts; other codes than those are left to the caller.
   * Errors: BROKER_UNAVAILABLE.
   */
  async ask<R extends Request>(
    what: string,
    next: () => Promise<{ node: number; request: R } | Again>,
    codeOf: (answer: ResponseOf<R>) => number = () => CODE.NONE,
    budgetMs = this.retryBudgetMs,
  ): Promise<ResponseOf<R>> {
    const { clock } = this
    const options = { clock, what, budgetMs, signal: this.#closing.signal }
    return retry(options, async () => {
      const target = await next()
      if (target instanceof Again) return target
      const outcome: Outcome<ResponseOf<R>> = await this.#connection.send(
        target.node,
        target.request,
        this.requestTimeoutMs,
      )
      if (!outcome.ok) {
        this.forgetNode(target.node)
        return new Again(reasonOf(outcome))
      }
      const code = codeOf(outcome.response)
      return PASSING.has(code) ? new Again(nameOf(code)) : outcome.response
    })
  }

  close(): void {
    this.#closing.abort()
    this.#connection.destroy()
  }
}

/** Codes of reads and of topic administration that pass by themselves. */
const PASSING: ReadonlySet<number> = new Set([
  CODE.COORDINATOR_LOAD_IN_PROGRESS,
  CODE.COORDINATOR_NOT_AVAILABLE,
  CODE.NOT_CONTROLLER,
  CODE.LEADER_NOT_AVAILABLE,
  CODE.REQUEST_TIMED_OUT,
  CODE.NETWORK_EXCEPTION,
  // A broker that does not know what is wrong with it may know better the next time.
  CODE.UNKNOWN_SERVER_ERROR,
])

/** For answers whose code says that something is wrong which time does not mend. */
export function unexpected(what: string, code: number): DruseError {
  return new DruseError('KAFKA_REFUSED', `Could not ${what}: Kafka answered ${nameOf(code)} (${code})`, {
    what,
    kafkaCode: code,
  })
}
