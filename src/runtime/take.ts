/**
 * Taking a task: the one way into running, after a start, a rebalance and a failure alike. What was committed is read
 * from Kafka first; local state is brought there, never the other way round.
 */

import { DruseError } from '../errors.ts'
import type { OffsetToCommit } from '../kafka/commit-writer.ts'
import { partitionKey } from '../kafka/partition-key.ts'
import { committedOffsets, listOffsets } from '../kafka/topics.ts'
import type { Store } from '../ports.ts'
import { assertFingerprint, assertFoundAlike } from '../region/fingerprint.ts'
import { META_KEY } from '../region/layout.ts'
import { RegionPart } from '../region/part.ts'
import { memoryDisk } from '../store/index.ts'
import type { SourceNode } from '../topology/graph.ts'
import type { TopicPartition } from '../types.ts'
import type { InputPosition, InputPositions } from './agreement.ts'
import { InputQueue } from './input-queue.ts'
import type { LastCommit } from './known-commits.ts'
import type { Destination } from './placement.ts'
import { changelogsOf, inputsOf, type TaskId, taskName } from './plan.ts'
import { RESET, RESET_OR_KEEP } from './reset-advice.ts'
import {
  type PlannedRegion,
  type RestoreContext,
  type RestoredRegion,
  restoreRegions,
  type Stores,
} from './restore-task.ts'
import { lastingName, taskAbandoned } from './state-directory.ts'
import type { Surroundings } from './surroundings.ts'
import { Task } from './task.ts'
import {
  type CommittedRegion,
  definitionOf,
  encodeMetadata,
  inputKey,
  regionKey,
  type TaskMetadata,
} from './task-metadata.ts'
import { type StateRegion, TaskState } from './task-state.ts'
import { readMeta, type StoreMeta } from './task-store.ts'
import { timestampsOf } from './timestamps.ts'

export interface TakenTask {
  readonly task: Task
  readonly state: TaskState
}

/** A task for which nothing was ever committed, and where it is to start. */
export interface FirstStart {
  readonly id: TaskId
  readonly offsets: readonly OffsetToCommit[]
}

/**
 * Opens and restores a task at what was committed for it. `isPatient`: Kafka will be asked again before what it says is
 * believed against a store that is ahead of it.
 * Errors: those of agreement.ts and restore.ts, REGION_CHANGED, TOPIC_RECREATED, STATE_WITHOUT_OFFSETS,
 * OFFSETS_OLDER_THAN_STATE, DISK_FAILED.
 */
export async function takeTask(
  context: RestoreContext,
  id: TaskId,
  committed: TaskMetadata,
  positions: InputPositions,
  isPatient: boolean,
  signal: AbortSignal,
): Promise<TakenTask> {
  const { surroundings } = context
  const planned = await planRegions(context, id, committed, positions, signal)
  const isPersistent = planned.some((region) => region.persistent)
  const later = laterThan(surroundings, id, committed)
  if (later !== undefined) assertMayBeOlder(surroundings, id, committed, later, isPatient)
  noteCommit(surroundings, id, committed, isPersistent)
  const persistent = isPersistent
    ? await openStore(surroundings, id, committed, planned, isPatient, signal)
    : undefined
  const memory = planned.some((region) => !region.persistent) ? await memoryDisk().open('memory') : undefined
  try {
    const stores = { persistent, memory }
    const reached = await restoreRegions(context, id, committed, planned, stores, signal)
    const starts = await startPositions(surroundings, id, positions)
    return build(surroundings, id, committed, starts, planned, reached, stores)
  } catch (error) {
    await persistent?.close()
    await memory?.close()
    throw error
  }
}

/**
 * Where a task without committed offsets is to start; committing this, in a transaction of offsets alone, comes before
 * its first record. Errors: STATE_WITHOUT_OFFSETS, OFFSETS_MISSING.
 */
