/**
 * Starting an application over, or at other positions. A full reset goes
 *
 *   1. alone into the group: instances that start meanwhile wait
 *   2. a mark in place of every input offset, in one transaction: from here to 6 no task starts (RESET_UNFINISHED)
 *   3. local state aside
 *   4. internal topics deleted, and their offsets with them
 *   5. internal topics created, empty, with other ids than before
 *   6. the new offsets, in one transaction, as of a first start
 *
 * so that wherever it is cut off, the application either stands as before or does not run until the reset has been run
 * again. Marks keep the offsets from before, so that a second run comes to the same as the first.
 *
 * With `keepState` there is one step, a transaction of offsets: all of it or nothing.
 */

import type { Topology } from '../dsl/topology.ts'
import { DruseError } from '../errors.ts'
import { Cluster } from '../kafka/cluster.ts'
import type { OffsetToCommit } from '../kafka/commit-writer.ts'
import { partitionKey } from '../kafka/partition-key.ts'
import { Again, pause, retry } from '../kafka/retry.ts'
import { createTopics, deleteTopics, describeTopics, type TopicDescription } from '../kafka/topics.ts'
import { ABORT_LATENCY_MS, TransactionalWriter } from '../kafka/transactional-writer.ts'
import type { Clock, Disk, Logger, Random, Wire } from '../ports.ts'
import { levelDisk } from '../store/index.ts'
import { silentLogger, systemClock, systemRandom } from '../system.ts'
import { internalTopicNames } from '../topology/internal-topics.ts'
import { allTasks } from './assignor.ts'
import { emptyGroup, GroupLock } from './group-lock.ts'
import { type DruseSettings, settingsOf } from './options.ts'
import { changelogsOf, externalTopics, inputsOf, type Plan, taskName } from './plan.ts'
import {
  type PreparedReset,
  planForReset,
  prepareReset,
  type ResetPlan,
  type ResetPosition,
  stableOffsets,
} from './reset-plan.ts'
import { StateDirectory } from './state-directory.ts'
import {
  type CommittedRegion,
  definitionOf,
  encodeMetadata,
  encodeResetMark,
  inputKey,
  regionKey,
  shortHash,
} from './task-metadata.ts'

export interface ResetOptions
  extends Partial<
    Pick<
      DruseSettings,
      | 'heartbeatIntervalMs'
      | 'replicationFactor'
      | 'requestTimeoutMs'
      | 'sessionTimeoutMs'
      | 'transactionTimeoutMs'
    >
  > {
  readonly wire: Wire
  /**
   * Where inputs go on. Default: where a first start would begin (`offsetReset`); with `keepState`, at the offsets that
   * are committed now.
   */
  readonly to?: ResetPosition
  /** Input topics that `to` is about; the others get the default. Default: all. */
  readonly topics?: readonly string[]
  /**
   * Regions and repartitioned records stay as they are; only the positions of the inputs change. What is read again
   * is processed again onto the same state, and what is passed over never is. Default false.
   */
  readonly keepState?: boolean
  /** State directories that can be reached from here, none of them in use. Their state is moved aside, never deleted. */
  readonly stateDirs?: readonly (string | Disk)[]
  /** Members that are in the group all the same are put out of it. For those that were killed. Default false. */
  readonly force?: boolean
  /** Changes nothing. Default false. */
  readonly dryRun?: boolean
  /** Told before anything is changed. */
  readonly onPlan?: (plan: ResetPlan) => void
  /** Default: none. */
  readonly logger?: Logger
  /** For simulation. Default: the machine's. */
  readonly clock?: Clock
  /** For simulation. Default: the machine's. */
  readonly random?: Random
}

const COMMIT_ATTEMPTS = 5
const COMMIT_PAUSE_MS = 200

interface Reset {
  readonly cluster: Cluster
  readonly plan: Plan
  readonly settings: DruseSettings
  readonly patienceMs: number
  readonly random: Random
}

/**
 * Resets an application whose instances are all stopped. By default it begins as if for the first time: its inputs are
 * read anew, its regions are empty, its sinks are written again. Resolves to what was done; if it fails, run it again.
 *
 * State directories that cannot be reached from here need not be: their instances find that the state is of an earlier
 * life, and move it aside themselves.
 *
 * Errors: GROUP_ACTIVE, OPTION_INVALID, OFFSETS_MISSING, OFFSETS_UNSTABLE, RESET_UNFINISHED, METADATA_NEWER,
 * REGION_CHANGED, CHANGELOG_TRUNCATED, TOPIC_MISSING, TOPIC_PARTITIONS, TOPIC_NOT_CREATED, STATE_DIR_OCCUPIED,
 * STATE_DIR_FOREIGN, MEMBERSHIP_LOST, KAFKA_REFUSED, BROKER_UNAVAILABLE, DISK_FAILED.
 */
