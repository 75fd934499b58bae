import { bindAggregate } from '../topology/aggregate.ts'
import { AutoName } from '../topology/builder.ts'
import type { Fold } from '../topology/fold.ts'
import type { NodeId, SyncNode } from '../topology/graph.ts'
import { fanOut } from '../topology/steps.ts'
import { addRegion, type RegionOptions } from './materialized.ts'
import { type Place, requireOneTopology, windowCloseOf } from './place.ts'
import { regionView, Table } from './table.ts'

/** A grouped stream, and how a value of it is added to the aggregate. */
export interface AggregationInput<K> {
  readonly place: Place<K, unknown>
  readonly aggregator: Fold['aggregator']
}

export const firstOf = <K>(inputs: readonly AggregationInput<K>[]): AggregationInput<K> =>
  inputs[0] as AggregationInput<K>

/** One value per key, of one grouped stream or several. */
export function aggregatedTable<const Name extends string, K, A>(
  name: Name,
  inputs: readonly AggregationInput<K>[],
  initial: Fold['initial'],
  options: RegionOptions<K, A>,
): Table<Name, K, A> {
  const { place } = firstOf(inputs)
  const { key } = place.serdes
  const region = addRegion<Name, K, A>(
    { builder: place.builder, serdes: key === undefined ? {} : { key } },
    { ...options, name },
  )
  const node = addAggregation(name, 'aggregate', inputs, ({ aggregator }) =>
    bindAggregate({ region: name, fold: { initial, aggregator } }),
  )
  const serdes = { key: region.key, value: region.value }
  return new Table(
    {
      place: {
        builder: place.builder,
        node,
        serdes,
        rekeyed: false,
        ...windowCloseOf(inputs.map((input) => input.place)),
      },
      sendOldValues: () => true,
      view: () => regionView(name),
    },
    region as Table<Name, K, A>['region'],
  )
}

/** A node for each stream; of several, one behind them that the result comes from. */
export function addAggregation<K>(
  name: string,
  operator: string,
  inputs: readonly AggregationInput<K>[],
  bind: (input: AggregationInput<K>, index: number) => SyncNode['bind'],
): NodeId {
  const { builder } = firstOf(inputs).place
  for (const { place } of inputs) requireOneTopology({ builder }, place, `cogroup '${name}'`)
  const nodes = inputs.map((input, index) =>
    builder.add({
      kind: 'operator',
      operator,
      name: inputs.length === 1 ? name : new AutoName(`${name}-input`),
      partOf: name,
      parents: [input.place.node],
      regions: [name],
      emits: 'changes',
      bind: bind(input, index),
    }),
  )
  const [only] = nodes
  if (only !== undefined && nodes.length === 1) return only
  return builder.add({
    kind: 'operator',
    operator: 'cogroup',
    name,
    parents: nodes,
    regions: [],
    emits: 'changes',
    takes: 'changes',
    bind: (_, children) => fanOut(children),
  })
}
