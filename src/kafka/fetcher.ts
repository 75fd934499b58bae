/**
 * Reads many partitions with one request per broker at a time, ahead of whoever processes them. A delivery is whole
 * batches, not yet decoded; the reader holds back with `pause` when it has enough of a partition.
 */
import { DruseError } from '../errors.ts'
import type { Connection, FetchedPartition, Isolation } from '../ports.ts'
import type { TopicPartition } from '../types.ts'
import { type Cluster, unexpected } from './cluster.ts'
import { CODE, nameOf } from './error-codes.ts'
import { partitionKey } from './partition-key.ts'
import { type VisibleBatch, visibleBatches } from './read-committed.ts'
import { Again, reasonOf } from './retry.ts'

export interface Delivery extends TopicPartition {
  readonly batches: readonly VisibleBatch[]
  /** The position behind this delivery, control records and gaps counted. */
  readonly nextOffset: number
  readonly lastStableOffset: number
  readonly highWatermark: number
}

export interface FetcherOptions {
  readonly isolation: Isolation
  /** Of one answer. Default 8 MiB. */
  readonly maxBytes?: number
  /** Of one partition in an answer. Default 1 MiB, as Kafka's consumer. */
  readonly partitionMaxBytes?: number
  /** How long the broker may hold an answer back when there is nothing. Default 500 ms. */
  readonly maxWaitMs?: number
}

export interface FetcherHandlers {
  /** If it throws, the partition has failed. */
  deliver(delivery: Delivery): void
  /**
   * The partition is no longer read. Errors: OFFSET_OUT_OF_RANGE, BATCH_CORRUPT, BATCH_UNSUPPORTED, BATCH_TOO_LARGE,
   * KAFKA_REFUSED, what `deliver` threw.
   */
  failed(partition: TopicPartition, error: unknown): void
}

interface Reading extends TopicPartition {
  offset: number
  paused: boolean
  /** Part of a request that is under way. */
  asked: boolean
  /** Whom it is asked of; undefined: nowhere yet, or it may have moved. */
  node: number | undefined
  notBeforeMs: number
}

const RETRY_MS = 50
/** A broker that waits for data cannot be told that a paused partition goes on: it may wait only so long then. */
const SHORT_WAIT_MS = 5

export class Fetcher {
  readonly #cluster: Cluster
  readonly #options: Required<FetcherOptions>
  readonly #handlers: FetcherHandlers
  readonly #connection: Connection
  readonly #readings = new Map<string, Reading>()
  readonly #busyNodes = new Set<number>()
  #closed = false
  #driving = false
  #driveAgain = false

  constructor(cluster: Cluster, options: FetcherOptions, handlers: FetcherHandlers) {
    this.#cluster = cluster
    this.#options = { maxBytes: 8 << 20, partitionMaxBytes: 1 << 20, maxWaitMs: 500, ...options }
    this.#handlers = handlers
    this.#connection = cluster.wire.connect('fetch')
  }

  /** Reads a partition from an offset on. */
  add({ topic, partition }: TopicPartition, offset: number): void {
    const reading = { topic, partition, offset, paused: false, asked: false, node: undefined, notBeforeMs: 0 }
    this.#readings.set(partitionKey(reading), reading)
    this.#drive()
  }

  /** Nothing of this partition is delivered any more. */
  remove(partition: TopicPartition): void {
    this.#readings.delete(partitionKey(partition))
  }

  /** At most the answer under way is still delivered. */
  pause(partition: TopicPartition): void {
    const reading = this.#readings.get(partitionKey(partition))
    if (reading !== undefined) reading.paused = true
  }

  resume(partition: TopicPartition): void {
    const reading = this.#readings.get(partitionKey(partition))
    if (reading === undefined || !reading.paused) return
    reading.paused = false
    this.#drive()
  }

  close(): void {
    this.#closed = true
    this.#readings.clear()
    this.#connection.destroy()
  }

  #driveUnlessClosed(): void {
    if (!this.#closed) this.#drive()
  }

