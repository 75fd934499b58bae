/** The topics there are: names, ids, settings and the logs of their partitions. */

import { CODE } from '../kafka/error-codes.ts'
import type { NewTopic, Requests, Responses, TopicMetadata, TopicResult } from '../ports.ts'
import type { TopicPartition } from '../types.ts'
import type { BatchCache } from './batch-cache.ts'
import type { Journal } from './journal.ts'
import { batchKey, META_KEY, snapshotKey, textKey, toJson } from './keys.ts'
import { PartitionLog } from './partition-log.ts'
import { type Context, uuid, ZERO_UUID } from './settings.ts'
import { effective, faultOf, type LogConfig, logConfig } from './topic-configs.ts'

export interface Topic extends TopicRecord {
  readonly logs: readonly PartitionLog[]
  readonly config: LogConfig
}

/** A topic in the store. */
export interface TopicRecord {
  readonly name: string
  readonly id: string
  /** Stands in the keys of its logs; never given to another topic. */
  readonly number: number
  readonly partitions: number
  readonly configs: Readonly<Record<string, string>>
}

/** The cluster in the store. */
export interface MetaRecord {
  readonly format: 1
  readonly clusterId: string
  readonly nextTopicNumber: number
  readonly nextProducerId: string
}

const NAME_LENGTH_MAX = 249
const NAME = /^[a-zA-Z0-9._-]+$/
/** Keys removed from the store per turn when a topic goes. */
const PURGE_CHUNK = 2_000

export class Topics {
  readonly clusterId: string
  readonly #context: Context
  readonly #journal: Journal
  readonly #cache: BatchCache
  readonly #onDeleted: (topic: Topic) => void
  readonly #topics = new Map<string, Topic>()
  #nextTopicNumber: number
  #nextProducerId: bigint

  constructor(parts: {
    readonly context: Context
    readonly journal: Journal
    readonly cache: BatchCache
    readonly meta: MetaRecord | undefined
    readonly onDeleted: (topic: Topic) => void
  }) {
    this.#context = parts.context
    this.#journal = parts.journal
    this.#cache = parts.cache
    this.#onDeleted = parts.onDeleted
    this.clusterId = parts.meta?.clusterId ?? uuid(parts.context.random)
    this.#nextTopicNumber = parts.meta?.nextTopicNumber ?? 0
    this.#nextProducerId = BigInt(parts.meta?.nextProducerId ?? 0)
    if (parts.meta === undefined) this.#saveMeta()
  }

  get(name: string): Topic | undefined {
    return this.#topics.get(name)
  }

  all(): Iterable<Topic> {
    return this.#topics.values()
  }

  log({ topic, partition }: TopicPartition): PartitionLog | undefined {
    return this.#topics.get(topic)?.logs[partition]
  }

  /** A producer id that was never given out before. */
  nextProducerId(): bigint {
    const id = this.#nextProducerId
    this.#nextProducerId += 1n
    this.#saveMeta()
    return id
  }

  /** While opening. */
  restore(record: TopicRecord): Topic {
    return this.#add(record)
  }

