/** What the topology comes to on this cluster: tasks, topics to create, and everything that does not fit, found before start. */
import { DruseError } from '../errors.ts'
import type { TopicDescription } from '../kafka/topics.ts'
import type { NewTopic } from '../ports.ts'
import { forgets, type Region } from '../region/definition.ts'
import {
  choosing,
  coPartitionGroups,
  feedersOf,
  partitionerOf,
  topicsOf,
} from '../topology/co-partitioning.ts'
import { deadLetterTopics, type Graph } from '../topology/graph.ts'
import { changelogTopic, logOf } from '../topology/internal-topics.ts'
import { inputTopics, outputNodes, type SubTopology, subTopologies } from '../topology/subtopologies.ts'
import { RESET } from './reset-advice.ts'
import { checkMetadataFits } from './task-metadata.ts'

export interface TaskId {
  readonly sub: SubTopology
  readonly partition: number
}

/** `<sub-topology>_<partition>`, as Kafka Streams shows it. */
export function taskName({ sub, partition }: TaskId): string {
  return `${sub.id}_${partition}`
}

export interface Plan {
  readonly graph: Graph
  readonly subs: readonly SubTopology[]
  /** How many tasks each sub-topology has, by its id. */
  readonly taskCounts: readonly number[]
  /** Partitions of every topic read or written, internal ones included. */
  readonly partitions: ReadonlyMap<string, number>
  /** Internal topics, whether they exist yet or not. */
  readonly internal: readonly NewTopic[]
}

export interface InternalTopicOptions {
  /** -1: the broker's default, as Kafka Streams'. */
  readonly replicationFactor: number
}

/** Topics of the users that have to exist. */
export function externalTopics(graph: Graph): string[] {
  const topics = new Set<string>()
  for (const node of graph.nodes) {
    if (node.kind === 'source') for (const topic of node.topics) topics.add(topic)
    if (node.kind === 'sink' && typeof node.topic === 'string') topics.add(node.topic)
    if (node.kind === 'source' || node.kind === 'repartition') {
      for (const topic of deadLetterTopics(node)) topics.add(topic)
    }
  }
  for (const region of graph.globals.values()) topics.add(region.topic)
  return [...topics].sort()
}

/** Errors: TOPIC_MISSING, TOPIC_PARTITIONS, TOPIC_SETTINGS, TOPOLOGY_INVALID. */
export function makePlan(
  graph: Graph,
  found: ReadonlyMap<string, TopicDescription>,
  { replicationFactor }: InternalTopicOptions,
): Plan {
  const missing = externalTopics(graph).filter((topic) => !found.has(topic))
  if (missing.length > 0) {
    const made = graph.nodes.flatMap((node) =>
      node.kind === 'source' && node.changelogOf && missing.includes(node.topics[0] as string)
        ? `${node.topics[0]} is made by application '${node.changelogOf.application}': start that first. `
        : [],
    )
    throw new DruseError(
      'TOPIC_MISSING',
      `These topics do not exist: ${missing.join(', ')}. ${made.join('')}Create them: their partition counts are yours to choose`,
      { topics: missing },
    )
  }
  const subs = subTopologies(graph)
  const partitions = new Map<string, number>()
  for (const topic of externalTopics(graph)) partitions.set(topic, found.get(topic)?.partitions as number)
  countRepartitions(graph, subs, partitions)
  for (const region of graph.regions.keys()) checkCounts(graph, region, partitions)
  const taskCounts = subs.map((sub) => tasksOf(sub, partitions))
  const internal: NewTopic[] = []
  for (const sub of subs) {
    checkMetadataFits(sub.regions.length, inputTopics(sub).length, sub.name)
    for (const node of outputNodes(sub)) {
      if (node.kind !== 'repartition') continue
      const count = partitions.get(node.topic) as number
      internal.push({ topic: node.topic, partitions: count, replicationFactor, configs: REPARTITION_CONFIGS })
    }
    for (const region of sub.regions) {
      if (region.source !== undefined) {
        checkKeeps(region, found.get(region.source))
        checkServes(region, partitions.get(region.source) as number, taskCounts[sub.id] as number)
        continue
      }
      const topic = changelogTopic(graph.application, region.name)
      const count = taskCounts[sub.id] as number
      partitions.set(topic, count)
      const configs = forgets(region) ? WINDOW_CHANGELOG_CONFIGS : CHANGELOG_CONFIGS
      internal.push({ topic, partitions: count, replicationFactor, configs })
    }
  }
  for (const topic of internal) checkInternal(topic, found.get(topic.topic))
  return { graph, subs, taskCounts, partitions, internal }
}

