import type { Serde } from '../ports.ts'
import type { Region } from '../region/definition.ts'
import { orderByKeys } from '../region/time-order.ts'
import { WINDOW_KEYS } from '../region/timed-keys.ts'
import { AutoName } from '../topology/builder.ts'
import type { NodeId } from '../topology/graph.ts'
import { joinKeys, pendingKeys, pendingValues } from '../topology/join-keys.ts'
import type { JoinWindows } from '../topology/join-windows.ts'
import { fanOut } from '../topology/steps.ts'
import { bindStreamJoin, type StreamJoinOptions } from '../topology/stream-join.ts'
import { type Place, serdeOf } from './place.ts'

export interface StreamJoined<Name extends string, K, V, V2> {
  /** Of the operator; its records stand in the regions `<name>-left`, `<name>-right` and, of left and outer joins, `<name>-pending`. */
  readonly name: Name
  /** Serdes, where the streams do not know them. */
  readonly key?: Serde<K>
  readonly value?: Serde<V>
  readonly otherValue?: Serde<V2>
  /** As for `Topology.region`. Default 'persistent'. */
  readonly store?: 'persistent' | 'memory'
}

/** Errors: TOPOLOGY_INVALID. */
export function addStreamJoin<K, V, V2>(
  left: Place<K, V>,
  right: Place<K, V2>,
  windows: JoinWindows,
  { name, store = 'persistent', ...given }: StreamJoined<string, K, V, V2>,
  { isOuter, joiner }: Pick<StreamJoinOptions, 'isOuter' | 'joiner'>,
): NodeId {
  const { builder } = left
  const where = `join '${name}'`
  const key = serdeOf(left, 'key', given.key, where)
  const leftValue = serdeOf(left, 'value', given.value, where) as Serde<unknown>
  const rightValue = serdeOf(right, 'value', given.otherValue, where) as Serde<unknown>
  const { beforeMs, afterMs, graceMs } = windows
  const order = orderByKeys(WINDOW_KEYS)
  const retentionMs = beforeMs + afterMs + graceMs + builder.maxOutOfOrdernessMs
  const side = (part: string, value: Serde<unknown>): string =>
    builder.addRegion<Region>({
      kind: 'partitioned',
      name: `${name}-${part}`,
      key: joinKeys(key) as Serde<unknown>,
      value,
      store,
      timed: { order, retentionMs },
    }).name
  const options: StreamJoinOptions = {
    name,
    left: side('left', leftValue),
    right: side('right', rightValue),
    pending:
      isOuter.left || isOuter.right
        ? builder.addRegion<Region>({
            kind: 'partitioned',
            name: `${name}-pending`,
            key: pendingKeys(key) as Serde<unknown>,
            value: pendingValues(leftValue, rightValue) as Serde<unknown>,
            store,
            timed: { order, retentionMs: undefined },
          }).name
        : undefined,
    windows,
    isOuter,
    joiner,
  }
  const regions = [options.left, options.right, ...(options.pending === undefined ? [] : [options.pending])]
  const operator = isOuter.right ? 'outerJoin' : isOuter.left ? 'leftJoin' : 'join'
  const add = (isLeft: boolean, parent: NodeId): NodeId =>
    builder.add({
      kind: 'operator',
      operator,
      name: new AutoName(`${name}-${isLeft ? 'left' : 'right'}`),
      partOf: name,
      parents: [parent],
      regions,
      ...((isLeft ? isOuter.left : isOuter.right) && { takesKeyless: true }),
      bind: bindStreamJoin(options, isLeft),
    })
  const parents = [add(true, left.node), add(false, right.node)]
  return builder.add({
    kind: 'operator',
    operator,
    name,
    parents,
    regions: [],
    bind: (_, children) => fanOut(children),
  })
}
