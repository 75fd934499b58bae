/**
 * When to commit, and the one commit under way: sealed effects on their way to Kafka while the tasks fill the next
 * transaction. At most one is under way, so a task has at most two overlays.
 */
import type { DruseError } from '../errors.ts'
import type { CommitWriter } from '../kafka/commit-writer.ts'
import type { Clock, Membership } from '../ports.ts'
import { type CommitResult, commit, type SealedTransaction } from './commit.ts'
import type { DruseSettings } from './options.ts'
import type { FirstStart, TakenTask } from './take.ts'
import { asInternal, type Slot } from './task-table.ts'

export interface FailedCommit {
  readonly transaction: SealedTransaction
  /** Of a transaction of offsets alone. */
  readonly starts?: readonly FirstStart[]
  readonly error: DruseError
}

export type CommitOutcome = CommitResult | FailedCommit

interface UnderWay {
  readonly settled: Promise<void>
  outcome: CommitOutcome | undefined
}

export class CommitPipeline {
  readonly #groupId: string
  readonly #writer: CommitWriter
  readonly #settings: DruseSettings
  readonly #clock: Clock
  readonly #settled: () => void
  #underWay: UnderWay | undefined
  /** Since when there is something to commit, and as whom: captured with the first record after a seal. */
  #dirty: { readonly sinceMs: number; readonly as: Membership } | undefined
  #recordsSinceSeal = 0

  constructor(
    groupId: string,
    writer: CommitWriter,
    settings: DruseSettings,
    clock: Clock,
    settled: () => void,
  ) {
    this.#groupId = groupId
    this.#writer = writer
    this.#settings = settings
    this.#clock = clock
    this.#settled = settled
  }

  /** There is something to commit from now on. */
  touch(as: Membership): void {
    this.#dirty ??= { sinceMs: this.#clock.monotonicMs(), as }
  }

  count(records: number): void {
    this.#recordsSinceSeal += records
  }

  /** How many more records the transaction takes. */
  get room(): number {
    return this.#settings.commitRecords - this.#recordsSinceSeal
  }

  /** Whether the next transaction holds so much that processing has to wait for its commit. */
  isFull(slots: readonly Slot[]): boolean {
    if (this.room <= 0) return true
    let bytes = 0
    for (const { taken } of slots) bytes += taken?.task.bytes ?? 0
    return bytes >= this.#settings.commitBytes
  }

  get isSettled(): boolean {
    return this.#underWay?.outcome !== undefined
  }

  /** Until a commit is due by its interval; undefined when there is none to wait for. */
  get dueInMs(): number | undefined {
    if (this.#dirty === undefined || this.#underWay !== undefined) return undefined
    return this.#dirty.sinceMs + this.#settings.commitIntervalMs - this.#clock.monotonicMs()
  }

  isDue(slots: readonly Slot[]): boolean {
    const { dueInMs } = this
    if (dueInMs === undefined) return false
    return dueInMs <= 0 || this.isFull(slots) || slots.some(waitsOnlyForSeal)
  }

  /** Seals every dirty task that is between records, and commits them in one transaction. */
  start(slots: readonly Slot[]): void {
    if (this.#dirty === undefined || this.#underWay !== undefined) return
    const { as } = this.#dirty
    const tasks: TakenTask[] = []
    let leftOut = false
    for (const slot of slots) {
      const { taken, status } = slot
      if (status !== 'running' || taken === undefined || taken.state.isBroken) continue
      slot.waitsForSeal = taken.task.busy !== undefined
      if (slot.waitsForSeal) leftOut = true
      else if (taken.task.isDirty) tasks.push(taken)
    }
    this.#dirty = leftOut ? { sinceMs: this.#clock.monotonicMs(), as } : undefined
    this.#recordsSinceSeal = 0
    if (tasks.length === 0) return
    const transaction = { as, tasks: tasks.map(({ task, state }) => ({ ...task.seal(), state })) }
    const underWay: UnderWay = {
      outcome: undefined,
      settled: this.#commit(transaction).then((outcome) => {
        underWay.outcome = outcome
        this.#settled()
      }),
    }
    this.#underWay = underWay
  }

  /** Waits for the commit under way and takes its outcome; undefined when there was none. */
  async settle(): Promise<CommitOutcome | undefined> {
    const underWay = this.#underWay
    await underWay?.settled
    this.#underWay = undefined
    return underWay?.outcome
  }

  /** Waits for the commit under way and leaves its outcome. */
  async quiet(): Promise<void> {
    await this.#underWay?.settled
  }

  /** The overlays are gone: nothing is left to commit. */
  forget(): void {
    this.#dirty = undefined
    this.#recordsSinceSeal = 0
  }

  async #commit(transaction: SealedTransaction): Promise<CommitOutcome> {
    try {
      return await commit(transaction, this.#groupId, this.#writer)
    } catch (error) {
      // One strike: whatever it was, this epoch has been used for the last time.
      this.#writer.close()
      return { transaction, error: asInternal(error) }
    }
  }
}

/** A task that gets no records only because it waits for its seal, and could be sealed now. */
function waitsOnlyForSeal({ status, waitsForSeal, taken }: Slot): boolean {
  return status === 'running' && waitsForSeal && taken?.task.busy === undefined
}
