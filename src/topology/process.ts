/** The processor operator: any number of regions, any number of records forwarded, synchronous or not. */
import { DruseError } from '../errors.ts'
import type { Serde } from '../ports.ts'
import type { AnyRegion, RegionHandles } from '../region/definition.ts'
import { isTimestamp } from '../region/layout.ts'
import type { Header } from '../types.ts'
import type { NodeHost, Step } from './graph.ts'
import { recordOfTime, type StreamRecord } from './record.ts'
import { fanOut, operatorFailed, pendingOf } from './steps.ts'
import type { Cancellable, PunctuationType, Punctuator } from './time.ts'
import { type KeyTimers, type Timer, TimerQueue } from './timers.ts'

export interface ForwardOptions {
  /** Milliseconds since 1970, not negative. Default: that of the record being processed; in a punctuator, its time. */
  readonly timestamp?: number
  /** Default: those of the record being processed; in a punctuator, none. */
  readonly headers?: readonly Header[]
}

/** What a processor has beside its regions. */
export interface Forwarding<K, V> {
  /** Sends a record to the operators behind. Only while the processor's call, or the promise it returned, is running. */
  forward(key: K, value: V, options?: ForwardOptions): void
}

/** What a processor knows of time. */
export interface Timing {
  /**
   * The newest timestamp that the task has seen, that of the present record included, less `maxOutOfOrdernessMs` of the
   * topology; -1 before the first one.
   */
  readonly streamTimeMs: number
  /** The machine's clock, in milliseconds since 1970. */
  readonly wallClockMs: number
  /**
   * Calls back again and again. `streamTime`: when the task's stream time reaches a multiple of the interval, for the
   * first time with the first record; never without records, unless the topology has `idleAfterMs`. `wallClock`: when
   * the interval has passed. However many were missed, there is one call, with the time that has come.
   *
   * The callback may use the regions and `forward`. If it throws, the task stops (PUNCTUATOR_FAILED).
   * A schedule lives as long as the task runs here: make those that are always wanted in `get` of a
   * `ProcessorSupplier`. Of these, one of stream time is not called again after a restart for a time that it was called
   * for before. Errors: OPTION_INVALID when the interval is no whole number from 1.
   */
  schedule(intervalMs: number, type: PunctuationType, punctuator: Punctuator): Cancellable
}

/** Timers of keys, for operators with `onTimer`. */
export interface WithTimers {
  readonly timers: KeyTimers
}

// biome-ignore lint/suspicious/noExplicitAny: stands for every serde in constraints; serdes are invariant
type AnySerde = Serde<any>

/** Streams beside the main one, by name, with the serdes of what goes there. */
export type SideOutputs = Readonly<Record<string, { readonly key?: AnySerde; readonly value?: AnySerde }>>

export type NoOutputs = Readonly<Record<never, never>>

/** What a serde is for; without one, what the operator reads. */
export type OfSerde<O, Part extends 'key' | 'value', Read> = O extends {
  readonly [P in Part]: Serde<infer T>
}
  ? T
  : Read

/** What an operator sends to its side outputs: as `forward`. */
export interface WithOutputs<K, V, O extends SideOutputs> {
  readonly outputs: {
    readonly [Name in keyof O]: Forwarding<
      OfSerde<O[Name], 'key', K>,
      OfSerde<O[Name], 'value', V>
    >['forward']
  }
}

export type ProcessContext<Regions extends readonly AnyRegion[], K, V> = RegionHandles<Regions> &
  Forwarding<K, V> &
  Timing &
  WithTimers

/**
 * A timer has come. The callback may use the regions and `forward`, by default with the timer's time. If it throws, all
 * that it did is taken back, and the strictest `onFailure` of the sources that lead here says whether the task stops
 * (TIMER_FAILED) or the timer is left out.
 */
export type OnTimer<K, Regions extends readonly AnyRegion[], KO, VO> = (
  timer: Timer<K>,
  context: ProcessContext<Regions, KO, VO>,
) => void | Promise<void>

/** As `ProcessContext`, for what keeps the key of its record. */
export type ValueProcessContext<Regions extends readonly AnyRegion[], V> = RegionHandles<Regions> & {
  /** As in `Forwarding`, under the key of the record, or of the timer. In a punctuator there is none. */
  forward(value: V, options?: ForwardOptions): void
} & Timing &
  WithTimers

/** A promise is waited for before the next record of the same task; other tasks go on meanwhile. */
export type ProcessRecord<K, V, Regions extends readonly AnyRegion[], KO, VO> = (
  record: StreamRecord<K, V>,
  context: ProcessContext<Regions, KO, VO>,
) => void | Promise<void>

/** Makes a processor for each task, as Kafka Streams' ProcessorSupplier does. */
export interface ProcessorSupplier<K, V, Regions extends readonly AnyRegion[], KO, VO> {
  /**
   * Called when a task starts here, before its first record. What the processor keeps in variables is gone when the task
   * starts anew: what has to last belongs into a region.
   */
  get(context: ProcessContext<Regions, KO, VO>): ProcessRecord<K, V, Regions, KO, VO>
}

export type Processor<K, V, Regions extends readonly AnyRegion[], KO, VO> =
  | ProcessRecord<K, V, Regions, KO, VO>
  | ProcessorSupplier<K, V, Regions, KO, VO>

type ProcessValue<K, V, Regions extends readonly AnyRegion[], VO> = (
  record: StreamRecord<K, V>,
  context: ValueProcessContext<Regions, VO>,
) => void | Promise<void>

