/**
 * One event loop with one group member and one transactional producer, owning many tasks.
 *
 * The loop carries out orders (from the group, from tasks being taken) one at a time; between them it processes slices
 * of records and starts commits. A commit runs beside the loop. If it fails, everything since is dropped, and the tasks
 * are taken again by the same way as at a start.
 */
import { DruseError } from '../errors.ts'
import type { CommitWriter } from '../kafka/commit-writer.ts'
import { GroupMember } from '../kafka/group-member.ts'
import { partitionKey } from '../kafka/partition-key.ts'
import { PartitionReader } from '../kafka/partition-reader.ts'
import { PlainWriter } from '../kafka/plain-writer.ts'
import { pause } from '../kafka/retry.ts'
import { TransactionalWriter } from '../kafka/transactional-writer.ts'
import type { Membership } from '../ports.ts'
import type { TopicPartition } from '../types.ts'
import { assignedTasks, assignTasks, handedCommits, memberMetadata } from './assignor.ts'
import { commitFirstStarts, concerns } from './commit.ts'
import { type CommitOutcome, CommitPipeline, type FailedCommit } from './commit-pipeline.ts'
import type { DruseSettings } from './options.ts'
import { taskName } from './plan.ts'
import { RepartitionPurge } from './repartition-purge.ts'
import type { RestoreProgress } from './restore.ts'
import { lastingName } from './state-directory.ts'
import type { Surroundings } from './surroundings.ts'
import type { FirstStart, TakenTask } from './take.ts'
import { Taker } from './taker.ts'
import type { Task } from './task.ts'
import { asInternal, type Slot, type TaskHealth, TaskTable } from './task-table.ts'

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
  | { readonly kind: 'close'; readonly patienceMs: number }

const SLICE_MS = 5
const SLICE_RECORDS_PER_TASK = 256
const RECOVERY_PAUSE_MS = 50
const RECOVERY_PAUSE_MAX_MS = 5_000
/** Fenced twice within this time under a valid membership: somebody else has the same worker id. */
const FENCED_AGAIN_MS = 60_000

export class Worker {
  readonly counts: WorkerCounts = { commits: 0, records: 0, indefinite: 0, recoveries: 0 }
  readonly #surroundings: Surroundings
  readonly #settings: DruseSettings
  readonly #handlers: WorkerHandlers
  readonly #groupId: string
  readonly #reader: PartitionReader
  readonly #writer: CommitWriter
  readonly #member: GroupMember
  readonly #taker: Taker
  readonly #tasks: TaskTable
  readonly #commits: CommitPipeline
  readonly #purge: RepartitionPurge
  readonly #orders: Order[] = []
  #membership: Membership | undefined
  #taking = new AbortController()
  #failuresInARow = 0
  #fencedAtMs = Number.NEGATIVE_INFINITY
  #wake: (() => void) | undefined
  #running: Promise<void> | undefined
  #closing = false
  /** Stores of tasks that were taken too late to run. */
  readonly #closed: Promise<unknown>[] = []
  /** Aborted when the time for a graceful close is over. */
  readonly #hurry = new AbortController()
  #turn = 0

