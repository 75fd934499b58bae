/**
 * One event loop with one group member and one transactional producer, owning many tasks.
 *
 * The loop carries out orders (from the group, from tasks being taken) one at a time; between them it processes slices
 * of records and starts commits. A commit runs beside the loop: while it does, tasks fill the next transaction. If it
 * fails, everything since is dropped, and the tasks are taken again by the same way as at a start.
 *
 *   task:  taking ──► running ──► suspended (rebalance) ──► taking …
 *             │          │
 *             └──────────┴──► failed (parked until the next rebalance)
 */
import { DruseError } from '../errors.ts'
import { type Delivery, Fetcher } from '../kafka/fetcher.ts'
import { GroupMember } from '../kafka/group-member.ts'
import { partitionKey } from '../kafka/partition-key.ts'
import { PartitionReader } from '../kafka/partition-reader.ts'
import { pause } from '../kafka/retry.ts'
import { TransactionalWriter } from '../kafka/transactional-writer.ts'
import type { Membership } from '../ports.ts'
import type { TopicPartition } from '../types.ts'
import { assignedTasks, assignTasks, memberMetadata } from './assignor.ts'
import { type CommitResult, commit, commitFirstStarts, concerns, type SealedTransaction } from './commit.ts'
import type { InputQueue } from './input-queue.ts'
import type { DruseSettings } from './options.ts'
import { type TaskId, taskName } from './plan.ts'
import type { RestoreProgress } from './restore.ts'
import type { Surroundings } from './surroundings.ts'
import type { FirstStart, TakenTask } from './take.ts'
import { Taker } from './taker.ts'
import type { Task } from './task.ts'

export type TaskStatus = 'taking' | 'running' | 'suspended' | 'failed'

export interface TaskHealth {
  readonly task: string
  readonly status: TaskStatus
  /** Of a failed task. */
  readonly error: DruseError | undefined
  /** Records processed since the task began here. */
  readonly processed: number
}

export interface WorkerCounts {
  commits: number
  records: number
  /** Commits whose outcome had to be read from Kafka. */
  indefinite: number
  /** Times that tasks were dropped and taken again because of a failed commit. */
  recoveries: number
}

export interface WorkerHandlers {
  /** Something that `health` shows has changed. */
  changed(): void
  /** The worker cannot go on. */
  failed(error: DruseError): void
  progress(progress: RestoreProgress): void
}

interface Slot {
  readonly id: TaskId
  status: TaskStatus
  taken: TakenTask | undefined
  error: DruseError | undefined
  /** Had a record under way when a commit was due: gets no further one before it is sealed. */
  waitsForSeal: boolean
}

type Order =
  | { readonly kind: 'assigned'; readonly assignment: Uint8Array; readonly membership: Membership }
  | { readonly kind: 'revoke' | 'lost'; readonly done: () => void }
  | { readonly kind: 'taken'; readonly taken: TakenTask; readonly signal: AbortSignal }
  | {
      readonly kind: 'firstStarts'
      readonly starts: readonly FirstStart[]
      readonly done: () => void
      readonly signal: AbortSignal
    }
  | { readonly kind: 'park'; readonly slot: Slot }
  | { readonly kind: 'close' }

interface RunningCommit {
  readonly transaction: SealedTransaction
  readonly settled: Promise<void>
  outcome: { readonly result: CommitResult } | { readonly error: unknown } | undefined
}

interface FailedCommit {
  readonly transaction: SealedTransaction
  readonly error: DruseError
}

const SLICE_MS = 5
const SLICE_RECORDS_PER_TASK = 256
const RECOVERY_PAUSE_MS = 50
const RECOVERY_PAUSE_MAX_MS = 5_000