export function changelogsOf({ graph }: Plan, sub: SubTopology): { region: Region; topic: string }[] {
  return sub.regions.map((region) => ({ region, topic: logOf(graph.application, region) }))
}

/** The input partitions of a task. */
export function inputsOf(plan: Plan, { sub, partition }: TaskId): { topic: string; partition: number }[] {
  return inputTopics(sub)
    .filter((topic) => partition < (plan.partitions.get(topic) ?? 0))
    .map((topic) => ({ topic, partition }))
}

// Nothing may be deleted by age: a task may be away for long. What was processed is deleted in whole segments, so they
// are small, as Kafka Streams'.
const REPARTITION_CONFIGS = {
  'cleanup.policy': 'delete',
  'retention.ms': '-1',
  'segment.bytes': String(50 << 20),
  'message.timestamp.type': 'CreateTime',
}
/** A week, so that a state directory that was away for days can still be replayed onto. */
const CHANGELOG_CONFIGS = {
  'cleanup.policy': 'compact',
  'delete.retention.ms': String(7 * 24 * 3_600_000),
  'message.timestamp.type': 'CreateTime',
}

/**
 * What retention hides is deleted up to where the region says, in whole segments. Not by age: a window is over when stream
 * time says so, which may stand for long, or be far behind the clock.
 */
const WINDOW_CHANGELOG_CONFIGS = {
  ...CHANGELOG_CONFIGS,
  'cleanup.policy': 'compact,delete',
  'retention.ms': '-1',
  'retention.bytes': '-1',
  'segment.bytes': String(50 << 20),
}

/**
 * A repartition topic has as many partitions as the topics that have to be partitioned as it is, else as those that are read
 * where it is written: as in Kafka Streams.
 */
function countRepartitions(
  graph: Graph,
  subs: readonly SubTopology[],
  partitions: Map<string, number>,
): void {
  const writers = new Map<string, SubTopology>()
  for (const sub of subs) {
    for (const node of outputNodes(sub)) {
      if (node.kind !== 'repartition') continue
      writers.set(node.topic, sub)
      if (node.partitions !== undefined) partitions.set(node.topic, node.partitions)
    }
  }
  const grouped = coPartitionGroups(graph)
  const alone = [...writers.keys()].filter((topic) => !grouped.some((group) => group.includes(topic)))
  const groups = [...grouped, ...alone.map((topic) => [topic])]
  const most = (topics: readonly string[]): number =>
    Math.max(0, ...topics.map((topic) => partitions.get(topic) ?? 0))
  const open = () => groups.filter((group) => group.some((topic) => !partitions.has(topic)))
  /** What is written where inputs are counted. */
  const follows = (topic: string): readonly string[] => inputTopics(writers.get(topic) as SubTopology)
  const isCounted = (topic: string): boolean => follows(topic).every((input) => partitions.has(input))
  const settle = (group: readonly string[], count: number): boolean => {
    if (count === 0) return false
    for (const topic of group) if (!partitions.has(topic)) partitions.set(topic, count)
    return true
  }
  const step = (): boolean =>
    open().some((group) => settle(group, most(group))) ||
    open().some((group) => group.every(isCounted) && settle(group, most(group.flatMap(follows)))) ||
    open().some((group) => settle(group, most(group.filter(isCounted).flatMap(follows))))
  while (step());
  const [unknown] = open().flat()
  if (unknown === undefined) return
  throw new DruseError(
    'TOPOLOGY_INVALID',
    `The partition count of '${unknown}' follows from nothing; give it with repartition(name, { partitions })`,
  )
}

function checkCounts(graph: Graph, region: string, partitions: ReadonlyMap<string, number>): void {
  const topics = feedersOf(graph, region).flatMap(topicsOf).sort()
  if (new Set(topics.map((topic) => partitions.get(topic))).size <= 1) return
  const list = topics.map((topic) => `${topic} (${partitions.get(topic)})`).join(', ')
  throw new DruseError(
    'TOPIC_PARTITIONS',
    `Topics that feed region '${region}' have different partition counts: ${list}. Equal keys would meet in different tasks; send one of them through a repartition()`,
    { topics },
  )
}

