/**
 * Joins of two streams in a window of time. Matches are those of Kafka Streams 4.1, in their order. A record of an outer
 * side without a match gives one result with null, when its window and grace are over, or at once when they are over
 * already. Kafka Streams gives some of these results too early and a second time, some too late.
 *
 * Each side keeps its records for as long as the window and grace, counted from its own newest record; what is older is
 * not found any more. A late record is joined with what the other side still has.
 */
import type { TimeOrderedRegion } from '../region/definition.ts'
import { FIRST_OPERATOR_SLOT } from '../region/operator-times.ts'
import type { NodeHost, Step } from './graph.ts'
import { type JoinKey, NUMBER_MAX, type PendingKey, type PendingValue, pendingRecord } from './join-keys.ts'
import type { JoinWindows } from './join-windows.ts'
import { recordOfTime, type StreamRecord } from './record.ts'
import { fanOut, forwardEach, operatorFailed, settled } from './steps.ts'

export interface StreamJoinOptions {
  readonly name: string
  /** Regions of the sides, by name. */
  readonly left: string
  readonly right: string
  /** Of the records that wait for a match; undefined in an inner join. */
  readonly pending: string | undefined
  readonly windows: JoinWindows
  /** Whether records without a match give a result. */
  readonly isOuter: { readonly left: boolean; readonly right: boolean }
  readonly joiner: (left: unknown, right: unknown, key: unknown) => unknown
}

type Side = TimeOrderedRegion<JoinKey, unknown>
type Pending = TimeOrderedRegion<PendingKey, PendingValue>

/** In each side's region: the number of its last record. */
const NUMBER_SLOT = FIRST_OPERATOR_SLOT
/** In the left side's: the newest time of both sides, that of records without key or value included. */
const TIME_SLOT = FIRST_OPERATOR_SLOT + 1

export function bindStreamJoin(options: StreamJoinOptions, isLeft: boolean) {
  const { windows, isOuter, joiner } = options
  const { beforeMs, afterMs, graceMs } = windows
  /** How far back and ahead of a record's own time its matches lie. */
  const [backMs, aheadMs] = isLeft ? [beforeMs, afterMs] : [afterMs, beforeMs]
  /** The same of the other side's records. */
  const otherAheadMs = isLeft ? beforeMs : afterMs
  const keepsUnmatched = isLeft ? isOuter.left : isOuter.right

  return (host: NodeHost, children: readonly Step[], name: string): Step => {
    const left = host.region(options.left) as Side
    const right = host.region(options.right) as Side
    const pending =
      options.pending === undefined ? undefined : (host.region(options.pending) as unknown as Pending)
    const [own, other] = isLeft ? [left, right] : [right, left]
    const { times } = left
    const next = fanOut(children)

    const join = (record: StreamRecord, leftValue: unknown, rightValue: unknown): unknown => {
      try {
        return settled(joiner(leftValue, rightValue, record.key))
      } catch (error) {
        throw operatorFailed(name, record, error)
      }
    }
    /** Without a match. */
    const alone = (record: StreamRecord, ofLeft: boolean, value: unknown): StreamRecord =>
      record.with(record.key, ofLeft ? join(record, value, null) : join(record, null, value))

    /** What has found no match until now, and can find none any more. */
    async function passOnClosed(waiting: Pending, by: StreamRecord, toMs: number): Promise<void> {
      for await (const { key: pendingKey, value, timestamp } of waiting.due(-1, toMs)) {
        waiting.delete(pendingKey)
        const { key, windowEnd } = pendingKey
        const emission = {
          ...({ kind: 'emission', operator: options.name, key, timestamp, windowEnd } as const),
          bytes: () => pendingRecord(waiting.encoded(pendingKey, value)),
        }
        await host.carryOut(emission, () =>
          next(alone(recordOfTime(key, null, timestamp, by.headers), value.isLeft, value.value)),
        )
      }
    }
    const closeUpTo = (by: StreamRecord, nowMs: number): void | Promise<void> => {
      // A window is over when stream time is later than its end and grace.
      const toMs = nowMs - graceMs - 1
      if (pending?.isDue(toMs)) return passOnClosed(pending, by, toMs)
    }
    // Both sides would do the same.
    if (isLeft && pending !== undefined) {
      host.time.onIdle((streamTimeMs) => {
        const nowMs = times.advance(TIME_SLOT, streamTimeMs)
        return closeUpTo(recordOfTime(null, null, nowMs), nowMs)
      })
    }

    function* matches(
      record: StreamRecord,
      number: number,
      found: readonly { readonly key: JoinKey; readonly value: unknown }[],
    ): Generator<StreamRecord> {
      const { key, value, timestamp } = record
      for (const { key: match, value: otherValue } of found) {
        const waits = {
          isLeft: !isLeft,
          key,
          windowEnd: match.timestamp + otherAheadMs,
          number: match.number,
        }
        if (pending?.has(waits)) pending.delete(waits)
        const joined = isLeft ? join(record, value, otherValue) : join(record, otherValue, value)
        yield record.with(key, joined, Math.max(timestamp, match.timestamp))
      }
      if (found.length > 0 || !keepsUnmatched) return
      const windowEnd = timestamp + aheadMs
      if (windowEnd + graceMs < times.at(TIME_SLOT)) yield alone(record, isLeft, value)
      else pending?.putAt({ isLeft, key, windowEnd, number }, { isLeft, value }, timestamp)
    }

    const match = (record: StreamRecord): void | Promise<void> => {
      const { key, value, timestamp } = record
      const number = (own.times.at(NUMBER_SLOT) + 1) % NUMBER_MAX
      own.times.set(NUMBER_SLOT, number)
      own.putAt({ key, timestamp, number }, value, timestamp)
      const found = other.between(
        { key, timestamp: Math.max(0, timestamp - backMs), number: 0 },
        { key, timestamp: timestamp + aheadMs, number: NUMBER_MAX },
      )
      if (found instanceof Promise)
        return found.then((all) => forwardEach(matches(record, number, all), next))
      return forwardEach(matches(record, number, found), next)
    }

    return (record) => {
      const { key, value, timestamp } = record
      const nowMs = times.advance(TIME_SLOT, host.time.watermarkOf(timestamp))
      if (value === null) return host.dropped(name, record, 'value')
      if (key === null) {
        return keepsUnmatched ? next(alone(record, isLeft, value)) : host.dropped(name, record, 'key')
      }
      const closing = closeUpTo(record, nowMs)
      return closing === undefined ? match(record) : closing.then(() => match(record))
    }
  }
}
