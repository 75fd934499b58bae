import { AutoName } from '../topology/builder.ts'
import type { NodeId } from '../topology/graph.ts'
import { bindStreamTableJoin, type StreamTableJoinOptions } from '../topology/stream-table-join.ts'
import { GlobalTable } from './global-table.ts'
import { type Named, type Place, requireOneTopology } from './place.ts'
import type { AnyTable } from './table.ts'

export type LookedUp = AnyTable<unknown, unknown> | GlobalTable<string, unknown, unknown>

/** Adds the join of a stream with a table, which is looked up by the record's own key, or a replicated one. */
export function addStreamTableJoin(
  { builder, node }: Pick<Place<unknown, unknown>, 'builder' | 'node'>,
  table: LookedUp,
  { isLeft, joiner, keyOf, name }: Pick<StreamTableJoinOptions, 'isLeft' | 'joiner' | 'keyOf'> & Named,
): NodeId {
  const operator = isLeft ? 'leftJoin' : 'join'
  if (table instanceof GlobalTable) {
    const { name: region } = table.region
    builder.requireRegions(operator, [table.region])
    return builder.add({
      kind: 'operator',
      operator,
      name: name ?? new AutoName(`${operator}-${region}`),
      parents: [node],
      regions: [region],
      bind: bindStreamTableJoin({
        isLeft,
        joiner,
        keyOf,
        open: (host) => {
          const entries = host.globalRegion(region)
          return (key) => entries.get(key)
        },
      }),
    })
  }
  requireOneTopology({ builder }, table.origin.place, operator)
  const view = table.origin.view()
  return builder.add({
    kind: 'operator',
    operator,
    name: name ?? new AutoName(operator),
    parents: [node],
    regions: view.regions,
    ...(isLeft && { takesKeyless: true }),
    bind: bindStreamTableJoin({
      isLeft,
      joiner,
      keyOf,
      open: (host) => {
        const find = view.open(host)
        return (key) => find(key)?.value
      },
    }),
  })
}
