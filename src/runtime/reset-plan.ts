/** What a reset would do, all of it, found out without changing anything. */
import { DruseError } from '../errors.ts'
import type { Cluster } from '../kafka/cluster.ts'
import { partitionKey } from '../kafka/partition-key.ts'
import { Again, retry } from '../kafka/retry.ts'
import {
  type CommittedOffset,
  committedOffsets,
  listOffsets,
  type TopicDescription,
} from '../kafka/topics.ts'
import type { Disk, GroupMemberDescription } from '../ports.ts'
import { forgets } from '../region/definition.ts'
import { changelogTopic } from '../topology/internal-topics.ts'
import type { OffsetReset, TopicPartition } from '../types.ts'
import { allTasks } from './assignor.ts'
import { externalTopics, inputsOf, makePlan, type Plan, type TaskId, taskName } from './plan.ts'
import { RESET, RESET_AGAIN } from './reset-advice.ts'
import { StateDirectory } from './state-directory.ts'
import { decodeMetadata, decodeResetMark, definitionOf, regionKey, shortHash } from './task-metadata.ts'

/** Where inputs go on. Past either end of a partition: that end. */
export type ResetPosition =
  | 'earliest'
  | 'latest'
  | { readonly offset: number }
  /** By so many records from the committed offset; negative is back. */
  | { readonly shiftBy: number }
  /** The first record with a timestamp of at least this (milliseconds since 1970); without one, the end. */
  | { readonly timestampMs: number }

export interface ResetInput extends TopicPartition {
  /** What is committed; undefined: nothing, or an offset of an earlier topic of this name. */
  readonly from: number | undefined
  readonly to: number
}

export interface ResetTopic {
  readonly topic: string
  readonly partitions: number
  readonly action: 'create' | 'recreate'
}

/** A part of a region that keeps what its changelog holds. */
export interface KeptRegion {
  readonly region: string
  readonly partition: number
  readonly changelog: string
  /** Where the changelog ends. */
  readonly position: number
}

export interface ResetDirectory {
  readonly root: string
  /** Stores that are moved aside. */
  readonly tasks: readonly string[]
}

export interface ResetPlan {
  readonly application: string
  readonly keepState: boolean
  /** An earlier reset was begun and not ended; this one ends it. */
  readonly resumes: boolean
  /** Of the group, who are put out of it. */
  readonly members: readonly GroupMemberDescription[]
  /** Every input partition, those of repartition topics included, by name. */
  readonly inputs: readonly ResetInput[]
  /** Internal topics that are made, empty. */
  readonly topics: readonly ResetTopic[]
  readonly regions: readonly KeptRegion[]
  readonly directories: readonly ResetDirectory[]
  /** Named like internal topics of the application, but not of this topology: not touched. */
  readonly unknownTopics: readonly string[]
  /** They keep what they hold. */
  readonly sinks: readonly string[]
}

export interface ResetRequest {
  readonly plan: Plan
  readonly cluster: Cluster
  /** Of all topics of the plan that exist. */
  readonly topics: ReadonlyMap<string, TopicDescription>
  readonly to: ResetPosition | undefined
  /** Those that `to` is about; undefined: all. */
  readonly only: readonly string[] | undefined
  readonly keepState: boolean
  readonly members: readonly GroupMemberDescription[]
  readonly disks: readonly Disk[]
  /** How long a transaction of a member that is gone may hold offsets or a changelog. */
  readonly patienceMs: number
}

/** Beside the plan, what the new metadata takes over from the old. */
export interface PreparedReset {
  readonly plan: ResetPlan
  /** By `taskName`; of tasks whose metadata could be read. */
  readonly streamTimes: ReadonlyMap<string, number>
}

/**
 * Errors: OPTION_INVALID, OFFSETS_MISSING, OFFSETS_UNSTABLE, RESET_UNFINISHED, METADATA_NEWER, REGION_CHANGED,
 * CHANGELOG_TRUNCATED, STATE_DIR_FOREIGN, BROKER_UNAVAILABLE.
 */
