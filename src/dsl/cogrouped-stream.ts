import type { Serde } from '../ports.ts'
import type { Windowed } from '../serde/windowed.ts'
import type { Fold } from '../topology/fold.ts'
import type { AnyWindows, SlidingWindows, TimeWindows } from '../topology/windows.ts'
import { type AggregationInput, aggregatedTable } from './aggregated-table.ts'
import type { GroupedStream } from './grouped-stream.ts'
import type { RegionOptions } from './materialized.ts'
import type { Table } from './table.ts'
import { type MergerAndOptions, mergerAndOptions, type SessionMerger } from './windowed-stream.ts'
import { type WindowOptions, windowedTable } from './windowed-table.ts'

/** Adds a value of one of the streams to the aggregate that all of them share. A result of null removes it. */
export type CogroupAggregator<K, V, A> = (aggregate: A, value: V, key: K) => A | null

/** Several grouped streams that are aggregated together: one value per key for all of them. */
export class CogroupedStream<K, A> {
  readonly #inputs: readonly AggregationInput<K>[]

  /** @internal Begins with `GroupedStream.cogroup`. */
  constructor(inputs: readonly AggregationInput<K>[]) {
    this.#inputs = inputs
  }

  /** Adds another stream, with its own way to add a value to the aggregate. */
  cogroup<V>(stream: GroupedStream<K, V>, aggregator: CogroupAggregator<K, V, A>): CogroupedStream<K, A> {
    return new CogroupedStream([...this.#inputs, input(stream, aggregator)])
  }

  /** One aggregate per key, from `initial()`. */
  aggregate<const Name extends string>(
    name: Name,
    initial: () => A,
    options: RegionOptions<K, A> & { readonly value: Serde<A> },
  ): Table<Name, K, A> {
    return aggregatedTable(name, this.#inputs, initial, options)
  }

  /**
   * Aggregates by window too. Each stream has its own stream time, and a record of one makes none of another late, for as
   * long as windows are kept: `retentionMs` (default: as long as one stream alone needs them), counted from the newest of
   * all streams. Give more where streams may be apart.
   */
  windowedBy<W extends AnyWindows>(windows: W): WindowedCogroupedStream<K, A, W> {
    return new WindowedCogroupedStream(this.#inputs, windows)
  }
}

export class WindowedCogroupedStream<K, A, W extends AnyWindows = AnyWindows> {
  readonly windows: W
  readonly #inputs: readonly AggregationInput<K>[]

  /** @internal */
  constructor(inputs: readonly AggregationInput<K>[], windows: W) {
    this.#inputs = inputs
    this.windows = windows
  }

  /** One aggregate per key and window, from `initial()`. */
  aggregate<const Name extends string>(
    this: WindowedCogroupedStream<K, A, TimeWindows | SlidingWindows>,
    name: Name,
    initial: () => A,
    options: WindowOptions<K, A> & { readonly value: Serde<A> },
  ): Table<Name, Windowed<K>, A>
  /** Of sessions, and of windows that may be sessions: one per session of a key. */
  aggregate<const Name extends string>(
    name: Name,
    initial: () => A,
    merger: SessionMerger<K, A>,
    options: WindowOptions<K, A> & { readonly value: Serde<A> },
  ): Table<Name, Windowed<K>, A>
  aggregate<const Name extends string>(
    name: Name,
    initial: () => A,
    ...rest: MergerAndOptions<K, A>
  ): Table<Name, Windowed<K>, A> {
    const [merger, options] = mergerAndOptions(rest)
    return windowedTable<Name, K, A>(name, {
      windows: this.windows,
      emit: 'onWindowUpdate',
      inputs: this.#inputs,
      initial,
      merger: merger as Fold['aggregator'] | undefined,
      options,
    })
  }
}

export function input<K, V, A>(
  { place }: GroupedStream<K, V>,
  aggregator: CogroupAggregator<K, V, A>,
): AggregationInput<K> {
  return { place, aggregator: aggregator as Fold['aggregator'] }
}
