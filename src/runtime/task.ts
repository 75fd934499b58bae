/**
 * A task: one sub-topology on one partition. Takes records in and turns them into effects in memory: output records,
 * region writes, input positions. It does no I/O but point reads of its regions; what becomes of the effects is
 * decided in commit.ts.
 */
import type { DruseError } from '../errors.ts'
import type { Clock } from '../ports.ts'
import type { ReadableRegion } from '../region/definition.ts'
import type { EntryTable } from '../region/entry-table.ts'
import type { RegionPart } from '../region/part.ts'
import { type CompiledSource, compile, concurrencyOf } from '../topology/compile.ts'
import type { LateRecord, RepartitionNode, SourceNode } from '../topology/graph.ts'
import type { StreamRecord } from '../topology/record.ts'
import type { KeptUnit, RawEntry, TimeUnit } from '../topology/unit.ts'
import type { ErrorPolicy, TopicPartition } from '../types.ts'
import type { InputPosition } from './agreement.ts'
import { blameOf } from './blame.ts'
import { deadLetterHeaders, type Reason, reasonOfError, reasonOfLate, unitHeaders } from './dead-letters.ts'
import { EarlyCalls, type Upcoming } from './early-calls.ts'
import type { Head, InputQueue } from './input-queue.ts'
import type { OutputLog } from './output-log.ts'
import { type TaskId, taskName } from './plan.ts'
import { type OutputSurroundings, TaskOutputs } from './task-outputs.ts'
import { RunningTime } from './task-time.ts'
import { detailsOf, type Policies, policiesOf, unitFailed } from './units.ts'

const NOTHING_KEPT: RawEntry = { key: null, value: null }

/** Everything outside of its own state that a task needs to turn records into effects. */
export interface TaskSurroundings extends OutputSurroundings {
  globalRegion(name: string): ReadableRegion<unknown, unknown>
  debug(details: object, message: string): void
  warn(details: object, message: string): void
  readonly clock: Clock
}

/** The effects of a task since its last seal, final. */
export interface SealedTask {
  readonly task: Task
  readonly outputs: OutputLog
  readonly overlays: ReadonlyMap<string, EntryTable>
  /** Of all input partitions, moved or not. */
  readonly positions: readonly (TopicPartition & InputPosition)[]
  readonly streamTimeMs: number
  readonly sequence: number
}

export interface TaskOptions {
  readonly id: TaskId
  readonly inputs: readonly InputQueue[]
  readonly parts: ReadonlyMap<string, RegionPart>
  readonly surroundings: TaskSurroundings
  /** As committed. */
  readonly sequence: number
  readonly streamTimeMs: number
  /** See `TopologyOptions`. */
  readonly idleAfterMs: number | undefined
  /** See `TopologyOptions`. */
  readonly maxOutOfOrdernessMs: number
  /** See `DruseSettings`. */
  readonly maxTaskIdleMs: number
}

export class Task {
  readonly id: TaskId
  readonly name: string
  readonly inputs: readonly InputQueue[]
  readonly parts: ReadonlyMap<string, RegionPart>
  readonly #surroundings: TaskSurroundings
  readonly #sources: Map<string, CompiledSource>
  /** Whether a unit that fails may have to be taken back alone. */
  readonly #undoable: boolean
  readonly #policies: ReadonlyMap<string, Policies>
  /** Users' functions that are at work while what they have forwarded goes on. */
  readonly #calls = new Set<Promise<void>>()
  readonly #time: RunningTime
  readonly #clock: Clock
  readonly #maxTaskIdleMs: number
  /** Since when the task has waited for an input that has nothing, while others have. */
  #waitingSinceMs: number | undefined
  #sequence: number
  readonly #outputs: TaskOutputs
  #committedPositions: string
  #recordTimestamp = 0
  /** The record under way, when its operators return a promise. */
  #busy: Promise<void> | undefined
  /** Where operators call out. */
  readonly #early: EarlyCalls | undefined
  #whenReady = (): void => {}
  readonly #closing = new AbortController()
  #processed = 0
  #late = 0
  #dropped = 0
  /** The innermost unit under way, by the operators that found it late: the last of its windows. */
  #lateOnes = new Map<string, LateRecord>()
  /** What no policy lets through. Set before anybody is told: nothing of it may be sealed in between. */
  #failure: { readonly error: unknown } | undefined