  metadata({ topics }: Requests['Metadata']): Responses['Metadata'] {
    const names = topics ?? [...this.#topics.keys()]
    return {
      clusterId: this.clusterId,
      controllerId: 0,
      brokers: [{ nodeId: 0, host: 'embedded', port: 0 }],
      topics: names.map((name) => this.#describe(name)),
    }
  }

  create({ topics }: Requests['CreateTopics']): Responses['CreateTopics'] {
    const counts = new Map<string, number>()
    for (const { topic } of topics) counts.set(topic, (counts.get(topic) ?? 0) + 1)
    return {
      topics: topics.map((topic) =>
        (counts.get(topic.topic) ?? 0) > 1
          ? failed(topic.topic, CODE.INVALID_REQUEST, 'Duplicate topic name.')
          : this.#create(topic),
      ),
    }
  }

  delete({ topics }: Requests['DeleteTopics']): Responses['DeleteTopics'] {
    return {
      topics: topics.map((name) => {
        const topic = this.#topics.get(name)
        if (topic === undefined) return unknown(name)
        this.#topics.delete(name)
        this.#journal.remove(textKey('t', name))
        this.#onDeleted(topic)
        this.#purge(topic)
        return done(name)
      }),
    }
  }

  describeConfigs({ topics }: Requests['DescribeConfigs']): Responses['DescribeConfigs'] {
    return {
      topics: topics.map((name) => {
        const topic = this.#topics.get(name)
        if (topic === undefined) return { ...unknown(name), configs: {} }
        return { ...done(name), configs: effective(topic.configs, this.#context.settings) }
      }),
    }
  }

  #create({ topic: name, partitions, replicationFactor, configs }: NewTopic): TopicResult {
    const nameFault = this.#nameFault(name)
    if (nameFault !== undefined) return failed(name, CODE.INVALID_TOPIC_EXCEPTION, nameFault)
    if (this.#topics.has(name)) {
      return failed(name, CODE.TOPIC_ALREADY_EXISTS, `Topic '${name}' already exists.`)
    }
    const configFault = faultOf(configs)
    if (configFault !== undefined) return failed(name, CODE.INVALID_CONFIG, configFault)
    if (replicationFactor !== -1 && replicationFactor !== 1) {
      const message = 'Replication factor must be 1: this cluster has one broker.'
      return failed(name, CODE.INVALID_REPLICATION_FACTOR, message)
    }
    const count = partitions === -1 ? this.#context.settings.defaultPartitions : partitions
    if (!Number.isInteger(count) || count < 1) {
      return failed(name, CODE.INVALID_PARTITIONS, 'Number of partitions must be larger than 0.')
    }
    const record: TopicRecord = {
      name,
      id: uuid(this.#context.random),
      number: this.#nextTopicNumber,
      partitions: count,
      configs: { ...configs },
    }
    this.#nextTopicNumber += 1
    this.#saveMeta()
    this.#journal.put(textKey('t', name), toJson(record))
    this.#add(record)
    return done(name)
  }

  #nameFault(name: string): string | undefined {
    if (name === '' || name === '.' || name === '..') return `Topic name is invalid: '${name}'`
    if (name.length > NAME_LENGTH_MAX) return `Topic name is longer than ${NAME_LENGTH_MAX} characters`
    if (!NAME.test(name))
      return `Topic name '${name}' has other characters than ASCII letters, digits, '.', '_', '-'`
    if (this.#topics.has(name)) return undefined
    const collision = [...this.#topics.keys()].find((other) => metricName(other) === metricName(name))
    return collision === undefined ? undefined : `Topic '${name}' collides with existing topic: ${collision}`
  }

  #add(record: TopicRecord): Topic {
    const logs = Array.from(
      { length: record.partitions },
      (_, partition) =>
        new PartitionLog({ topicNumber: record.number, partition }, this.#journal, this.#cache),
    )
    const topic: Topic = { ...record, logs, config: logConfig(record.configs, this.#context.settings) }
    this.#topics.set(record.name, topic)
    return topic
  }

  #describe(name: string): TopicMetadata {
    const topic = this.#topics.get(name)
    if (topic === undefined) {
      const isName = name.length <= NAME_LENGTH_MAX && NAME.test(name) && name !== '.' && name !== '..'
      const errorCode = isName ? CODE.UNKNOWN_TOPIC_OR_PARTITION : CODE.INVALID_TOPIC_EXCEPTION
      return { topic: name, errorCode, topicId: ZERO_UUID, partitions: [] }
    }
    return {
      topic: name,
      errorCode: CODE.NONE,
      topicId: topic.id,
      partitions: topic.logs.map((_, partition) => ({
        partition,
        errorCode: CODE.NONE,
        leader: 0,
        leaderEpoch: 0,
        replicas: [0],
      })),
    }
  }

  /** A big topic is not removed in one write. What a crash leaves is found when the broker opens: no topic has its number. */
  #purge(topic: Topic): void {
    const keys: Uint8Array[] = []
    topic.logs.forEach((log, partition) => {
      keys.push(snapshotKey(topic.number, partition))
      for (const { baseOffset } of log.delete()) {
        keys.push(batchKey('b', topic.number, partition, baseOffset))
        keys.push(batchKey('i', topic.number, partition, baseOffset))
      }
    })
    if (this.#journal.store !== undefined) purge(this.#journal, keys, this.#context)
  }

  #saveMeta(): void {
    const meta: MetaRecord = {
      format: 1,
      clusterId: this.clusterId,
      nextTopicNumber: this.#nextTopicNumber,
      nextProducerId: String(this.#nextProducerId),
    }
    this.#journal.put(META_KEY, toJson(meta))
  }
}

/** Removes keys from the store, a few at a time so that others get their turn. */
export function purge(journal: Journal, keys: readonly Uint8Array[], context: Context): void {
  const step = (from: number): void => {
    const to = Math.min(from + PURGE_CHUNK, keys.length)
    for (let i = from; i < to; i++) journal.remove(keys[i] as Uint8Array)
    if (to < keys.length) context.clock.wake(0, () => step(to))
  }
  step(0)
}

/** Kafka's metrics cannot tell '.' from '_', so two such names are refused. */
function metricName(name: string): string {
  return name.replaceAll('.', '_')
}

function done(topic: string): TopicResult {
  return { topic, errorCode: CODE.NONE, errorMessage: null }
}

function failed(topic: string, errorCode: number, errorMessage: string): TopicResult {
  return { topic, errorCode, errorMessage }
}

function unknown(topic: string): TopicResult {
  return failed(topic, CODE.UNKNOWN_TOPIC_OR_PARTITION, 'This server does not host this topic-partition.')
}
