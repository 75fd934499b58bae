/** How windows close: when stream time moves, by a record or because the inputs are idle. */
import type { TimeOrderedRegion } from '../region/definition.ts'
import { NEWEST_SLOT } from '../region/operator-times.ts'
import type { TimedKeys } from '../region/timed-keys.ts'
import type { Windowed } from '../serde/windowed.ts'
import { Change } from './change.ts'
import type { NodeHost, Step } from './graph.ts'
import { recordOfTime, type StreamRecord } from './record.ts'

export type WindowRegion = TimeOrderedRegion<Windowed, unknown>

export interface ClosingOptions {
  readonly operator: string
  readonly region: WindowRegion
  /** The region's. */
  readonly keys: TimedKeys
  /** Which of the region's times is the operator's stream time. */
  readonly slot: number
  /** Whether windows that close are passed on. */
  readonly onClose: boolean
  /** A window closes when stream time is so much later than the time that it stands under. */
  readonly lagMs: number
}

/**
 * Whether retention hides entries of this time because another stream that is aggregated together with this one is so much
 * further: then nothing can be added to them any more. `nowMs`: of this stream.
 */
export function isForgotten(
  { times }: WindowRegion,
  sharedRetentionMs: number | undefined,
  timeMs: number,
  nowMs: number,
): boolean {
  if (sharedRetentionMs === undefined) return false
  const newestMs = times.at(NEWEST_SLOT)
  return newestMs > nowMs && timeMs <= newestMs - sharedRetentionMs
}

/**
 * What an aggregation does when its stream time has moved from one time to another. With `onClose` it passes on the
 * windows that have closed, in the order of time: those that had not closed at the old stream time, so each one once.
 */
export function closing(
  host: NodeHost,
  next: Step,
  { operator, region, keys, slot, onClose, lagMs }: ClosingOptions,
) {
  host.time.onIdle((streamTimeMs) => {
    const beforeMs = region.times.at(slot)
    return close(recordOfTime(null, null, streamTimeMs), beforeMs, region.times.advance(slot, streamTimeMs))
  })
  return close

  function close(record: StreamRecord, beforeMs: number, nowMs: number): void | Promise<void> {
    if (!onClose || nowMs <= beforeMs || !region.isDue(nowMs - lagMs)) return
    return emit(record, Math.max(-1, beforeMs - lagMs), nowMs - lagMs)
  }

  async function emit(record: StreamRecord, afterMs: number, toMs: number): Promise<void> {
    for await (const { key, value, timestamp } of region.due(afterMs, toMs)) {
      const emission = {
        ...({ kind: 'emission', operator, key, timestamp } as const),
        bytes: () => {
          const entry = region.encoded(key, value)
          return { ...entry, key: entry.key.subarray(0, entry.key.length - keys.numberBytes) }
        },
      }
      const pending = host.carryOut(emission, () =>
        next(recordOfTime(key, new Change(value, null), timestamp, record.headers)),
      )
      if (pending !== undefined) await pending
    }
  }
}