export class Worker {
  readonly #surroundings: Surroundings
  readonly #settings: DruseSettings
  readonly #handlers: WorkerHandlers
  readonly #groupId: string
  readonly #fetcher: Fetcher
  readonly #reader: PartitionReader
  readonly #writer: TransactionalWriter
  readonly #member: GroupMember
  readonly #taker: Taker
  readonly #orders: Order[] = []
  readonly #slots = new Map<string, Slot>()
  readonly #inputs = new Map<string, { readonly slot: Slot; readonly queue: InputQueue }>()
  readonly counts: WorkerCounts = { commits: 0, records: 0, indefinite: 0, recoveries: 0 }
  #membership: Membership | undefined
  #taking = new AbortController()
  #committing: RunningCommit | undefined
  /** Since when there is something to commit, and as whom: captured with the first record after a seal. */
  #dirty: { readonly sinceMs: number; readonly as: Membership } | undefined
  #recordsSinceSeal = 0
  #failuresInARow = 0
  #wake: (() => void) | undefined
  #running: Promise<void> | undefined
  #closing = false
  /** Stores of tasks that were taken too late to run. */
  readonly #closed: Promise<void>[] = []
  /** Aborted when the time for a graceful close is over. */
  readonly #hurry = new AbortController()
  #turn = 0

