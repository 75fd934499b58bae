import type { Serde } from '../ports.ts'
import { int64 } from '../serde/index.ts'
import { bindTableAggregate, type TableAggregateOptions } from '../topology/table.ts'
import { addRegion, type RegionOptions } from './materialized.ts'
import type { Place } from './place.ts'
import { regionView, Table } from './table.ts'

/**
 * A table's entries in groups. What an entry added to its group's aggregate is taken out again when the entry changes,
 * moves to another group or is deleted. Change within a group is one update: old value out, then new value in.
 */
export class GroupedTable<K, V> {
  readonly #place: Place<K, V>

  /** @internal See `Table.groupBy`. */
  constructor(place: Place<K, V>) {
    this.#place = place
  }

  /** How many entries a group has. A group that has had any stays, with 0. */
  count<const Name extends string>(
    name: Name,
    options: RegionOptions<K, number> = {},
  ): Table<Name, K, number> {
    return this.aggregate(
      name,
      () => 0,
      (count) => count + 1,
      (count) => count - 1,
      { value: int64, ...options },
    )
  }

  /** Combines the values of a group; the first one stands for itself. A result of null removes the group. */
  reduce<const Name extends string>(
    name: Name,
    adder: (aggregate: V, value: V, key: K) => V | null,
    subtractor: (aggregate: V, value: V, key: K) => V | null,
    options: RegionOptions<K, V> = {},
  ): Table<Name, K, V> {
    const { value } = this.#place.serdes
    return this.#aggregate(
      { name, initial: undefined, adder, subtractor } as TableAggregateOptions & { name: Name },
      { ...(value && { value }), ...options },
    )
  }

  /** Folds the values of a group, from `initial()`. A result of null removes the group. */
  aggregate<const Name extends string, A>(
    name: Name,
    initial: () => A,
    adder: (aggregate: A, value: V, key: K) => A | null,
    subtractor: (aggregate: A, value: V, key: K) => A | null,
    options: RegionOptions<K, A> & { readonly value: Serde<A> },
  ): Table<Name, K, A> {
    return this.#aggregate(
      { name, initial, adder, subtractor } as TableAggregateOptions & { name: Name },
      options,
    )
  }

  #aggregate<const Name extends string, A>(
    aggregate: TableAggregateOptions & { readonly name: Name },
    options: RegionOptions<K, A>,
  ): Table<Name, K, A> {
    const { builder, serdes } = this.#place
    const { name } = aggregate
    const region = addRegion(
      { builder, serdes: { ...(serdes.key && { key: serdes.key }) } },
      { ...options, name },
    )
    const node = builder.add({
      kind: 'operator',
      operator: 'aggregate',
      name,
      parents: [this.#place.node],
      regions: [name],
      takes: 'changes',
      emits: 'changes',
      bind: bindTableAggregate(aggregate),
    })
    return new Table(
      {
        place: { ...this.#place, node, serdes: region },
        sendOldValues: () => true,
        view: () => regionView(name),
      },
      region as Table<Name, K, A>['region'],
    )
  }
}
