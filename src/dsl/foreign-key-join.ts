import { DruseError } from '../errors.ts'
import type { Serde } from '../ports.ts'
import type { Region } from '../region/definition.ts'
import { json, string } from '../serde/index.ts'
import {
  bindForeignChange,
  bindReceive,
  bindResolve,
  bindSubscribe,
  type ResolveOptions,
  type SubscribeOptions,
  type SubscriberEntry,
} from '../topology/foreign-key-join.ts'
import {
  type LAST_VERSION,
  type Response,
  responseSerde,
  type Subscriber,
  subscriberSerde,
  subscriptionSerde,
  versionKey,
} from '../topology/foreign-key-messages.ts'
import type { Partitioner } from '../topology/routing.ts'
import { addRegion, type RegionOptions } from './materialized.ts'
import { requireOneTopology } from './place.ts'
import { type AnyTable, type Table, tableOf } from './table.ts'

export interface ForeignKeyJoinOptions<K, V, KF, VF, VO> extends RegionOptions<K, VO> {
  /** The key in the other table; null for none. */
  readonly foreignKey: (value: V, key: K) => KF | null
  readonly joiner: (value: V, foreignValue: NoInfer<VF>, key: K) => VO | null
  /**
   * Chooses the partition of a key of the other table, where that was not Kafka's own choice: the very function that is the
   * `partitioner` of the repartition it comes from.
   */
  readonly otherPartitioner?: Partitioner<KF, unknown>
  /** Of the results. */
  readonly value: Serde<VO>
}

/** See topology/foreign-key-join.ts for how it works. */
export function foreignKeyJoin<Name extends string, K, V, KF, VF, VO>(
  left: AnyTable<K, V>,
  right: AnyTable<KF, VF>,
  {
    name,
    isLeft,
    foreignKey,
    joiner,
    value,
    otherPartitioner,
    ...options
  }: ForeignKeyJoinOptions<K, V, KF, VF, VO> & { readonly name: Name; readonly isLeft: boolean },
): Table<Name, K, VO> {
  const { builder } = left.origin.place
  requireOneTopology({ builder }, right.origin.place, `join '${name}'`)
  const { store = 'persistent' } = options
  const key = options.key ?? known(left, 'key', name)
  const foreignKeys = known(right, 'key', name)
  const foreignValues = known(right, 'value', name)
  left.origin.sendOldValues(true)
  const rows = left.origin.view()
  const foreign = right.origin.view()
  const versions = builder.addRegion<Region<string, K | typeof LAST_VERSION, string>>({
    kind: 'partitioned',
    name: `${name}-versions`,
    key: versionKey(key),
    value: string,
    store,
  }).name
  const subscriptions = builder.addRegion<Region<string, Subscriber<KF, K>, SubscriberEntry>>({
    kind: 'partitioned',
    name: `${name}-subscriptions`,
    key: subscriberSerde(foreignKeys, key),
    value: json(),
    store,
  }).name
  const region = addRegion({ builder, serdes: { key, value } }, { ...options, name })
  const internal = { kind: 'repartition', partitions: undefined } as const
  const topic = (what: string): string => `${builder.application}-${name}-${what}-repartition`

  const subscribing = builder.add({
    kind: 'operator',
    operator: 'foreignKeySubscribe',
    name: `${name}-subscribe`,
    partOf: name,
    parents: [left.origin.place.node],
    regions: [versions, region.name],
    takes: 'changes',
    bind: bindSubscribe({
      isLeft,
      versions,
      results: region.name,
      foreignKey: foreignKey as SubscribeOptions['foreignKey'],
    }),
  })
  const subscription = builder.add({
    ...internal,
    name: `${name}-subscription`,
    parents: [subscribing],
    topic: topic('subscription'),
    partitioner: otherPartitioner as Partitioner | undefined,
    key: foreignKeys as Serde<unknown>,
    value: subscriptionSerde(key) as Serde<unknown>,
  })
  const receiving = builder.add({
    kind: 'operator',
    operator: 'foreignKeyReceive',
    name: `${name}-receive`,
    partOf: name,
    parents: [subscription],
    regions: [subscriptions, ...foreign.regions],
    bind: bindReceive({ subscriptions, foreign }),
  })
  const changing = builder.add({
    kind: 'operator',
    operator: 'foreignKeyChange',
    name: `${name}-change`,
    partOf: name,
    parents: [right.origin.place.node],
    regions: [subscriptions],
    takes: 'changes',
    bind: bindForeignChange(subscriptions),
  })
  const response = builder.add({
    ...internal,
    name: `${name}-response`,
    parents: [receiving, changing],
    topic: topic('response'),
    partitioner: (answer) => (answer as Response).partition,
    returns: true,
    key: key as Serde<unknown>,
    value: responseSerde(foreignValues) as Serde<unknown>,
  })
  const resolving = builder.add({
    kind: 'operator',
    operator: isLeft ? 'foreignKeyLeftJoin' : 'foreignKeyJoin',
    name: `${name}-resolve`,
    partOf: name,
    parents: [subscribing, response],
    regions: [versions, ...rows.regions],
    bind: bindResolve({ isLeft, versions, rows, joiner: joiner as ResolveOptions['joiner'] }),
  })
  const place = { builder, node: resolving, serdes: { key, value }, rekeyed: false }
  return tableOf(place, { name, region, keep: () => region }) as Table<Name, K, VO>
}

function known<K, V, Part extends 'key' | 'value'>(
  table: AnyTable<K, V>,
  part: Part,
  name: string,
): Part extends 'key' ? Serde<K> : Serde<V> {
  const serde = table.origin.place.serdes[part]
  if (serde !== undefined) return serde as Part extends 'key' ? Serde<K> : Serde<V>
  throw new DruseError(
    'TOPOLOGY_INVALID',
    `Foreign-key join '${name}' does not know the ${part} serde of a table: keep that table in a region, by { name, ${part}: … }`,
  )
}
