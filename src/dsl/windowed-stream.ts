import type { Serde } from '../ports.ts'
import { int64 } from '../serde/index.ts'
import type { Windowed } from '../serde/windowed.ts'
import type { Fold } from '../topology/fold.ts'
import type { SessionWindows, SlidingWindows, TimeWindows } from '../topology/windows.ts'
import type { Place } from './place.ts'
import type { Table } from './table.ts'
import { type EmitStrategy, type WindowOptions, windowedTable } from './windowed-table.ts'

/** Records grouped by key and window: each aggregation keeps one value per key and window. */
export class WindowedStream<K, V> {
  readonly #place: Place<K, V>
  readonly #windows: TimeWindows | SlidingWindows
  readonly #emit: EmitStrategy

  /** @internal */
  constructor(
    place: Place<K, V>,
    windows: TimeWindows | SlidingWindows,
    emit: EmitStrategy = 'onWindowUpdate',
  ) {
    this.#place = place
    this.#windows = windows
    this.#emit = emit
  }

  /** When results are passed on. Default 'onWindowUpdate'. */
  emitStrategy(emit: EmitStrategy): WindowedStream<K, V> {
    return new WindowedStream(this.#place, this.#windows, emit)
  }

  /**
   * Counts records. In tumbling and hopping windows those without a value count too, in sliding windows they do not;
   * as in Kafka Streams.
   */
  count<const Name extends string>(
    name: Name,
    options: WindowOptions<K, number> = {},
  ): Table<Name, Windowed<K>, number> {
    return this.aggregate(
      name,
      () => 0,
      (count) => count + 1,
      { ...options, value: options.value ?? int64 },
    )
  }

  /** Combines the values of a key in a window; the first one stands for itself. A result of null removes the window. */
  reduce<const Name extends string>(
    name: Name,
    reducer: (aggregate: V, value: V, key: K) => V | null,
    options: WindowOptions<K, V> = {},
  ): Table<Name, Windowed<K>, V> {
    const value = options.value ?? this.#place.serdes.value
    return this.#aggregate(name, undefined, reducer, { ...options, ...(value && { value }) })
  }

  /** Folds the values of a key in a window, from `initial()`. A result of null removes the window. */
  aggregate<const Name extends string, A>(
    name: Name,
    initial: () => A,
    aggregator: (aggregate: A, value: V, key: K) => A | null,
    options: WindowOptions<K, A> & { readonly value: Serde<A> },
  ): Table<Name, Windowed<K>, A> {
    return this.#aggregate(name, initial, aggregator, options)
  }

  #aggregate<const Name extends string, A>(
    name: Name,
    initial: (() => A) | undefined,
    aggregator: (aggregate: A, value: V, key: K) => A | null,
    options: WindowOptions<K, A>,
  ): Table<Name, Windowed<K>, A> {
    return windowedTable<Name, K, A>(name, {
      windows: this.#windows,
      emit: this.#emit,
      inputs: [{ place: this.#place, aggregator: aggregator as Fold['aggregator'] }],
      initial,
      options,
    })
  }
}

/** Records grouped by key and session: each aggregation keeps one value per session of a key. */
export class SessionWindowedStream<K, V> {
  readonly #place: Place<K, V>
  readonly #windows: SessionWindows
  readonly #emit: EmitStrategy

  /** @internal */
  constructor(place: Place<K, V>, windows: SessionWindows, emit: EmitStrategy = 'onWindowUpdate') {
    this.#place = place
    this.#windows = windows
    this.#emit = emit
  }

  /** When results are passed on. Default 'onWindowUpdate': a session that grows or is merged is removed under its old bounds first. */
  emitStrategy(emit: EmitStrategy): SessionWindowedStream<K, V> {
    return new SessionWindowedStream(this.#place, this.#windows, emit)
  }

  /** Counts records, also those without a value, as in Kafka Streams. */
  count<const Name extends string>(
    name: Name,
    options: WindowOptions<K, number> = {},
  ): Table<Name, Windowed<K>, number> {
    return this.aggregate(
      name,
      () => 0,
      (count) => count + 1,
      (count, other) => count + other,
      { ...options, value: options.value ?? int64 },
    )
  }

  /** Combines the values of a session, and those of sessions that become one. A result of null removes the session. */
  reduce<const Name extends string>(
    name: Name,
    reducer: (aggregate: V, value: V, key: K) => V | null,
    options: WindowOptions<K, V> = {},
  ): Table<Name, Windowed<K>, V> {
    const value = options.value ?? this.#place.serdes.value
    return this.#aggregate(name, undefined, reducer, reducer, { ...options, ...(value && { value }) })
  }

  /**
   * Folds the values of a session, from `initial()`: first the sessions that become one with the record are merged into
   * it, the oldest first, then the record is added. A result of null removes the session.
   */
  aggregate<const Name extends string, A>(
    name: Name,
    initial: () => A,
    aggregator: (aggregate: A, value: V, key: K) => A | null,
    merger: (aggregate: A, other: A, key: K) => A,
    options: WindowOptions<K, A> & { readonly value: Serde<A> },
  ): Table<Name, Windowed<K>, A> {
    return this.#aggregate(name, initial, aggregator, merger, options)
  }

  #aggregate<const Name extends string, A>(
    name: Name,
    initial: (() => A) | undefined,
    aggregator: (aggregate: A, value: V, key: K) => A | null,
    merger: (aggregate: A, other: A, key: K) => A | null,
    options: WindowOptions<K, A>,
  ): Table<Name, Windowed<K>, A> {
    return windowedTable<Name, K, A>(name, {
      windows: this.#windows,
      emit: this.#emit,
      inputs: [{ place: this.#place, aggregator: aggregator as Fold['aggregator'] }],
      initial,
      merger: merger as Fold['aggregator'],
      options,
    })
  }
}
