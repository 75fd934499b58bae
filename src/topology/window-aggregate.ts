/** count, reduce and aggregate in tumbling and hopping windows. All as in Kafka Streams 4.1. */
import { WINDOW_KEYS } from '../region/timed-keys.ts'
import { Windowed } from '../serde/windowed.ts'
import { Change } from './change.ts'
import { type Fold, folding } from './fold.ts'
import type { NodeHost, Step } from './graph.ts'
import type { StreamRecord } from './record.ts'
import { fanOut, forwardEach } from './steps.ts'
import { closing, isForgotten, type WindowRegion } from './window-close.ts'
import { startsOf, type TimeWindows } from './windows.ts'

export interface WindowAggregateOptions {
  /** How long the region keeps windows, where several streams fill it. */
  readonly sharedRetentionMs: number | undefined
  /** Of the region. */
  readonly region: string
  readonly windows: TimeWindows
  readonly fold: Fold
  /** Which of the region's stream times is the operator's. */
  readonly slot: number
  /** Not each update of a window is passed on, but its last state when it closes. */
  readonly onClose: boolean
}

/**
 * A record without key is passed over; one without value counts. A record is late for a window whose end and grace are
 * not after stream time, which is the newest time of the records that came here, late ones too.
 */
export function bindWindowAggregate({
  region: regionName,
  windows,
  fold,
  slot,
  onClose,
  sharedRetentionMs,
}: WindowAggregateOptions) {
  return (host: NodeHost, children: readonly Step[], name: string): Step => {
    const region = host.region(regionName) as WindowRegion
    const next = fanOut(children)
    const folded = folding(name, fold)
    const { sizeMs, graceMs } = windows
    const close = closing(host, next, {
      operator: name,
      region,
      keys: WINDOW_KEYS,
      slot,
      onClose,
      lagMs: sizeMs + graceMs,
    })

    const update = (record: StreamRecord, start: number, closedUpTo: number): StreamRecord | undefined => {
      const { key, timestamp } = record
      const end = start + sizeMs
      if (end <= closedUpTo || isForgotten(region, sharedRetentionMs, start, closedUpTo + graceMs)) {
        host.late({ operator: name, record, streamTimeMs: closedUpTo + graceMs, windowEnd: end })
        return undefined
      }
      const windowed = new Windowed(key, start, end)
      const old = region.entry(windowed)
      const newest = old === undefined ? timestamp : Math.max(old.timestamp, timestamp)
      const result = folded(record, old?.value)
      if (result === null) region.delete(windowed)
      else region.putAt(windowed, result, newest)
      return record.with(windowed, new Change(result, old?.value ?? null), newest)
    }
    function* updates(record: StreamRecord, closedUpTo: number): Generator<StreamRecord> {
      for (const start of startsOf(windows, record.timestamp)) {
        const updated = update(record, start, closedUpTo)
        if (updated !== undefined) yield updated
      }
    }

    return (record) => {
      const { key, timestamp } = record
      if (key === null) return host.dropped(name, record, 'key')
      const beforeMs = region.times.at(slot)
      const nowMs = region.times.advance(slot, host.time.watermarkOf(timestamp))
      const closedUpTo = nowMs - graceMs
      if (onClose) {
        for (const _ of updates(record, closedUpTo));
        return close(record, beforeMs, nowMs)
      }
      if (windows.advanceMs !== sizeMs) return forwardEach(updates(record, closedUpTo), next)
      const updated = update(record, timestamp - (timestamp % sizeMs), closedUpTo)
      if (updated !== undefined) return next(updated)
    }
  }
}
