import type { Serde } from '../ports.ts'
import { int64 } from '../serde/index.ts'
import type { Windowed } from '../serde/windowed.ts'
import type { Fold } from '../topology/fold.ts'
import type { AnyWindows, SlidingWindows, TimeWindows } from '../topology/windows.ts'
import type { Place } from './place.ts'
import type { Table } from './table.ts'
import { type EmitStrategy, type WindowOptions, windowedTable } from './windowed-table.ts'

/** Makes one aggregate of those of two sessions that become one. */
export type SessionMerger<K, A> = (aggregate: A, other: A, key: K) => A

/** Records grouped by key and window: each aggregation keeps one value per key and window, or session. */
export class WindowedStream<K, V, W extends AnyWindows = AnyWindows> {
  readonly windows: W
  readonly #place: Place<K, V>
  readonly #emit: EmitStrategy

  /** @internal */
  constructor(place: Place<K, V>, windows: W, emit: EmitStrategy = 'onWindowUpdate') {
    this.#place = place
    this.windows = windows
    this.#emit = emit
  }

  /**
   * When results are passed on. Default 'onWindowUpdate'; a session that grows or is merged is removed under its old bounds
   * first.
   */
  emitStrategy(emit: EmitStrategy): WindowedStream<K, V, W> {
    return new WindowedStream(this.#place, this.windows, emit)
  }

  /**
   * Counts records, also those without a value; in sliding windows these do not count. As in Kafka Streams.
   */
  count<const Name extends string>(
    name: Name,
    options: WindowOptions<K, number> = {},
  ): Table<Name, Windowed<K>, number> {
    return this.#aggregate<Name, number>(
      name,
      () => 0,
      (count) => count + 1,
      (count, other) => count + other,
      { ...options, value: options.value ?? int64 },
    )
  }

  /**
   * Combines the values of a key in a window, and those of sessions that become one; the first one stands for itself. A
   * result of null removes the window.
   */
  reduce<const Name extends string>(
    name: Name,
    reducer: (aggregate: V, value: V, key: K) => V | null,
    options: WindowOptions<K, V> = {},
  ): Table<Name, Windowed<K>, V> {
    const value = options.value ?? this.#place.serdes.value
    return this.#aggregate(name, undefined, reducer, reducer, { ...options, ...(value && { value }) })
  }

  /** Folds the values of a key in a window, from `initial()`. A result of null removes the window. */
  aggregate<const Name extends string, A>(
    this: WindowedStream<K, V, TimeWindows | SlidingWindows>,
    name: Name,
    initial: () => A,
    aggregator: (aggregate: A, value: V, key: K) => A | null,
    options: WindowOptions<K, A> & { readonly value: Serde<A> },
  ): Table<Name, Windowed<K>, A>
  /**
   * Of sessions, and of windows that may be sessions: first the sessions that become one with the record are merged into it,
   * the oldest first, then the record is added. A result of null removes the session.
   */
  aggregate<const Name extends string, A>(
    name: Name,
    initial: () => A,
    aggregator: (aggregate: A, value: V, key: K) => A | null,
    merger: SessionMerger<K, A>,
    options: WindowOptions<K, A> & { readonly value: Serde<A> },
  ): Table<Name, Windowed<K>, A>
  aggregate<const Name extends string, A>(
    name: Name,
    initial: () => A,
    aggregator: (aggregate: A, value: V, key: K) => A | null,
    ...rest: MergerAndOptions<K, A>
  ): Table<Name, Windowed<K>, A> {
    return this.#aggregate(name, initial, aggregator, ...mergerAndOptions(rest))
  }

  #aggregate<const Name extends string, A>(
    name: Name,
    initial: (() => A) | undefined,
    aggregator: (aggregate: A, value: V, key: K) => A | null,
    merger: ((aggregate: A, other: A, key: K) => A | null) | undefined,
    options: WindowOptions<K, A>,
  ): Table<Name, Windowed<K>, A> {
    return windowedTable<Name, K, A>(name, {
      windows: this.windows,
      emit: this.#emit,
      inputs: [{ place: this.#place, aggregator: aggregator as Fold['aggregator'] }],
      initial,
      merger: merger as Fold['aggregator'] | undefined,
      options,
    })
  }
}

type AggregateOptions<K, A> = WindowOptions<K, A> & { readonly value: Serde<A> }

export type MergerAndOptions<K, A> =
  | readonly [options: AggregateOptions<K, A>]
  | readonly [merger: SessionMerger<K, A>, options: AggregateOptions<K, A>]

export function mergerAndOptions<K, A>(
  given: MergerAndOptions<K, A>,
): [SessionMerger<K, A> | undefined, AggregateOptions<K, A>] {
  return given.length === 1 ? [undefined, given[0]] : [given[0], given[1]]
}
