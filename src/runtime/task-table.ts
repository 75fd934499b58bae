/** The tasks of a worker with their inputs: what is fetched goes to the task that owns it. */
import { DruseError } from '../errors.ts'
import { type Delivery, Fetcher } from '../kafka/fetcher.ts'
import { partitionKey } from '../kafka/partition-key.ts'
import type { InputQueue } from './input-queue.ts'
import type { DruseSettings } from './options.ts'
import { type TaskId, taskName } from './plan.ts'
import { StallWatch } from './stall-watch.ts'
import type { Surroundings } from './surroundings.ts'
import type { TakenTask } from './take.ts'
import type { Task } from './task.ts'

export type TaskStatus = 'taking' | 'running' | 'suspended' | 'failed'

export interface TaskHealth {
  readonly task: string
  readonly status: TaskStatus
  /** Of a failed task. */
  readonly error: DruseError | undefined
  /** What a task that has not failed waits for, and goes on by itself when it is there: a schema registry, a broker. */
  readonly waitingFor: DruseError | undefined
  /** Records processed since the task began here. */
  readonly processed: number
  /** How often a record was left out of a window that had closed, since the task began here. */
  readonly late: number
  /**
   * How often a record was left out for another reason, since the task began here: an operator needs a key or a value, and
   * it has none; its source's `timestamp` says so; an error policy says so, also when it became a dead letter. Together
   * with `late` Kafka Streams' `dropped-records-total`.
   */
  readonly dropped: number
}

/**
 * The place of an assigned task:
 *
 *   taking ──► running ──► suspended (rebalance) ──► taking …
 *      │          │
 *      └──────────┴──► failing (is it still ours?) ──► failed (closed, until the next rebalance)
 */
export interface Slot {
  readonly id: TaskId
  status: TaskStatus | 'failing'
  taken: TakenTask | undefined
  error: DruseError | undefined
  /** Why it cannot be taken yet. */
  waitingFor: DruseError | undefined
  /** Had a record under way when a commit was due: gets no further one before it is sealed. */
  waitsForSeal: boolean
}

export interface TaskTableHandlers {
  /** An input of a task has moved; `moved` when there is nothing to process for it: control records alone. */
  arrived(slot: Slot, moved: boolean): void
  /** The task has failed and is to be closed. */
  failed(slot: Slot): void
}

export class TaskTable {
  readonly #surroundings: Surroundings
  readonly #buffered: number
  readonly #handlers: TaskTableHandlers
  readonly #fetcher: Fetcher
  readonly #stalls: StallWatch
  readonly #slots = new Map<string, Slot>()
  readonly #inputs = new Map<string, { readonly slot: Slot; readonly queue: InputQueue }>()

  constructor(surroundings: Surroundings, settings: DruseSettings, handlers: TaskTableHandlers) {
    this.#surroundings = surroundings
    this.#buffered = settings.bufferedRecordsPerPartition
    this.#handlers = handlers
    this.#stalls = new StallWatch(surroundings.clock, surroundings.log)
    this.#fetcher = new Fetcher(
      surroundings.cluster,
      { isolation: 'read_committed', maxWaitMs: settings.fetchMaxWaitMs },
      {
        deliver: (delivery) => this.#deliver(delivery),
        failed: (partition, error) => this.fail(this.#inputs.get(partitionKey(partition))?.slot, error),
      },
    )
  }

