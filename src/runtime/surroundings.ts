/** What all tasks of a process share: plan, cluster, codecs, destinations, state directory. Made once at start. */
import type { Cluster } from '../kafka/cluster.ts'
import type { TopicDescription } from '../kafka/topics.ts'
import type { Clock, Logger, Random, Registry, Serde } from '../ports.ts'
import { EntryCaches } from '../region/entry-cache.ts'
import type { RegionReplica } from '../region/replica.ts'
import { TypedEntries } from '../region/typed.ts'
import type { RepartitionNode, SinkNode } from '../topology/graph.ts'
import { changelogTopic, internalTopicNames } from '../topology/internal-topics.ts'
import { ChosenTopics, type Opening, type OutputTopic } from './chosen-topics.ts'
import type { InputCodecs } from './input-queue.ts'
import type { ProcessingGuarantee } from './options.ts'
import type { TopicDestinations } from './placement.ts'
import type { Plan } from './plan.ts'
import type { StateDirectory } from './state-directory.ts'
import type { TaskSurroundings } from './task.ts'
import { shortHash } from './task-metadata.ts'

/** Kafka's default of max.message.bytes, for brokers that do not tell. */
const MESSAGE_BYTES_MAX = 1_048_588
/** The same of delete.retention.ms. */
const DELETE_RETENTION_MS = 86_400_000

export interface SurroundingsOptions {
  readonly plan: Plan
  readonly cluster: Cluster
  readonly clusterId: string
  readonly topics: ReadonlyMap<string, TopicDescription>
  readonly directory: StateDirectory
  readonly registry: Registry | undefined
  readonly random: Random
  readonly regionCacheBytes: number
  readonly guarantee: ProcessingGuarantee
  readonly maxTaskIdleMs: number
}

export class Surroundings implements TaskSurroundings {
  readonly plan: Plan
  readonly cluster: Cluster
  readonly clusterHash: string
  readonly directory: StateDirectory
  readonly random: Random
  readonly caches: EntryCaches
  /** Of sinks that choose their topic. */
  readonly chosenTopics: ChosenTopics
  readonly guarantee: ProcessingGuarantee
  readonly maxTaskIdleMs: number
  readonly #topics: ReadonlyMap<string, TopicDescription>
  readonly #destinations: ReadonlyMap<string, TopicDestinations>
  readonly #codecs: ReadonlyMap<string, InputCodecs>
  readonly #entries: ReadonlyMap<string, TypedEntries<unknown, unknown>>
  readonly #globals = new Map<string, RegionReplica>()

  private constructor(
    {
      plan,
      cluster,
      clusterId,
      topics,
      directory,
      registry,
      random,
      regionCacheBytes,
      guarantee,
      maxTaskIdleMs,
    }: SurroundingsOptions,
    codecs: ReadonlyMap<string, InputCodecs>,
    entries: ReadonlyMap<string, TypedEntries<unknown, unknown>>,
  ) {
    this.plan = plan
    this.cluster = cluster
    this.clusterHash = shortHash(clusterId)
    this.directory = directory
    this.random = random
    this.caches = new EntryCaches(regionCacheBytes)
    this.guarantee = guarantee
    this.maxTaskIdleMs = maxTaskIdleMs
    this.#topics = topics
    this.#destinations = new Map(
      Array.from(topics.values(), (described) => [described.topic, destinationsOf(described)]),
    )
    const internal = new Set(internalTopicNames(plan.graph))
    this.chosenTopics = new ChosenTopics({ cluster, registry, internal, destinationsOf })
    this.#codecs = codecs
    this.#entries = entries
  }

  /** Opens every serde of the topology. Errors: those of the serdes (SCHEMA_REJECTED, REGISTRY_UNAVAILABLE, …). */
  static async open(options: SurroundingsOptions): Promise<Surroundings> {
    const { plan, registry } = options
    const { graph } = plan
    const codecs = new Map<string, InputCodecs>()
    const entries = new Map<string, TypedEntries<unknown, unknown>>()
    const open = async (
      topic: string,
      key: Serde<unknown>,
      value: Serde<unknown>,
      writes: boolean,
    ): Promise<InputCodecs> => ({
      key: await key.open({ topic, part: 'key', registry, writes }),
      value: await value.open({ topic, part: 'value', registry, writes }),
    })
    for (const node of graph.nodes) {
      if (node.kind === 'operator') continue
      for (const topic of node.kind === 'source' ? node.topics : [node.topic]) {
        if (typeof topic !== 'string') continue
        codecs.set(`${node.id} ${topic}`, await open(topic, node.key, node.value, node.kind !== 'source'))
      }
    }
    for (const region of [...graph.regions.values(), ...graph.globals.values()]) {
      const topic = region.kind === 'global' ? region.topic : changelogTopic(graph.application, region.name)
      const { key, value } = await open(topic, region.key, region.value, region.kind !== 'global')
      const timed = region.kind === 'partitioned' ? region.timed : undefined
      entries.set(region.name, new TypedEntries(region.name, region.key, key, value, timed))
    }
    return new Surroundings(options, codecs, entries)
  }

  get log(): Logger {
    return this.cluster.log
  }

  get clock(): Clock {
    return this.cluster.clock
  }

  /** Tells a topic from one that was created later under its name. */
  topicHash(topic: string): string {
    return shortHash(this.#topics.get(topic)?.topicId ?? '')
  }

  /** How long a compacted topic keeps what says that an entry was deleted, from when it could first be compacted. */
  deleteRetentionMs(topic: string): number {
    return deleteRetentionMs(this.#topics.get(topic)?.configs ?? {})
  }

  destinations(topic: string): TopicDestinations {
    const found = this.#destinations.get(topic)
    if (found === undefined) throw new Error(`topic ${topic} is not planned`)
    return found
  }

  output(node: SinkNode | RepartitionNode, topic: string): OutputTopic {
    const { key, value } = this.#codecs.get(`${node.id} ${topic}`) as InputCodecs
    return { destinations: this.destinations(topic), key, value }
  }

  chosenOutput(node: SinkNode, topic: string): OutputTopic | Opening {
    return this.chosenTopics.open(node, topic)
  }

  inputCodecs(topic: string): InputCodecs {
    const source = this.plan.graph.nodes.find(
      (node) =>
        (node.kind === 'source' && node.topics.includes(topic)) ||
        (node.kind === 'repartition' && node.topic === topic),
    )
    return this.#codecs.get(`${source?.id} ${topic}`) as InputCodecs
  }

  entries(region: string): TypedEntries<unknown, unknown> {
    return this.#entries.get(region) as TypedEntries<unknown, unknown>
  }

  addGlobal(replica: RegionReplica): void {
    this.#globals.set(replica.name, replica)
  }

  globalRegion(name: string): RegionReplica {
    return this.#globals.get(name) as RegionReplica
  }

  debug(details: object, message: string): void {
    this.log.debug(details, message)
  }

  warn(details: object, message: string): void {
    this.log.warn(details, message)
  }
}

function destinationsOf({ topic, partitions, configs }: TopicDescription): TopicDestinations {
  const maxRecordBytes = Number(configs['max.message.bytes'] ?? MESSAGE_BYTES_MAX) - BATCH_HEAD_BYTES
  return Array.from({ length: partitions }, (_, partition) => ({ topic, partition, maxRecordBytes }))
}

export function deleteRetentionMs(configs: TopicDescription['configs']): number {
  return Number(configs['delete.retention.ms'] ?? DELETE_RETENTION_MS)
}

/** Of a record batch, which counts towards the limit of a topic. */
const BATCH_HEAD_BYTES = 61