export async function planFirstStart(
  context: RestoreContext,
  id: TaskId,
  signal: AbortSignal,
): Promise<FirstStart> {
  const { surroundings } = context
  const { plan, directory, cluster, random } = surroundings
  const regions: Record<string, CommittedRegion> = {}
  for (const { region, topic } of changelogsOf(plan, id.sub)) {
    const changelog = { topic, partition: id.partition }
    if (region.source === undefined && (await holdsData(context, changelog, signal))) {
      throw stateWithoutOffsets(id, `its changelog ${partitionKey(changelog)} holds records`)
    }
    const topicHash = surroundings.topicHash(topic)
    regions[regionKey(region.name)] = { position: 0, definition: definitionOf(region), changelog: topicHash }
  }
  if (await directory.hasTask(id)) {
    const store = await directory.openTask(id, cluster.clock, signal)
    const meta = readMeta(store)
    await store.close()
    if (meta !== undefined)
      throw stateWithoutOffsets(id, `its directory in ${directory.disk.root} holds state`)
  }
  const known = directory.lastCommits.all(lastingName(id))
  if (known.some(({ cluster }) => cluster === surroundings.clusterHash))
    throw stateWithoutOffsets(
      id,
      `a commit is known, by its directory in ${directory.disk.root} or from an instance that has told of it`,
    )
  const inputs = inputsOf(plan, id)
  const offsets = new Map<string, number>()
  const resets = await resetsOf(surroundings, id)
  for (const at of ['earliest', 'latest'] as const) {
    const wanted = inputs.filter(({ topic }) => resets.get(topic) === at)
    for (const [key, offset] of await listOffsets(cluster, wanted, at)) offsets.set(key, offset)
  }
  const without = inputs.find((at) => !offsets.has(partitionKey(at)))
  if (without !== undefined) {
    throw offsetsMissing(id, without)
  }
  for (const { source, name } of id.sub.regions) {
    const start = source && offsets.get(partitionKey({ topic: source, partition: id.partition }))
    const region = regions[regionKey(name)] as CommittedRegion
    if (typeof start === 'number') regions[regionKey(name)] = { ...region, position: start }
  }
  const first = {
    guarantee: surroundings.guarantee,
    sequence: 0,
    incarnation: Buffer.from(random.bytes(4)).toString('hex'),
    cluster: surroundings.clusterHash,
    streamTimeMs: -1,
    partitionTimeMs: -1,
    inputs: inputs.map(({ topic }) => inputKey(topic)),
    regions,
  }
  return {
    id,
    offsets: inputs.map((at) => {
      const offset = offsets.get(partitionKey(at)) as number
      const metadata = encodeMetadata({ ...first, offset, topic: surroundings.topicHash(at.topic) })
      return { ...at, offset, metadata }
    }),
  }
}

/** X of every region, checked against what the topology and the cluster say now. */
async function planRegions(
  context: RestoreContext,
  id: TaskId,
  committed: TaskMetadata,
  positions: InputPositions,
  signal: AbortSignal,
): Promise<PlannedRegion[]> {
  const { surroundings } = context
  const starts = await listOffsets(surroundings.cluster, sourceLogs(surroundings, id), 'earliest')
  const planned: PlannedRegion[] = []
  for (const { region, topic } of changelogsOf(surroundings.plan, id.sub)) {
    const key = regionKey(region.name)
    const changelog = surroundings.destinations(topic)[id.partition] as Destination
    const definition = definitionOf(region)
    const topicHash = surroundings.topicHash(topic)
    const found = committed.regions[key]
    if (found !== undefined && found.definition !== definition) {
      throw new DruseError(
        'REGION_CHANGED',
        `Region '${region.name}' was committed with another definition than its present one (${region.kind}, key ${region.key.kind}, value ${region.value.kind}): its old entries cannot be read as new ones. Give it another name. ${RESET}`,
        { region: region.name, task: taskName(id) },
      )
    }
    if (found !== undefined && found.changelog !== topicHash) {
      throw new DruseError(
        'TOPIC_RECREATED',
        `The changelog ${topic} of region '${region.name}' is not the topic that state was committed for: it was deleted and created again. ${RESET}`,
        { region: region.name, topic },
      )
    }
    const isSource = region.source !== undefined
    if (found === undefined && !isSource && (await holdsData(context, changelog, signal))) {
      throw stateWithoutOffsets(
        id,
        `region '${region.name}' is new, but its changelog ${topic} holds records`,
      )
    }
    const start = starts.get(partitionKey(changelog)) ?? 0
    // A table that is new to the application holds all that its topic said up to where it is read on.
    const position = isSource ? (positions.get(partitionKey(changelog))?.offset ?? start) : 0
    const at = found ?? { position, definition, changelog: topicHash }
    planned.push({
      name: region.name,
      key,
      persistent: region.store === 'persistent',
      changelog,
      isSource,
      start,
      committed: at,
      target: isSource ? at.position : await targetOf(context, committed, changelog, at.position),
    })
  }
  const known = new Set(planned.map(({ key }) => key))
  if (Object.keys(committed.regions).some((key) => !known.has(key))) {
    surroundings.log.warn(
      { task: taskName(id) },
      'task: a region was removed from the topology; its changelog topic stays and can be deleted',
    )
  }
  return planned
}