  #drive(): void {
    if (this.#driving) {
      this.#driveAgain = true
      return
    }
    this.#driving = true
    void this.#askAll().finally(() => {
      this.#driving = false
      if (!this.#driveAgain) return
      this.#driveAgain = false
      this.#drive()
    })
  }

  /** One request to each broker that has none under way and leads something to be read. */
  async #askAll(): Promise<void> {
    const byNode = new Map<number, Reading[]>()
    const nowMs = this.#cluster.clock.monotonicMs()
    for (const reading of [...this.#readings.values()]) {
      if (reading.paused || reading.asked) continue
      if (reading.notBeforeMs > nowMs) continue
      const leader = await this.#leaderOf(reading)
      if (leader === undefined || this.#readings.get(partitionKey(reading)) !== reading) continue
      const list = byNode.get(leader) ?? []
      list.push(reading)
      reading.node = leader
      byNode.set(leader, list)
    }
    for (const [node, readings] of byNode) {
      if (this.#busyNodes.has(node)) continue
      this.#busyNodes.add(node)
      for (const reading of readings) reading.asked = true
      const isPartial = this.#mayBeAskedMore(node, readings)
      void this.#ask(node, readings).finally(() => {
        this.#busyNodes.delete(node)
        for (const reading of readings) reading.asked = false
        // What this has brought is being handled. Asked at once for the others alone, both groups would go on in turn for
        // ever, each for a short wait.
        if (isPartial) this.#cluster.clock.wake(0, () => this.#driveUnlessClosed())
        else this.#driveUnlessClosed()
      })
    }
  }

  async #leaderOf(reading: Reading): Promise<number | undefined> {
    try {
      const leader = await this.#cluster.leader(reading)
      if (!(leader instanceof Again)) return leader
    } catch (error) {
      this.#cluster.log.warn({ ...where(reading), error }, 'fetch: the leader is not known')
    }
    this.#later(reading)
    return undefined
  }

  async #ask(node: number, readings: readonly Reading[]): Promise<void> {
    const { maxBytes, partitionMaxBytes, isolation } = this.#options
    const maxWaitMs = this.#mayBeAskedMore(node, readings) ? SHORT_WAIT_MS : this.#options.maxWaitMs
    const partitions = readings.map(({ topic, partition, offset }) => ({
      topic,
      partition,
      offset,
      maxBytes: partitionMaxBytes,
    }))
    const outcome = await this.#connection.send(
      node,
      { api: 'Fetch', maxWaitMs, minBytes: 1, maxBytes, isolation, partitions },
      maxWaitMs + this.#cluster.requestTimeoutMs,
    )
    if (this.#closed) return
    if (!outcome.ok || outcome.response.errorCode !== CODE.NONE) {
      const reason = outcome.ok ? nameOf(outcome.response.errorCode) : reasonOf(outcome)
      this.#cluster.log.warn({ node, reason }, 'fetch: no answer, trying again')
      for (const reading of readings) {
        this.#cluster.forgetTopic(reading.topic)
        this.#later(reading)
      }
      return
    }
    const fetched = new Map(outcome.response.partitions.map((p) => [partitionKey(p), p]))
    for (const reading of readings) {
      const key = partitionKey(reading)
      const answer = fetched.get(key)
      if (this.#readings.get(key) !== reading) continue
      // Who was served goes to the end, so that a full answer starves nobody.
      if (answer !== undefined && answer.records.length > 0) {
        this.#readings.delete(key)
        this.#readings.set(key, reading)
      }
      if (answer === undefined) this.#later(reading)
      else this.#take(reading, answer)
    }
  }

  /** Whether anything is read that is not in this request, and that this broker may be asked for while it waits. */
  #mayBeAskedMore(node: number, readings: readonly Reading[]): boolean {
    const asked = new Set(readings)
    for (const reading of this.#readings.values()) {
      if (!asked.has(reading) && (reading.node === undefined || reading.node === node)) return true
    }
    return false
  }

  #take(reading: Reading, answer: FetchedPartition): void {
    const code = answer.errorCode
    if (code !== CODE.NONE) {
      if (code === CODE.OFFSET_OUT_OF_RANGE) this.#fail(reading, outOfRange(reading, answer))
      else if (MOVED.has(code)) {
        this.#cluster.forgetTopic(reading.topic)
        this.#later(reading)
      } else this.#fail(reading, unexpected(`read ${reading.topic}/${reading.partition}`, code))
      return
    }
    try {
      const { batches, nextOffset } = visibleBatches(answer, reading.offset, this.#options.isolation)
      const { lastStableOffset, highWatermark } = answer
      this.#handlers.deliver({ ...where(reading), batches, nextOffset, lastStableOffset, highWatermark })
      // What was not taken in has not been passed.
      reading.offset = nextOffset
    } catch (error) {
      this.#fail(reading, error)
    }
  }

  #fail(reading: Reading, error: unknown): void {
    this.remove(reading)
    this.#handlers.failed(where(reading), error)
  }

  #later(reading: Reading): void {
    reading.node = undefined
    reading.notBeforeMs = this.#cluster.clock.monotonicMs() + RETRY_MS
    // Nothing else may come to drive it, and a timer may go off a little early.
    this.#cluster.clock.wake(RETRY_MS, () => {
      reading.notBeforeMs = 0
      this.#driveUnlessClosed()
    })
  }
}

function where({ topic, partition }: TopicPartition): TopicPartition {
  return { topic, partition }
}

function outOfRange(reading: Reading, answer: FetchedPartition): DruseError {
  const { topic, partition, offset } = reading
  const { logStartOffset, highWatermark } = answer
  // Kafka does not always tell with this answer what there is.
  const range = logStartOffset < 0 ? '' : ` (it holds ${logStartOffset} to ${highWatermark})`
  return new DruseError(
    'OFFSET_OUT_OF_RANGE',
    `${topic}/${partition} has no offset ${offset}${range}: records were deleted before they were processed, or the topic was re-created. Nothing is skipped by itself. To go on behind the gap with the regions as they are: 'druse reset MODULE --keep-state'; to start over: 'druse reset MODULE' (first with --dry-run)`,
    { topic, partition, offset, logStartOffset, highWatermark },
  )
}

const MOVED: ReadonlySet<number> = new Set([
  CODE.UNKNOWN_TOPIC_OR_PARTITION,
  CODE.LEADER_NOT_AVAILABLE,
  CODE.NOT_LEADER_OR_FOLLOWER,
  CODE.REPLICA_NOT_AVAILABLE,
  CODE.FENCED_LEADER_EPOCH,
  CODE.UNKNOWN_LEADER_EPOCH,
  CODE.OFFSET_NOT_AVAILABLE,
  CODE.KAFKA_STORAGE_ERROR,
])
