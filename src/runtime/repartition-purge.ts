/**
 * Deletes from repartition topics what has been processed, off the path of records: they have no retention, so nothing
 * else would. And from the changelogs of windows what their retention hides, which compaction would keep.
 *
 * A partition is deleted up to an offset that was committed for it, and told here only after EndTxn was answered. No
 * task begins below such an offset again: commits of a task follow each other under the group's generation, so its
 * committed offset only grows. That holds whoever sends the request, and whenever: of an instance that has lost its
 * tasks, was frozen, or sends twice, the offset is at most behind what its successors have committed. What a delayed
 * request could hit is another topic of the same name; so the topic's id is compared right before.
 *
 * Without transactions an offset may go back once: a commit that was given up, because nobody answered in time, may be
 * carried out after the next ones. So what is committed counts only after three time-outs of requests.
 *
 * Of a changelog it is deleted what the region itself, in the commit before, says that it needs no more; a replay accepts
 * that the log begins there, and no later: see restore.ts.
 *
 * Nothing depends on it: a failure is told and tried again with the next round.
 */
import { CODE, nameOf } from '../kafka/error-codes.ts'
import { partitionKey } from '../kafka/partition-key.ts'
import { Again, reasonOf } from '../kafka/retry.ts'
import type { Connection } from '../ports.ts'
import { forgets } from '../region/definition.ts'
import { changelogTopic } from '../topology/internal-topics.ts'
import type { TopicPartition } from '../types.ts'
import type { Surroundings } from './surroundings.ts'
import { shortHash } from './task-metadata.ts'

/** All before the offset is committed. */
export interface Processed extends TopicPartition {
  readonly offset: number
}

/** Of a request's time-out: so long a request that was given up may still be carried out. */
const LATE_TIME_OUTS = 3

interface Round {
  readonly failures: Map<string, string>
  readonly refused: Map<string, string>
}

export class RepartitionPurge {
  readonly #surroundings: Surroundings
  readonly #intervalMs: number
  /** How long what is committed is held back. */
  readonly #heldBackMs: number
  /** Committed, and not to be deleted yet: those since `#heldSinceMs`, and those before. */
  #held = new Map<string, Processed>()
  #heldBefore = new Map<string, Processed>()
  #heldSinceMs = Number.NEGATIVE_INFINITY
  /** Of this application, and not refused. */
  readonly #topics: Set<string>
  /** By partition: to be deleted, and deleted. */
  readonly #due = new Map<string, Processed>()
  readonly #done = new Map<string, number>()
  #connection: Connection | undefined
  #cancel: (() => void) | undefined
  #isFailing = false
  #isClosed = false

