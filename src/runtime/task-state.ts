/** The state of a task at rest: its stores, and where they stand against Kafka. */
import { DruseError } from '../errors.ts'
import { partitionKey } from '../kafka/partition-key.ts'
import type { Clock, Store, Write } from '../ports.ts'
import type { EntryTable } from '../region/entry-table.ts'
import type { RegionPart } from '../region/part.ts'
import type { Destination } from './placement.ts'
import type { Processed } from './repartition-purge.ts'
import { RESET } from './reset-advice.ts'
import type { SealedTask } from './task.ts'
import { type CommittedRegion, encodeMetadata, type TaskMetadata } from './task-metadata.ts'
import { metaWrite, type StoredRegion } from './task-store.ts'

/** A region's part as its task holds it. */
export interface StateRegion {
  readonly key: string
  readonly part: RegionPart
  readonly changelog: Destination
  /** The changelog is an input of the task: its changes stand there already, up to the input's position. */
  readonly isSource: boolean
  /** Where the part's entries lie. */
  readonly store: Store
}

export class TaskState {
  /** LevelDB's; undefined when no region of the task is persistent. */
  readonly #persistent: Store | undefined
  readonly #memory: Store | undefined
  readonly #regions: ReadonlyMap<string, StateRegion>
  readonly #topicHash: (topic: string) => string
  readonly #clock: Clock
  readonly #note: (committed: TaskMetadata) => void
  #committed: TaskMetadata
  #broken = false
  #closed = false

  constructor(options: {
    persistent: Store | undefined
    memory: Store | undefined
    regions: ReadonlyMap<string, StateRegion>
    committed: TaskMetadata
    topicHash: (topic: string) => string
    clock: Clock
    /** Told of what is committed. */
    note: (committed: TaskMetadata) => void
  }) {
    this.#persistent = options.persistent
    this.#memory = options.memory
    this.#regions = options.regions
    this.#committed = options.committed
    this.#topicHash = options.topicHash
    this.#clock = options.clock
    this.#note = options.note
  }

  /** As of the newest answered commit. */
  get committed(): TaskMetadata {
    return this.#committed
  }

  /** Where its changes are to go; undefined when they stand there already. */
  changelog(region: string): Destination | undefined {
    const { changelog, isSource } = this.#region(region)
    return isSource ? undefined : changelog
  }

  /**
   * What a commit will say, from where its changelog records went. A region without new records keeps its X.
   * Errors: CHANGELOG_TRUNCATED.
   */
  advance(sealed: SealedTask, ends: ReadonlyMap<string, number>): TaskMetadata {
    const regions: Record<string, CommittedRegion> = {}
    for (const [name, { key, changelog, isSource }] of this.#regions) {
      const before = this.#committed.regions[key] as CommittedRegion
      if (isSource) {
        const input = sealed.positions.find(({ topic }) => topic === changelog.topic)
        regions[key] = { ...before, position: (input as { offset: number }).offset }
        continue
      }
      const end = ends.get(partitionKey(changelog))
      const changes = sealed.overlays.get(name)?.size ?? 0
      if (end === undefined && changes > 0) {
        throw new Error(`the changes of region ${name} were not produced`)
      }
      if (end !== undefined && end - changes < before.position) {
        throw truncated(name, changelog, end - changes, before.position)
      }
      regions[key] = { ...before, position: end ?? before.position }
    }
    const { sequence, streamTimeMs } = sealed
    return { ...this.#committed, sequence, streamTimeMs, regions }
  }

  /** What is committed with one of the task's input offsets. */
  metadata(next: TaskMetadata, { topic, offset, partitionTimeMs }: SealedTask['positions'][number]): string {
    return encodeMetadata({ ...next, offset, partitionTimeMs, topic: this.#topicHash(topic) })
  }

  /** The transaction has been answered: overlay, positions and sequence, all in one batch. Returns why it could not. */
  async store(sealed: SealedTask, next: TaskMetadata): Promise<DruseError | undefined> {
    this.#committed = next
    this.#note(next)
    for (const { key, part } of this.#regions.values()) {
      part.committed((next.regions[key] as CommittedRegion).position)
    }
    try {
      for (const { part, store } of this.#regions.values()) {
        if (store === this.#persistent) await part.fingerprintSealed()
      }
      await this.#memory?.write(await this.#writes(sealed.overlays, this.#memory))
      await this.#persistent?.write([
        ...(await this.#writes(sealed.overlays, this.#persistent)),
        metaWrite({ ...next, asOfMs: this.#clock.wallMs(), regions: this.#persistentOf(next) }),
      ])
    } catch (cause) {
      // LevelDB takes writes after a failed one that its recovery may drop: this handle is not written to again.
      this.#broken = true
      return new DruseError(
        'STATE_WRITE_FAILED',
        `The committed state of task ${sealed.task.name} could not be stored: ${String(cause)}. Nothing is lost: it is read again from the changelog when the task starts anew`,
        { task: sealed.task.name, cause },
      )
    }
    for (const { part } of this.#regions.values()) part.applied()
    return undefined
  }

  /** Of a commit that was answered: what its regions' changelogs hold before these offsets is needed no more. */
  get forgotten(): Processed[] {
    return [...this.#regions.values()].flatMap(({ part, changelog: { topic, partition } }) =>
      part.forgotten > 0 ? [{ topic, partition, offset: part.forgotten }] : [],
    )
  }

  /** After a failed store: no more commits of this task. */
  get isBroken(): boolean {
    return this.#broken
  }

  /** Nobody can go on with it. */
  get isClosed(): boolean {
    return this.#closed
  }

  /** Never rejects: resolves to why a store could not be closed, after which it is of no use either way. */
  async close(): Promise<unknown> {
    this.#closed = true
    for (const { part } of this.#regions.values()) part.close()
    const closed = await Promise.allSettled([this.#persistent?.close(), this.#memory?.close()])
    return closed.find(({ status }) => status === 'rejected')
  }

  /** A region in memory stands nowhere in the store, and its position must not claim so. */
  #persistentOf({ regions }: TaskMetadata): Record<string, StoredRegion> {
    const kept = [...this.#regions.values()].filter(({ store }) => store === this.#persistent)
    return Object.fromEntries(
      kept.map(({ key, part }) => [
        key,
        { ...(regions[key] as CommittedRegion), fingerprint: part.fingerprint },
      ]),
    )
  }

  async #writes(overlays: ReadonlyMap<string, EntryTable>, store: Store): Promise<Write[]> {
    const writes: Write[][] = []
    for (const [name, overlay] of overlays) {
      const region = this.#region(name)
      if (region.store !== store) continue
      writes.push(region.part.writes(overlay))
      writes.push(await region.part.removals(overlay))
    }
    return writes.flat()
  }

  #region(name: string): StateRegion {
    return this.#regions.get(name) as StateRegion
  }
}

/** Kafka appends behind what it has: what was committed there is gone, and nobody else has it but this directory. */
function truncated(region: string, changelog: Destination, at: number, committed: number): DruseError {
  const { topic, partition } = changelog
  return new DruseError(
    'CHANGELOG_TRUNCATED',
    `Changes of region '${region}' went to ${topic}/${partition}@${at}, but state up to ${committed} was committed: Kafka has lost data (unclean leader election?), or the topic was created again. Their commit was given up. Restore the topic. ${RESET}`,
    { region, topic, partition, offset: at, committed },
  )
}