export async function prepareReset(request: ResetRequest): Promise<PreparedReset> {
  const { plan, cluster, topics, keepState, members, disks, only } = request
  const { application } = plan.graph
  const sources = sourceTopics(plan)
  const foreign = only?.find((topic) => !sources.has(topic))
  if (foreign !== undefined) {
    const known = [...sources.keys()].join(', ')
    throw invalid(`'${foreign}' is no input of application '${application}'; it reads ${known}`)
  }
  const tasks = allTasks(plan)
  const inputs = tasks.flatMap((task) => inputsOf(plan, task)).sort(byPlace)
  const committed = new Map(
    (await stableOffsets(request, inputs)).map((at) => [partitionKey(at), at] as const),
  )
  const resumes = [...committed.values()].some(({ metadata }) => decodeResetMark(metadata) !== undefined)
  if (resumes && keepState) {
    throw new DruseError(
      'RESET_UNFINISHED',
      `A full reset of application '${application}' has begun and not ended, so there may be no state to keep. ${RESET_AGAIN}`,
    )
  }
  const identities = { cluster: shortHash(await cluster.clusterId()), topics }
  const currents = new Map(
    Array.from(committed, ([key, at]) => [key, currentOffset(at, identities, keepState)] as const),
  )
  const streamTimes = keepState ? keptMetadata(tasks, plan, committed) : new Map<string, number>()
  return {
    plan: {
      application,
      keepState,
      resumes,
      members,
      inputs: await resolveInputs(request, inputs, currents, sources),
      topics: plan.internal
        .filter(({ topic }) => !keepState || !topics.has(topic))
        .map(({ topic, partitions }) => ({
          topic,
          partitions,
          action: topics.has(topic) ? ('recreate' as const) : ('create' as const),
        })),
      regions: keepState ? await keptRegions(request, tasks) : [],
      directories: await Promise.all(
        disks.map(async (disk) => ({
          root: disk.root,
          tasks: keepState ? [] : await StateDirectory.look(disk, application),
        })),
      ),
      unknownTopics: await unknownInternals(request),
      sinks: externalTopics(plan.graph).filter((topic) => !sources.has(topic) && !isGlobal(plan, topic)),
    },
    streamTimes,
  }
}

/** Once no transaction holds any of them. Errors: OFFSETS_UNSTABLE. */
export async function stableOffsets(
  { plan, cluster, patienceMs }: Pick<ResetRequest, 'plan' | 'cluster' | 'patienceMs'>,
  partitions: readonly TopicPartition[],
): Promise<readonly CommittedOffset[]> {
  const { application } = plan.graph
  const { clock, log } = cluster
  let told = false
  const options = { clock, what: `read the offsets of '${application}'`, budgetMs: patienceMs }
  try {
    return await retry(options, async () => {
      const found = await committedOffsets(cluster, application, partitions)
      const held = found.find(({ offset }) => offset === 'unstable')
      if (held === undefined) return found
      if (!told) log.info({ offset: partitionKey(held) }, 'reset: waiting until a transaction has ended')
      told = true
      return new Again(`a transaction holds the offset of ${partitionKey(held)}`)
    })
  } catch (cause) {
    if (!told || !DruseError.is(cause, 'BROKER_UNAVAILABLE')) throw cause
    throw new DruseError(
      'OFFSETS_UNSTABLE',
      `A transaction of application '${application}' holds its offsets and does not end. Give --state-dir of the instance that died, which ends it, or look for hanging transactions (kafka-transactions.sh find-hanging)`,
      { application, cause },
    )
  }
}

/** What a source says about its first start, by topic. */
function sourceTopics({ graph }: Plan): ReadonlyMap<string, OffsetReset> {
  const found = new Map<string, OffsetReset>()
  for (const node of graph.nodes) {
    if (node.kind === 'source') for (const topic of node.topics) found.set(topic, node.reset)
  }
  return found
}

