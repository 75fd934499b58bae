/**
 * Timers of keys: an operator is called once, when the time that a key has asked for has come. They stand in a region of
 * the operator's, in the order of their times, so they outlive it and are taken back with a record that fails. One key
 * has at most one timer of a type and time, as in Flink.
 *
 *   key    type (1), time (8, big-endian), the key's own bytes
 *   value  no bytes
 */
import { DruseError } from '../errors.ts'
import type { Serde } from '../ports.ts'
import type { TimeOrderedRegion } from '../region/definition.ts'
import { isTimestamp } from '../region/layout.ts'
import { readTime, TIME_BYTES, writeTime } from '../serde/time-bytes.ts'
import type { NodeHost } from './graph.ts'
import type { Due, PunctuationType } from './time.ts'

export interface Timer<K = unknown> {
  readonly key: K
  /** What was asked for; the time that has come may be later. */
  readonly timestampMs: number
  readonly type: PunctuationType
}

/** The timers of the present record's key; while a timer is carried out, of that one's. */
export interface KeyTimers {
  /**
   * Calls `onTimer` once when the time has come: behind the record that brings it, in the order of times, then of keys'
   * bytes. A time that is over already comes behind the present record. Default type 'streamTime'.
   * Errors: TIMESTAMP_INVALID; TIMER_WITHOUT_KEY when the record has none.
   */
  register(timestampMs: number, type?: PunctuationType): void
  /** Of a timer that is not there: nothing. Errors: as of `register`. */
  cancel(timestampMs: number, type?: PunctuationType): void
}

/** Of a timer; without a key the bound below all timers of that type and time. */
interface TimerKey {
  readonly key: unknown
  readonly timestampMs: number
  readonly type: PunctuationType
}

const TYPES: readonly PunctuationType[] = ['streamTime', 'wallClock']
const HEAD_BYTES = 1 + TIME_BYTES
const NOTHING = new Uint8Array(0)
/** Timers that are looked up at a time. */
const BATCH = 256

export function timersRegion(operator: string): string {
  return `${operator}-timers`
}

export function timerKeys<K>(key: Serde<K>): Serde<TimerKey> {
  return {
    kind: `timer(${key.kind})`,
    stableBytes: key.stableBytes,
    open: async (context) => {
      const inner = await key.open(context)
      return {
        encode({ key: own, timestampMs, type }) {
          const bytes = own === null ? NOTHING : inner.encode(own as K)
          const whole = Buffer.allocUnsafe(HEAD_BYTES + bytes.length)
          whole[0] = TYPES.indexOf(type)
          writeTime(whole, 1, timestampMs)
          whole.set(bytes, HEAD_BYTES)
          return whole
        },
        decode: (bytes) => ({
          type: TYPES[bytes[0] as number] as PunctuationType,
          timestampMs: readTime(bytes, 1),
          key: inner.decode(bytes.subarray(HEAD_BYTES)),
        }),
      }
    },
  }
}

export class TimerQueue {
  readonly #operator: string
  readonly #region: TimeOrderedRegion<unknown, unknown>
  readonly #host: NodeHost
  readonly #fire: (timer: Timer) => void | Promise<void>
  readonly #heads: Readonly<Record<PunctuationType, Head>>

  constructor(operator: string, host: NodeHost, fire: (timer: Timer) => void | Promise<void>) {
    this.#operator = operator
    this.#host = host
    this.#region = host.region(timersRegion(operator))
    this.#fire = fire
    const head = (type: PunctuationType): Head => new Head((nowMs) => this.#run(type, nowMs))
    this.#heads = { streamTime: head('streamTime'), wallClock: head('wallClock') }
  }

  due(type: PunctuationType): Due {
    return this.#heads[type]
  }

  register(key: unknown, timestampMs: number, type: PunctuationType): void {
    this.#region.put(this.#checked({ key, timestampMs, type }), NOTHING)
    const head = this.#heads[type]
    head.nextMs = Math.min(head.nextMs, timestampMs)
  }

  cancel(key: unknown, timestampMs: number, type: PunctuationType): void {
    this.#region.delete(this.#checked({ key, timestampMs, type }))
  }

  async #run(type: PunctuationType, nowMs: number): Promise<number> {
    for (;;) {
      const [due, nextMs] = await this.#take(type, nowMs)
      if (due.length === 0) return nextMs
      for (const timer of due) {
        // One before it may have cancelled it.
        if (!this.#region.has(timer)) continue
        this.#region.delete(timer)
        const { key, timestampMs } = timer
        const call = {
          ...({ kind: 'timer', operator: this.#operator, key, timestamp: timestampMs } as const),
          bytes: () => ({ key: this.#region.encoded(timer, NOTHING).key.subarray(HEAD_BYTES), value: null }),
        }
        await this.#host.carryOut(call, () => this.#fire(timer))
      }
    }
  }

  /** Some of those that are due, and when the one behind them is. */
  async #take(
    type: PunctuationType,
    nowMs: number,
  ): Promise<readonly [due: readonly TimerKey[], nextMs: number]> {
    const due: TimerKey[] = []
    const gte = { key: null, timestampMs: 0, type }
    const lt = { key: null, timestampMs: Number.MAX_SAFE_INTEGER, type }
    for await (const [found] of this.#region.range({ gte, lt, limit: BATCH })) {
      const timer = found as TimerKey
      if (timer.timestampMs > nowMs) return [due, timer.timestampMs]
      due.push(timer)
    }
    return [due, Number.POSITIVE_INFINITY]
  }

  #checked(timer: TimerKey): TimerKey {
    if (timer.key === null) {
      throw new DruseError(
        'TIMER_WITHOUT_KEY',
        `Operator '${this.#operator}' asks for a timer of a record that has no key`,
        { operator: this.#operator },
      )
    }
    if (!isTimestamp(timer.timestampMs)) {
      throw new DruseError(
        'TIMESTAMP_INVALID',
        `Operator '${this.#operator}' asks for a timer at ${timer.timestampMs}: no time in milliseconds since 1970`,
        { operator: this.#operator },
      )
    }
    return timer
  }
}

/** Never later than the first timer: what is cancelled or taken back may leave it too early, which costs a look. */
class Head implements Due {
  /** Not known before the first look. */
  nextMs = Number.NEGATIVE_INFINITY
  readonly #look: (nowMs: number) => Promise<number>

  constructor(look: (nowMs: number) => Promise<number>) {
    this.#look = look
  }

  async run(nowMs: number): Promise<void> {
    this.nextMs = Number.POSITIVE_INFINITY
    this.nextMs = Math.min(this.nextMs, await this.#look(nowMs))
  }
}
