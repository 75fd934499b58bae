import { DruseError } from '../errors.ts'
import type { Serde } from '../ports.ts'
import type { AnyRegion, Region, RegionHandles } from '../region/definition.ts'
import { AutoName } from '../topology/builder.ts'
import { changeSerde } from '../topology/change-serde.ts'
import type { NodeId } from '../topology/graph.ts'
import {
  bindDerived,
  bindGrouping,
  bindTable,
  bindTransform,
  type Keeping,
  type TransformOptions,
} from '../topology/table.ts'
import {
  bindTableJoin,
  bindTableJoinSide,
  type JoinKind,
  joinedView,
  type TableJoiner,
} from '../topology/table-join.ts'
import { type Derive, derivedView, regionView, type TableView } from '../topology/table-view.ts'
import { type ForeignKeyJoinOptions, foreignKeyJoin } from './foreign-key-join.ts'
import { GroupedTable } from './grouped-table.ts'
import { addRegion, type Materialized, type RegionOptions } from './materialized.ts'
import { type Fn, type Named, type Place, requireOneTopology, type Serdes, windowCloseOf } from './place.ts'
import { Stream } from './stream.ts'
import { type SuppressedOptions, type Suppression, suppressed } from './suppressed-table.ts'

export { regionView, type TableView, type Timed } from '../topology/table-view.ts'

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

