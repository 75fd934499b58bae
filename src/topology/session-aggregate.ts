/** count, reduce and aggregate in sessions. All as in Kafka Streams 4.1. */
import type { FoundEntry } from '../region/definition.ts'
import { SESSION_KEYS } from '../region/timed-keys.ts'
import { Windowed } from '../serde/windowed.ts'
import { Change } from './change.ts'
import { type Fold, folding } from './fold.ts'
import type { NodeHost, Step } from './graph.ts'
import type { StreamRecord } from './record.ts'
import { fanOut, forwardEach, operatorFailed, settled } from './steps.ts'
import { closing, isForgotten, type WindowRegion } from './window-close.ts'
import type { SessionWindows } from './windows.ts'

export interface SessionAggregateOptions {
  /** How long the region keeps windows, where several streams fill it. */
  readonly sharedRetentionMs: number | undefined
  readonly region: string
  readonly windows: SessionWindows
  readonly fold: Fold
  readonly merger: Fold['aggregator']
  readonly slot: number
  readonly onClose: boolean
}

type Session = FoundEntry<Windowed, unknown>

/**
 * A record without key is passed over; one without value counts. It makes one session of all those that it is within the
 * gap of: they are removed, each with a null result under its bounds, unless it lies in a session of just its own time.
 * It is late when that session has ended more than gap and grace before stream time.
 */
export function bindSessionAggregate(options: SessionAggregateOptions) {
  const { windows, fold, merger, slot, onClose } = options
  const { inactivityGapMs, graceMs } = windows
  return (host: NodeHost, children: readonly Step[], name: string): Step => {
    const region = host.region(options.region) as WindowRegion
    const next = fanOut(children)
    const folded = folding(name, fold)
    // A session is closed when stream time is later than its end, gap and grace.
    const close = closing(host, next, {
      operator: name,
      region,
      keys: SESSION_KEYS,
      slot,
      onClose,
      lagMs: inactivityGapMs + graceMs + 1,
    })

    const merged = (record: StreamRecord, sessions: readonly Session[]): unknown => {
      try {
        let aggregate = fold.initial?.()
        for (const { value } of sessions) {
          aggregate = aggregate === undefined ? value : settled(merger(aggregate, value, record.key))
          // Nothing is left of them: in reduce, what comes next stands for itself.
          if (fold.initial === undefined) aggregate ??= undefined
        }
        return aggregate
      } catch (error) {
        throw operatorFailed(name, record, error)
      }
    }

    function* updates(record: StreamRecord, sessions: readonly Session[], nowMs: number) {
      const { key, timestamp } = record
      const aggregate = merged(record, sessions)
      const start = Math.min(timestamp, ...sessions.map((session) => session.key.windowStart))
      const end = Math.max(timestamp, ...sessions.map((session) => session.key.windowEnd))
      const isLate = end < nowMs - graceMs - inactivityGapMs
      if (isLate || isForgotten(region, options.sharedRetentionMs, end, nowMs)) {
        host.late({ operator: name, record, streamTimeMs: nowMs, windowEnd: end })
        return
      }
      if (start !== end) {
        for (const session of sessions) {
          region.delete(session.key)
          yield record.with(session.key, new Change(null, session.value), session.key.windowEnd)
        }
      }
      const windowed = new Windowed(key, start, end)
      const result = folded(record, aggregate)
      if (result === null) region.delete(windowed)
      else region.putAt(windowed, result, end)
      yield record.with(windowed, new Change(result, null), end)
    }

    const apply = (
      record: StreamRecord,
      found: readonly Session[],
      beforeMs: number,
      nowMs: number,
    ): void | Promise<void> => {
      const { timestamp } = record
      const within = found.filter(({ key }) => key.windowStart <= timestamp + inactivityGapMs)
      if (!onClose) return forwardEach(updates(record, within, nowMs), next)
      // What has closed is final.
      const open = within.filter(({ key }) => key.windowEnd >= nowMs - graceMs - inactivityGapMs)
      for (const _ of updates(record, open, nowMs));
      return close(record, beforeMs, nowMs)
    }

    return (record) => {
      const { key, timestamp } = record
      if (key === null) return host.dropped(name, record, 'key')
      const beforeMs = region.times.at(slot)
      const nowMs = region.times.advance(slot, host.time.watermarkOf(timestamp))
      const from = new Windowed(key, 0, Math.max(0, timestamp - inactivityGapMs))
      const found = region.between(from, new Windowed(key, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER))
      if (found instanceof Promise) return found.then((sessions) => apply(record, sessions, beforeMs, nowMs))
      return apply(record, found, beforeMs, nowMs)
    }
  }
}