  constructor(options: TaskOptions) {
    const { id, inputs, parts, surroundings, sequence } = options
    this.id = id
    this.name = taskName(id)
    this.inputs = inputs
    this.parts = parts
    this.#surroundings = surroundings
    this.#outputs = new TaskOutputs(surroundings)
    this.#sequence = sequence
    this.#clock = surroundings.clock
    this.#maxTaskIdleMs = options.maxTaskIdleMs
    this.#time = new RunningTime({ ...options, clock: surroundings.clock })
    const concurrency = concurrencyOf(id.sub)
    this.#early = concurrency === 0 ? undefined : new EarlyCalls(concurrency, () => this.#whenReady())
    this.#sources = compile(id.sub, {
      region: (name) => parts.get(name) as RegionPart,
      globalRegion: (name) => surroundings.globalRegion(name),
      late: (late) => this.#leaveOut(late),
      dropped: (operator, record, lacks) => this.#drop(operator, record, lacks),
      carryOut: (unit, run) => this.#carryOut(unit, run),
      calling: (running) => this.#calling(running),
      output: (node) => this.#outputs.of(node),
      partition: id.partition,
      time: this.#time,
      clock: surroundings.clock,
      early: (call) => this.#early?.ask(call),
      signal: this.#closing.signal,
    })
    this.#time.started()
    this.#undoable = isUndoable(id)
    this.#policies = policiesOf(id.sub)
    this.#committedPositions = this.#positionsText()
  }

  /** Records taken from the inputs since this task began here. */
  get processed(): number {
    return this.#processed
  }

  /** How often a record was left out of a window because it came too late, since this task began here. */
  get late(): number {
    return this.#late
  }

  /** See `TaskHealth`. */
  get dropped(): number {
    return this.#dropped
  }

  get busy(): Promise<void> | undefined {
    return this.#busy
  }

  /** What keeps the next record, or the one under way: a schema registry, a broker. */
  get waitingFor(): DruseError | undefined {
    for (const { waitingFor } of [...this.inputs, ...this.#outputs.openings])
      if (waitingFor) return waitingFor
    return undefined
  }

  /** Of effects not yet sealed, roughly. */
  get bytes(): number {
    let { bytes } = this.#outputs
    for (const part of this.parts.values()) bytes += part.bytes
    return bytes
  }

  /** A record was let through by no policy: the effects since the last seal are not whole. */
  get hasFailed(): boolean {
    return this.#failure !== undefined
  }

  /** Whether there is anything to commit. */
  get isDirty(): boolean {
    if (this.hasFailed) return false
    if (this.#outputs.size > 0 || this.#positionsText() !== this.#committedPositions) return true
    for (const { bytes } of this.parts.values()) if (bytes > 0) return true
    return false
  }

  /** Calls back when a record that could not be processed yet may be: what its operators called for is there. */
  whenReady(callback: () => void): void {
    this.#whenReady = callback
  }

  /** Nothing is called for any more. */
  close(): void {
    this.#whenReady = () => {}
    this.#early?.close()
    this.#closing.abort()
  }

  /** For the entries that operators put without a time. */
  readonly now = (): number => this.#recordTimestamp

  /**
   * Processes the next record: of several inputs, the one with the lowest timestamp. Returns false when there is none;
   * a promise when the record's operators returned one (`busy` until then).
   * Errors, thrown or rejected: whatever policy 'fail' lets through. The task's effects are then to be dropped.
   */
  processNext(): boolean | Promise<void> {
    if (this.hasFailed || this.#busy !== undefined) return false
    const input = this.#nextInput()
    const head = input?.head()
    if (input === undefined || head === undefined) return false
    const compiled = this.#compiled(input)
    if (this.#early?.look(this.#upcoming(input)) === false) return false
    this.#recordTimestamp = head.timestamp
    if (head.skipped !== undefined) {
      const { topic, partition } = input
      const { offset } = head.raw
      this.#dropped += 1
      this.#surroundings.warn(
        { task: this.name, topic, partition, offset },
        `task: a record is dropped: ${head.skipped}`,
      )
      this.#finish(input, head)
      return true
    }
    if (head.record === undefined) {
      this.#answer(compiled.source, compiled.source.onUndecodable, input, head, head.error)
      this.#finish(input, head)
      return true
    }
    this.#time.advance(head.timestamp)
    const mark = this.#mark()
    try {
      const pending = this.#early === undefined ? compiled.step(head.record) : this.#run(compiled, head)
      if (pending !== undefined) {
        return this.#beBusy(this.#settle(pending, compiled, input, head, mark))
      }
    } catch (error) {
      this.#takeBack(mark)
      this.#answer(compiled.source, compiled.source.onFailure, input, head, error)
    }
    this.#buryLate(compiled.source, input, head)
    this.#finish(input, head)
    if (!this.#time.isStreamTimeDue) return true
    return this.#punctuate() ?? true
  }

  /** Until the clock comes to something, or may; undefined: never. */
  get dueInMs(): number | undefined {
    if (this.#busy !== undefined || this.hasFailed) return undefined
    const dueInMs = this.#time.dueInMs(this.#idleUntilMs)
    if (this.#waitingSinceMs === undefined) return dueInMs
    const waitMs = this.#waitingSinceMs + this.#maxTaskIdleMs - this.#clock.monotonicMs()
    // Once it is over, something else holds the task up.
    return waitMs <= 0 ? dueInMs : Math.min(dueInMs ?? waitMs, waitMs)
  }

  /** What the clock has come to. Returns false when there is nothing; else as `processNext`. */
  processDue(): false | Promise<void> {
    if (this.hasFailed || this.#busy !== undefined || !this.#time.isClockDue(this.#idleUntilMs)) return false
    this.#recordTimestamp = this.#time.wallClockMs
    return this.#beBusy(this.#stopping(() => this.#time.onClock(this.#idleUntilMs)) as Promise<void>)
  }

  /** Makes the effects since the last seal final; the next ones go on top. Between records only. */
  seal(): SealedTask {
    if (this.#busy !== undefined || this.hasFailed) {
      throw new Error(`task ${this.name} is in the middle of a record`)
    }
    const outputs = this.#outputs.seal()
    this.#sequence += 1
    this.#committedPositions = this.#positionsText()
    return {
      task: this,
      outputs,
      overlays: new Map(Array.from(this.parts, ([name, part]) => [name, part.seal()])),
      positions: this.inputs.map(({ topic, partition, position: offset, partitionTimeMs }) => ({
        topic,
        partition,
        offset,
        partitionTimeMs,
      })),
      streamTimeMs: this.#time.streamTimeMs,
      sequence: this.#sequence,
    }
  }

  #compiled({ topic }: InputQueue): CompiledSource {
    return this.#sources.get(topic) as CompiledSource
  }

  /** Of a record whose calls are complete. */
  #run({ step }: CompiledSource, head: Head): void | Promise<void> {
    const pending = step(head.record as StreamRecord)
    if (pending === undefined) return this.#early?.takeEffect(head)
    return pending.then(() => this.#early?.takeEffect(head))
  }

  /** The records that are there, in the order in which their turns will come. */
  *#upcoming(next: InputQueue): Generator<Upcoming> {
    const distances = new Map(this.inputs.map((input) => [input, 0]))
    for (let input: InputQueue | undefined = next; input !== undefined; ) {
      const distance = distances.get(input) as number
      yield { head: input.ahead(distance) as Head, compiled: this.#compiled(input) }
      distances.set(input, distance + 1)
      input = undefined
      let lowest = Number.POSITIVE_INFINITY
      for (const [other, at] of distances) {
        const timestamp = other.ahead(at)?.timestamp
        if (timestamp === undefined || timestamp >= lowest) continue
        lowest = timestamp
        input = other
      }
    }
  }

  async #settle(
    pending: Promise<void>,
    compiled: CompiledSource,
    input: InputQueue,
    head: Head,
    mark: number,
  ): Promise<void> {
    try {
      await pending
    } catch (error) {
      this.#takeBack(mark)
      this.#answer(compiled.source, compiled.source.onFailure, input, head, error)
    }
    this.#buryLate(compiled.source, input, head)
    this.#finish(input, head)
    if (this.#time.isStreamTimeDue) await this.#punctuated()
  }

  #beBusy(work: Promise<void>): Promise<void> {
    this.#busy = work.finally(() => {
      this.#busy = undefined
    })
    return this.#busy
  }

  /** What is due by stream time. */
  #punctuate(): void | Promise<void> {
    this.#recordTimestamp = this.#time.streamTimeMs
    const pending = this.#stopping(() => this.#time.punctuate())
    if (pending !== undefined) return this.#beBusy(pending)
  }

  async #punctuated(): Promise<void> {
    this.#recordTimestamp = this.#time.streamTimeMs
    await this.#stopping(() => this.#time.punctuate())
  }

  /** Whatever fails: the task stops. */
  #stopping(run: () => void | Promise<void>): void | Promise<void> {
    const end = (): void => {
      if (this.#failure !== undefined) throw this.#failure.error
    }
    let pending: void | Promise<void>
    try {
      pending = run()
    } catch (error) {
      this.#stop(error)
    }
    if (pending === undefined) return end()
    return pending.then(end, (error: unknown) => this.#stop(error))
  }

  /** The first failure is the one that is told: those around it only pass it on. */
  #stop(error: unknown): never {
    this.#failure ??= { error }
    throw this.#failure.error
  }

  #calling(running: Promise<void>): void {
    const end = (): void => {
      this.#calls.delete(running)
    }
    this.#calls.add(running)
    running.then(end, end)
  }

  /** Between what is around it and this unit only what it does itself is written, so that it can be taken back alone. */
  async #carryOutAlone(unit: TimeUnit, run: () => void | Promise<void>): Promise<void> {
    while (this.#calls.size > 0) await Promise.allSettled(this.#calls)
    await this.#carryOut(unit, run)
  }

  #carryOut(unit: TimeUnit, run: () => void | Promise<void>): void | Promise<void> {
    if (this.#calls.size > 0) return this.#carryOutAlone(unit, run)
    const lateOnes = this.#lateOnes
    this.#lateOnes = new Map()
    const recordTimestamp = this.#recordTimestamp
    this.#recordTimestamp = unit.timestamp
    const outputs = this.#outputs.size
    const kept = this.#mayBury(unit) ? unit.bytes() : NOTHING_KEPT
    const savepoints = this.#undoable
      ? Array.from(this.parts.values(), (part) => [part, part.savepoint()] as const)
      : []
    const end = (): void => {
      this.#buryLateUnit(unit, kept)
      this.#lateOnes = lateOnes
      this.#recordTimestamp = recordTimestamp
    }
    const failed = (error: unknown): void => {
      this.#outputs.truncate(outputs)
      this.#lateOnes.clear()
      for (const [part, savepoint] of savepoints) part.undo(savepoint)
      this.#answerUnit(unit, kept, error)
      end()
    }
    let pending: void | Promise<void>
    try {
      pending = run()
    } catch (error) {
      return failed(error)
    }
    if (pending === undefined) return end()
    return pending.then(end, failed)
  }

  /** Up to when it is known that there was no record to take, and none to be read; undefined: there are some. */
  get #idleUntilMs(): number | undefined {
    let untilMs = Number.POSITIVE_INFINITY
    for (const { emptyAtMs } of this.inputs) {
      if (emptyAtMs === undefined) return undefined
      untilMs = Math.min(untilMs, emptyAtMs)
    }
    return untilMs
  }

  #finish(input: InputQueue, head: Head): void {
    // Of a unit within this one, whoever was told.
    if (this.#failure !== undefined) throw this.#failure.error
    if (input.head() !== head) throw new Error(`task ${this.name}: another record was taken meanwhile`)
    input.shift()
    this.#processed += 1
  }

  /**
   * The one with the lowest timestamp, once it is known what the others have: as Kafka Streams with `max.task.idle.ms`.
   */
  #nextInput(): InputQueue | undefined {
    const [only] = this.inputs
    if (this.inputs.length === 1) return only
    let lowest: InputQueue | undefined
    let isBehind = false
    let isEmpty = false
    for (const input of this.inputs) {
      const timestamp = input.head()?.timestamp
      if (timestamp === undefined) {
        if (!input.isCaughtUp) isBehind = true
        isEmpty = true
      } else if (lowest === undefined || timestamp < (lowest.head() as Head).timestamp) lowest = input
    }
    if (lowest === undefined || !isEmpty || this.#maxTaskIdleMs < 0) {
      this.#waitingSinceMs = undefined
      return lowest
    }
    if (isBehind) {
      this.#waitingSinceMs = undefined
      return undefined
    }
    if (this.#maxTaskIdleMs === 0) return lowest
    const nowMs = this.#clock.monotonicMs()
    this.#waitingSinceMs ??= nowMs
    return nowMs - this.#waitingSinceMs >= this.#maxTaskIdleMs ? lowest : undefined
  }

  #mark(): number {
    if (this.#undoable) for (const part of this.parts.values()) part.mark()
    return this.#outputs.size
  }

  /** The effects of the record under way, gone: others of this transaction stay. */
  #takeBack(mark: number): void {
    if (!this.#undoable) return
    this.#outputs.truncate(mark)
    this.#lateOnes.clear()
    for (const part of this.parts.values()) part.undo()
  }

  #answer(
    source: SourceNode | RepartitionNode,
    policy: ErrorPolicy,
    input: InputQueue,
    head: Head,
    error: unknown,
  ): void {
    if (this.hasFailed || policy === 'fail' || blameOf(error) !== 'record') this.#stop(error)
    const { topic, partition } = input
    const { offset } = head.raw
    this.#dropped += 1
    this.#surroundings.warn(
      { task: this.name, topic, partition, offset, policy, error },
      'task: a record is left out',
    )
    if (policy !== 'skip') this.#bury(policy.deadLetter, source, input, head, reasonOfError(error))
  }

  /** What is kept is told as it was, whatever operators have made of the object before they failed. */
  #mayBury(unit: TimeUnit): unit is KeptUnit {
    if (unit.kind === 'punctuation') return false
    const { onFailure, onLate } = this.#policies.get(unit.operator) ?? {}
    return typeof onFailure === 'object' || typeof onLate === 'object'
  }

  #answerUnit(unit: TimeUnit, kept: RawEntry, error: unknown): void {
    const { operator } = unit
    const failure = unitFailed(unit, error)
    const policy = this.#policies.get(operator)?.onFailure ?? 'fail'
    if (this.hasFailed || policy === 'fail' || unit.kind === 'punctuation' || blameOf(error) !== 'record') {
      this.#stop(failure)
    }
    this.#dropped += 1
    this.#surroundings.warn(
      { task: this.name, ...detailsOf(unit), policy, error: failure },
      `task: what operator '${operator}' has kept is left out`,
    )
    if (policy !== 'skip') this.#buryUnit(policy.deadLetter, unit, kept, reasonOfError(failure))
  }

  #drop(operator: string, { topic, partition, offset, timestamp }: StreamRecord, lacks: string): void {
    this.#dropped += 1
    this.#surroundings.debug(
      { task: this.name, operator, topic, partition, offset, timestamp },
      `task: a record has no ${lacks} and is dropped`,
    )
  }

  /** The one place where late records end: counted, and kept until their record is through. */
  #leaveOut(late: LateRecord): void {
    const { operator, record, streamTimeMs, windowEnd } = late
    const { topic, partition, offset, timestamp } = record
    const origin = { topic, partition, offset, timestamp }
    this.#late += 1
    this.#surroundings.debug(
      { task: this.name, operator, ...origin, streamTimeMs, windowEnd },
      'task: a record came too late for its window',
    )
    this.#lateOnes.set(operator, late)
  }

  /** One dead letter for each operator that found the record late, whatever the number of windows. */
  #buryLate(source: SourceNode | RepartitionNode, input: InputQueue, head: Head): void {
    if (this.#lateOnes.size === 0) return
    const { onLate } = source
    if (onLate !== 'drop') {
      for (const late of this.#lateOnes.values())
        this.#bury(onLate.deadLetter, source, input, head, reasonOfLate(late))
    }
    this.#lateOnes.clear()
  }

  #buryLateUnit(unit: TimeUnit, kept: RawEntry): void {
    if (this.#lateOnes.size === 0 || unit.kind !== 'emission') return
    const onLate = this.#policies.get(unit.operator)?.onLate ?? 'drop'
    if (onLate === 'drop') return
    for (const late of this.#lateOnes.values()) {
      this.#buryUnit(onLate.deadLetter, unit, kept, reasonOfLate(late))
    }
  }

  #buryUnit(topic: string, unit: KeptUnit, kept: RawEntry, reason: Reason): void {
    const headers = unitHeaders(unit, this.id.partition, reason)
    this.#letter(topic, { timestamp: unit.timestamp, ...kept, headers })
  }

  #bury(
    topic: string,
    serdes: Pick<SourceNode, 'key' | 'value'>,
    input: InputQueue,
    head: Head,
    reason: Reason,
  ): void {
    const { raw, timestamp } = head
    const headers = deadLetterHeaders(head, input, serdes, reason)
    this.#letter(topic, { timestamp, key: raw.key, value: raw.value, headers })
  }

  /** One that cannot be written is the fault of nothing that is around it. */
  #letter(...letter: Parameters<TaskOutputs['letter']>): void {
    try {
      this.#outputs.letter(...letter)
    } catch (error) {
      this.#stop(error)
    }
  }

  #positionsText(): string {
    return this.inputs.map((input) => input.position).join()
  }
}

function isUndoable({ sub }: TaskId): boolean {
  return sub.sources.some((source: SourceNode | RepartitionNode) => source.onFailure !== 'fail')
}