function isGlobal({ graph }: Plan, topic: string): boolean {
  return [...graph.globals.values()].some((region) => region.topic === topic)
}

/** Undefined when there is none, or when it counts the records of an earlier topic. */
function currentOffset(
  { topic, offset, metadata }: CommittedOffset,
  now: { readonly cluster: string; readonly topics: ReadonlyMap<string, TopicDescription> },
  strict: boolean,
): number | undefined {
  const mark = decodeResetMark(metadata)
  if (mark !== undefined) return mark.before
  if (typeof offset !== 'number') return undefined
  const known = readable(metadata, strict)
  const isOfEarlierTopic =
    known?.cluster === now.cluster && known.topic !== shortHash(now.topics.get(topic)?.topicId ?? '')
  return isOfEarlierTopic ? undefined : offset
}

/** Undefined when another tool wrote it. Errors: METADATA_NEWER if `strict`. */
function readable(metadata: string, strict: boolean) {
  try {
    return decodeMetadata(metadata, 'An offset')
  } catch (error) {
    if (strict && DruseError.is(error, 'METADATA_NEWER')) throw error
    return undefined
  }
}

async function resolveInputs(
  { plan, cluster, to, only, keepState, topics }: ResetRequest,
  inputs: readonly TopicPartition[],
  currents: ReadonlyMap<string, number | undefined>,
  sources: ReadonlyMap<string, OffsetReset>,
): Promise<ResetInput[]> {
  const existing = inputs.filter(({ topic }) => sources.has(topic) || (keepState && topics.has(topic)))
  const earliest = await listOffsets(cluster, existing, 'earliest')
  const latest = await listOffsets(cluster, existing, 'latest')
  const high = await listOffsets(cluster, existing, 'latest', 'read_uncommitted')
  const moved = existing.filter(({ topic }) => sources.has(topic) && (only?.includes(topic) ?? true))
  const byTime =
    typeof to === 'object' && 'timestampMs' in to
      ? await listOffsets(cluster, moved, to.timestampMs)
      : new Map<string, number>()
  const wanted = (at: TopicPartition): number => {
    const key = partitionKey(at)
    const current = currents.get(key)
    const ends = { earliest: earliest.get(key) as number, latest: latest.get(key) as number }
    if (to !== undefined && moved.includes(at)) {
      if (typeof to === 'string') return ends[to]
      if ('offset' in to) return to.offset
      if ('timestampMs' in to) {
        const found = byTime.get(key) as number
        return found < 0 ? ends.latest : found
      }
      if (current !== undefined) return current + to.shiftBy
      throw invalid(
        `Nothing is committed for ${key}, so it cannot be shifted: give --to-earliest, --to-latest, --to-offset or --to-datetime`,
      )
    }
    if (keepState && current !== undefined) return current
    const reset = sources.get(at.topic) ?? 'earliest'
    if (reset !== 'none') return ends[reset]
    throw new DruseError(
      'OFFSETS_MISSING',
      `The source of '${at.topic}' has offsetReset 'none', so where ${key} begins has to be said: give --to-earliest, --to-latest, --to-offset or --to-datetime`,
      { topic: at.topic, application: plan.graph.application },
    )
  }
  return inputs.map((at) => {
    const key = partitionKey(at)
    const from = currents.get(key)
    // Of a topic that is made anew.
    if (!earliest.has(key)) return { ...at, from, to: 0 }
    const least = earliest.get(key) as number
    const most = high.get(key) as number
    return { ...at, from, to: Math.min(Math.max(wanted(at), least), most) }
  })
}