/** The inputs of a task that regions of it are restored from. */
function sourceLogs({ plan }: Surroundings, { sub, partition }: TaskId): TopicPartition[] {
  return changelogsOf(plan, sub).flatMap(({ region, topic }) =>
    region.source === undefined ? [] : [{ topic, partition }],
  )
}

/**
 * Where a region's part has to stand: at X. After commits without transactions at the changelog's end: what stands
 * beyond X was never committed, but what it replaced may have been compacted away.
 */
async function targetOf(
  { surroundings: { cluster } }: RestoreContext,
  { guarantee }: TaskMetadata,
  changelog: TopicPartition,
  committed: number,
): Promise<number> {
  if (guarantee === 'exactly_once') return committed
  const ends = await listOffsets(cluster, [changelog], 'latest')
  return Math.max(committed, ends.get(partitionKey(changelog)) as number)
}

/** A store that is of this log, be it an empty one: what is not is moved aside, never deleted. */
async function openStore(
  surroundings: Surroundings,
  id: TaskId,
  committed: TaskMetadata,
  planned: readonly PlannedRegion[],
  isPatient: boolean,
  signal: AbortSignal,
): Promise<Store> {
  const { directory, cluster, log } = surroundings
  let reason: string
  let code = 'STORE_FOREIGN'
  try {
    const store = await directory.openTask(id, cluster.clock, signal)
    try {
      const meta = readMeta(store)
      const foreign = whyForeign(meta, committed, planned)
      if (isAhead(meta, committed) && (foreign === undefined || isPatient)) {
        assertMayBeOlder(surroundings, id, committed, meta, isPatient)
      }
      if (foreign === undefined && meta !== undefined)
        await assertWhole(surroundings, id, store, meta, planned)
      if (foreign === undefined) return store
      reason = foreign
      await store.close()
    } catch (error) {
      await store.close()
      throw error
    }
  } catch (error) {
    if (!DruseError.is(error, 'STORE_CORRUPT')) throw error
    reason = error.message
    code = error.code
  }
  // Another take may have brought the store beyond what this one knows to be committed.
  if (signal.aborted) throw taskAbandoned(id)
  const movedTo = await directory.moveTaskAside(id)
  log.warn(
    { task: taskName(id), code, reason, movedTo },
    'task: its directory was moved aside, state is rebuilt',
  )
  return directory.openTask(id, cluster.clock, signal)
}

/**
 * After a crash, or when something was done to its files: the entries are those that were written last. LevelDB itself
 * leaves out what it cannot read, and does not say so.
 */
async function assertWhole(
  surroundings: Surroundings,
  id: TaskId,
  store: Store,
  { regions }: StoreMeta,
  planned: readonly PlannedRegion[],
): Promise<void> {
  if (store.asClosed) return
  const { clock, log } = surroundings
  const sinceMs = clock.monotonicMs()
  await assertFoundAlike(store, META_KEY)
  for (const { key, name, persistent } of planned) {
    const stored = regions[key]
    if (!persistent || stored === undefined) continue
    await assertFingerprint(store, surroundings.entries(name), stored.fingerprint)
  }
  log.info(
    { task: taskName(id), ms: clock.monotonicMs() - sinceMs },
    'task: its state was checked, and is whole',
  )
}

/** Of the same life of the task, and of a later commit. */
function isAhead<T extends Pick<StoreMeta, 'cluster' | 'incarnation' | 'sequence'>>(
  known: T | undefined,
  { cluster, incarnation, sequence }: TaskMetadata,
): known is T & { sequence: number } {
  if (known === undefined || known.cluster !== cluster || known.incarnation !== incarnation) return false
  return known.sequence !== null && known.sequence > sequence
}

/** Than what this process knows, also from others; what the task's own store says is another matter. */
export function isOlder(surroundings: Surroundings, id: TaskId, committed: TaskMetadata): boolean {
  return laterThan(surroundings, id, committed) !== undefined
}

function laterThan({ directory }: Surroundings, id: TaskId, committed: TaskMetadata): LastCommit | undefined {
  return directory.lastCommits.all(lastingName(id)).find((known) => isAhead(known, committed))
}