/** A function, or a supplier that makes one for each task: see `ProcessorSupplier`. */
export type ValueProcessor<K, V, Regions extends readonly AnyRegion[], VO> =
  | ProcessValue<K, V, Regions, VO>
  | { get(context: ValueProcessContext<Regions, VO>): ProcessValue<K, V, Regions, VO> }

export type OnValueTimer<K, Regions extends readonly AnyRegion[], VO> = (
  timer: Timer<K>,
  context: ValueProcessContext<Regions, VO>,
) => void | Promise<void>

export type AnyProcessor =
  | ((record: StreamRecord, context: object) => void | Promise<void>)
  | { get(context: object): (record: StreamRecord, context: object) => void | Promise<void> }

export type AnyOnTimer = (timer: Timer, context: object) => void | Promise<void>

export interface BoundProcessor {
  readonly name: string
  readonly regions: readonly AnyRegion[]
  readonly processor: AnyProcessor
  readonly onTimer: AnyOnTimer | undefined
  /** It forwards under the key that it was called with. */
  readonly keepsKey: boolean
  /** By name: its first children, in this order. */
  readonly outputs: readonly string[]
}

export function bindProcessor({
  name,
  regions,
  processor,
  onTimer,
  keepsKey,
  outputs,
}: BoundProcessor): (host: NodeHost, children: readonly Step[]) => Step {
  return (host, children) => {
    const { time } = host
    const main = fanOut(children.slice(outputs.length))
    let current: StreamRecord | undefined
    let pending: Promise<void> | undefined
    const send = (next: Step, key: unknown, value: unknown, options?: ForwardOptions): void => {
      if (current === undefined) {
        throw new DruseError(
          'CONTEXT_CLOSED',
          `forward() of operator '${name}' was called after its record was through; return the promise of what you wait for`,
        )
      }
      const timestamp = options?.timestamp
      if (timestamp !== undefined && !isTimestamp(timestamp)) {
        throw new DruseError('TIMESTAMP_INVALID', `forward() was given the timestamp ${timestamp}`)
      }
      const out = current.with(key, value, timestamp, options?.headers)
      if (pending === undefined) pending = next(out) ?? undefined
      else pending = pending.then(() => next(out))
      // It is waited for when the processor is done, which may be later than its failure.
      pending?.catch(() => {})
    }
    const forward = (key: unknown, value: unknown, options?: ForwardOptions): void =>
      send(main, key, value, options)
    const forwardValue = (value: unknown, options?: ForwardOptions): void =>
      forward(current?.key, value, options)
    const schedule = (intervalMs: number, type: PunctuationType, punctuator: Punctuator): Cancellable =>
      time.schedule(name, type, intervalMs, (timestampMs) => {
        const unit = { kind: 'punctuation', operator: name, timestamp: timestampMs } as const
        return host.carryOut(unit, () =>
          during(recordOfTime(null, null, timestampMs), () => punctuator(timestampMs)),
        )
      })
    const queue =
      onTimer &&
      new TimerQueue(name, host, (timer) =>
        during(recordOfTime(timer.key, null, timer.timestampMs), () => onTimer(timer, context)),
      )
    if (queue !== undefined) {
      for (const type of ['streamTime', 'wallClock'] as const) time.watch(type, queue.due(type))
    }
    const timersOf = (): TimerQueue => {
      if (queue === undefined || current === undefined) throw noTimers(name, queue === undefined)
      return queue
    }
    const timers: KeyTimers = {
      register: (timestampMs, type = 'streamTime') => timersOf().register(current?.key, timestampMs, type),
      cancel: (timestampMs, type = 'streamTime') => timersOf().cancel(current?.key, timestampMs, type),
    }
    const context = Object.defineProperties(
      {
        forward: keepsKey ? forwardValue : forward,
        schedule,
        timers,
        outputs: Object.fromEntries(
          outputs.map((output, index) => [
            output,
            (key: unknown, value: unknown, options?: ForwardOptions): void =>
              send(children[index] as Step, key, value, options),
          ]),
        ),
      },
      {
        streamTimeMs: { enumerable: true, get: () => time.streamTimeMs },
        wallClockMs: { enumerable: true, get: () => time.wallClockMs },
      },
    ) as Record<string, unknown>
    for (const { kind, name: region } of regions) {
      context[region] = kind === 'global' ? host.globalRegion(region) : host.region(region)
    }
    const process = typeof processor === 'function' ? processor : processor.get(context)

    return (record) => during(record, () => process(record, context))

    /** A call of the user's, with what it forwards. */
    function during(record: StreamRecord, call: () => void | Promise<void>): void | Promise<void> {
      current = record
      pending = undefined
      let running: void | Promise<void>
      try {
        running = pendingOf(call())
      } catch (error) {
        if (pending !== undefined) return finish(record, Promise.reject(error))
        current = undefined
        throw operatorFailed(name, record, error)
      }
      if (running === undefined && pending === undefined) {
        current = undefined
        return
      }
      if (running !== undefined) host.calling(running)
      return finish(record, running)
    }

    /** Whatever fails: nothing of the record is at work any more afterwards. */
    async function finish(record: StreamRecord, running: void | Promise<void>): Promise<void> {
      try {
        try {
          await running
        } finally {
          await pending
        }
      } catch (error) {
        throw operatorFailed(name, record, error)
      } finally {
        current = undefined
      }
    }
  }
}

function noTimers(operator: string, hasNone: boolean): DruseError {
  return hasNone
    ? new DruseError('OPTION_INVALID', `Operator '${operator}' asks for a timer, but has no onTimer`, {
        operator,
      })
    : new DruseError(
        'CONTEXT_CLOSED',
        `timers of operator '${operator}' were used after its record was through; return the promise of what you wait for`,
      )
}