  constructor(surroundings: Surroundings, settings: DruseSettings, handlers: WorkerHandlers) {
    const { cluster, plan, directory } = surroundings
    this.#surroundings = surroundings
    this.#settings = settings
    this.#handlers = handlers
    this.#groupId = plan.graph.application
    this.#reader = new PartitionReader(cluster)
    this.#writer =
      settings.processingGuarantee === 'at_least_once'
        ? new PlainWriter(cluster, { compression: settings.compression })
        : new TransactionalWriter(cluster, {
            transactionalId: () => `${this.#groupId}-${directory.workerId}`,
            transactionTimeoutMs: settings.transactionTimeoutMs,
            compression: settings.compression,
          })
    this.#tasks = new TaskTable(surroundings, settings, {
      arrived: (slot, moved) => this.#onArrived(slot, moved),
      failed: (slot) => {
        this.#tellWhenOwned(slot).catch((error: unknown) => handlers.failed(asInternal(error)))
      },
    })
    this.#commits = new CommitPipeline(this.#groupId, this.#writer, settings, cluster.clock, () =>
      this.#poke(),
    )
    this.#purge = new RepartitionPurge(surroundings, settings.repartitionPurgeIntervalMs)
    this.#taker = new Taker(
      { surroundings, reader: this.#reader, progress: (progress) => handlers.progress(progress) },
      settings,
      {
        taken: (taken, signal) => this.#order({ kind: 'taken', taken, signal }),
        firstStarts: (starts, signal) =>
          new Promise((done) => this.#order({ kind: 'firstStarts', starts, done, signal })),
        waiting: (id, error) => {
          const slot = this.#tasks.slot(taskName(id))
          if (slot !== undefined) slot.waitingFor = error
        },
        failed: (id, error) => this.#tasks.fail(this.#tasks.slot(taskName(id)), error),
      },
    )
    this.#member = new GroupMember(
      cluster,
      {
        groupId: this.#groupId,
        groupInstanceId: settings.groupInstanceId ?? null,
        protocolName: 'druse',
        sessionTimeoutMs: settings.sessionTimeoutMs,
        heartbeatIntervalMs: settings.heartbeatIntervalMs,
        rebalanceTimeoutMs: settings.rebalanceTimeoutMs,
      },
      {
        metadata: () => {
          const mine = this.#tasks.slots.map(({ id }) => id)
          return memberMetadata(plan, mine, directory.lastCommits)
        },
        assign: async (members) => assignTasks(plan, members, directory.lastCommits),
        assigned: (assignment, membership) => this.#order({ kind: 'assigned', assignment, membership }),
        revoke: () => new Promise((done) => this.#order({ kind: 'revoke', done })),
        lost: () => new Promise((done) => this.#order({ kind: 'lost', done })),
        failed: (error) => handlers.failed(error),
      },
    )
  }

  get health(): TaskHealth[] {
    return this.#tasks.health
  }

  get isMember(): boolean {
    return this.#membership !== undefined
  }

  /** A task, when it is running here. */
  running(subId: number, partition: number): Task | undefined {
    const slot = this.#tasks.slot(`${subId}_${partition}`)
    return slot?.status === 'running' ? slot.taken?.task : undefined
  }

  /** Fences what a predecessor left behind, then joins the group. Errors: BROKER_UNAVAILABLE, KAFKA_REFUSED. */
  async start(): Promise<void> {
    try {
      await this.#writer.open(this.#hurry.signal)
    } catch (error) {
      this.stop()
      throw error
    }
    this.#running = this.#run().catch((error: unknown) => this.#handlers.failed(asInternal(error)))
    this.#member.start()
  }

  /** Commits what is done, lets go of the tasks and, if it is wanted, leaves the group, as far as that is possible in time. */
  async close(deadlineMs: number, leaveGroup: boolean): Promise<void> {
    const { clock } = this.#surroundings
    this.#order({ kind: 'close', patienceMs: deadlineMs / 2 })
    // Without its sockets nothing of the worker can wait for long.
    const cancel = clock.wake(deadlineMs, () => this.stop())
    try {
      await this.#running
      await this.#member.close({ leave: leaveGroup })
    } finally {
      cancel()
      this.stop()
      await this.#taker.idle()
      await Promise.all(this.#closed)
    }
  }

  /** Nothing reaches the brokers any more, so nothing can wait for them. */
  stop(): void {
    this.#hurry.abort()
    this.#taking.abort()
    this.#writer.close()
    this.#tasks.disconnect()
    this.#reader.close()
    this.#purge.close()
    this.#surroundings.cluster.close()
  }

  // --- the loop ---

  async #run(): Promise<void> {
    let order: Order | undefined
    try {
      while (!this.#closing) {
        order = this.#orders.shift()
        if (order !== undefined) await this.#carryOut(order)
        else if (this.#commits.isSettled) await this.#afterCommit()
        else {
          const worked = this.#processSlice()
          if (this.#commits.isDue(this.#tasks.slots)) this.#commits.start(this.#tasks.slots)
          await this.#rest(worked ? 0 : this.#dueInMs)
        }
      }
    } finally {
      // However it ends: nobody waits for it any more, and no store stays open.
      this.#closing = true
      this.#taking.abort()
      for (const left of [...(order === undefined ? [] : [order]), ...this.#orders.splice(0)])
        this.#decline(left)
      await this.#commits.quiet()
      await this.#tasks.forgetAll()
    }
  }

  /** Until something is due by the clock; undefined: nothing is. */
  get #dueInMs(): number | undefined {
    let dueInMs = this.#commits.dueInMs ?? Number.POSITIVE_INFINITY
    if (this.#membership !== undefined) {
      for (const { status, taken } of this.#tasks.slots) {
        if (status === 'running') dueInMs = Math.min(dueInMs, taken?.task.dueInMs ?? dueInMs)
      }
    }
    return Number.isFinite(dueInMs) ? dueInMs : undefined
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
    // What happened while the loop was at work did not find it asleep.
    if (this.#orders.length > 0 || this.#commits.isSettled) return Promise.resolve()
    return new Promise((resolve) => {
      let cancel = (): void => {}
      const done = (): void => {
        this.#wake = undefined
        cancel()
        resolve()
      }
      if (ms !== 0) this.#wake = done
      if (ms !== undefined) cancel = clock.wake(Math.max(0, ms), done)
    })
  }

  async #carryOut(order: Order): Promise<void> {
    switch (order.kind) {
      case 'assigned':
        return this.#onAssigned(order.assignment, order.membership)
      case 'revoke':
        await this.#letGo(this.#settings.rebalanceTimeoutMs / 2)
        return order.done()
      case 'lost':
        this.#membership = undefined
        await this.#dropAll()
        return order.done()
      case 'taken':
        await this.#tasks.install(order.taken, !order.signal.aborted)
        return this.#handlers.changed()
      case 'firstStarts':
        if (!order.signal.aborted) await this.#onFirstStarts(order.starts)
        return order.done()
      case 'park':
        return this.#park(order.slot)
      case 'close':
        await this.#letGo(order.patienceMs)
        this.#closing = true
    }
  }

  // --- records ---

  /** A few milliseconds of records, over all tasks in turn. Returns whether there were any. */
  #processSlice(): boolean {
    const { clock } = this.#surroundings
    const membership = this.#membership
    const { slots } = this.#tasks
    if (membership === undefined || this.#commits.isFull(slots)) return false
    const untilMs = clock.monotonicMs() + SLICE_MS
    let worked = false
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[(i + this.#turn) % slots.length] as Slot
      if (slot.status !== 'running' || slot.waitsForSeal || slot.taken?.task.busy) continue
      const { task } = slot.taken as TakenTask
      this.#onClock(slot, task, membership)
      if (this.#processTask(slot, task, membership)) worked = true
      if (this.#commits.room <= 0 || clock.monotonicMs() >= untilMs) break
    }
    this.#turn += 1
    return worked
  }

  /** Time has come without a record. */
  #onClock(slot: Slot, task: Task, membership: Membership): void {
    const due = task.processDue()
    if (due === false) return
    this.#commits.touch(membership)
    due.then(
      () => this.#poke(),
      (error: unknown) => this.#tasks.failIfCurrent(slot, task, error),
    )
  }

  #processTask(slot: Slot, task: Task, membership: Membership): boolean {
    let count = 0
    const most = Math.min(SLICE_RECORDS_PER_TASK, this.#commits.room)
    try {
      while (count < most) {
        const processed = task.processNext()
        if (processed === false) break
        count += 1
        this.#commits.touch(membership)
        if (processed === true) continue
        processed.then(
          () => this.#poke(),
          (error: unknown) => this.#tasks.failIfCurrent(slot, task, error),
        )
        break
      }
    } catch (error) {
      this.#tasks.failIfCurrent(slot, task, error)
    }
    this.#commits.count(count)
    this.counts.records += count
    this.#tasks.resumeInputs(task)
    return count > 0
  }

  #onArrived(slot: Slot, moved: boolean): void {
    // Past control records alone: worth a commit, so that nobody sees a lag that is none.
    if (moved && slot.status === 'running' && this.#membership !== undefined)
      this.#commits.touch(this.#membership)
    this.#poke()
  }

  // --- commits that have ended ---

  async #afterCommit(): Promise<void> {
    const failure = await this.#settle()
    if (failure !== undefined) await this.#recover(failure)
  }

  /** Waits for the commit under way, if there is one. Returns how it failed. */
  async #settle(): Promise<FailedCommit | undefined> {
    const outcome: CommitOutcome | undefined = await this.#commits.settle()
    if (outcome === undefined) return undefined
    if ('error' in outcome) return outcome
    this.counts.commits += 1
    this.#failuresInARow = 0
    this.#purge.committed([...outcome.offsets, ...outcome.forgotten])
    for (const { task, error } of outcome.notStored) {
      const slot = this.#tasks.slot(task.name)
      if (slot !== undefined) this.#tasks.failIfCurrent(slot, task, error)
    }
    return undefined
  }

  /** A new epoch, and every task from its last commit: under the same membership, if it still holds. */
  async #recover(failure: FailedCommit): Promise<void> {
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
    if (code === 'PRODUCER_FENCED') {
      if ((await this.#member.confirm()) === false) return
      await this.#afterFencing()
    }
    if (await this.#openWriter()) this.#takeAgain()
  }

  /** Drops everything since the last commit that is known to have happened. */
  async #abandon(failure: FailedCommit): Promise<void> {
    const { transaction, error } = failure
    const { log } = this.#surroundings
    log.warn({ error, tasks: transaction.tasks.length }, 'commit: failed; asking Kafka what was committed')
    this.counts.recoveries += 1
    if (error.code === 'TRANSACTION_INDEFINITE') this.counts.indefinite += 1
    this.#surroundings.chosenTopics.forget()
    for (const name of blamed(failure)) this.#tasks.fail(this.#tasks.slot(name), error)
    await this.#dropAll()
  }

  /**
   * Once it may be the broker's doing, after a transaction that took too long. Soon again it is another process that has
   * the same worker id, from a copy of the directory: both would fence each other for ever.
   */
  async #afterFencing(): Promise<void> {
    const { directory, random, clock, log } = this.#surroundings
    const nowMs = clock.monotonicMs()
    const isAgain = nowMs - this.#fencedAtMs < FENCED_AGAIN_MS
    this.#fencedAtMs = isAgain ? Number.NEGATIVE_INFINITY : nowMs
    if (!isAgain) return
    const workerId = directory.workerId
    await directory.renewWorkerId(random)
    log.error(
      { directory: directory.disk.root, from: workerId, to: directory.workerId },
      'producer: fenced twice; is the state directory a copy of one that is in use? It has a new worker id now',
    )
  }

  /** Returns whether there is a producer: none is needed for closing, and none can be had by who has no right to. */
  async #openWriter(): Promise<boolean> {
    const { clock, log } = this.#surroundings
    const { signal } = this.#hurry
    while (!this.#writer.isOpen) {
      if (signal.aborted || this.#orders.some(({ kind }) => kind === 'close')) return false
      try {
        await this.#writer.open(signal)
      } catch (error) {
        if (DruseError.is(error, 'KAFKA_REFUSED')) {
          this.#handlers.failed(error)
          return false
        }
        log.error({ error }, 'producer: cannot be initialised, trying again')
        await pause(clock, RECOVERY_PAUSE_MAX_MS, signal)
      }
    }
    return true
  }

  // --- tasks coming and going ---

  async #onAssigned(assignment: Uint8Array, membership: Membership): Promise<void> {
    const { plan, directory, log } = this.#surroundings
    const ids = assignedTasks(plan, assignment)
    for (const [task, commit] of handedCommits(plan, assignment))
      directory.lastCommits.learn(lastingName(task), commit)
    await this.#tasks.assign(ids)
    this.#membership = membership
    const { generationId: generation } = membership
    log.info({ generation, tasks: ids.map(taskName).join(' ') }, 'tasks: assigned')
    if (await this.#openWriter()) this.#takeAgain()
  }

  /** Every task that is not running and has not failed. */
  #takeAgain(): void {
    this.#taking.abort()
    this.#taking = new AbortController()
    const wanted = this.#tasks.slots.filter(({ status }) => status === 'taking' || status === 'suspended')
    const kept = new Map<string, TakenTask>()
    for (const { id, taken } of wanted) if (taken !== undefined) kept.set(taskName(id), taken)
    const ids = wanted.map(({ id }) => id)
    this.#taker.take(ids, kept, this.#taking.signal)
    this.#handlers.changed()
  }

  async #onFirstStarts(starts: readonly FirstStart[]): Promise<void> {
    const failure = await this.#settle()
    if (failure !== undefined) return this.#recover(failure)
    const as = this.#membership
    if (as === undefined) return
    try {
      await commitFirstStarts(starts, as, this.#groupId, this.#writer)
    } catch (error) {
      this.#writer.close()
      await this.#recover({ transaction: { as, tasks: [] }, starts, error: asInternal(error) })
    }
  }

  /** Commits everything that is done and stops the tasks; records that are under way get so much time to end. */
  async #letGo(patienceMs: number): Promise<void> {
    this.#taking.abort()
    await this.#drain(patienceMs)
    let failure = await this.#settle()
    if (failure === undefined) {
      this.#commits.start(this.#tasks.slots)
      failure = await this.#settle()
    }
    if (failure !== undefined) await this.#abandon(failure)
    this.#membership = undefined
    this.#commits.forget()
    for (const slot of this.#tasks.slots) {
      const { taken, status } = slot
      if (status !== 'running' || taken === undefined) continue
      // Still in the middle of a record: from its last commit, when it is taken again.
      const { busy, isDirty, hasFailed } = taken.task
      const isClean = busy === undefined && !isDirty && !hasFailed
      if (!isClean) await this.#tasks.close(slot)
      slot.status = isClean ? 'suspended' : 'taking'
    }
    this.#handlers.changed()
  }

  async #drain(patienceMs: number): Promise<void> {
    const busy = this.#tasks.slots.flatMap(({ taken }) => taken?.task.busy ?? [])
    if (busy.length === 0) return
    const over = new AbortController()
    const signal = AbortSignal.any([over.signal, this.#hurry.signal])
    await Promise.race([Promise.allSettled(busy), pause(this.#surroundings.clock, patienceMs, signal)])
    over.abort()
  }

  async #dropAll(): Promise<void> {
    this.#taking.abort()
    await this.#commits.settle()
    this.#commits.forget()
    await this.#tasks.dropAll()
    this.#handlers.changed()
  }

  /**
   * A failure counts once the group has said that the task is still this member's. To a process that was frozen, and
   * that others have replaced meanwhile, what they did looks like lost data.
   */
  async #tellWhenOwned(slot: Slot): Promise<void> {
    const { error } = slot
    const { clock } = this.#surroundings
    const isOver = (): boolean => this.#closing || this.#hurry.signal.aborted
    const isFailing = (): boolean => !isOver() && slot.status === 'failing' && slot.error === error
    while (isFailing()) {
      if ((await this.#member.confirm()) === true) {
        if (!isFailing()) return
        this.#tasks.stopped(slot)
        return this.#order({ kind: 'park', slot })
      }
      await pause(clock, this.#settings.heartbeatIntervalMs, this.#hurry.signal)
    }
  }

  /** Closes a task that has failed; the others go on. */
  async #park(slot: Slot): Promise<void> {
    // Its sealed effects may be in the commit under way, which ends with a write to its store.
    await this.#commits.quiet()
    if (slot.status === 'failed') await this.#tasks.close(slot)
    this.#handlers.changed()
  }
}

/** The tasks whose records Kafka refused for good, or put where they do not belong. */
function blamed({ transaction, starts = [], error: { code, details } }: FailedCommit): string[] {
  const { topic, partition } = details
  const isOfPartition = code === 'TRANSACTION_ABORTED' || code === 'CHANGELOG_TRUNCATED'
  if (!isOfPartition || typeof topic !== 'string') return []
  const key = partitionKey({ topic, partition: partition as number })
  const isAt = (at: TopicPartition): boolean => partitionKey(at) === key
  return [
    ...transaction.tasks.filter((sealed) => concerns(sealed, key)).map(({ task }) => task.name),
    ...starts.filter(({ offsets }) => offsets.some(isAt)).map(({ id }) => taskName(id)),
  ]
}