export async function resetApplication(topology: Topology, options: ResetOptions): Promise<ResetPlan> {
  const { wire, clock = systemClock, random = systemRandom, logger = silentLogger } = options
  const { keepState = false, force = false, dryRun = false, stateDirs = [] } = options
  checkPosition(options.to)
  const graph = topology.build()
  const { application } = graph
  const settings = settingsOf(options)
  const { requestTimeoutMs, replicationFactor } = settings
  const cluster = new Cluster({ wire, clock, log: logger, requestTimeoutMs })
  const undo: (() => Promise<void>)[] = []
  try {
    const names = [...externalTopics(graph), ...internalTopicNames(graph)]
    const topics = await describeTopics(cluster, names)
    const plan = planForReset(graph, topics, keepState, replicationFactor)
    const disks = stateDirs.map((dir) => (typeof dir === 'string' ? levelDisk(dir) : dir))
    const patienceMs = settings.transactionTimeoutMs + ABORT_LATENCY_MS
    const reset: Reset = { cluster, plan, settings, patienceMs, random }
    const members = await emptyGroup(cluster, application, { force, dryRun })
    const prepare = () =>
      prepareReset({
        ...{ plan, cluster, topics, keepState, members, disks, patienceMs },
        to: options.to,
        only: options.topics,
      })
    if (dryRun) {
      const { plan: found } = await prepare()
      options.onPlan?.(found)
      return found
    }
    const lock = await GroupLock.take(cluster, plan, settings)
    undo.push(() => lock.release())
    const directories: StateDirectory[] = []
    for (const disk of disks) {
      // Nothing is there, and a look must not make a directory of it.
      if (!(await disk.exists('owner.json'))) continue
      const directory = await StateDirectory.open(disk, application, random, logger)
      undo.push(() => directory.close())
      directories.push(directory)
      await endTransactions(reset, directory)
    }
    const prepared = await prepare()
    options.onPlan?.(prepared.plan)
    const writer = new TransactionalWriter(cluster, {
      transactionalId: () => `${application}-reset`,
      transactionTimeoutMs: settings.transactionTimeoutMs,
    })
    undo.push(async () => writer.close())
    const commit = (offsets: readonly OffsetToCommit[]) => commitOffsets(reset, writer, lock, offsets)
    if (!keepState) {
      await commit(marks(prepared.plan, topics))
      for (const directory of directories) await directory.moveTasksAside()
      await deleteInternals(reset, prepared.plan, topics)
    }
    await createTopics(
      cluster,
      plan.internal.filter(({ topic }) => prepared.plan.topics.some((made) => made.topic === topic)),
    )
    const now = await newTopics(reset, prepared.plan, topics)
    await commit(await firstOffsets(reset, prepared, now))
    logger.info({ application }, 'reset: done')
    return prepared.plan
  } finally {
    for (const step of undo.reverse()) {
      await step().catch((error: unknown) => logger.warn({ error }, 'reset: something could not be closed'))
    }
    cluster.close()
  }
}

/** What a process that died has left open would be waited for otherwise; its directory is ours, so it is dead. */
async function endTransactions({ cluster, plan, settings }: Reset, { workerId }: StateDirectory) {
  const writer = new TransactionalWriter(cluster, {
    transactionalId: () => `${plan.graph.application}-${workerId}`,
    transactionTimeoutMs: settings.transactionTimeoutMs,
  })
  try {
    await writer.open()
  } finally {
    writer.close()
  }
}

function marks(
  { inputs }: ResetPlan,
  topics: ReadonlyMap<string, TopicDescription>,
): readonly OffsetToCommit[] {
  return inputs
    .filter(({ topic, partition }) => partition < (topics.get(topic)?.partitions ?? 0))
    .map(({ topic, partition, from }) => ({
      ...{ topic, partition },
      offset: from ?? 0,
      metadata: encodeResetMark(from),
    }))
}

/**
 * Topics, and the offsets that Kafka deletes after them, in its own time: what is committed before that would be deleted
 * too.
 */
async function deleteInternals(
  reset: Reset,
  { topics: made, inputs }: ResetPlan,
  topics: ReadonlyMap<string, TopicDescription>,
): Promise<void> {
  const { cluster } = reset
  const internal = new Set(made.map(({ topic }) => topic))
  await deleteTopics(
    cluster,
    made.filter(({ topic }) => topics.has(topic)).map(({ topic }) => topic),
  )
  const repartitioned = inputs.filter(({ topic }) => internal.has(topic))
  const { clock, retryBudgetMs: budgetMs, log } = cluster
  try {
    await retry({ clock, what: 'see that offsets are deleted', budgetMs }, async () => {
      const left = (await stableOffsets(reset, repartitioned)).find(({ offset }) => offset !== undefined)
      return left === undefined ? undefined : new Again(`that of ${partitionKey(left)} is there`)
    })
  } catch (error) {
    if (!DruseError.is(error, 'BROKER_UNAVAILABLE')) throw error
    // If they go later after all, tasks stop or begin as for the first time; neither is wrong.
    log.warn({ error }, 'reset: offsets of deleted topics are still there')
  }
}

