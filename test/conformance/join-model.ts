/**
 * A plain model of a join of two streams, in two versions that differ in the results of records without a match: the
 * right one, and Kafka Streams', with the artefacts that the recordings show (items 4 and 5 of "Surprising semantics").
 * When the second one gives the recording, its differences from the first are those artefacts and no others.
 */
import type { Case, CaseEntry } from './case.ts'
import type { Text } from './text.ts'

export interface JoinSpec {
  readonly left: string
  readonly right: string
  /** Of the topics' values; undefined: the record does not come to the join. Default: the record's own key. */
  readonly keyOf?: (value: Text, key: Text, isLeft: boolean) => Text | undefined
  readonly beforeMs: number
  readonly afterMs: number
  readonly graceMs: number
  readonly isOuter: { readonly left: boolean; readonly right: boolean }
}

interface Arrived {
  readonly isLeft: boolean
  readonly key: string
  readonly value: string
  readonly ts: number
  /** In the order of arrival. */
  readonly order: number
}

export interface JoinResult extends Pick<CaseEntry, 'key' | 'value' | 'ts'> {
  /** The input that brought it. */
  readonly by: number
}

export function joinModel({ inputs }: Case, spec: JoinSpec, asKafka: boolean): JoinResult[] {
  const { beforeMs, afterMs, graceMs, isOuter } = spec
  const results: JoinResult[] = []
  const kept = { left: [] as Arrived[], right: [] as Arrived[] }
  const newest = { left: -1, right: -1 }
  let pending: Arrived[] = []
  let nowMs = -1
  let minTime = Number.POSITIVE_INFINITY
  const aheadOf = (isLeft: boolean): number => (isLeft ? afterMs : beforeMs)
  const alone = (
    by: number,
    { key, value, ts, isLeft }: Omit<Arrived, 'key' | 'order'> & { key: Text },
  ): void => {
    results.push({ key, value: isLeft ? `${value}|null` : `null|${value}`, ts, by })
  }

  const rightly = (by: number): void => {
    const isOver = ({ ts, isLeft }: Arrived): boolean => ts + aheadOf(isLeft) + graceMs < nowMs
    const endOf = ({ ts, isLeft }: Arrived): number => ts + aheadOf(isLeft)
    const over = pending.filter(isOver)
    over.sort((a, b) => endOf(a) - endOf(b) || Number(a.isLeft) - Number(b.isLeft) || byKey(a, b))
    for (const record of over) alone(by, record)
    pending = pending.filter((record) => !isOver(record))
  }
  const asKafkaDoes = (by: number, isLeft: boolean): void => {
    if (minTime + aheadOf(isLeft) + graceMs >= nowMs) return
    minTime = Number.POSITIVE_INFINITY
    const open = { left: false, right: false }
    const gone = new Set<Arrived>()
    for (const record of [...pending].sort(
      (a, b) => a.ts - b.ts || Number(a.isLeft) - Number(b.isLeft) || byKey(a, b),
    )) {
      minTime = record.ts
      if (open.left && open.right) break
      if (record.ts + aheadOf(record.isLeft) + graceMs >= nowMs) {
        open[record.isLeft ? 'left' : 'right'] = true
        continue
      }
      alone(by, record)
      gone.add(record)
    }
    pending = pending.filter((record) => !gone.has(record))
  }

  for (const [by, input] of inputs.entries()) {
    if (!('topic' in input) || (input.topic !== spec.left && input.topic !== spec.right)) continue
    const { value, ts } = input
    const isLeft = input.topic === spec.left
    const side = isLeft ? 'left' : 'right'
    const key = spec.keyOf === undefined ? input.key : spec.keyOf(value, input.key, isLeft)
    if (key === undefined) continue
    nowMs = Math.max(nowMs, ts)
    if (value === null) continue
    const isOuterSide = isOuter[side]
    if (key === null) {
      if (isOuterSide) alone(by, { isLeft, key, value, ts })
      continue
    }
    const record: Arrived = { isLeft, key, value, ts, order: by }
    newest[side] = Math.max(newest[side], ts)
    const retentionMs = beforeMs + afterMs + graceMs
    if (ts > newest[side] - retentionMs) kept[side].push(record)
    if (isOuter.left || isOuter.right) {
      if (asKafka && ts === nowMs) asKafkaDoes(by, isLeft)
      if (!asKafka) rightly(by)
    }
    const otherSide = isLeft ? 'right' : 'left'
    const [backMs, aheadMs] = isLeft ? [beforeMs, afterMs] : [afterMs, beforeMs]
    const matches = kept[otherSide].filter(
      (other) =>
        other.key === key &&
        other.ts >= ts - backMs &&
        other.ts <= ts + aheadMs &&
        other.ts > newest[otherSide] - retentionMs,
    )
    matches.sort((a, b) => a.ts - b.ts || a.order - b.order)
    for (const other of matches) {
      pending = pending.filter(
        (waiting) => waiting.isLeft === isLeft || waiting.key !== key || waiting.ts !== other.ts,
      )
      const joined = isLeft ? `${value}|${other.value}` : `${other.value}|${value}`
      results.push({ key, value: joined, ts: Math.max(ts, other.ts), by })
    }
    if (matches.length > 0 || !isOuterSide) continue
    const isOver = asKafka ? ts + aheadMs < nowMs : ts + aheadMs + graceMs < nowMs
    if (isOver) alone(by, record)
    else {
      pending.push(record)
      minTime = Math.min(minTime, ts)
    }
  }
  return results
}

/** By the bytes of the key, then by arrival. */
function byKey(a: Arrived, b: Arrived): number {
  return Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)) || a.order - b.order
}
