/**
 * count, reduce and aggregate in sliding windows. All as in Kafka Streams 4.1.
 *
 * Each record at t has a window that ends with it, [t - D, t], its left one, and, as soon as a later record comes within D,
 * one that begins right after it, [t + 1, t + 1 + D], its right one. So every set of records within D of each other is in
 * one window. A record is added to the windows that hold its time, and makes those that are missing: their aggregates
 * begin as copies of windows that hold the same records. Records before D share the window [0, D] as their left one.
 */
import type { FoundEntry } from '../region/definition.ts'
import { WINDOW_KEYS } from '../region/timed-keys.ts'
import { Windowed } from '../serde/windowed.ts'
import { Change } from './change.ts'
import { type Fold, folding } from './fold.ts'
import type { NodeHost, Step } from './graph.ts'
import type { StreamRecord } from './record.ts'
import { fanOut, forwardEach } from './steps.ts'
import { closing, isForgotten, type WindowRegion } from './window-close.ts'
import type { SlidingWindows } from './windows.ts'

export interface SlidingAggregateOptions {
  /** How long the region keeps windows, where several streams fill it. */
  readonly sharedRetentionMs: number | undefined
  readonly region: string
  readonly windows: SlidingWindows
  readonly fold: Fold
  readonly slot: number
  readonly onClose: boolean
}

type Window = FoundEntry<Windowed, unknown>

/**
 * A record without key or value is passed over. It is late when even the window that begins with it has closed: when its
 * end and grace are before stream time. A single window that has closed is left as it is.
 */
export function bindSlidingAggregate(options: SlidingAggregateOptions) {
  const { windows, fold, slot, onClose, sharedRetentionMs } = options
  const { timeDifferenceMs: differenceMs, graceMs } = windows
  return (host: NodeHost, children: readonly Step[], name: string): Step => {
    const region = host.region(options.region) as WindowRegion
    const next = fanOut(children)
    const folded = folding(name, fold)
    const close = closing(host, next, {
      operator: name,
      region,
      keys: WINDOW_KEYS,
      slot,
      onClose,
      lagMs: differenceMs + graceMs + 1,
    })

    const put = (windowed: Windowed, value: unknown, timestamp: number): void => {
      if (value === null) region.delete(windowed)
      else region.putAt(windowed, value, timestamp)
    }

    /** Adds the record to a window. `old`: what its aggregate begins with; undefined where it is the first. */
    function* add(
      record: StreamRecord,
      start: number,
      old: unknown,
      oldTimestamp: number,
      nowMs: number,
      isThere: boolean,
    ): Generator<StreamRecord> {
      const end = start + differenceMs
      if (end < nowMs - graceMs || isForgotten(region, sharedRetentionMs, start, nowMs)) {
        host.late({ operator: name, record, streamTimeMs: nowMs, windowEnd: end })
        return
      }
      const windowed = new Windowed(record.key, start, end)
      const timestamp = Math.max(record.timestamp, oldTimestamp)
      const result = folded(record, old)
      put(windowed, result, timestamp)
      yield record.with(windowed, new Change(result, isThere ? (old ?? null) : null), timestamp)
    }

    /** The record's right window: holds what a window held before the record came into it, and later than the record. */
    function* addRight(record: StreamRecord, of: Window): Generator<StreamRecord> {
      const start = record.timestamp + 1
      const windowed = new Windowed(record.key, start, start + differenceMs)
      put(windowed, of.value, of.timestamp)
      yield record.with(windowed, new Change(of.value, null), of.timestamp)
    }

    function* updates(
      record: StreamRecord,
      found: readonly Window[],
      nowMs: number,
    ): Generator<StreamRecord> {
      const { timestamp } = record
      const starts = new Set<number>()
      let left: Window | undefined
      let right: Window | undefined
      let hasLeft = false
      let hasRight = false
      /** Of the newest record before this one. */
      let previousMs: number | undefined
      for (const window of found.toReversed()) {
        const { windowStart: start, windowEnd: end } = window.key
        starts.add(start)
        if (start === timestamp + 1) hasRight = true
        else if (end >= timestamp) {
          if (end > timestamp) right ??= window
          yield* add(record, start, window.value, window.timestamp, nowMs, true)
          if (end > timestamp) continue
          hasLeft = true
          if (window.timestamp >= timestamp) return
          previousMs = window.timestamp
        } else {
          left = window
          previousMs = window.timestamp
          break
        }
      }
      if (previousMs !== undefined) {
        const start = previousMs + 1
        if (!starts.has(start) && start + differenceMs >= timestamp) {
          yield* add(record, start, undefined, timestamp, nowMs, false)
        }
      }
      if (!hasLeft) {
        const isEmpty = previousMs === undefined || timestamp - differenceMs > previousMs
        const old = isEmpty ? undefined : left?.value
        yield* add(record, timestamp - differenceMs, old, timestamp, nowMs, false)
      }
      if (!hasRight && right !== undefined && right.timestamp > timestamp) yield* addRight(record, right)
    }

    /** Of a record before D. */
    function* earlyUpdates(
      record: StreamRecord,
      found: readonly Window[],
      nowMs: number,
    ): Generator<StreamRecord> {
      const { timestamp } = record
      const starts = new Set(found.map(({ key }) => key.windowStart))
      const combined = found.find(({ key }) => key.windowStart === 0)
      const previousMs = combined && combined.timestamp < timestamp ? combined.timestamp : undefined
      let right: Window | undefined
      for (const window of found) {
        const start = window.key.windowStart
        if (start === 0 || start > timestamp) continue
        right = window
        yield* add(record, start, window.value, window.timestamp, nowMs, true)
      }
      if (right === undefined && combined !== undefined && combined.timestamp > timestamp) right = combined
      if (!starts.has(timestamp + 1) && right !== undefined && right.timestamp > timestamp) {
        yield* addRight(record, right)
      }
      if (previousMs !== undefined && !starts.has(previousMs + 1)) {
        yield* add(record, previousMs + 1, undefined, timestamp, nowMs, false)
      }
      yield* add(record, 0, combined?.value, combined?.timestamp ?? timestamp, nowMs, combined !== undefined)
    }

    const apply = (
      record: StreamRecord,
      found: readonly Window[],
      beforeMs: number,
      nowMs: number,
    ): void | Promise<void> => {
      const updated =
        record.timestamp < differenceMs ? earlyUpdates(record, found, nowMs) : updates(record, found, nowMs)
      if (!onClose) return forwardEach(updated, next)
      for (const _ of updated);
      return close(record, beforeMs, nowMs)
    }

    return (record) => {
      const { key, value, timestamp } = record
      if (key === null || value === null) return host.dropped(name, record, key === null ? 'key' : 'value')
      const beforeMs = region.times.at(slot)
      const nowMs = region.times.advance(slot, host.time.watermarkOf(timestamp))
      if (timestamp + differenceMs < nowMs - graceMs) {
        host.late({ operator: name, record, streamTimeMs: nowMs, windowEnd: timestamp + differenceMs })
        return
      }
      const fromMs = timestamp < differenceMs ? 0 : Math.max(0, timestamp - 2 * differenceMs)
      const found = region.between(
        new Windowed(key, fromMs, fromMs),
        new Windowed(key, timestamp + 1, timestamp + 1),
      )
      if (found instanceof Promise) return found.then((all) => apply(record, all, beforeMs, nowMs))
      return apply(record, found, beforeMs, nowMs)
    }
  }
}
