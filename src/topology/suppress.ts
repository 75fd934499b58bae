/**
 * Holds back the updates of a table: the last one of a key is passed on when its time has come, those before it never.
 * All as in Kafka Streams 4.1, but for the old value of what is passed on: it is the one that was passed on before.
 */
import { DruseError } from '../errors.ts'
import type { TimeOrderedRegion } from '../region/definition.ts'
import { FIRST_OPERATOR_SLOT } from '../region/operator-times.ts'
import type { Windowed } from '../serde/windowed.ts'
import { type Buffered, bufferedUpdate } from './buffered.ts'
import { Change } from './change.ts'
import type { NodeHost, Step } from './graph.ts'
import { recordOfTime, type StreamRecord } from './record.ts'
import { fanOut } from './steps.ts'
import { checkMs } from './windows.ts'

/** Bounds of what a suppression holds back. Default: none. */
export interface BufferLimits {
  /** Keys. */
  readonly maxRecords?: number
  /** Of keys and values as they stand in the changelog. */
  readonly maxBytes?: number
}

export interface SuppressUntilWindowCloses {
  readonly kind: 'untilWindowCloses'
  readonly limits: BufferLimits
}

export interface SuppressUntilTimeLimit {
  readonly kind: 'untilTimeLimit'
  readonly limitMs: number
  readonly limits: BufferLimits
  readonly onFull: 'emit' | 'fail'
}

/**
 * The last state of each window alone, when it closes: once, unless it changes later, as it may behind a join. Removals
 * of windows, as sessions have them, are not passed on. A full buffer stops the task (BUFFER_FULL): nothing may be passed
 * on early.
 */
export function untilWindowCloses(limits: BufferLimits = {}): SuppressUntilWindowCloses {
  checkLimits('untilWindowCloses', limits)
  return { kind: 'untilWindowCloses', limits }
}

/**
 * At most one update of a key every `limitMs` of stream time: an update waits for so long, counted from its timestamp, and
 * later ones of its key take its place. When the buffer is full, `emit` passes on the oldest early, `fail` stops the task
 * (BUFFER_FULL). Default `emit`.
 */
export function untilTimeLimit({
  limitMs,
  onFull = 'emit',
  ...limits
}: { readonly limitMs: number; readonly onFull?: 'emit' | 'fail' } & BufferLimits): SuppressUntilTimeLimit {
  checkMs('untilTimeLimit', { limitMs }, 0)
  checkLimits('untilTimeLimit', limits)
  return { kind: 'untilTimeLimit', limitMs, limits, onFull }
}

function checkLimits(where: string, limits: BufferLimits): void {
  for (const [name, limit] of Object.entries(limits)) {
    if (limit === undefined || (Number.isSafeInteger(limit) && limit >= 1)) continue
    throw new DruseError('OPTION_INVALID', `${where}: ${name} is ${limit}, a whole number from 1 is needed`)
  }
}

const STREAM_TIME = FIRST_OPERATOR_SLOT
const RECORDS = FIRST_OPERATOR_SLOT + 1
const BYTES = FIRST_OPERATOR_SLOT + 2
/**
 * Of a key whose update was left out when its time had come: what was passed on before it is the old value of the next
 * one. Nothing of it is held back, so it takes no room of what is.
 */
const LEFT_OUT_MS = Number.MAX_SAFE_INTEGER

export interface SuppressOptions {
  readonly region: string
  /** How long an update waits, from its time. */
  readonly waitMs: number
  /** Undefined: by the update's timestamp. */
  readonly timeOf: ((key: Windowed) => number) | undefined
  readonly limits: BufferLimits
  readonly onFull: 'emit' | 'fail'
}

export function bindSuppress({ region: regionName, waitMs, timeOf, limits, onFull }: SuppressOptions) {
  const { maxRecords = Number.POSITIVE_INFINITY, maxBytes = Number.POSITIVE_INFINITY } = limits
  return (host: NodeHost, children: readonly Step[], name: string): Step => {
    const region = host.region(regionName) as TimeOrderedRegion<unknown, Buffered>
    const { times } = region
    const next = fanOut(children)

    const isFull = (): boolean => times.at(RECORDS) > maxRecords || times.at(BYTES) > maxBytes
    const count = (records: number, bytes: number): void => {
      times.set(RECORDS, Math.max(0, times.at(RECORDS)) + records)
      times.set(BYTES, Math.max(0, times.at(BYTES)) + bytes)
    }
    const buffer = ({ key, value, timestamp, headers }: StreamRecord): void => {
      const { newValue, oldValue } = value as Change
      const before = region.entry(key)?.value
      const waits = before !== undefined && before.timeMs !== LEFT_OUT_MS
      const bytesBefore = waits ? region.bytesUnder(key) : 0
      const timeMs = waits ? before.timeMs : (timeOf?.(key as Windowed) ?? timestamp)
      const old = before === undefined ? oldValue : before.oldValue
      region.putAt(key, { timeMs, newValue, oldValue: old, headers }, timestamp)
      count(waits ? 0 : 1, region.bytesUnder(key) - bytesBefore)
    }
    const release = async (toMs: number): Promise<void> => {
      const lastMs = isFull() && onFull === 'emit' ? Number.POSITIVE_INFINITY : toMs
      for await (const { key, value, timestamp } of region.due(-1, lastMs)) {
        const { timeMs, newValue, oldValue, headers } = value
        if (timeMs > toMs && !isFull()) break
        count(-1, -region.bytesUnder(key))
        region.delete(key)
        if (newValue === null && timeOf !== undefined) continue
        const emission = {
          ...({ kind: 'emission', operator: name, key, timestamp, headers } as const),
          bytes: () => bufferedUpdate(region.encoded(key, value)),
        }
        let isPassedOn = false
        await host.carryOut(emission, async () => {
          await next(recordOfTime(key, new Change(newValue, oldValue), timestamp, headers))
          isPassedOn = true
        })
        if (isPassedOn || timeOf !== undefined) continue
        region.putAt(key, { timeMs: LEFT_OUT_MS, newValue: null, oldValue, headers: [] }, timestamp)
      }
      if (isFull()) throw full(name, times.at(RECORDS), times.at(BYTES))
    }

    host.time.onIdle((streamTimeMs) => {
      const toMs = times.advance(STREAM_TIME, streamTimeMs) - waitMs
      if (region.isDue(toMs)) return release(toMs)
    })
    return (record) => {
      const toMs = times.advance(STREAM_TIME, host.time.watermarkOf(record.timestamp)) - waitMs
      buffer(record)
      if (isFull() || region.isDue(toMs)) return release(toMs)
    }
  }
}

function full(operator: string, records: number, bytes: number): DruseError {
  return new DruseError(
    'BUFFER_FULL',
    `Operator '${operator}' holds back ${records} keys in ${bytes} bytes, more than it may: raise maxRecords or maxBytes, or pass on early where that is allowed (onFull: 'emit')`,
    { operator, records, bytes },
  )
}