/** Checks that regions still are what they were, where that can be told. */
function keptMetadata(
  tasks: readonly TaskId[],
  plan: Plan,
  committed: ReadonlyMap<string, CommittedOffset>,
): ReadonlyMap<string, number> {
  const streamTimes = new Map<string, number>()
  for (const task of tasks) {
    for (const at of inputsOf(plan, task)) {
      const found = committed.get(partitionKey(at))
      const known = found && readable(found.metadata, true)
      if (known === undefined) continue
      const name = taskName(task)
      streamTimes.set(name, Math.max(known.streamTimeMs, streamTimes.get(name) ?? -1))
      for (const region of task.sub.regions) {
        const definition = known.regions[regionKey(region.name)]?.definition
        if (definition === undefined || definition === definitionOf(region)) continue
        throw new DruseError(
          'REGION_CHANGED',
          `Region '${region.name}' was committed with another definition than its present one: its entries cannot be kept. ${RESET}`,
          { region: region.name, task: name },
        )
      }
    }
  }
  return streamTimes
}

/** X of every part: the end of its changelog, once no transaction is open in it. */
async function keptRegions(
  { plan, cluster, topics, patienceMs }: ResetRequest,
  tasks: readonly TaskId[],
): Promise<KeptRegion[]> {
  const { application } = plan.graph
  const parts = tasks.flatMap(({ sub, partition }) =>
    sub.regions.map((region) => {
      const changelog = changelogTopic(application, region.name)
      return { region: region.name, partition, changelog, topic: changelog, forgets: forgets(region) }
    }),
  )
  const existing = parts.filter(({ changelog }) => topics.has(changelog))
  const starts = await listOffsets(cluster, existing, 'earliest')
  for (const part of existing) {
    const start = starts.get(partitionKey(part)) as number
    // What is missing there is found when the region is read.
    if (start === 0 || part.forgets) continue
    throw new DruseError(
      'CHANGELOG_TRUNCATED',
      `The changelog of region '${part.region}' begins at ${partitionKey(part)}@${start}: entries were deleted from it, so the region cannot be kept. ${RESET}`,
      { changelog: partitionKey(part), logStart: start },
    )
  }
  const { clock } = cluster
  let open: string | undefined
  const options = { clock, what: 'read the ends of changelogs', budgetMs: patienceMs }
  const settled = retry(options, async () => {
    const stable = await listOffsets(cluster, existing, 'latest')
    const high = await listOffsets(cluster, existing, 'latest', 'read_uncommitted')
    open = existing.map(partitionKey).find((key) => stable.get(key) !== high.get(key))
    return open === undefined ? stable : new Again(`a transaction is open in ${open}`)
  })
  const ends = await settled.catch((cause: unknown) => {
    if (open === undefined) throw cause
    throw new DruseError(
      'OFFSETS_UNSTABLE',
      `A transaction is open in changelog ${open} and does not end. Give --state-dir of the instance that died, which ends it, or look for hanging transactions (kafka-transactions.sh find-hanging)`,
      { changelog: open, cause },
    )
  })
  return parts.map(({ region, partition, changelog, topic }) => ({
    region,
    partition,
    changelog,
    position: ends.get(partitionKey({ topic, partition })) ?? 0,
  }))
}

async function unknownInternals({ plan, cluster }: ResetRequest): Promise<string[]> {
  const prefix = `${plan.graph.application}-`
  const known = new Set([...plan.internal.map(({ topic }) => topic), ...externalTopics(plan.graph)])
  const all = await cluster.refresh(null)
  return all
    .map(({ topic }) => topic)
    .filter((topic) => topic.startsWith(prefix) && /-(changelog|repartition)$/.test(topic))
    .filter((topic) => !known.has(topic))
    .sort()
}

/** The topology on this cluster; internal topics that are made anew may be as they like. */
export function planForReset(
  graph: Plan['graph'],
  topics: ReadonlyMap<string, TopicDescription>,
  keepState: boolean,
  replicationFactor: number,
): Plan {
  const external = new Set(externalTopics(graph))
  const found = keepState ? topics : new Map([...topics].filter(([topic]) => external.has(topic)))
  return makePlan(graph, found, { replicationFactor })
}

function byPlace(one: TopicPartition, other: TopicPartition): number {
  if (one.topic !== other.topic) return one.topic < other.topic ? -1 : 1
  return one.partition - other.partition
}

function invalid(what: string): DruseError {
  return new DruseError('OPTION_INVALID', what)
}
