import { DruseError } from '../errors.ts'
import type { Serde } from '../ports.ts'
import type { Region } from '../region/definition.ts'
import {
  SESSION_KEYS,
  sessionStoreKey,
  type TimedKeys,
  WINDOW_KEYS,
  windowStoreKey,
} from '../region/timed-keys.ts'
import { sessionWindowed, timeWindowed, type Windowed } from '../serde/windowed.ts'
import { AutoName } from '../topology/builder.ts'
import type { Fold } from '../topology/fold.ts'
import type { OperatorNode } from '../topology/graph.ts'
import { fanOut } from '../topology/steps.ts'
import { bindWindowAggregate } from '../topology/window-aggregate.ts'
import { checkMs, type SessionWindows, type SlidingWindows, type TimeWindows } from '../topology/windows.ts'
import type { Place } from './place.ts'
import { regionView, Table } from './table.ts'

/** `onWindowUpdate`: each update of a window is passed on. `onWindowClose`: its last state alone, once, when it closes. */
export type EmitStrategy = 'onWindowUpdate' | 'onWindowClose'

export interface WindowOptions<K, A> {
  readonly key?: Serde<K>
  readonly value?: Serde<A>
  /**
   * How long after its time a window can be looked up, in milliseconds of event time; at least until it closes. Default:
   * until it closes. The time of a window is its start, that of a session its end.
   */
  readonly retentionMs?: number
  /** As for `Topology.region`. Default 'persistent'. */
  readonly store?: 'persistent' | 'memory'
}

export type AnyWindows = TimeWindows | SlidingWindows | SessionWindows

/** An aggregation in windows, over one grouped stream or several. */
export interface WindowedAggregation<K, A> {
  readonly windows: AnyWindows
  readonly emit: EmitStrategy
  readonly inputs: readonly { readonly place: Place<K, unknown>; readonly aggregator: Fold['aggregator'] }[]
  readonly initial: Fold['initial']
  /** Of sessions. */
  readonly merger?: Fold['aggregator']
  readonly options: WindowOptions<K, A>
}

/** How the windows of a kind are kept. */
interface Kept<K> {
  readonly keys: TimedKeys
  readonly storeKey: Serde<Windowed<K>>
  readonly tableKey: Serde<Windowed<K>>
  /** Less would lose windows that have not closed. */
  readonly leastRetentionMs: number
}

function kept<K>(windows: AnyWindows, key: Serde<K>): Kept<K> {
  const { graceMs } = windows
  if (windows.kind === 'session') {
    return {
      keys: SESSION_KEYS,
      storeKey: sessionStoreKey(key),
      tableKey: sessionWindowed(key),
      leastRetentionMs: windows.inactivityGapMs + graceMs,
    }
  }
  const sizeMs = windows.kind === 'sliding' ? windows.timeDifferenceMs : windows.sizeMs
  return {
    keys: WINDOW_KEYS,
    storeKey: windowStoreKey(key, sizeMs),
    tableKey: timeWindowed(key, { sizeMs }),
    // The aggregate of a sliding window that has closed may still be where a new one begins.
    leastRetentionMs: (windows.kind === 'sliding' ? 2 * sizeMs : sizeMs) + graceMs,
  }
}

export function windowedTable<const Name extends string, K, A>(
  name: Name,
  aggregation: WindowedAggregation<K, A>,
): Table<Name, Windowed<K>, A> {
  const { windows, inputs, options } = aggregation
  const { place } = inputs[0] as WindowedAggregation<K, A>['inputs'][number]
  const key = required(name, 'key', options.key ?? place.serdes.key)
  const value = required(name, 'value', options.value)
  const { keys, storeKey, tableKey, leastRetentionMs } = kept(windows, key)
  const { retentionMs = leastRetentionMs, store = 'persistent' } = options
  checkMs(`'${name}'`, { retentionMs }, 0)
  if (retentionMs < leastRetentionMs) {
    throw new DruseError(
      'TOPOLOGY_INVALID',
      `'${name}' keeps windows for retentionMs ${retentionMs}, but they are needed for ${leastRetentionMs}: size and grace`,
    )
  }
  const region = place.builder.addRegion<Region<Name, Windowed<K>, A>>({
    kind: 'partitioned',
    name,
    key: storeKey,
    value,
    store,
    timed: { ...keys, retentionMs },
  })
  const node = addNodes(name, aggregation)
  return new Table(
    {
      place: { builder: place.builder, node, serdes: { key: tableKey, value }, rekeyed: false },
      sendOldValues: () => true,
      view: () => regionView(name),
    },
    region as Table<Name, Windowed<K>, A>['region'],
  )
}

function addNodes<K, A>(name: string, aggregation: WindowedAggregation<K, A>): number {
  const { inputs } = aggregation
  const { builder } = (inputs[0] as WindowedAggregation<K, A>['inputs'][number]).place
  const operator = `${aggregation.windows.kind}WindowAggregate`
  const nodes = inputs.map(({ place, aggregator }, input) =>
    builder.add({
      kind: 'operator',
      operator,
      name: inputs.length === 1 ? name : new AutoName(`${name}-input`),
      parents: [place.node],
      regions: [name],
      emits: 'changes',
      bind: bindOf(name, aggregation, { initial: aggregation.initial, aggregator }, input),
    }),
  )
  if (nodes.length === 1) return nodes[0] as number
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

function bindOf<K, A>(
  region: string,
  { windows }: WindowedAggregation<K, A>,
  fold: Fold,
  slot: number,
): OperatorNode['bind'] {
  if (windows.kind === 'time') return bindWindowAggregate({ region, windows, fold, slot })
  throw new Error('not yet')
}

function required<T>(name: string, part: 'key' | 'value', serde: T | undefined): T {
  if (serde !== undefined) return serde
  throw new DruseError('TOPOLOGY_INVALID', `'${name}' does not know the ${part} serde: give { ${part}: … }`)
}
