/**
 * Brings all regions of a task to where they have to stand, one after the other: their positions stand in one entry of
 * one store.
 *
 * Compaction takes away, `delete.retention.ms` after it could first do so, the record that says that an entry was
 * deleted. A replay that comes to that place later would leave the entry there. So entries count only for half as long
 * from when they were last known to be whole; after that the region is read from its beginning.
 */
import { DruseError } from '../errors.ts'
import type { PartitionReader } from '../kafka/partition-reader.ts'
import { committedOffsets } from '../kafka/topics.ts'
import type { Store } from '../ports.ts'
import { type Fingerprint, OF_NOTHING } from '../region/fingerprint.ts'
import { clearRange } from '../region/range.ts'
import { placeAnew } from '../region/time-index.ts'
import { agree } from './agreement.ts'
import type { Destination } from './placement.ts'
import { inputsOf, type TaskId, taskName } from './plan.ts'
import { RESET_OR_KEEP } from './reset-advice.ts'
import { type RestoreProgress, replay } from './restore.ts'
import { taskAbandoned } from './state-directory.ts'
import type { Surroundings } from './surroundings.ts'
import type { CommittedRegion, TaskMetadata } from './task-metadata.ts'
import { metaWrite, readMeta, type StoredRegion, type StoreMeta } from './task-store.ts'

export interface RestoreContext {
  readonly surroundings: Surroundings
  readonly reader: PartitionReader
  readonly progress: (progress: RestoreProgress) => void
}

/** The region's part of a task, before anything is known of its store. */
export interface PlannedRegion {
  readonly name: string
  readonly key: string
  readonly persistent: boolean
  readonly changelog: Destination
  /** The changelog is an input of the task: what stands beyond X is still to be processed. */
  readonly isSource: boolean
  /** Where a replay from the beginning begins. */
  readonly start: number
  readonly committed: CommittedRegion
  /** Where its part has to stand. */
  readonly target: number
}

/** Where the entries of a task lie; undefined when it has no regions of that kind. */
export interface Stores {
  readonly persistent: Store | undefined
  readonly memory: Store | undefined
}

/** From the beginning, in a row, before a replay is given up as too slow. */
const ATTEMPTS_MAX = 3

/** Where a region's part stands, and what it is there. */
export type RestoredRegion = Pick<StoredRegion, 'position' | 'fingerprint'>

/**
 * Resolves to where each region stands, by `regionKey`.
 * Errors: OFFSETS_OLDER_THAN_STATE, RESTORE_TOO_SLOW, those of `replay`.
 */