function tasksOf(sub: SubTopology, partitions: ReadonlyMap<string, number>): number {
  return Math.max(...inputTopics(sub).map((topic) => partitions.get(topic) as number))
}

/** By which a key's part of a region is found; undefined where the application's own partitioner has chosen it. */
export function keyPartitionsOf({ graph, partitions }: Plan, region: string): number | undefined {
  const feeders = feedersOf(graph, region)
  if (choosing(feeders).some((node) => partitionerOf(node) !== undefined)) return undefined
  return Math.max(0, ...feeders.flatMap(topicsOf).map((topic) => partitions.get(topic) as number))
}

/** A topic that other tasks have no partition of cannot be their log. */
function checkServes({ name, source }: Region, partitions: number, tasks: number): void {
  if (partitions === tasks) return
  throw new DruseError(
    'TOPIC_PARTITIONS',
    `Table '${name}' is to be restored from its source topic '${source}', which has ${partitions} partitions, but its tasks are ${tasks}, by what else they read. Leave out reuseSourceTopic`,
    { topic: source, region: name },
  )
}

/** What the source topic of a table forgets by age, the table would forget with its next restore. */
function checkKeeps({ name, source }: Region, found: TopicDescription | undefined): void {
  const { 'cleanup.policy': policy = 'delete', 'retention.ms': retention } = found?.configs ?? {}
  if (!policy.includes('delete') || retention === '-1') return
  throw new DruseError(
    'TOPIC_SETTINGS',
    `Table '${name}' is to be restored from its source topic '${source}', which deletes records by age (cleanup.policy=${policy}): entries would vanish. Set cleanup.policy=compact or retention.ms=-1, or leave out reuseSourceTopic`,
    { topic: source, region: name },
  )
}

function checkInternal(topic: NewTopic, found: TopicDescription | undefined): void {
  if (found === undefined) return
  if (found.partitions !== topic.partitions) {
    throw new DruseError(
      'TOPIC_PARTITIONS',
      `Internal topic '${topic.topic}' has ${found.partitions} partitions, ${topic.partitions} are needed: the partition count of an input has changed, and keys with it. Go back to the old count. ${RESET}`,
      { topic: topic.topic, partitions: found.partitions, needed: topic.partitions },
    )
  }
  const wanted = topic.configs['cleanup.policy'] as string
  const policy = found.configs['cleanup.policy']
  if (policy !== undefined && !isEnough(policy, wanted)) {
    throw new DruseError(
      'TOPIC_SETTINGS',
      `Internal topic '${topic.topic}' has cleanup.policy=${policy}, it has to be ${wanted}, or records that are still needed are deleted`,
      { topic: topic.topic, policy },
    )
  }
  const retention = found.configs['retention.ms']
  if (policy?.includes('delete') && retention !== undefined && retention !== '-1') {
    throw new DruseError(
      'TOPIC_SETTINGS',
      `Internal topic '${topic.topic}' has retention.ms=${retention}, it has to be -1: records that are needed for longer would be deleted`,
      { topic: topic.topic, retention },
    )
  }
}

/** A changelog that is compacted alone loses nothing, it only grows. */
function isEnough(policy: string, wanted: string): boolean {
  const found = policy.split(',').map((part) => part.trim())
  const all = wanted.split(',')
  return found.every((part) => all.includes(part)) && found.includes(all[0] as string)
}

/** What is allowed, but may lose state: for the log. */
export function doubtful(topics: ReadonlyMap<string, TopicDescription>, plan: Plan): string[] {
  return plan.internal.flatMap(({ topic, configs }) => {
    const found = topics.get(topic)?.configs ?? {}
    const doubts: string[] = []
    if (found['unclean.leader.election.enable'] === 'true') {
      doubts.push(`${topic} has unclean.leader.election.enable=true: what was committed can be lost`)
    }
    const wanted = configs['delete.retention.ms']
    const kept = found['delete.retention.ms']
    if (wanted !== undefined && kept !== undefined && Number(kept) < Number(wanted)) {
      doubts.push(
        `${topic} has delete.retention.ms=${kept}: a state directory that was away for half of that is replayed from the beginning`,
      )
    }
    return doubts
  })
}
