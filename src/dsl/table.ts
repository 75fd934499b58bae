import type { Region } from '../region/definition.ts'
import type { NodeHost } from '../topology/graph.ts'
import type { Fn, Place } from './place.ts'
import { Stream } from './stream.ts'

/** A value of a table, with the time of the record that it came from. */
export interface Timed<V = unknown> {
  readonly value: V
  readonly timestamp: number
}

/** How the present value under a key is found: in a region, or computed from where it comes from. */
export interface TableView {
  /** Whoever looks names these as its own. */
  readonly regions: readonly string[]
  open(host: NodeHost): (key: unknown) => Timed | undefined
}

/** What stands behind a table, for the operators that build upon it. */
export interface TableOrigin<K, V> {
  /** Of the node that emits its changes. */
  readonly place: Place<K, V>
  /**
   * Asks that changes carry the old value; `force`: also when the table has to be kept in a region for it.
   * Returns whether they will.
   */
  sendOldValues(force: boolean): boolean
  /** Keeps the table in a region if it cannot be found otherwise. */
  view(): TableView
}

/** Of a table that is kept in a region. */
export function regionView(name: string): TableView {
  return {
    regions: [name],
    open: (host) => {
      const region = host.region(name)
      return (key) => region.entry(key)
    },
  }
}

/** The newest value per key. `Name` is that of its region; undefined when it is not kept in one of its own. */
export class Table<Name extends string | undefined, K, V> {
  /** To look into: in operators, and from outside through the running application. */
  readonly region: Name extends string ? Region<Name, K, V> : undefined
  /** @internal */
  readonly origin: TableOrigin<K, V>

  /** @internal Tables begin with `Topology.table`, `Stream.toTable` and aggregations. */
  constructor(origin: TableOrigin<K, V>, region: Name extends string ? Region<Name, K, V> : undefined) {
    this.origin = origin
    this.region = region
  }

  /** Each update, as the new value under its key; null where the key was removed. With a function, under a new key. */
  toStream(): Stream<K, V>
  toStream<K2>(selectKey: Fn<K, V, K2>): Stream<K2, V, 'rekeyed'>
  toStream<K2>(selectKey?: Fn<K, V, K2>): Stream<K, V> | Stream<K2, V, 'rekeyed'> {
    const updates = new Stream<K, V>(this.origin.place)
    return selectKey === undefined ? updates : updates.selectKey(selectKey)
  }
}