export async function restoreRegions(
  context: RestoreContext,
  id: TaskId,
  committed: TaskMetadata,
  planned: readonly PlannedRegion[],
  stores: Stores,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, RestoredRegion>> {
  const restoring = new RestoringTask(context, id, committed, planned, stores)
  await restoring.clearForeign()
  for (const region of planned) await restoring.restore(region, signal)
  await restoring.finish()
  return restoring.reached
}

class RestoringTask {
  /** Of every region in the end; until then of those whose entries are a prefix of their changelog. */
  readonly reached = new Map<string, RestoredRegion>()
  readonly #context: RestoreContext
  readonly #id: TaskId
  readonly #committed: TaskMetadata
  readonly #planned: readonly PlannedRegion[]
  readonly #stores: Stores
  readonly #meta: StoreMeta | undefined
  #asOfMs: number
  #hasReplayed = false

  constructor(
    context: RestoreContext,
    id: TaskId,
    committed: TaskMetadata,
    planned: readonly PlannedRegion[],
    stores: Stores,
  ) {
    this.#context = context
    this.#id = id
    this.#committed = committed
    this.#planned = planned
    this.#stores = stores
    this.#meta = stores.persistent && readMeta(stores.persistent)
    for (const { key, persistent } of planned) {
      const stored = this.#meta?.regions[key]
      if (persistent && stored !== undefined) this.reached.set(key, stored)
    }
    this.#asOfMs = this.#meta?.asOfMs ?? context.surroundings.clock.wallMs()
  }

  /** What a region left there when it was kept elsewhere, or had another life, is not of this log. */
  async clearForeign(): Promise<void> {
    for (const region of this.#planned) {
      if (region.persistent && !this.reached.has(region.key)) await this.#clearEntries(region)
    }
  }

  async restore(region: PlannedRegion, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#context.surroundings
    const { key, name, target } = region
    const task = taskName(this.#id)
    const from = this.#position(region)
    if (from < target) {
      this.#hasReplayed = true
      const limitMs = this.#limitMs(region)
      const ageMs = from === region.start ? 0 : clock.wallMs() - this.#asOfMs
      // Entries from the future are of a clock that was wrong: nobody knows their age.
      let isTooOld = !(ageMs >= 0 && ageMs <= limitMs)
      for (let attempt = 1; ; attempt++) {
        if (isTooOld) await this.#beginAnew(region)
        const sinceMs = clock.monotonicMs() - (this.reached.has(key) ? ageMs : 0)
        await this.#replay(region, signal)
        isTooOld = clock.monotonicMs() - sinceMs > limitMs
        if (!isTooOld) break
        if (attempt === ATTEMPTS_MAX) throw tooSlow(task, region, limitMs)
      }
    } else {
      // A committed record beyond what was committed shows here, too.
      await this.#replay(region, signal)
      log.debug({ task, region: name, at: from }, 'task: state is there')
    }
    const store = this.#storeOf(region)
    const isAsLeft = from === target && store.asClosed && this.#meta?.sequence === this.#committed.sequence
    if (!isAsLeft) await placeAnew(store, this.#context.surroundings.entries(name))
    this.reached.set(key, { position: target, fingerprint: this.#fingerprint(key) })
  }

  async finish(): Promise<void> {
    const { persistent } = this.#stores
    const { sequence } = this.#committed
    if (persistent === undefined || (!this.#hasReplayed && this.#meta?.sequence === sequence)) return
    this.#asOfMs = this.#context.surroundings.clock.wallMs()
    await persistent.write([this.#metaAt(sequence)])
  }

  async #replay(region: PlannedRegion, signal: AbortSignal): Promise<void> {
    const { surroundings, reader, progress } = this.#context
    const { name, key, persistent, changelog, isSource, target } = region
    const task = taskName(this.#id)
    const from = this.#position(region)
    const { dataBeyond, records } = await replay(
      {
        task,
        region: name,
        changelog,
        entries: surroundings.entries(name),
        store: this.#storeOf(region),
        from,
        to: target,
        isSource,
        fingerprint: persistent ? this.#fingerprint(key) : undefined,
        meta: (position, fingerprint) => {
          if (fingerprint === undefined) return []
          this.reached.set(key, { position, fingerprint })
          return [this.#metaAt(null)]
        },
        progress,
      },
      surroundings.cluster,
      reader,
      signal,
    )
    // Without transactions there may be such records, of an owner that was about to commit them.
    if (dataBeyond && this.#committed.guarantee === 'exactly_once') {
      await checkStillCommitted(surroundings, this.#id, this.#committed, name)
    }
    if (from < target) {
      surroundings.log.info({ task, region: name, from, to: target, records }, 'task: state replayed')
    }
  }

  async #beginAnew(region: PlannedRegion): Promise<void> {
    const { log } = this.#context.surroundings
    const { name, key, persistent, changelog } = region
    log.warn(
      { task: taskName(this.#id), region: name, from: this.#position(region), topic: changelog.topic },
      'task: entries older than half of delete.retention.ms; the changelog is replayed from its beginning',
    )
    this.reached.delete(key)
    // What stands at its target is whole now.
    const others = this.#planned.filter((other) => other.persistent && this.reached.has(other.key))
    if (others.every((other) => this.#position(other) === other.target)) {
      this.#asOfMs = this.#context.surroundings.clock.wallMs()
    }
    // Before the first of its entries is gone, the store says that it holds none.
    if (persistent) await (this.#stores.persistent as Store).write([this.#metaAt(null)])
    await this.#clearEntries(region)
  }

  async #clearEntries(region: PlannedRegion): Promise<void> {
    const entries = this.#context.surroundings.entries(region.name)
    await clearRange(this.#storeOf(region), { gte: entries.prefix, lt: entries.end })
    await placeAnew(this.#storeOf(region), entries)
  }

  #position({ key, start }: PlannedRegion): number {
    return this.reached.get(key)?.position ?? start
  }

  #fingerprint(key: string): Fingerprint {
    return this.reached.get(key)?.fingerprint ?? OF_NOTHING
  }

  #limitMs({ changelog }: PlannedRegion): number {
    return this.#context.surroundings.deleteRetentionMs(changelog.topic) / 2
  }

  #storeOf({ persistent }: PlannedRegion): Store {
    return (persistent ? this.#stores.persistent : this.#stores.memory) as Store
  }

  #metaAt(sequence: number | null) {
    const regions = this.#planned.flatMap(({ key, persistent, committed: { changelog } }) => {
      const reached = this.reached.get(key)
      return persistent && reached !== undefined ? [[key, { ...reached, changelog }] as const] : []
    })
    return metaWrite({
      ...this.#committed,
      sequence,
      asOfMs: this.#asOfMs,
      regions: Object.fromEntries(regions),
    })
  }
}

/** Another owner may have committed meanwhile; if it was not that, offsets and state do not fit together. */
async function checkStillCommitted(
  surroundings: Surroundings,
  id: TaskId,
  committed: TaskMetadata,
  region: string,
): Promise<void> {
  const { cluster, plan } = surroundings
  const offsets = await committedOffsets(cluster, plan.graph.application, inputsOf(plan, id))
  const now = agree(id, offsets, surroundings)
  if (now.kind !== 'committed' || now.metadata.sequence !== committed.sequence) throw taskAbandoned(id)
  throw new DruseError(
    'OFFSETS_OLDER_THAN_STATE',
    `The changelog of region '${region}' holds committed records beyond what the offsets of task ${taskName(id)} say: the offsets were set back. Processing from them would count records twice. ${RESET_OR_KEEP}`,
    { task: taskName(id), region },
  )
}

function tooSlow(task: string, { name, changelog: { topic } }: PlannedRegion, limitMs: number): DruseError {
  return new DruseError(
    'RESTORE_TOO_SLOW',
    `The changelog ${topic} of region '${name}' cannot be replayed in ${limitMs} ms, half of its delete.retention.ms: deleted entries could come back. Raise delete.retention.ms of the topic`,
    { task, region: name, topic, limitMs },
  )
}