/** A persistent store says by itself what was committed; of other tasks it has to be written. */
function noteCommit(
  { directory }: Surroundings,
  id: TaskId,
  committed: TaskMetadata,
  isPersistent: boolean,
): void {
  const { lastCommits } = directory
  if (isPersistent) lastCommits.noteUnwritten(lastingName(id), committed)
  else lastCommits.note(lastingName(id), committed)
}

/**
 * Without transactions Kafka may carry out a commit late that was sent again long since, behind newer ones: nobody has set
 * the offsets back then, and what is processed twice is what that guarantee allows.
 */
function assertMayBeOlder(
  { log }: Surroundings,
  id: TaskId,
  committed: TaskMetadata,
  known: { readonly sequence: number },
  isPatient: boolean,
): void {
  const error = olderThanCommitted(id, committed, known)
  if (isPatient || committed.guarantee === 'exactly_once') throw error
  log.warn({ task: taskName(id), error }, 'task: records are processed again, from older offsets')
}

function olderThanCommitted(
  id: TaskId,
  committed: TaskMetadata,
  { sequence }: { readonly sequence: number },
): DruseError {
  return new DruseError(
    'OFFSETS_OLDER_THAN_STATE',
    `The offsets of task ${taskName(id)} are of commit ${committed.sequence}, but commit ${sequence} is known, by this state directory or from an instance that has told of it: the offsets were set back. What is processed from them is processed twice. ${RESET_OR_KEEP}`,
    { task: taskName(id), sequence: committed.sequence, known: sequence },
  )
}

function whyForeign(
  meta: StoreMeta | undefined,
  committed: TaskMetadata,
  planned: readonly PlannedRegion[],
): string | undefined {
  if (meta === undefined) return undefined
  if (meta.cluster !== committed.cluster) return 'it is of another cluster'
  if (meta.incarnation !== committed.incarnation) return 'it is of an earlier life of the application'
  for (const { key, name, committed: region, target } of planned) {
    const stored = meta.regions[key]
    if (stored === undefined) continue
    if (stored.changelog !== region.changelog) return `region '${name}' is of another changelog topic`
    if (stored.position > target) {
      return `region '${name}' stands at ${stored.position}, committed is ${target}`
    }
  }
  return undefined
}

/** An input that the task did not have before begins at its earliest record. */
async function startPositions(
  { cluster, plan, log }: Surroundings,
  id: TaskId,
  positions: InputPositions,
): Promise<InputPositions> {
  const fresh = inputsOf(plan, id).filter((at) => !positions.has(partitionKey(at)))
  if (fresh.length === 0) return positions
  const refused = fresh.find(({ topic }) => {
    const source = sourceOf(id, topic)
    return source.kind === 'source' && source.reset === 'none'
  })
  if (refused !== undefined) throw offsetsMissing(id, refused)
  log.warn(
    { task: taskName(id), inputs: fresh.map(partitionKey) },
    'task: new inputs, read from their beginning',
  )
  const starts = await listOffsets(cluster, fresh, 'earliest')
  return new Map([
    ...positions,
    ...Array.from(starts, ([key, offset]) => [key, { offset, partitionTimeMs: -1 }] as const),
  ])
}