  constructor(surroundings: Surroundings, intervalMs: number) {
    this.#surroundings = surroundings
    this.#intervalMs = intervalMs
    const { cluster, guarantee, plan } = surroundings
    this.#heldBackMs = guarantee === 'at_least_once' ? LATE_TIME_OUTS * cluster.requestTimeoutMs : 0
    const { application, nodes, regions } = plan.graph
    const forgetful = [...regions.values()].filter(forgets)
    this.#topics = new Set([
      ...nodes.filter((node) => node.kind === 'repartition').map(({ topic }) => topic),
      ...forgetful.map(({ name }) => changelogTopic(application, name)),
    ])
  }

  /** Of a commit whose end was answered; positions in other topics are passed over. */
  committed(positions: readonly Processed[]): void {
    for (const { topic, partition, offset } of positions) {
      if (!this.#topics.has(topic)) continue
      const key = partitionKey({ topic, partition })
      if (offset > (this.#done.get(key) ?? 0)) this.#held.set(key, { topic, partition, offset })
    }
    this.#release()
    this.#schedule()
  }

  /** What has been held back for long enough is due. */
  #release(): void {
    const nowMs = this.#surroundings.clock.monotonicMs()
    if (nowMs - this.#heldSinceMs < this.#heldBackMs) return
    const released = this.#heldBackMs === 0 ? this.#held : this.#heldBefore
    for (const [key, at] of released) this.#due.set(key, at)
    this.#heldBefore = this.#heldBackMs === 0 ? new Map() : this.#held
    this.#held = new Map()
    this.#heldSinceMs = nowMs
  }

  close(): void {
    this.#isClosed = true
    this.#cancel?.()
    this.#connection?.destroy()
  }

  #schedule(): void {
    const waiting = this.#due.size + this.#held.size + this.#heldBefore.size
    if (this.#isClosed || this.#cancel !== undefined || waiting === 0) return
    const delayMs = this.#due.size > 0 ? this.#intervalMs : Math.max(this.#intervalMs, this.#heldBackMs)
    this.#cancel = this.#surroundings.clock.wake(delayMs, () => {
      this.#release()
      void this.#purge().finally(() => {
        this.#cancel = undefined
        this.#schedule()
      })
    })
  }

  async #purge(): Promise<void> {
    if (this.#due.size === 0) return
    const round: Round = { failures: new Map(), refused: new Map() }
    try {
      const byLeader = await this.#byLeader(round)
      await Promise.all(Array.from(byLeader, ([node, list]) => this.#delete(node, list, round)))
    } catch (error) {
      round.failures.set('', error instanceof Error ? error.message : String(error))
    }
    if (!this.#isClosed) this.#tell(round)
  }

  async #byLeader({ failures }: Round): Promise<ReadonlyMap<number, Processed[]>> {
    const { cluster } = this.#surroundings
    const due = [...this.#due.values()]
    const topics = [...new Set(due.map(({ topic }) => topic))]
    const now = new Map(
      (await cluster.refresh(topics, cluster.requestTimeoutMs)).map((found) => [found.topic, found]),
    )
    const byLeader = new Map<number, Processed[]>()
    for (const at of due) {
      const topicId = now.get(at.topic)?.topicId ?? ''
      if (shortHash(topicId) !== this.#surroundings.topicHash(at.topic)) {
        failures.set(partitionKey(at), 'the topic is not the one that was committed for')
        continue
      }
      const leader = await cluster.leader(at, cluster.requestTimeoutMs)
      if (leader instanceof Again) failures.set(partitionKey(at), leader.reason)
      else byLeader.set(leader, [...(byLeader.get(leader) ?? []), at])
    }
    return byLeader
  }

  async #delete(node: number, partitions: readonly Processed[], round: Round): Promise<void> {
    const { wire, requestTimeoutMs } = this.#surroundings.cluster
    // Its own: the answer waits for all replicas, and others would wait behind it.
    this.#connection ??= wire.connect('admin')
    const timeoutMs = Math.ceil(requestTimeoutMs / 2)
    const request = { api: 'DeleteRecords', partitions, timeoutMs } as const
    const outcome = await this.#connection.send(node, request, requestTimeoutMs)
    if (!outcome.ok) {
      this.#connection.destroy()
      this.#connection = undefined
      for (const at of partitions) round.failures.set(partitionKey(at), reasonOf(outcome))
      return
    }
    const codes = new Map(outcome.response.partitions.map((at) => [partitionKey(at), at.errorCode]))
    for (const at of partitions) {
      const key = partitionKey(at)
      const code = codes.get(key) ?? CODE.UNKNOWN_SERVER_ERROR
      if (code === CODE.NONE) {
        this.#done.set(key, at.offset)
        if (this.#due.get(key)?.offset === at.offset) this.#due.delete(key)
      } else if (REFUSALS.has(code)) round.refused.set(at.topic, nameOf(code))
      else round.failures.set(key, nameOf(code))
    }
  }

  /** Once when it begins to fail and once when it is over, not every time. */
  #tell({ failures, refused }: Round): void {
    const { log } = this.#surroundings
    if (refused.size > 0) {
      for (const topic of refused.keys()) this.#topics.delete(topic)
      for (const [key, { topic }] of this.#due) if (refused.has(topic)) this.#due.delete(key)
      log.warn(
        { topics: [...refused.keys()].join(), reason: [...new Set(refused.values())].join() },
        'purge: Kafka refuses to delete what was processed of repartition topics, or is over in changelogs of windows, so they grow; not tried again before the next start. Grant the right to delete in them (operation Delete), or look after them by hand',
      )
    }
    if (failures.size > 0) {
      const [[partition, reason]] = [...failures] as [[string, string]]
      const details = { partition, reason, failures: failures.size }
      const message = 'purge: what was processed of repartition topics cannot be deleted yet, trying again'
      if (this.#isFailing) log.debug(details, message)
      else log.warn(details, message)
    } else if (this.#isFailing) log.info({}, 'purge: processed records can be deleted again')
    this.#isFailing = failures.size > 0
  }
}

/** A person has to change something before the answer changes. */
const REFUSALS: ReadonlySet<number> = new Set([
  CODE.TOPIC_AUTHORIZATION_FAILED,
  CODE.CLUSTER_AUTHORIZATION_FAILED,
  CODE.POLICY_VIOLATION,
  CODE.UNSUPPORTED_VERSION,
  CODE.INVALID_REQUEST,
])