// biome-ignore lint/suspicious/noExplicitAny: stands for every name, kept or not
export type AnyTable<K, V> = Table<any, K, V>

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

  /**
   * The entries for which the function returns true. An entry that does not pass, or no longer, is deleted from the
   * result: where nothing is kept that would tell, also one that never was there.
   */
  filter<V2 extends V>(predicate: (value: V, key: K) => value is V2): Table<undefined, K, V2>
  filter(predicate: (value: V, key: K) => boolean): Table<undefined, K, V>
  filter<const N extends string>(
    predicate: (value: V, key: K) => boolean,
    materialized: Materialized<N, K, V>,
  ): Table<N, K, V>
  filter(
    predicate: (value: V, key: K) => boolean,
    materialized?: Materialized<string, K, V>,
  ): Table<string | undefined, K, V> {
    return this.#filter(
      'filter',
      (value, key) => (predicate(value as V, key as K) ? value : null),
      materialized,
    )
  }

  /** The entries for which the function does not return true: see `filter`. */
  filterNot(predicate: (value: V, key: K) => boolean): Table<undefined, K, V>
  filterNot<const N extends string>(
    predicate: (value: V, key: K) => boolean,
    materialized: Materialized<N, K, V>,
  ): Table<N, K, V>
  filterNot(
    predicate: (value: V, key: K) => boolean,
    materialized?: Materialized<string, K, V>,
  ): Table<string | undefined, K, V> {
    return this.#filter(
      'filterNot',
      (value, key) => (predicate(value as V, key as K) ? null : value),
      materialized,
    )
  }

  /** A new value under the same key; null for no entry. Not called for deletions. */
  mapValues<V2>(mapper: (value: V, key: K) => V2 | null): Table<undefined, K, V2>
  mapValues<V2, const N extends string>(
    mapper: (value: V, key: K) => V2 | null,
    materialized: Materialized<N, K, V2> & { readonly value: Serde<V2> },
  ): Table<N, K, V2>
  mapValues<V2>(
    mapper: (value: V, key: K) => V2 | null,
    materialized?: Materialized<string, K, V2>,
  ): Table<string | undefined, K, V2> {
    const { key } = this.origin.place.serdes
    return this.#derive('mapValues', mapper as Derive, false, { ...(key && { key }) }, materialized)
  }

  /**
   * A new value under the same key, from a function that may keep state: it has the regions that it names, by name.
   * Called for deletions too, with null; null for no entry. The result is kept in a region under the operator's name.
   */
  transformValues<V2, const N extends string, const R extends readonly AnyRegion[] = readonly []>(
    name: N,
    options: RegionOptions<K, V2> & { readonly value: Serde<V2>; readonly regions?: R },
    transform: (value: V | null, key: K, context: RegionHandles<R>) => V2 | null,
  ): Table<N, K, V2> {
    const { builder, node, serdes } = this.origin.place
    const { regions: used, ...kept } = options
    const regions: readonly AnyRegion[] = used ?? []
    builder.requireRegions(name, regions)
    const known = { ...(serdes.key && { key: serdes.key }) }
    const region = addRegion<N, K, V2>({ builder, serdes: known }, { ...kept, name })
    const transforming = builder.add({
      kind: 'operator',
      operator: 'transformValues',
      name,
      parents: [node],
      regions: [name, ...regions.map((each) => each.name)],
      takes: 'changes',
      emits: 'changes',
      bind: bindTransform({ name, regions, transform: transform as TransformOptions['transform'] }),
    })
    return new Table(
      {
        place: { ...this.origin.place, node: transforming, serdes: region },
        sendOldValues: () => true,
        view: () => regionView(name),
      },
      region as Table<N, K, V2>['region'],
    )
  }

  /**
   * Groups the entries by another key, or by what a value says: `fn` gives the group's key and the value to aggregate; a
   * null is in no group. Changes travel through the internal topic `<application>-<name>-repartition`.
   */
  groupBy<K2, V2>(
    name: string,
    fn: (value: V, key: K) => readonly [key: K2 | null, value: V2 | null],
    options: { readonly key: Serde<K2>; readonly value: Serde<V2> },
  ): GroupedTable<K2, V2> {
    this.origin.sendOldValues(true)
    const { builder } = this.origin.place
    const grouping = builder.add({
      kind: 'operator',
      operator: 'groupBy',
      name: new AutoName(`group-${name}`),
      partOf: name,
      parents: [this.origin.place.node],
      regions: [],
      takes: 'changes',
      bind: bindGrouping({ group: fn as Parameters<typeof bindGrouping>[0]['group'] }),
    })
    const node = builder.add({
      kind: 'repartition',
      name,
      parents: [grouping],
      topic: `${builder.application}-${name}-repartition`,
      partitions: undefined,
      partitioner: undefined,
      key: options.key as Serde<unknown>,
      value: changeSerde(options.value) as Serde<unknown>,
    })
    const { key, value } = options
    return new GroupedTable({ ...this.origin.place, node, serdes: { key, value } })
  }

  /** Both tables' entries of one key; as long as both are there. The result's time is the newer one's. */
  join<V2, VO>(
    other: AnyTable<K, V2>,
    joiner: (value: V, other: NoInfer<V2>, key: K) => VO | null,
  ): Table<undefined, K, VO>
  join<V2, VO, const N extends string>(
    other: AnyTable<K, V2>,
    joiner: (value: V, other: NoInfer<V2>, key: K) => VO | null,
    materialized: Materialized<N, K, VO> & { readonly value: Serde<VO> },
  ): Table<N, K, VO>
  join<V2, VO>(
    other: AnyTable<K, V2>,
    joiner: (value: V, other: NoInfer<V2>, key: K) => VO | null,
    materialized?: Materialized<string, K, VO>,
  ): Table<string | undefined, K, VO> {
    return this.#join('inner', other, joiner as TableJoiner, materialized)
  }

  /** This table's entries, with the other's of the same key, or null. */
  leftJoin<V2, VO>(
    other: AnyTable<K, V2>,
    joiner: (value: V, other: NoInfer<V2> | null, key: K) => VO | null,
  ): Table<undefined, K, VO>
  leftJoin<V2, VO, const N extends string>(
    other: AnyTable<K, V2>,
    joiner: (value: V, other: NoInfer<V2> | null, key: K) => VO | null,
    materialized: Materialized<N, K, VO> & { readonly value: Serde<VO> },
  ): Table<N, K, VO>
  leftJoin<V2, VO>(
    other: AnyTable<K, V2>,
    joiner: (value: V, other: NoInfer<V2> | null, key: K) => VO | null,
    materialized?: Materialized<string, K, VO>,
  ): Table<string | undefined, K, VO> {
    return this.#join('left', other, joiner as TableJoiner, materialized)
  }

  /** The entries of both tables; null for the side that has none. */
  outerJoin<V2, VO>(
    other: AnyTable<K, V2>,
    joiner: (value: V | null, other: NoInfer<V2> | null, key: K) => VO | null,
  ): Table<undefined, K, VO>
  outerJoin<V2, VO, const N extends string>(
    other: AnyTable<K, V2>,
    joiner: (value: V | null, other: NoInfer<V2> | null, key: K) => VO | null,
    materialized: Materialized<N, K, VO> & { readonly value: Serde<VO> },
  ): Table<N, K, VO>
  outerJoin<V2, VO>(
    other: AnyTable<K, V2>,
    joiner: (value: V | null, other: NoInfer<V2> | null, key: K) => VO | null,
    materialized?: Materialized<string, K, VO>,
  ): Table<string | undefined, K, VO> {
    return this.#join('outer', other, joiner as TableJoiner, materialized)
  }

  /**
   * Each entry with that of the other table under the key that it names: `foreignKey`, null for none. An update of the
   * other table updates every entry that names it.
   *
   * The name is that of the result's region and begins those of what the join keeps and sends: the regions
   * `<name>-versions` and `<name>-subscriptions`, the topics `<application>-<name>-subscription-repartition` and
   * `<application>-<name>-response-repartition`.
   */
  joinOnForeignKey<KF, VF, VO, const N extends string>(
    name: N,
    other: AnyTable<KF, VF>,
    options: ForeignKeyJoinOptions<K, V, KF, VF, VO>,
  ): Table<N, K, VO> {
    return foreignKeyJoin(this, other, { ...options, name, isLeft: false })
  }

  /** As `joinOnForeignKey`; an entry that names none, or one that is not there, is joined with null. */
  leftJoinOnForeignKey<KF, VF, VO, const N extends string>(
    name: N,
    other: AnyTable<KF, VF>,
    options: ForeignKeyJoinOptions<K, V, KF, VF | null, VO>,
  ): Table<N, K, VO> {
    return foreignKeyJoin(this, other as AnyTable<KF, VF | null>, { ...options, name, isLeft: true })
  }

  /**
   * The same table, its updates held back: see `untilWindowCloses` and `untilTimeLimit`. What is held back is kept in a
   * region under the given name.
   */
  suppress(
    name: string,
    suppression: Suppression<K>,
    options: SuppressedOptions<K, V> = {},
  ): Table<undefined, K, V> {
    return new Table(suppressed(name, this.origin, suppression, options), undefined)
  }

  /** Each update, as the new value under its key; null where the key was removed. With a function, under a new key. */
  toStream(): Stream<K, V | null>
  toStream<K2>(selectKey: Fn<K, V | null, K2>, named?: Named): Stream<K2, V | null, 'rekeyed'>
  toStream<K2>(
    selectKey?: Fn<K, V | null, K2>,
    named?: Named,
  ): Stream<K, V | null> | Stream<K2, V | null, 'rekeyed'> {
    const updates = new Stream<K, V | null>(this.origin.place)
    return selectKey === undefined ? updates : updates.selectKey(selectKey, named)
  }

  #filter(
    operator: string,
    derive: Derive,
    materialized: Materialized<string, K, V> | undefined,
  ): Table<string | undefined, K, V> {
    return this.#derive(operator, derive, true, this.origin.place.serdes, materialized)
  }

  #derive<V2>(
    operator: string,
    derive: Derive,
    silent: boolean,
    known: Serdes<K, V2>,
    materialized: Materialized<string, K, V2> | undefined,
  ): Table<string | undefined, K, V2> {
    const parent = this.origin
    const { builder } = parent.place
    const region = materialized && addRegion({ builder, serdes: known }, materialized)
    // Where it costs nothing, a filter asks for old values, to say nothing of what never was in its result.
    const keep = { region: region?.name, sendsOld: silent && parent.sendOldValues(false) }
    const node = builder.add({
      kind: 'operator',
      operator,
      name: materialized?.name ?? new AutoName(`table-${operator}`),
      parents: [parent.place.node],
      regions: region === undefined ? [] : [region.name],
      takes: 'changes',
      emits: 'changes',
      bind: bindDerived({ keep: () => keep, derive, silent }),
    })
    return new Table<string | undefined, K, V2>(
      {
        place: { ...parent.place, node, serdes: region ?? known },
        sendOldValues: (force) => {
          if (keep.region !== undefined || parent.sendOldValues(force)) keep.sendsOld = true
          return keep.sendsOld
        },
        view: () => (region === undefined ? derivedView(parent.view(), derive) : regionView(region.name)),
      },
      region,
    )
  }

  #join<V2, VO>(
    kind: JoinKind,
    other: AnyTable<K, V2>,
    joiner: TableJoiner,
    materialized: Materialized<string, K, VO> | undefined,
  ): Table<string | undefined, K, VO> {
    const { builder, serdes } = this.origin.place
    requireOneTopology({ builder }, other.origin.place, `${kind} join of tables`)
    const known = { ...(serdes.key && { key: serdes.key }) }
    const region = materialized && addRegion({ builder, serdes: known }, materialized)
    if (kind !== 'inner') this.origin.sendOldValues(true)
    if (kind === 'outer') other.origin.sendOldValues(true)
    const views = { left: this.origin.view(), right: other.origin.view() }
    const result = { region: region?.name, sendsOld: false }
    const shared = views.left.regions.find((name) => views.right.regions.includes(name))
    const side = (mine: 'left' | 'right', of: NodeId, view: TableView): NodeId =>
      builder.add({
        kind: 'operator',
        operator: kind === 'inner' ? 'join' : `${kind}Join`,
        name: new AutoName(`join-${mine}`),
        ...(materialized && { partOf: materialized.name }),
        parents: [of],
        regions: view.regions,
        takes: 'changes',
        emits: 'changes',
        bind: bindTableJoinSide({ side: mine, kind, joiner, other: view, sendsOld: () => result.sendsOld }),
      })
    const sides = [
      side('left', this.origin.place.node, views.right),
      side('right', other.origin.place.node, views.left),
    ]
    const node = builder.add({
      kind: 'operator',
      operator: 'joined',
      name: materialized?.name ?? new AutoName('joined'),
      parents: sides,
      regions: region === undefined ? [] : [region.name],
      takes: 'changes',
      emits: 'changes',
      bind: bindTableJoin(() => result),
    })
    return new Table<string | undefined, K, VO>(
      {
        place: {
          builder,
          node,
          serdes: region ?? known,
          rekeyed: false,
          ...windowCloseOf([this.origin.place, other.origin.place]),
        },
        sendOldValues: (force) => {
          if (region === undefined && shared !== undefined) {
            if (!force) return false
            throw new DruseError(
              'TOPOLOGY_INVALID',
              `A join of two views of region '${shared}' cannot tell what its result was before a change, which an operator behind it has to know: keep the result, by { name, value: … }`,
            )
          }
          this.origin.sendOldValues(true)
          other.origin.sendOldValues(true)
          result.sendsOld = true
          return true
        },
        view: () =>
          region === undefined
            ? joinedView(views.left, views.right, { kind, joiner })
            : regionView(region.name),
      },
      region,
    )
  }
}

