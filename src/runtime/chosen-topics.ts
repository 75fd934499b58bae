/**
 * Topics that sinks choose record by record: looked up, and their serdes opened, with the first record that goes there.
 * Shared by all tasks of a process.
 */
import { DruseError } from '../errors.ts'
import type { Cluster } from '../kafka/cluster.ts'
import { pause } from '../kafka/retry.ts'
import { describeTopics, type TopicDescription } from '../kafka/topics.ts'
import type { Codec, Registry } from '../ports.ts'
import type { SinkNode } from '../topology/graph.ts'
import { isTopicName } from '../topology/topic-name.ts'
import { mayPass } from './blame.ts'
import type { TopicDestinations } from './placement.ts'

/** All that a sink needs of a topic. */
export interface OutputTopic {
  readonly destinations: TopicDestinations
  readonly key: Codec<unknown>
  readonly value: Codec<unknown>
}

/** A topic that is being looked up. */
export class Opening {
  /** Why it takes its time. */
  waitingFor: DruseError | undefined
  readonly opened: Promise<OutputTopic>

  constructor(open: (waiting: (error: DruseError) => void) => Promise<OutputTopic>) {
    this.opened = open((error) => {
      this.waitingFor = error
    })
  }
}

export interface ChosenTopicsOptions {
  readonly cluster: Cluster
  readonly registry: Registry | undefined
  /** Topics that no sink may write to. */
  readonly internal: ReadonlySet<string>
  readonly destinationsOf: (topic: TopicDescription) => TopicDestinations
}

/** A topic made a moment ago is not known to every broker at once. */
const PATIENCE_MS = 500
const LOOK_AGAIN_MS = 50
/** For so long a topic that was not there is not asked for again: one bad name must not hold up record after record. */
const MISSING_MS = 5_000
const AFTER_FAILURE_MS = 500

export class ChosenTopics {
  readonly #options: ChosenTopicsOptions
  /** By node and topic: opened, or on its way. */
  readonly #found = new Map<SinkNode, Map<string, OutputTopic | Opening>>()
  /** Until when they count as missing. */
  readonly #missing = new Map<string, number>()

  constructor(options: ChosenTopicsOptions) {
    this.#options = options
  }

  /**
   * An opening only with the first records for a topic. It waits for what may pass by itself: brokers or a registry that
   * cannot be reached, or that refuses us. Errors, thrown or rejected: TOPIC_INVALID, TOPIC_MISSING, KAFKA_REFUSED, those of the serdes.
   */
  open(node: SinkNode, topic: string): OutputTopic | Opening {
    const known = this.#found.get(node)?.get(topic)
    if (known !== undefined) return known
    this.#check(topic)
    const found = this.#found.get(node) ?? new Map<string, OutputTopic | Opening>()
    const opening = new Opening((waiting) => this.#open(node, topic, waiting))
    this.#found.set(node, found.set(topic, opening))
    opening.opened.then(
      (opened) => found.get(topic) === opening && found.set(topic, opened),
      () => found.get(topic) === opening && found.delete(topic),
    )
    return opening
  }

  /** After a failed commit: a topic may be gone, or have other partitions. */
  forget(): void {
    this.#found.clear()
    this.#missing.clear()
  }

  #check(topic: unknown): void {
    if (typeof topic !== 'string' || !isTopicName(topic)) {
      throw new DruseError('TOPIC_INVALID', `The topic chosen is '${topic}', which is no name of a topic`, {
        topic,
      })
    }
    if (this.#options.internal.has(topic)) {
      throw new DruseError(
        'TOPIC_INVALID',
        `The topic chosen is '${topic}', an internal topic of this application: write to a topic of your own`,
        { topic },
      )
    }
    const untilMs = this.#missing.get(topic)
    if (untilMs === undefined) return
    if (this.#options.cluster.clock.monotonicMs() < untilMs) throw missing(topic)
    this.#missing.delete(topic)
  }

  async #open(node: SinkNode, topic: string, waiting: (error: DruseError) => void): Promise<OutputTopic> {
    const { cluster, registry, destinationsOf } = this.#options
    for (;;) {
      try {
        const destinations = destinationsOf(await this.#describe(topic))
        const key = await node.key.open({ topic, part: 'key', registry, writes: true })
        const value = await node.value.open({ topic, part: 'value', registry, writes: true })
        return { destinations, key, value }
      } catch (error) {
        if (!mayPass(error) || cluster.closed.aborted) throw error
        waiting(error)
        cluster.log.warn({ topic, error }, 'sink: a topic cannot be opened yet, trying again')
        await pause(cluster.clock, AFTER_FAILURE_MS, cluster.closed)
      }
    }
  }

  async #describe(topic: string): Promise<TopicDescription> {
    const { cluster } = this.#options
    const { clock } = cluster
    const untilMs = clock.monotonicMs() + PATIENCE_MS
    for (;;) {
      const found = (await describeTopics(cluster, [topic])).get(topic)
      if (found !== undefined) return found
      if (clock.monotonicMs() >= untilMs) break
      await pause(clock, LOOK_AGAIN_MS, cluster.closed)
    }
    const nowMs = clock.monotonicMs()
    for (const [name, overMs] of this.#missing) if (overMs <= nowMs) this.#missing.delete(name)
    this.#missing.set(topic, nowMs + MISSING_MS)
    throw missing(topic)
  }
}

function missing(topic: string): DruseError {
  return new DruseError(
    'TOPIC_MISSING',
    `There is no topic '${topic}'; create it, Druse creates none that a sink chooses`,
    { topic },
  )
}
