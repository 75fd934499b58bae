/** A task's time: moved by its records, and, when none come, by the clock if the topology wants that. */
import { DruseError } from '../errors.ts'
import type { Clock } from '../ports.ts'
import { following, Punctuations } from '../topology/punctuation.ts'
import type { Cancellable, Due, PunctuationType, Punctuator, TaskTime } from '../topology/time.ts'

/** Of `idleAfterMs`: from one step of idle time to the next. */
const IDLE_STEP = 0.25
const IDLE_STEP_MIN_MS = 10
/** A wall clock may be set: it is looked at so often although nothing is due by it. */
const LOOK_MS = 1_000

export interface TaskTimeOptions {
  readonly clock: Clock
  /** As committed. */
  readonly streamTimeMs: number
  /** Undefined: stream time stands when no records come. */
  readonly idleAfterMs: number | undefined
  readonly maxOutOfOrdernessMs: number
}

export class RunningTime implements TaskTime {
  readonly #clock: Clock
  readonly #idleAfterMs: number | undefined
  readonly #maxOutOfOrdernessMs: number
  readonly #punctuations = { streamTime: new Punctuations(), wallClock: new Punctuations() }
  /** Timers of operators, then punctuation. */
  readonly #dues: Readonly<Record<PunctuationType, Due[]>> = {
    streamTime: [this.#punctuations.streamTime],
    wallClock: [this.#punctuations.wallClock],
  }
  readonly #idlers: ((streamTimeMs: number) => void | Promise<void>)[] = []
  #streamTimeMs: number
  #isStarting = true
  /** When the last record came, and how late it was in stream time then. */
  #recordAtMs: number
  #recordTimeMs: number
  #nextIdleStepMs: number

  constructor({ clock, streamTimeMs, idleAfterMs, maxOutOfOrdernessMs }: TaskTimeOptions) {
    this.#clock = clock
    this.#streamTimeMs = streamTimeMs
    this.#idleAfterMs = idleAfterMs
    this.#maxOutOfOrdernessMs = maxOutOfOrdernessMs
    this.#recordAtMs = clock.monotonicMs()
    this.#recordTimeMs = streamTimeMs
    this.#nextIdleStepMs = this.#recordAtMs + (idleAfterMs ?? 0)
  }

  get streamTimeMs(): number {
    return this.#streamTimeMs
  }

  watermarkOf(timestampMs: number): number {
    return timestampMs - this.#maxOutOfOrdernessMs
  }

  get wallClockMs(): number {
    return this.#clock.wallMs()
  }

  schedule(operator: string, type: PunctuationType, intervalMs: number, punctuator: Punctuator): Cancellable {
    if (!Number.isSafeInteger(intervalMs) || intervalMs < 1) {
      throw new DruseError(
        'OPTION_INVALID',
        `Operator '${operator}' schedules every ${intervalMs} ms: it has to be a whole number from 1`,
        { operator },
      )
    }
    if (type === 'wallClock') {
      return this.#punctuations.wallClock.add(this.wallClockMs + intervalMs, intervalMs, punctuator)
    }
    // What it has been called for before this start, it is not called for again.
    const isKnown = this.#isStarting && this.#streamTimeMs >= 0
    const firstMs = isKnown ? following(0, intervalMs, this.#streamTimeMs) : 0
    return this.#punctuations.streamTime.add(firstMs, intervalMs, punctuator)
  }

  watch(type: PunctuationType, due: Due): void {
    // Operators are bound last to first.
    this.#dues[type].unshift(due)
  }

  onIdle(callback: (streamTimeMs: number) => void | Promise<void>): void {
    this.#idlers.unshift(callback)
  }

  /** Every operator is bound: what is scheduled from now on begins now. */
  started(): void {
    this.#isStarting = false
  }

  /** A record is taken. */
  advance(timestampMs: number): void {
    const streamTimeMs = this.watermarkOf(timestampMs)
    if (streamTimeMs > this.#streamTimeMs) this.#streamTimeMs = streamTimeMs
    if (this.#idleAfterMs === undefined) return
    this.#recordAtMs = this.#clock.monotonicMs()
    this.#recordTimeMs = this.#streamTimeMs
    this.#nextIdleStepMs = this.#recordAtMs + this.#idleAfterMs
  }

  /** Whether stream time has come to something. */
  get isStreamTimeDue(): boolean {
    return isDue(this.#dues.streamTime, this.#streamTimeMs)
  }

  /** What stream time has come to. */
  punctuate(): void | Promise<void> {
    return runAll(this.#dues.streamTime, this.#streamTimeMs)
  }

  /**
   * Until the clock comes to something, or may; undefined: never. `idleUntilMs`: up to when it is known that there was no
   * record to take; undefined when there is one.
   */
  dueInMs(idleUntilMs: number | undefined): number | undefined {
    let dueInMs = Number.POSITIVE_INFINITY
    const wallClockMs = Math.min(...this.#dues.wallClock.map(({ nextMs }) => nextMs))
    if (wallClockMs < Number.POSITIVE_INFINITY) dueInMs = Math.min(LOOK_MS, wallClockMs - this.wallClockMs)
    if (idleUntilMs !== undefined && this.#canIdle) {
      const stepInMs = this.#nextIdleStepMs - this.#clock.monotonicMs()
      // Else the next answer of the broker has to be waited for, which comes by itself.
      if (stepInMs > 0 || this.#isStepDue(idleUntilMs)) dueInMs = Math.min(dueInMs, stepInMs)
    }
    return dueInMs === Number.POSITIVE_INFINITY ? undefined : Math.max(0, dueInMs)
  }

  isClockDue(idleUntilMs: number | undefined): boolean {
    if (isDue(this.#dues.wallClock, this.wallClockMs)) return true
    return this.#isStepDue(idleUntilMs)
  }

  /** What the clock has come to. */
  async onClock(idleUntilMs: number | undefined): Promise<void> {
    await runAll(this.#dues.wallClock, this.wallClockMs)
    if (idleUntilMs !== undefined && this.#isStepDue(idleUntilMs)) await this.#idle(idleUntilMs)
  }

  #isStepDue(idleUntilMs: number | undefined): boolean {
    return idleUntilMs !== undefined && this.#canIdle && this.#nextIdleStepMs <= idleUntilMs
  }

  get #canIdle(): boolean {
    return this.#idleAfterMs !== undefined && this.#streamTimeMs >= 0
  }

  /** Stream time goes on from the last record as the clock does. */
  async #idle(nowMs: number): Promise<void> {
    const stepMs = Math.max(IDLE_STEP_MIN_MS, (this.#idleAfterMs as number) * IDLE_STEP)
    this.#nextIdleStepMs = nowMs + stepMs
    const streamTimeMs = Math.floor(this.#recordTimeMs + nowMs - this.#recordAtMs)
    if (streamTimeMs <= this.#streamTimeMs) return
    this.#streamTimeMs = streamTimeMs
    for (const idler of this.#idlers) await idler(streamTimeMs)
    await this.punctuate()
  }
}

function isDue(dues: readonly Due[], nowMs: number): boolean {
  for (const { nextMs } of dues) if (nextMs <= nowMs) return true
  return false
}

function runAll(dues: readonly Due[], nowMs: number, from = 0): void | Promise<void> {
  for (let i = from; i < dues.length; i++) {
    const due = dues[i] as Due
    const pending = due.nextMs <= nowMs ? due.run(nowMs) : undefined
    if (pending !== undefined) return pending.then(() => runAll(dues, nowMs, i + 1))
  }
}
