import type { Serde } from '../ports.ts'
import type { Windowed } from '../serde/windowed.ts'
import type { Fold } from '../topology/fold.ts'
import type { SessionWindows, SlidingWindows, TimeWindows } from '../topology/windows.ts'
import { type AggregationInput, aggregatedTable } from './aggregated-table.ts'
import type { GroupedStream } from './grouped-stream.ts'
import type { RegionOptions } from './materialized.ts'
import type { Table } from './table.ts'
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

  /** Aggregates by window too. Each stream has its own stream time: a record of one makes none of another late. */
  windowedBy(windows: TimeWindows | SlidingWindows): WindowedCogroupedStream<K, A>
  windowedBy(windows: SessionWindows): SessionWindowedCogroupedStream<K, A>
  windowedBy(
    windows: TimeWindows | SlidingWindows | SessionWindows,
  ): WindowedCogroupedStream<K, A> | SessionWindowedCogroupedStream<K, A> {
    if (windows.kind === 'session') return new SessionWindowedCogroupedStream(this.#inputs, windows)
    return new WindowedCogroupedStream(this.#inputs, windows)
  }
}

export class WindowedCogroupedStream<K, A> {
  readonly #inputs: readonly AggregationInput<K>[]
  readonly #windows: TimeWindows | SlidingWindows

  /** @internal */
  constructor(inputs: readonly AggregationInput<K>[], windows: TimeWindows | SlidingWindows) {
    this.#inputs = inputs
    this.#windows = windows
  }

  /** One aggregate per key and window, from `initial()`. */
  aggregate<const Name extends string>(
    name: Name,
    initial: () => A,
    options: WindowOptions<K, A> & { readonly value: Serde<A> },
  ): Table<Name, Windowed<K>, A> {
    return windowedTable<Name, K, A>(name, {
      windows: this.#windows,
      emit: 'onWindowUpdate',
      inputs: this.#inputs,
      initial,
      options,
    })
  }
}

export class SessionWindowedCogroupedStream<K, A> {
  readonly #inputs: readonly AggregationInput<K>[]
  readonly #windows: SessionWindows

  /** @internal */
  constructor(inputs: readonly AggregationInput<K>[], windows: SessionWindows) {
    this.#inputs = inputs
    this.#windows = windows
  }

  /** One aggregate per session of a key, from `initial()`; `merger` makes one of two sessions' aggregates. */
  aggregate<const Name extends string>(
    name: Name,
    initial: () => A,
    merger: (aggregate: A, other: A, key: K) => A,
    options: WindowOptions<K, A> & { readonly value: Serde<A> },
  ): Table<Name, Windowed<K>, A> {
    return windowedTable<Name, K, A>(name, {
      windows: this.#windows,
      emit: 'onWindowUpdate',
      inputs: this.#inputs,
      initial,
      merger: merger as Fold['aggregator'],
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
