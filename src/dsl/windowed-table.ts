import { DruseError } from '../errors.ts'
import type { Serde } from '../ports.ts'
import type { Region } from '../region/definition.ts'
import { FIRST_OPERATOR_SLOT } from '../region/operator-times.ts'
import { orderByKeys } from '../region/time-order.ts'
import {
  SESSION_KEYS,
  sessionStoreKey,
  type TimedKeys,
  WINDOW_KEYS,
  windowStoreKey,
} from '../region/timed-keys.ts'
import { sessionWindowed, timeWindowed, type Windowed } from '../serde/windowed.ts'
import type { Fold } from '../topology/fold.ts'
import type { SyncNode } from '../topology/graph.ts'
import { bindSessionAggregate } from '../topology/session-aggregate.ts'
import { bindSlidingAggregate } from '../topology/sliding-aggregate.ts'
import { bindWindowAggregate } from '../topology/window-aggregate.ts'
import { type AnyWindows, checkMs } from '../topology/windows.ts'
import { type AggregationInput, addAggregation, firstOf } from './aggregated-table.ts'
import type { RegionOptions } from './materialized.ts'
import { serdeOf } from './place.ts'
import { regionView, Table } from './table.ts'

/** `onWindowUpdate`: each update of a window is passed on. `onWindowClose`: its last state alone, once, when it closes. */
export type EmitStrategy = 'onWindowUpdate' | 'onWindowClose'

export interface WindowOptions<K, A> extends RegionOptions<K, A> {
  /**
   * How long after its time a window can be looked up, in milliseconds of event time; at least until it closes. Default:
   * until it closes. The time of a window is its start, that of a session its end.
   */
  readonly retentionMs?: number
}

/** An aggregation in windows, over one grouped stream or several. */
export interface WindowedAggregation<K, A> {
  readonly windows: AnyWindows
  readonly emit: EmitStrategy
  readonly inputs: readonly AggregationInput<K>[]
  readonly initial: Fold['initial']
  /** Of sessions. */
  readonly merger: Fold['aggregator'] | undefined
  readonly options: WindowOptions<K, A>
}

/** How the windows of a kind are kept. */
interface Kept<K> {
  readonly keys: TimedKeys
  readonly storeKey: Serde<Windowed<K>>
  readonly tableKey: Serde<Windowed<K>>
  /** Less would lose windows that are needed yet. */
  readonly leastRetentionMs: number
}

function kept<K>(windows: AnyWindows, emit: EmitStrategy, key: Serde<K>): Kept<K> {
  const { graceMs } = windows
  if (windows.kind === 'session') {
    return {
      keys: SESSION_KEYS,
      storeKey: sessionStoreKey(key),
      tableKey: sessionWindowed(key),
      // At its bound a session is not late, and has not closed. Kafka Streams keeps it no longer all the same.
      leastRetentionMs: windows.inactivityGapMs + graceMs + (emit === 'onWindowClose' ? 1 : 0),
    }
  }
  const sizeMs = windows.kind === 'sliding' ? windows.timeDifferenceMs : windows.sizeMs
  return {
    keys: WINDOW_KEYS,
    storeKey: windowStoreKey(key, sizeMs),
    tableKey: timeWindowed(key, { sizeMs }),
    // The aggregate of a sliding window that has closed may still be where a new one begins.
    leastRetentionMs: (windows.kind === 'sliding' ? 2 * Math.max(1, sizeMs) : sizeMs) + graceMs,
  }
}

export function windowedTable<const Name extends string, K, A>(
  name: Name,
  aggregation: WindowedAggregation<K, A>,
): Table<Name, Windowed<K>, A> {
  const { windows, inputs, options } = aggregation
  const { place } = firstOf(inputs)
  const key = serdeOf(place, 'key', options.key, `'${name}'`)
  // Of the aggregate, not of what is aggregated.
  const value = serdeOf<K, A, 'value'>({ serdes: {} }, 'value', options.value, `'${name}'`)
  const { keys, storeKey, tableKey, leastRetentionMs } = kept(windows, aggregation.emit, key)
  const { retentionMs = leastRetentionMs, store = 'persistent' } = options
  checkMs(`'${name}'`, { retentionMs }, 0)
  if (retentionMs < leastRetentionMs) {
    throw new DruseError(
      'TOPOLOGY_INVALID',
      `'${name}' keeps windows for retentionMs ${retentionMs}, but they are needed for ${leastRetentionMs}: size and grace`,
    )
  }
  // The region counts from the newest time in it, which stream time is behind.
  const keptMs = retentionMs + place.builder.maxOutOfOrdernessMs
  const region = place.builder.addRegion<Region<Name, Windowed<K>, A>>({
    kind: 'partitioned',
    name,
    key: storeKey,
    value,
    store,
    timed: { order: orderByKeys(keys), retentionMs: keptMs },
    topicKey: tableKey,
  })
  const node = addAggregation(name, `${windows.kind}WindowAggregate`, inputs, ({ aggregator }, index) =>
    bindOf(name, aggregation, { initial: aggregation.initial, aggregator }, index, keptMs),
  )
  return new Table(
    {
      place: {
        builder: place.builder,
        node,
        serdes: { key: tableKey, value },
        rekeyed: false,
        windowCloseMs: windows.graceMs + (windows.kind === 'session' ? windows.inactivityGapMs : 0),
      },
      sendOldValues: () => true,
      view: () => regionView(name),
    },
    region as Table<Name, Windowed<K>, A>['region'],
  )
}

function bindOf<K, A>(
  region: string,
  { windows, emit, merger, inputs }: WindowedAggregation<K, A>,
  fold: Fold,
  input: number,
  keptMs: number,
): SyncNode['bind'] {
  const common = {
    ...{ region, fold, slot: FIRST_OPERATOR_SLOT + input, onClose: emit === 'onWindowClose' },
    sharedRetentionMs: inputs.length > 1 ? keptMs : undefined,
  }
  if (windows.kind === 'time') return bindWindowAggregate({ ...common, windows })
  if (windows.kind === 'sliding') return bindSlidingAggregate({ ...common, windows })
  return bindSessionAggregate({ ...common, windows, merger: merger as Fold['aggregator'] })
}
