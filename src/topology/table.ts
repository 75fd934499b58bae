/** Tables from records, and tables from tables. As in Kafka Streams 4.1, spurious tombstones included. */
import type { AnyRegion } from '../region/definition.ts'
import { isSameKey } from '../serde/same-key.ts'
import { Change } from './change.ts'
import type { NodeHost, Step } from './graph.ts'
import type { StreamRecord } from './record.ts'
import { fanOut, forwardEach, guarded, pairOf, settled } from './steps.ts'
import type { Derive } from './table-view.ts'

/** What an operator of tables asks of itself; known when the whole topology is. */
export interface Keeping {
  /** The region in which the table is kept, if it is. */
  readonly region: string | undefined
  /** Whether its changes carry old values. */
  readonly sendsOld: boolean
}

type Keep = () => Keeping

/** A stream as a table: each record puts its key, or deletes it. The last to arrive stands, whatever its time. */
export function bindTable(keep: Keep) {
  return (host: NodeHost, children: readonly Step[], operator: string): Step => {
    const { region: name, sendsOld } = keep()
    const region = name === undefined ? undefined : host.region(name)
    const next = fanOut(children)
    return (record) => {
      const { key, value, timestamp } = record
      if (key === null) return host.dropped(operator, record, 'key')
      if (region === undefined) return next(record.with(key, new Change(value, null)))
      const old = sendsOld ? (region.get(key) ?? null) : null
      if (value === null) region.delete(key)
      else region.putAt(key, value, timestamp)
      return next(record.with(key, new Change(value, old)))
    }
  }
}

export interface DerivedOptions {
  readonly keep: Keep
  readonly derive: Derive
  /** Says nothing of a key that neither was nor is in the result: a filter does, where it knows what was. */
  readonly silent: boolean
}

/** filter, filterNot and mapValues of tables. */
export function bindDerived({ keep, derive, silent }: DerivedOptions) {
  return (host: NodeHost, children: readonly Step[], operator: string): Step => {
    const { region: name, sendsOld } = keep()
    const region = name === undefined ? undefined : host.region(name)
    const next = fanOut(children)
    const call = guarded(operator, derive)
    const derived = (value: unknown, record: StreamRecord): unknown =>
      value === null ? null : (call(record, value, record.key) ?? null)
    return (record) => {
      const { key, timestamp } = record
      const change = record.value as Change
      const value = derived(change.newValue, record)
      let old: unknown = null
      if (sendsOld) old = region === undefined ? derived(change.oldValue, record) : (region.get(key) ?? null)
      if (silent && sendsOld && value === null && old === null) return
      if (value === null) region?.delete(key)
      else region?.putAt(key, value, timestamp)
      return next(record.with(key, new Change(value, old)))
    }
  }
}

export interface TransformOptions {
  /** Of the operator and of the region that keeps its result. */
  readonly name: string
  /** What it may look into and write. */
  readonly regions: readonly AnyRegion[]
  /** Called for deletions too, with null. A null result is no entry. */
  readonly transform: (value: unknown, key: unknown, context: object) => unknown
}

/** transformValues of tables: the result is kept, for what was can not be computed again. */
export function bindTransform({ name, regions, transform }: TransformOptions) {
  return (host: NodeHost, children: readonly Step[]): Step => {
    const results = host.region(name)
    const next = fanOut(children)
    const call = guarded(name, transform)
    const context: Record<string, unknown> = {}
    for (const { kind, name: region } of regions) {
      context[region] = kind === 'global' ? host.globalRegion(region) : host.region(region)
    }
    return (record) => {
      const { key, timestamp } = record
      const value = call(record, (record.value as Change).newValue, key, context) ?? null
      const old = results.get(key) ?? null
      if (value === null) results.delete(key)
      else results.putAt(key, value, timestamp)
      return next(record.with(key, new Change(value, old)))
    }
  }
}

export interface GroupingOptions {
  /** A null key, or a null value, is in no group. */
  readonly group: (value: unknown, key: unknown) => readonly [key: unknown, value: unknown]
}

/** What a table's change is to groups: taken from the old one, added to the new one; both at once within a group. */
export function bindGrouping({ group }: GroupingOptions) {
  return (_: NodeHost, children: readonly Step[], operator: string): Step => {
    const next = fanOut(children)
    const call = guarded(operator, (value: unknown, key: unknown) => pairOf(settled(group(value, key))))
    const grouped = (value: unknown, record: StreamRecord): readonly [unknown, unknown] | undefined => {
      if (value === null) return undefined
      const pair = call(record, value, record.key)
      return (pair[0] ?? null) === null || (pair[1] ?? null) === null ? undefined : pair
    }
    return (record) => {
      const { newValue, oldValue } = record.value as Change
      const from = grouped(oldValue, record)
      const to = grouped(newValue, record)
      if (from !== undefined && to !== undefined && isSameKey(from[0], to[0])) {
        return next(record.with(to[0], new Change(to[1], from[1])))
      }
      const halves: StreamRecord[] = []
      if (from !== undefined) halves.push(record.with(from[0], new Change(null, from[1])))
      if (to !== undefined) halves.push(record.with(to[0], new Change(to[1], null)))
      return forwardEach(halves, next)
    }
  }
}

export interface TableAggregateOptions {
  /** Of the operator and of its region. */
  readonly name: string
  /** Left out: the first value stands for itself (reduce). */
  readonly initial: (() => unknown) | undefined
  readonly adder: (aggregate: unknown, value: unknown, key: unknown) => unknown
  readonly subtractor: (aggregate: unknown, value: unknown, key: unknown) => unknown
}

/** Takes old values out of a group's aggregate and puts new ones in; one update of the aggregate for each change. */
export function bindTableAggregate({ name, initial, adder, subtractor }: TableAggregateOptions) {
  return (host: NodeHost, children: readonly Step[]): Step => {
    const region = host.region(name)
    const next = fanOut(children)
    const changed = guarded(name, (aggregate: unknown, { newValue, oldValue }: Change, key: unknown) => {
      let result = aggregate
      if (oldValue !== null && result !== null) result = subtractor(result, oldValue, key) ?? null
      if (newValue === null) return result
      if (result !== null) return adder(result, newValue, key) ?? null
      return initial === undefined ? newValue : (adder(initial(), newValue, key) ?? null)
    })
    return (record) => {
      const { key } = record
      const old = region.entry(key)
      const oldValue = old?.value ?? null
      const value = changed(record, oldValue, record.value as Change, key)
      const timestamp = old === undefined ? record.timestamp : Math.max(old.timestamp, record.timestamp)
      if (value === null) region.delete(key)
      else region.putAt(key, value, timestamp)
      return next(record.with(key, new Change(value, oldValue), timestamp))
    }
  }
}
