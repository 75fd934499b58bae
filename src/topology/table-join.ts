/** Joins of two tables on their keys. As in Kafka Streams 4.1, spurious tombstones included. */
import { Change } from './change.ts'
import type { NodeHost, Step } from './graph.ts'
import { fanOut, guarded } from './steps.ts'
import type { Keeping } from './table.ts'
import type { TableView, Timed } from './table-view.ts'

/** Which sides have a result without the other. */
export type JoinKind = 'inner' | 'left' | 'outer'

/** A side that is not there is null. */
export type TableJoiner = (left: unknown, right: unknown, key: unknown) => unknown

export interface TableJoinSide {
  /** Whose changes come. */
  readonly side: 'left' | 'right'
  readonly kind: JoinKind
  readonly joiner: TableJoiner
  /** The table of the other side. */
  readonly other: TableView
  /** Whether its changes carry old values. */
  readonly sendsOld: () => boolean
}

/** What a change of one side is to the result. */
export function bindTableJoinSide({ side, kind, joiner, other, sendsOld }: TableJoinSide) {
  const needs = needsOf(kind)
  const needsOther = side === 'left' ? needs.right : needs.left
  const needsThis = side === 'left' ? needs.left : needs.right
  const join: TableJoiner = side === 'left' ? joiner : (mine, theirs, key) => joiner(theirs, mine, key)
  return (host: NodeHost, children: readonly Step[], operator: string): Step => {
    const sendsOldValues = sendsOld()
    const next = fanOut(children)
    const find = guarded(operator, other.open(host))
    const call = guarded(operator, join)
    return (record) => {
      const { key, timestamp } = record
      const { newValue, oldValue } = record.value as Change
      const theirs = find(record, key)
      if (theirs === undefined && (needsOther || (newValue === null && oldValue === null))) return
      const joined = (mine: unknown): unknown => {
        if (mine === null && (needsThis || theirs === undefined)) return null
        return call(record, mine, theirs?.value ?? null, key) ?? null
      }
      const change = new Change(joined(newValue), sendsOldValues ? joined(oldValue) : null)
      return next(record.with(key, change, Math.max(timestamp, theirs?.timestamp ?? timestamp)))
    }
  }
}

/**
 * Both sides' results, kept in a region if that was asked for. The old value is what stands there: where both sides are
 * views of one region, they cannot tell.
 */
export function bindTableJoin(keep: () => Keeping) {
  return (host: NodeHost, children: readonly Step[]): Step => {
    const { region, sendsOld } = keep()
    const next = fanOut(children)
    if (region === undefined) return next
    const results = host.region(region)
    return (record) => {
      const { key, timestamp } = record
      const { newValue } = record.value as Change
      const old = sendsOld ? (results.get(key) ?? null) : null
      if (newValue === null) results.delete(key)
      else results.putAt(key, newValue, timestamp)
      return next(record.with(key, new Change(newValue, old)))
    }
  }
}

/** The result as it is now, from both sides. */
export function joinedView(
  left: TableView,
  right: TableView,
  { kind, joiner }: Pick<TableJoinSide, 'kind' | 'joiner'>,
): TableView {
  const needs = needsOf(kind)
  return {
    regions: [...new Set([...left.regions, ...right.regions])],
    open: (host) => {
      const findLeft = left.open(host)
      const findRight = right.open(host)
      return (key) => {
        const mine = findLeft(key)
        if (mine === undefined && needs.left) return undefined
        const theirs = findRight(key)
        if (theirs === undefined && (needs.right || mine === undefined)) return undefined
        const value = joiner(mine?.value ?? null, theirs?.value ?? null, key) ?? null
        return value === null ? undefined : { value, timestamp: newest(mine, theirs) }
      }
    },
  }
}

function newest(one: Timed | undefined, other: Timed | undefined): number {
  return Math.max(...[one, other].flatMap((side) => (side === undefined ? [] : [side.timestamp])))
}

/** The sides without which there is no result. */
function needsOf(kind: JoinKind): { readonly left: boolean; readonly right: boolean } {
  return { left: kind !== 'outer', right: kind === 'inner' }
}