/** Once Kafka shows the new ones in place of those that were deleted. */
async function newTopics(
  { cluster, plan }: Reset,
  { topics: made }: ResetPlan,
  before: ReadonlyMap<string, TopicDescription>,
): Promise<ReadonlyMap<string, TopicDescription>> {
  const names = [...externalTopics(plan.graph), ...plan.internal.map(({ topic }) => topic)]
  const { clock, retryBudgetMs: budgetMs } = cluster
  return retry({ clock, what: 'see the new topics', budgetMs }, async () => {
    const now = await describeTopics(cluster, names)
    for (const { topic } of made) {
      const id = now.get(topic)?.topicId
      if (id === undefined || id === before.get(topic)?.topicId) {
        return new Again(`${topic} is not known yet`)
      }
    }
    return now
  })
}

/** Sequence 0 of a new life, for all inputs of all tasks. */
async function firstOffsets(
  { cluster, plan, random }: Reset,
  { plan: { inputs, regions: kept }, streamTimes }: PreparedReset,
  topics: ReadonlyMap<string, TopicDescription>,
): Promise<readonly OffsetToCommit[]> {
  const hashOf = (topic: string): string => shortHash(topics.get(topic)?.topicId ?? '')
  const targets = new Map(inputs.map((at) => [partitionKey(at), at.to]))
  const ends = new Map(kept.map((part) => [partitionKey({ ...part, topic: part.changelog }), part.position]))
  const clusterHash = shortHash(await cluster.clusterId())
  const incarnation = Buffer.from(random.bytes(4)).toString('hex')
  return allTasks(plan).flatMap((task) => {
    const regions: Record<string, CommittedRegion> = {}
    for (const { region, topic } of changelogsOf(plan, task.sub)) {
      const log = partitionKey({ topic, partition: task.partition })
      // A table that is restored from its source topic stands where that is read on.
      const position = (region.source === undefined ? ends : targets).get(log) ?? 0
      regions[regionKey(region.name)] = {
        position,
        definition: definitionOf(region),
        changelog: hashOf(topic),
      }
    }
    const own = inputsOf(plan, task)
    return own.map((at) => {
      const offset = targets.get(partitionKey(at)) as number
      const metadata = encodeMetadata({
        // Ends of changelogs are known exactly, whatever guarantee comes next.
        guarantee: 'exactly_once',
        sequence: 0,
        incarnation,
        cluster: clusterHash,
        offset,
        topic: hashOf(at.topic),
        streamTimeMs: streamTimes.get(taskName(task)) ?? -1,
        partitionTimeMs: -1,
        inputs: own.map(({ topic }) => inputKey(topic)),
        regions,
      })
      return { ...at, offset, metadata }
    })
  })
}

/** All or none. What became of a commit that was not answered is read from the offsets. */
async function commitOffsets(
  reset: Reset,
  writer: TransactionalWriter,
  { membership }: GroupLock,
  offsets: readonly OffsetToCommit[],
): Promise<void> {
  if (offsets.length === 0) return
  const { application } = reset.plan.graph
  for (let attempt = 1; ; attempt++) {
    let failure: unknown
    try {
      if (!writer.isOpen) await writer.open()
      await writer.begin([])
      await writer.addOffsets(application)
      await writer.commitOffsets(
        application,
        membership,
        offsets.map((at) => [at]),
      )
      await writer.end()
    } catch (error) {
      if (!(error instanceof DruseError) || error.kind !== 'transient') throw error
      failure = error
      // Fences, so that what is read is the outcome.
      await writer.open()
    }
    const found = await stableOffsets(reset, offsets)
    const metadata = new Map(found.map((at) => [partitionKey(at), at.metadata]))
    if (offsets.every((at) => metadata.get(partitionKey(at)) === at.metadata)) return
    if (attempt === COMMIT_ATTEMPTS) throw failure ?? notCommitted(application)
    await pause(reset.cluster.clock, COMMIT_PAUSE_MS)
  }
}

function notCommitted(application: string): DruseError {
  return new DruseError(
    'GROUP_ACTIVE',
    `Somebody else commits offsets in group '${application}'; stop all its instances and run the reset again`,
  )
}

const LEAST_POSITIONS: ReadonlyMap<string, number> = new Map([
  ['offset', 0],
  ['timestampMs', 0],
  ['shiftBy', Number.MIN_SAFE_INTEGER],
])

/** From JavaScript or a configuration file anything may come, and a reset deletes. */
function checkPosition(to: unknown): void {
  if (to === undefined || to === 'earliest' || to === 'latest') return
  const entries = typeof to === 'object' && to !== null ? Object.entries(to) : []
  const [name, value] = entries[0] ?? ['', undefined]
  const least = LEAST_POSITIONS.get(name)
  if (entries.length !== 1 || least === undefined) {
    const found = entries.length > 0 ? `an object with ${entries.map(([key]) => key).join(', ')}` : String(to)
    const known = [...LEAST_POSITIONS.keys()].join(', ')
    throw new DruseError(
      'OPTION_INVALID',
      `to is ${found}; give 'earliest', 'latest', or an object with one of ${known}`,
    )
  }
  if (Number.isSafeInteger(value) && value >= least) return
  throw new DruseError('OPTION_INVALID', `${name} is ${value}; it has to be a whole number from ${least}`)
}