function build(
  surroundings: Surroundings,
  id: TaskId,
  committed: TaskMetadata,
  positions: InputPositions,
  planned: readonly PlannedRegion[],
  reached: ReadonlyMap<string, RestoredRegion>,
  stores: Stores,
): TakenTask {
  let task: Task | undefined
  const regions = new Map<string, StateRegion>()
  for (const { name, key, persistent, changelog, isSource } of planned) {
    const store = (persistent ? stores.persistent : stores.memory) as Store
    const part = new RegionPart({
      entries: surroundings.entries(name),
      store,
      // What is in memory anyway needs no copy there.
      cache: persistent ? surroundings.caches.open() : undefined,
      // Nothing of it is written to a topic that an input is.
      maxRecordBytes: isSource ? Number.POSITIVE_INFINITY : changelog.maxRecordBytes,
      now: () => (task as Task).now(),
      undoable: id.sub.sources.some((source) => source.onFailure !== 'fail'),
      fingerprint: (reached.get(key) as RestoredRegion).fingerprint,
    })
    regions.set(name, { key, part, changelog, isSource, store })
  }
  const parts = new Map(Array.from(regions, ([name, { part }]) => [name, part]))
  const inputs = inputsOf(surroundings.plan, id).map((at) => {
    const source = sourceOf(id, at.topic)
    const position = positions.get(partitionKey(at)) as InputPosition
    const { timestamp, changelogOf } = source.kind === 'source' ? source : {}
    return new InputQueue(at, position, {
      ...surroundings.inputCodecs(at.topic),
      timestamp: timestampsOf(timestamp, surroundings.clock),
      isEntry: changelogOf && (({ key }) => key !== null && !(changelogOf.isTimed && key.length === 0)),
    })
  })
  const { sequence, streamTimeMs } = committed
  const { idleAfterMs, maxOutOfOrdernessMs } = surroundings.plan.graph
  const { maxTaskIdleMs } = surroundings
  task = new Task({
    id,
    inputs,
    parts,
    surroundings,
    sequence,
    streamTimeMs,
    idleAfterMs,
    maxOutOfOrdernessMs,
    maxTaskIdleMs,
  })
  const full = Object.fromEntries(
    planned.map(({ key, committed: region }) => {
      const { position } = reached.get(key) as RestoredRegion
      return [key, { ...region, position }]
    }),
  )
  const state = new TaskState({
    ...stores,
    regions,
    // An input that was ever committed stays known: without its offset it must not pass for a new one.
    committed: {
      ...committed,
      guarantee: surroundings.guarantee,
      regions: full,
      inputs: [...new Set([...committed.inputs, ...inputs.map(({ topic }) => inputKey(topic))])],
    },
    topicHash: (topic) => surroundings.topicHash(topic),
    clock: surroundings.clock,
    note: (now) => noteCommit(surroundings, id, now, stores.persistent !== undefined),
  })
  return { task, state }
}

/** Whether a reader under read_committed would be given anything. */
async function holdsData(
  { surroundings: { cluster }, reader }: RestoreContext,
  at: TopicPartition,
  signal: AbortSignal,
): Promise<boolean> {
  const key = partitionKey(at)
  const from = (await listOffsets(cluster, [at], 'earliest')).get(key) as number
  const end = (await listOffsets(cluster, [at], 'latest')).get(key) as number
  if (from >= end) return false
  let found = false
  await reader.read(
    at,
    from,
    ({ batches, nextOffset }) => {
      found = batches.length > 0
      return found || nextOffset >= end
    },
    signal,
  )
  return found
}

function sourceOf({ sub }: TaskId, topic: string) {
  const found = sub.sources.find((source) =>
    source.kind === 'source' ? source.topics.includes(topic) : source.topic === topic,
  )
  if (found === undefined) throw new Error(`no source reads ${topic}`)
  return found
}

/**
 * Where each input topic of a new task begins. What is repartitioned is this application's own: none of it may be passed
 * over. Nor may what came into a partition that was added while others of its topic were being read already.
 */
async function resetsOf(
  { cluster, plan }: Surroundings,
  id: TaskId,
): Promise<ReadonlyMap<string, SourceNode['reset']>> {
  const resets = new Map<string, SourceNode['reset']>()
  for (const { topic } of inputsOf(plan, id)) {
    const source = sourceOf(id, topic)
    resets.set(topic, source.kind === 'source' ? source.reset : 'earliest')
    if (resets.get(topic) === 'earliest') continue
    const partitions = Array.from({ length: plan.partitions.get(topic) as number }, (_, partition) => ({
      topic,
      partition,
    }))
    const committed = await committedOffsets(cluster, plan.graph.application, partitions)
    if (committed.some(({ offset }) => offset !== undefined)) resets.set(topic, 'earliest')
  }
  return resets
}

function offsetsMissing(id: TaskId, at: TopicPartition): DruseError {
  return new DruseError(
    'OFFSETS_MISSING',
    `Nothing is committed for ${partitionKey(at)}, and its offsetReset is 'none': say where it begins, with 'druse reset MODULE --keep-state --to-earliest' (or --to-latest, --to-offset, --to-datetime)`,
    { task: taskName(id) },
  )
}

function stateWithoutOffsets(id: TaskId, what: string): DruseError {
  return new DruseError(
    'STATE_WITHOUT_OFFSETS',
    `No offsets are committed for task ${taskName(id)}, but ${what}: the offsets have expired or were deleted. Starting anew would process old input onto old state. ${RESET_OR_KEEP}`,
    { task: taskName(id) },
  )
}