  get slots(): Slot[] {
    return [...this.#slots.values()]
  }

  get health(): TaskHealth[] {
    return this.slots.map(({ id, status, error, taken, waitingFor }) => ({
      task: taskName(id),
      status: status === 'failing' ? 'suspended' : status,
      error: status === 'failed' ? error : undefined,
      waitingFor: status === 'running' ? taken?.task.waitingFor : waitingFor,
      processed: taken?.task.processed ?? 0,
      late: taken?.task.late ?? 0,
      dropped: taken?.task.dropped ?? 0,
    }))
  }

  slot(name: string): Slot | undefined {
    return this.#slots.get(name)
  }

  /** Places for these tasks and no others; those that have failed get another chance. */
  async assign(ids: readonly TaskId[]): Promise<void> {
    const names = new Set(ids.map(taskName))
    // One that fails while others are closed has failed anew.
    const failed = this.slots.filter(hasFailed)
    for (const slot of this.slots) if (!names.has(taskName(slot.id))) await this.#forget(slot)
    for (const slot of failed) {
      await this.close(slot)
      slot.status = 'taking'
      slot.error = undefined
    }
    for (const id of ids) {
      if (this.#slots.has(taskName(id))) continue
      const fresh: Slot = {
        id,
        status: 'taking',
        taken: undefined,
        error: undefined,
        waitingFor: undefined,
        waitsForSeal: false,
      }
      this.#slots.set(taskName(id), fresh)
    }
  }

  /** Sets a task that was taken to run, unless its place is gone; then it is closed. */
  async install(taken: TakenTask, isWanted: boolean): Promise<void> {
    const slot = this.#slots.get(taken.task.name)
    if (!isWanted || slot === undefined || hasFailed(slot)) {
      if (slot?.taken !== taken) await taken.state.close()
      return
    }
    if (slot.taken !== taken) {
      await this.close(slot)
      taken.task.whenReady(() => this.#handlers.arrived(slot, false))
      for (const queue of taken.task.inputs) {
        this.#inputs.set(partitionKey(queue), { slot, queue })
        this.#fetcher.add(queue, queue.position)
      }
    }
    slot.taken = taken
    slot.status = 'running'
    slot.waitingFor = undefined
    slot.waitsForSeal = false
  }

  /** From here on nothing of the task is processed or sealed. */
  fail(slot: Slot | undefined, cause: unknown): void {
    if (slot === undefined || hasFailed(slot)) return
    slot.status = 'failing'
    slot.error = asInternal(cause)
    slot.waitingFor = undefined
    this.#handlers.failed(slot)
  }

  /** The failure counts. */
  stopped(slot: Slot): void {
    slot.status = 'failed'
    this.#surroundings.log.error({ task: taskName(slot.id), error: slot.error }, 'task: stopped')
  }

  /** As `fail`, of a task that may have been dropped meanwhile; it has nothing to say then. */
  failIfCurrent(slot: Slot, task: Task, cause: unknown): void {
    if (slot.taken?.task === task) this.fail(slot, cause)
  }

  /** Fetches what was held back, for tasks that have room again. */
  resumeInputs(task: Task): void {
    for (const input of task.inputs) if (input.buffered < this.#buffered) this.#fetcher.resume(input)
  }

  /** Drops the task's overlays and closes its store; its place stays. */
  async close(slot: Slot): Promise<void> {
    const { taken } = slot
    slot.taken = undefined
    if (taken === undefined) return
    taken.task.close()
    for (const queue of taken.task.inputs) {
      this.#fetcher.remove(queue)
      this.#inputs.delete(partitionKey(queue))
      queue.close()
    }
    const error = await taken.state.close()
    if (error !== undefined) {
      this.#surroundings.log.error({ task: taskName(slot.id), error }, 'task: its store could not be closed')
    }
  }

  /** Every overlay is gone after this, and every store is closed. */
  async dropAll(): Promise<void> {
    for (const slot of this.slots) {
      await this.close(slot)
      if (!hasFailed(slot)) slot.status = 'taking'
    }
  }

  async forgetAll(): Promise<void> {
    for (const slot of this.slots) await this.#forget(slot)
  }

  /** Nothing is fetched any more. */
  disconnect(): void {
    this.#fetcher.close()
  }

  async #forget(slot: Slot): Promise<void> {
    await this.close(slot)
    this.#slots.delete(taskName(slot.id))
  }

  #deliver(delivery: Delivery): void {
    const input = this.#inputs.get(partitionKey(delivery))
    if (input === undefined) return
    this.#stalls.see(delivery)
    const { queue, slot } = input
    const before = queue.position
    const pending = queue.append(delivery, this.#surroundings.cluster)
    if (queue.buffered >= this.#buffered) this.#fetcher.pause(delivery)
    if (pending === undefined) this.#handlers.arrived(slot, queue.position !== before)
    else {
      pending.then(
        () => this.#handlers.arrived(slot, false),
        (error: unknown) => {
          // Of a queue that was closed meanwhile, nothing counts.
          if (this.#inputs.get(partitionKey(queue))?.queue === queue) this.fail(slot, error)
        },
      )
    }
  }
}

const hasFailed = ({ status }: Slot): boolean => status === 'failing' || status === 'failed'

/** What is not a DruseError should not have happened. */
export function asInternal(error: unknown): DruseError {
  if (error instanceof DruseError) return error
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return new DruseError('INTERNAL', `This is a fault of Druse: ${message}`, { cause: error })
}
