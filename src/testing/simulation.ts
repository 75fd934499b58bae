/**
 * A world with one scheduler. Whatever takes time (a timer, a request on its way, a write to a disk) is an event here;
 * one event is completed at a time, and everything that follows from it within promises has its turn before the next.
 * Time passes only when nothing is due. Which of those that are due comes first is drawn from the seed, so that a run is
 * a function of its seed and of the code.
 */
import type { Clock } from '../ports.ts'
import { turn } from '../system.ts'
import { EventHeap } from './event-heap.ts'
import { SeededRandom } from './seeded-random.ts'

/** 2023-11-14T22:13:20Z. */
const EPOCH_MS = 1_700_000_000_000

/** So much happens in no millisecond: something goes round in circles. */
const EVENTS_PER_MS_MAX = 50_000

interface SimEvent {
  atMs: number
  tie: number
  /** Whose: it waits while this one is paused, and is dropped with it. */
  readonly owner: SimProcess | undefined
  readonly what: string
  readonly run: () => void
  isCancelled: boolean
}

export interface SimulationOptions {
  readonly seed: number
  /** Events of one moment happen in the order in which they were scheduled, not in one drawn from the seed. */
  readonly inOrder?: boolean
  /** Called with each event and what `note` is told. */
  readonly trace?: (line: string) => void
}

export class Simulation {
  readonly random: SeededRandom
  readonly #events = new EventHeap<SimEvent>()
  readonly #inOrder: boolean
  readonly #trace: ((line: string) => void) | undefined
  #nowMs = 0
  #count = 0
  #scheduled = 0
  /** Events of the present millisecond. */
  #atOnce = 0

  constructor({ seed, inOrder = false, trace }: SimulationOptions) {
    this.random = new SeededRandom(seed)
    this.#inOrder = inOrder
    this.#trace = trace
  }

  get nowMs(): number {
    return this.#nowMs
  }

  /** Events completed so far. */
  get count(): number {
    return this.#count
  }

  get isTraced(): boolean {
    return this.#trace !== undefined
  }

  /** One line of the trace. */
  note(who: SimProcess | undefined, what: string): void {
    this.#trace?.(`${String(this.#nowMs).padStart(6)} ${(who?.name ?? '').padEnd(8)} ${what}`)
  }

  schedule(owner: SimProcess | undefined, delayMs: number, what: string, run: () => void): () => void {
    const event: SimEvent = { atMs: 0, tie: 0, owner, what, run, isCancelled: false }
    this.#put(event, delayMs)
    return () => {
      event.isCancelled = true
    }
  }

  process(name: string): SimProcess {
    return new SimProcess(this, name)
  }

  /** @internal What was held for a process that was paused. */
  release(events: readonly unknown[]): void {
    for (const event of events) this.#put(event as SimEvent, 0)
  }

  /** Completes events until it is so; false when that has not come by then, or nothing can happen any more. */
  async runUntil(isSo: () => boolean, untilMs: number): Promise<boolean> {
    await turn()
    while (!isSo()) {
      const event = this.#next(untilMs)
      if (event === undefined) return false
      this.#count += 1
      if (this.#trace !== undefined) this.note(event.owner, event.what)
      event.run()
      await turn()
    }
    return true
  }

  /** Completes events until the promise is settled. */
  async settle<T>(promise: Promise<T>, withinMs: number): Promise<T> {
    let isSettled = false
    const done = (): void => {
      isSettled = true
    }
    promise.then(done, done)
    if (!(await this.runUntil(() => isSettled, this.#nowMs + withinMs))) {
      throw new Error(`It has not ended in ${withinMs} ms`)
    }
    return promise
  }

  /** The next that is due by then; time goes on to it, else to `untilMs`. */
  #next(untilMs: number): SimEvent | undefined {
    for (let event = this.#events.pop(); event !== undefined; event = this.#events.pop()) {
      if (event.isCancelled) continue
      if (event.atMs > untilMs) {
        this.#events.push(event)
        break
      }
      if (event.atMs > this.#nowMs) this.#atOnce = 0
      this.#nowMs = Math.max(this.#nowMs, event.atMs)
      this.#atOnce += 1
      if (this.#atOnce > EVENTS_PER_MS_MAX)
        throw new Error(`Time stands still: ${event.what} again and again`)
      if (event.owner === undefined || event.owner.admits(event)) return event
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs)
    return undefined
  }

  #put(event: SimEvent, delayMs: number): void {
    this.#scheduled += 1
    event.atMs = this.#nowMs + Math.max(0, Math.ceil(delayMs))
    event.tie = this.#inOrder ? this.#scheduled : this.random.next()
    this.#events.push(event)
  }
}

/** Something with a clock of its own that can be stopped, for a while or for ever. */
export class SimProcess {
  readonly name: string
  readonly clock: Clock
  readonly simulation: Simulation
  /** How far its wall clock is off. */
  wallOffsetMs = 0
  #state: 'running' | 'paused' | 'dead' = 'running'
  #held: unknown[] = []
  readonly #atEnd: (() => void)[] = []

  constructor(simulation: Simulation, name: string) {
    this.simulation = simulation
    this.name = name
    this.clock = {
      monotonicMs: () => simulation.nowMs,
      wallMs: () => EPOCH_MS + simulation.nowMs + this.wallOffsetMs,
      wake: (delayMs, callback) => simulation.schedule(this, delayMs, 'wake', callback),
    }
  }

  get isRunning(): boolean {
    return this.#state === 'running'
  }

  get isDead(): boolean {
    return this.#state === 'dead'
  }

  /** As SIGSTOP: nothing reaches it. */
  pause(): void {
    if (this.#state !== 'running') return
    this.#state = 'paused'
    this.simulation.note(this, 'PAUSED')
  }

  /** As SIGCONT: what has come in the meantime comes now. */
  resume(): void {
    if (this.#state !== 'paused') return
    this.#state = 'running'
    this.simulation.note(this, 'RESUMED')
    this.simulation.release(this.#held.splice(0))
  }

  /** As SIGKILL. */
  kill(): void {
    if (this.#state === 'dead') return
    this.#state = 'dead'
    this.#held = []
    this.simulation.note(this, 'KILLED')
    for (const callback of this.#atEnd) callback()
  }

  onKilled(callback: () => void): void {
    this.#atEnd.push(callback)
  }

  /** @internal Whether an event of this process may be completed now. */
  admits(event: unknown): boolean {
    if (this.#state === 'paused') this.#held.push(event)
    return this.#state === 'running'
  }
}