/** A table that is a stream's records, one upon the other. `keep` is asked for a region when one is needed. */
export function tableOf<K, V>(
  place: Place<K, V>,
  { name, region, keep }: TableOfOptions<K, V>,
): Table<string | undefined, K, V> {
  const { builder } = place
  const regions = region === undefined ? [] : [region.name]
  const keeping = { region: region?.name, sendsOld: false }
  const kept = (): string => {
    if (keeping.region === undefined) {
      keeping.region = keep().name
      regions.push(keeping.region)
    }
    return keeping.region
  }
  const node = builder.add({
    kind: 'operator',
    operator: 'table',
    name,
    parents: [place.node],
    regions,
    emits: 'changes',
    bind: bindTable((): Keeping => keeping),
  })
  return new Table<string | undefined, K, V>(
    {
      place: { ...place, node, rekeyed: false },
      sendOldValues: (force) => {
        if (keeping.region === undefined && !force) return false
        kept()
        keeping.sendsOld = true
        return true
      },
      view: () => regionView(kept()),
    },
    region,
  )
}

export interface TableOfOptions<K, V> {
  readonly name: string | AutoName
  readonly region: Region<string, K, V> | undefined
  /** Of a table that is not kept from the beginning. */
  readonly keep: () => Region<string, K, V>
}