  constructor(surroundings: Surroundings, settings: DruseSettings, handlers: WorkerHandlers) {
    const { cluster, plan, directory } = surroundings
    this.#surroundings = surroundings
    this.#settings = settings
    this.#handlers = handlers
    this.#groupId = plan.graph.application
    this.#fetcher = new Fetcher(
      cluster,
      { isolation: 'read_committed', maxWaitMs: settings.fetchMaxWaitMs },
      {
        deliver: (delivery) => this.#deliver(delivery),
        failed: (partition, error) => this.#inputFailed(partition, error),
      },
    )
    this.#reader = new PartitionReader(cluster)
    this.#writer = new TransactionalWriter(cluster, {
      transactionalId: `${this.#groupId}-${directory.workerId}`,
      transactionTimeoutMs: settings.transactionTimeoutMs,
    })
    this.#taker = new Taker(
      { surroundings, reader: this.#reader, progress: (progress) => handlers.progress(progress) },
      settings,
      {
        taken: (taken, signal) => this.#order({ kind: 'taken', taken, signal }),
        firstStarts: (starts, signal) =>
          new Promise((done) => this.#order({ kind: 'firstStarts', starts, done, signal })),
        failed: (id, error) => this.#fail(this.#slots.get(taskName(id)), error),
      },
    )
    this.#member = new GroupMember(
      cluster,
      {
        groupId: this.#groupId,
        groupInstanceId: null,
        protocolName: 'druse',
        sessionTimeoutMs: settings.sessionTimeoutMs,
        heartbeatIntervalMs: settings.heartbeatIntervalMs,
        rebalanceTimeoutMs: settings.rebalanceTimeoutMs,
      },
      {
        metadata: () =>
          memberMetadata(
            plan,
            Array.from(this.#slots.values(), ({ id }) => id),
          ),
        assign: async (members) => assignTasks(plan, members),
        assigned: (assignment, membership) => this.#order({ kind: 'assigned', assignment, membership }),
        revoke: () => new Promise((done) => this.#order({ kind: 'revoke', done })),
        lost: () => new Promise((done) => this.#order({ kind: 'lost', done })),
        failed: (error) => handlers.failed(error),
      },
    )
  }

  get health(): TaskHealth[] {
    return Array.from(this.#slots.values(), ({ id, status, error, taken }) => ({
      task: taskName(id),
      status,
      error,
      processed: taken?.task.processed ?? 0,
    }))
  }

  get isMember(): boolean {
    return this.#membership !== undefined
  }

  /** A task's state, when it is running here. */
  running(subId: number, partition: number): Task | undefined {
    const slot = this.#slots.get(`${subId}_${partition}`)
    return slot?.status === 'running' ? slot.taken?.task : undefined
  }

  /** Fences what a predecessor left behind, then joins the group. Errors: BROKER_UNAVAILABLE, KAFKA_REFUSED. */
  async start(): Promise<void> {
    await this.#writer.open()
    this.#running = this.#run().catch((error: unknown) => this.#handlers.failed(asInternal(error)))
    this.#member.start()
  }

  /** Commits what is done, lets go of the tasks and leaves the group, as far as that is possible in time. */
  async close(deadlineMs: number): Promise<void> {
    const { clock } = this.#surroundings
    this.#order({ kind: 'close' })
    // Without its sockets nothing of the worker can wait for long.
    const cancel = clock.wake(deadlineMs, () => this.#disconnect())
    try {
      await this.#running
      await this.#member.close()
    } finally {
      cancel()
      this.#disconnect()
      await this.#taker.idle()
      await Promise.all(this.#closed)
    }
  }

  #disconnect(): void {
    this.#hurry.abort()
    this.#writer.close()
    this.#fetcher.close()
    this.#reader.close()
    this.#surroundings.cluster.close()
  }

  // --- the loop ---

  async #run(): Promise<void> {
    while (!this.#closing) {
      const order = this.#orders.shift()
      if (order !== undefined) await this.#carryOut(order)
      else if (this.#committing?.outcome !== undefined) await this.#recoverIf(await this.#settle())
      else {
        const worked = this.#processSlice()
        this.#maybeCommit()
        await this.#rest(worked ? 0 : this.#idleMs())
      }
    }
  }

  #order(order: Order): void {
    if (this.#closing) this.#decline(order)
    else this.#orders.push(order)
    this.#poke()
  }

  /** Of the orders that come too late, none may be left waiting or hold a store open. */
  #decline(order: Order): void {
    if ('done' in order) order.done()
    if (order.kind === 'taken') this.#closed.push(order.taken.state.close())
  }

  #poke(): void {
    this.#wake?.()
  }

  /** Until something happens, at most so long; 0 only lets I/O have its turn. */
  #rest(ms: number | undefined): Promise<void> {
    const { clock } = this.#surroundings
    return new Promise((resolve) => {
      let cancel = (): void => {}
      const done = (): void => {
        this.#wake = undefined
        cancel()
        resolve()
      }
      if (ms !== 0) this.#wake = done
      if (ms !== undefined) cancel = clock.wake(ms, done)
    })
  }

  #idleMs(): number | undefined {
    if (this.#dirty === undefined || this.#committing !== undefined) return undefined
    const dueMs = this.#dirty.sinceMs + this.#settings.commitIntervalMs
    return Math.max(1, dueMs - this.#surroundings.clock.monotonicMs())
  }

  async #carryOut(order: Order): Promise<void> {
    switch (order.kind) {
      case 'assigned':
        return this.#onAssigned(order.assignment, order.membership)
      case 'revoke':
        await this.#letGo()
        return order.done()
      case 'lost':
        this.#membership = undefined
        await this.#dropAll()
        return order.done()
      case 'taken':
        return this.#onTaken(order.taken, order.signal)
      case 'firstStarts':
        if (!order.signal.aborted) await this.#onFirstStarts(order.starts)
        return order.done()
      case 'park':
        return this.#park(order.slot)
      case 'close':
        await this.#letGo()
        await this.#forgetTasks([...this.#slots.values()])
        this.#closing = true
        for (const left of this.#orders.splice(0)) this.#decline(left)
    }
  }

  // --- records ---

  /** A few milliseconds of records, over all tasks in turn. Returns whether there were any. */
  #processSlice(): boolean {
    const { clock } = this.#surroundings
    const membership = this.#membership
    if (membership === undefined || this.#isFull) return false
    const slots = [...this.#slots.values()]
    const untilMs = clock.monotonicMs() + SLICE_MS
    let worked = false
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[(i + this.#turn) % slots.length] as Slot
      if (slot.status !== 'running' || slot.waitsForSeal || slot.taken?.task.busy) continue
      if (this.#processTask(slot, (slot.taken as TakenTask).task, membership)) worked = true
      if (this.#isFull || clock.monotonicMs() >= untilMs) break
    }
    this.#turn += 1
    return worked
  }

  #processTask(slot: Slot, task: Task, membership: Membership): boolean {
    let count = 0
    const most = Math.min(SLICE_RECORDS_PER_TASK, this.#settings.commitRecords - this.#recordsSinceSeal)
    try {
      for (; count < most; count++) {
        const processed = task.processNext()
        if (processed === false) break
        this.#touch(membership)
        if (processed !== true) {
          processed.then(
            () => this.#poke(),
            (error: unknown) => this.#failIfCurrent(slot, task, error),
          )
          count += 1
          break
        }
      }
    } catch (error) {
      this.#failIfCurrent(slot, task, error)
    }
    this.#recordsSinceSeal += count
    this.counts.records += count
    for (const input of task.inputs) {
      if (input.buffered < this.#settings.bufferedRecordsPerPartition) this.#fetcher.resume(input)
    }
    return count > 0
  }

  /** There is something to commit from now on. */
  #touch(as: Membership): void {
    this.#dirty ??= { sinceMs: this.#surroundings.clock.monotonicMs(), as }
  }

  get #isFull(): boolean {
    if (this.#recordsSinceSeal >= this.#settings.commitRecords) return true
    let bytes = 0
    for (const { taken } of this.#slots.values()) bytes += taken?.task.bytes ?? 0
    return bytes >= this.#settings.commitBytes
  }

  #failIfCurrent(slot: Slot, task: Task, error: unknown): void {
    // A task that was dropped meanwhile has nothing to say.
    if (slot.taken?.task === task) this.#fail(slot, error)
  }

  /** From here on nothing of the task is processed or sealed; the loop then closes it. */
  #fail(slot: Slot | undefined, cause: unknown): void {
    if (slot === undefined || slot.status === 'failed') return
    slot.status = 'failed'
    slot.error = asInternal(cause)
    this.#order({ kind: 'park', slot })
  }

  #deliver(delivery: Delivery): void {
    const input = this.#inputs.get(partitionKey(delivery))
    if (input === undefined) return
    const { queue, slot } = input
    const before = queue.position
    const pending = queue.append(delivery, this.#surroundings.cluster)
    if (queue.buffered >= this.#settings.bufferedRecordsPerPartition) this.#fetcher.pause(delivery)
    if (pending !== undefined) {
      pending.then(
        () => this.#poke(),
        (error: unknown) => this.#fail(slot, error),
      )
    }
    // Past control records alone: worth a commit, so that nobody sees a lag that is none.
    else if (queue.position !== before && slot.status === 'running' && this.#membership !== undefined) {
      this.#touch(this.#membership)
    }
    this.#poke()
  }

  #inputFailed(partition: TopicPartition, error: DruseError): void {
    const input = this.#inputs.get(partitionKey(partition))
    this.#fail(input?.slot, error)
  }

  // --- commits ---

  #maybeCommit(): void {
    if (this.#dirty === undefined || this.#committing !== undefined) return
    const sinceMs = this.#surroundings.clock.monotonicMs() - this.#dirty.sinceMs
    if (sinceMs >= this.#settings.commitIntervalMs || this.#isFull || this.#isAwaited) this.#startCommit()
  }

  /** Whether a task gets no records only because it waits for its seal, and could be sealed now. */
  get #isAwaited(): boolean {
    for (const { status, waitsForSeal, taken } of this.#slots.values()) {
      if (status === 'running' && waitsForSeal && taken?.task.busy === undefined) return true
    }
    return false
  }

  /** Seals every dirty task that is between records, and commits them in one transaction. */
  #startCommit(): void {
    const { as } = this.#dirty as { as: Membership }
    const tasks: TakenTask[] = []
    let leftOut = false
    for (const slot of this.#slots.values()) {
      const { taken, status } = slot
      if (status !== 'running' || taken === undefined || taken.state.isBroken) continue
      slot.waitsForSeal = taken.task.busy !== undefined
      if (slot.waitsForSeal) leftOut = true
      else if (taken.task.isDirty) tasks.push(taken)
    }
    this.#dirty = leftOut ? { sinceMs: this.#surroundings.clock.monotonicMs(), as } : undefined
    this.#recordsSinceSeal = 0
    if (tasks.length === 0) return
    const sealed = tasks.map(({ task, state }) => ({ ...task.seal(), state }))
    const transaction: SealedTransaction = { as, tasks: sealed }
    const running: RunningCommit = {
      transaction,
      outcome: undefined,
      settled: commit(transaction, this.#groupId, this.#writer).then(
        (result) => {
          running.outcome = { result }
          this.#poke()
        },
        (error: unknown) => {
          // One strike: whatever it was, this epoch has been used for the last time.
          this.#writer.close()
          running.outcome = { error }
          this.#poke()
        },
      ),
    }
    this.#committing = running
  }

  /** Waits for the commit under way, if there is one. Returns how it failed. */
  async #settle(): Promise<FailedCommit | undefined> {
    const committing = this.#committing
    if (committing === undefined) return undefined
    await committing.settled
    this.#committing = undefined
    const outcome = committing.outcome as NonNullable<RunningCommit['outcome']>
    if ('error' in outcome) return { transaction: committing.transaction, error: asInternal(outcome.error) }
    this.counts.commits += 1
    this.#failuresInARow = 0
    for (const { task, error } of outcome.result.notStored) {
      const slot = this.#slots.get(task.name)
      if (slot?.taken?.task !== task) continue
      slot.status = 'failed'
      slot.error = error
      await this.#park(slot)
    }
    return undefined
  }

  /** Drops everything since the last commit that is known to have happened. */
  async #abandon({ transaction, error }: FailedCommit): Promise<void> {
    const { log } = this.#surroundings
    log.warn({ error, tasks: transaction.tasks.length }, 'commit: failed; asking Kafka what was committed')
    this.counts.recoveries += 1
    if (error.code === 'TRANSACTION_INDEFINITE') this.counts.indefinite += 1
    for (const id of blamed(transaction, error)) {
      const slot = this.#slots.get(taskName(id))
      if (slot === undefined) continue
      slot.status = 'failed'
      slot.error = error
      await this.#park(slot)
    }
    await this.#dropAll()
  }

  /** A new epoch, and every task from its last commit: under the same membership, if it still holds. */
  async #recoverIf(failure: FailedCommit | undefined): Promise<void> {
    if (failure === undefined) return
    const { code, message } = failure.error
    await this.#abandon(failure)
    if (code === 'INSTANCE_FENCED' || code === 'KAFKA_REFUSED') return this.#handlers.failed(failure.error)
    if (code === 'MEMBERSHIP_LOST') {
      this.#membership = undefined
      this.#member.lose(message)
      return
    }
    this.#failuresInARow += 1
    if (this.#failuresInARow > 1) {
      const ms = Math.min(RECOVERY_PAUSE_MS * 2 ** this.#failuresInARow, RECOVERY_PAUSE_MAX_MS)
      await pause(this.#surroundings.clock, ms, this.#hurry.signal)
    }
    // Fenced by a successor, or because the broker gave this one up: the group knows whether it is still wanted.
    if (code === 'PRODUCER_FENCED' && !(await this.#member.confirm())) return
    await this.#openWriter()
    this.#takeAgain()
  }

  async #openWriter(): Promise<void> {
    if (this.#writer.isOpen) return
    for (;;) {
      try {
        return await this.#writer.open()
      } catch (error) {
        if (this.#hurry.signal.aborted || this.#orders.some(({ kind }) => kind === 'close')) return
        this.#surroundings.log.error({ error }, 'producer: cannot be initialised, trying again')
      }
    }
  }

  // --- tasks coming and going ---

  async #onAssigned(assignment: Uint8Array, membership: Membership): Promise<void> {
    const { plan, log } = this.#surroundings
    const ids = new Map(assignedTasks(plan, assignment).map((id) => [taskName(id), id]))
    await this.#forgetTasks([...this.#slots].filter(([name]) => !ids.has(name)).map(([, slot]) => slot))
    for (const [name, id] of ids) {
      const slot = this.#slots.get(name)
      if (slot === undefined) {
        const fresh = {
          id,
          status: 'taking',
          taken: undefined,
          error: undefined,
          waitsForSeal: false,
        } as const
        this.#slots.set(name, { ...fresh })
      } else if (slot.status === 'failed') {
        slot.status = 'taking'
        slot.error = undefined
      }
    }
    this.#membership = membership
    log.info({ generation: membership.generationId, tasks: [...ids.keys()].join(' ') }, 'tasks: assigned')
    await this.#openWriter()
    this.#takeAgain()
  }

  /** Every task that is not running and has not failed. */
  #takeAgain(): void {
    this.#taking.abort()
    this.#taking = new AbortController()
    const wanted = [...this.#slots.values()].filter(
      ({ status }) => status === 'taking' || status === 'suspended',
    )
    const kept = new Map<string, TakenTask>()
    for (const { id, taken } of wanted) if (taken !== undefined) kept.set(taskName(id), taken)
    this.#taker.take(
      wanted.map(({ id }) => id),
      kept,
      this.#taking.signal,
    )
    this.#handlers.changed()
  }

  async #onTaken(taken: TakenTask, signal: AbortSignal): Promise<void> {
    const slot = this.#slots.get(taken.task.name)
    if (signal.aborted || slot === undefined || slot.status === 'failed') {
      if (slot?.taken !== taken) await taken.state.close()
      return
    }
    if (slot.taken !== undefined && slot.taken !== taken) await this.#letTaskGo(slot)
    if (slot.taken === undefined) {
      for (const queue of taken.task.inputs) {
        this.#inputs.set(partitionKey(queue), { slot, queue })
        this.#fetcher.add(queue, queue.position)
      }
    }
    slot.taken = taken
    slot.status = 'running'
    slot.waitsForSeal = false
    this.#handlers.changed()
  }

  async #onFirstStarts(starts: readonly FirstStart[]): Promise<void> {
    const failure = await this.#settle()
    if (failure !== undefined) return this.#recoverIf(failure)
    const as = this.#membership
    if (as === undefined) return
    try {
      await commitFirstStarts(starts, as, this.#groupId, this.#writer)
    } catch (error) {
      this.#writer.close()
      await this.#recoverIf({ transaction: { as, tasks: [] }, error: asInternal(error) })
    }
  }

  /** Commits everything that is done and stops the tasks: what is under way gets until half of the rebalance's time. */
  async #letGo(): Promise<void> {
    this.#taking.abort()
    await this.#drain()
    let failure = await this.#settle()
    if (failure === undefined && this.#dirty !== undefined) {
      this.#startCommit()
      failure = await this.#settle()
    }
    if (failure !== undefined) await this.#abandon(failure)
    this.#membership = undefined
    this.#dirty = undefined
    for (const slot of this.#slots.values()) {
      const { taken, status } = slot
      if (status !== 'running' || taken === undefined) continue
      // Still in the middle of a record: from its last commit, when it is taken again.
      const isClean = taken.task.busy === undefined && !taken.task.isDirty
      if (!isClean) await this.#letTaskGo(slot)
      slot.status = isClean ? 'suspended' : 'taking'
    }
    this.#handlers.changed()
  }

  async #drain(): Promise<void> {
    const busy = [...this.#slots.values()].flatMap(({ taken }) => taken?.task.busy ?? [])
    if (busy.length === 0) return
    const over = new AbortController()
    const signal = AbortSignal.any([over.signal, this.#hurry.signal])
    const patienceMs = this.#settings.rebalanceTimeoutMs / 2
    await Promise.race([Promise.allSettled(busy), pause(this.#surroundings.clock, patienceMs, signal)])
    over.abort()
  }

  /** Every overlay is gone after this, and every store is closed. */
  async #dropAll(): Promise<void> {
    this.#taking.abort()
    await this.#committing?.settled
    this.#committing = undefined
    this.#dirty = undefined
    this.#recordsSinceSeal = 0
    for (const slot of this.#slots.values()) {
      await this.#letTaskGo(slot)
      if (slot.status !== 'failed') slot.status = 'taking'
    }
    this.#handlers.changed()
  }

  async #forgetTasks(slots: readonly Slot[]): Promise<void> {
    for (const slot of slots) {
      await this.#letTaskGo(slot)
      this.#slots.delete(taskName(slot.id))
    }
  }

  async #letTaskGo(slot: Slot): Promise<void> {
    const { taken } = slot
    slot.taken = undefined
    if (taken === undefined) return
    for (const queue of taken.task.inputs) {
      this.#fetcher.remove(queue)
      this.#inputs.delete(partitionKey(queue))
      queue.close()
    }
    await taken.state.close()
  }

  /** Closes a task that has failed; the others go on. */
  async #park(slot: Slot): Promise<void> {
    this.#surroundings.log.error({ task: taskName(slot.id), error: slot.error }, 'task: stopped')
    // Its sealed effects may be in the commit under way, which ends with a write to its store.
    await this.#committing?.settled
    await this.#letTaskGo(slot)
    this.#handlers.changed()
  }
}

/** The tasks whose records Kafka refused for good. */
function blamed(transaction: SealedTransaction, { code, details }: DruseError): TaskId[] {
  const { topic, partition } = details
  if (code !== 'TRANSACTION_ABORTED' || typeof topic !== 'string') return []
  const key = partitionKey({ topic, partition: partition as number })
  return transaction.tasks.filter((sealed) => concerns(sealed, key)).map(({ task }) => task.id)
}

function asInternal(error: unknown): DruseError {
  if (error instanceof DruseError) return error
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return new DruseError('INTERNAL', `This is a fault of Druse: ${message}`, { cause: error })
}
