/**
 * The events of regions that operators of the same task listen to. Writes queue them, in the order in which they take
 * effect; they go on behind the record, or the step of time, that the writes belong to, and are a part of it: committed
 * with it, and taken back with it.
 */
import { DruseError } from '../errors.ts'
import type { TimeOrderedRegion } from '../region/definition.ts'
import { WatchedRegion } from '../region/watched.ts'
import { entryEvent } from './entry-event.ts'
import type { Step } from './graph.ts'
import { recordOfTime, type StreamRecord } from './record.ts'
import { fanOut } from './steps.ts'
import type { Cancellable, Due, PunctuationType, Punctuator, TaskTime } from './time.ts'

interface Queued {
  readonly record: StreamRecord
  /** Regions whose events have led to it, its own last. */
  readonly causes: readonly string[]
}

const NO_CAUSES: readonly string[] = []

/** Of a step of time: it comes from nowhere. */
const ofTime = (timestampMs: number): StreamRecord => recordOfTime(null, null, timestampMs)

export class EntryEvents {
  /** By region, in the order of the nodes. */
  readonly #listeners = new Map<string, Step[]>()
  #queue: Queued[] = []
  /** What the writes under way belong to. */
  #unit = ofTime(0)
  #causes = NO_CAUSES

  /** `regions`: those with listeners. */
  constructor(regions: Iterable<string>) {
    for (const name of regions) this.#listeners.set(name, [])
  }

  /** Nodes are bound last to first. */
  listen(region: string, step: Step): void {
    this.#listeners.get(region)?.unshift(step)
  }

  /** The region as its writers get it. */
  watched(name: string, region: TimeOrderedRegion<unknown, unknown>): TimeOrderedRegion<unknown, unknown> {
    if (!this.#listeners.has(name)) return region
    return new WatchedRegion(region, (key, after, before) => {
      const event = entryEvent(key, after?.value, before?.value)
      if (event === undefined) return
      if (this.#causes.includes(name)) throw feedsItself(name, this.#causes)
      const record = this.#unit.with(key, event, after?.timestamp)
      this.#queue.push({ record, causes: [...this.#causes, name] })
    })
  }

  /** A step whose events go on behind it. */
  behind(step: Step): Step {
    return (record) => this.#during(record, () => step(record))
  }

  /** A unit of its own, which may lie within another one: so do its events. */
  within(timestampMs: number, run: () => void | Promise<void>): void | Promise<void> {
    return this.#during(ofTime(timestampMs), run)
  }

  /** The same of what time comes to. */
  timeOf(time: TaskTime): TaskTime {
    const behind =
      (call: (timestampMs: number) => void | Promise<void>) =>
      (timestampMs: number): void | Promise<void> =>
        this.#during(ofTime(timestampMs), () => call(timestampMs))
    return {
      get streamTimeMs() {
        return time.streamTimeMs
      },
      get wallClockMs() {
        return time.wallClockMs
      },
      watermarkOf: (timestampMs) => time.watermarkOf(timestampMs),
      schedule: (
        operator: string,
        type: PunctuationType,
        intervalMs: number,
        punctuator: Punctuator,
      ): Cancellable => time.schedule(operator, type, intervalMs, behind(punctuator)),
      watch: (type, due) =>
        time.watch(
          type,
          dueBehind(
            due,
            behind((nowMs) => due.run(nowMs)),
          ),
        ),
      onIdle: (callback) => time.onIdle(behind(callback)),
    }
  }

  #during(unit: StreamRecord, work: () => void | Promise<void>): void | Promise<void> {
    const outer = [this.#unit, this.#queue, this.#causes] as const
    this.#unit = unit
    this.#queue = []
    const end = (): void => {
      ;[this.#unit, this.#queue, this.#causes] = outer
    }
    const failed = (error: unknown): never => {
      // All of the unit is taken back.
      end()
      throw error
    }
    try {
      const pending = work()
      const delivered = pending === undefined ? this.#deliver() : pending.then(() => this.#deliver())
      if (delivered !== undefined) return delivered.then(end, failed)
      end()
    } catch (error) {
      failed(error)
    }
  }

  /** Those of what they lead to come behind them. */
  #deliver(): void | Promise<void> {
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      const { record, causes } = next
      this.#causes = causes
      const pending = fanOut(this.#listeners.get(causes.at(-1) as string) as Step[])(record)
      if (pending !== undefined) return pending.then(() => this.#deliver())
    }
  }
}

function dueBehind(due: Due, run: Due['run']): Due {
  return {
    get nextMs() {
      return due.nextMs
    },
    run,
  }
}

function feedsItself(region: string, causes: readonly string[]): DruseError {
  return new DruseError(
    'REGION_CYCLE',
    `What listens to region '${region}' has written to it (${[...causes, region].join(' → ')}): that would go on for ever. Write to another region`,
    { region },
  )
}
