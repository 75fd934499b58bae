import type { Serde } from '../ports.ts'
import type { AnyRegion } from '../region/definition.ts'
import { int64 } from '../serde/index.ts'
import type { Processor } from '../topology/process.ts'
import type { AnyWindows } from '../topology/windows.ts'
import { aggregatedTable } from './aggregated-table.ts'
import { type CogroupAggregator, CogroupedStream, input } from './cogrouped-stream.ts'
import type { RegionOptions } from './materialized.ts'
import type { Place } from './place.ts'
import type { ProcessOptions } from './processor.ts'
import { Stream } from './stream.ts'
import type { Table } from './table.ts'
import { WindowedStream } from './windowed-stream.ts'

/** Records grouped by key: each aggregation keeps one value per key in a region of its own, under the name you give. */
export class GroupedStream<K, V> {
  /** @internal */
  readonly place: Place<K, V>

  /** @internal */
  constructor(place: Place<K, V>) {
    this.place = place
  }

  /** Counts records per key. Records without key or value are not counted, as in Kafka Streams. */
  count<const Name extends string>(
    name: Name,
    options: RegionOptions<K, number> = {},
  ): Table<Name, K, number> {
    return this.aggregate(
      name,
      () => 0,
      (count) => count + 1,
      { value: int64, ...options },
    )
  }

  /** Combines the values of a key; the first one stands for itself. A result of null removes the key. */
  reduce<const Name extends string>(
    name: Name,
    reducer: (aggregate: V, value: V, key: K) => V | null,
    options: RegionOptions<K, V> = {},
  ): Table<Name, K, V> {
    const value = options.value ?? this.place.serdes.value
    return aggregatedTable(name, [input(this, reducer)], undefined, { ...options, ...(value && { value }) })
  }

  /** Folds the values of a key, from `initial()`. A result of null removes the key. */
  aggregate<const Name extends string, A>(
    name: Name,
    initial: () => A,
    aggregator: (aggregate: A, value: V, key: K) => A | null,
    options: RegionOptions<K, A> & { readonly value: Serde<A> },
  ): Table<Name, K, A> {
    return aggregatedTable(name, [input(this, aggregator)], initial, options)
  }

  /**
   * Begins an aggregation of several streams together; more of them are added with `CogroupedStream.cogroup`. The
   * aggregate's type is that of the function's first parameter.
   */
  cogroup<A>(aggregator: CogroupAggregator<K, V, A>): CogroupedStream<K, A> {
    return new CogroupedStream([input(this, aggregator)])
  }

  /**
   * Groups by window too: `tumblingWindows`, `hoppingWindows`, `slidingWindows` or `sessionWindows`. Keys of the results
   * are `Windowed`.
   */
  windowedBy<W extends AnyWindows>(windows: W): WindowedStream<K, V, W> {
    return new WindowedStream(this.place, windows)
  }

  /** The general operator over the grouped records: see `Stream.process`. */
  process<const R extends readonly AnyRegion[] = readonly [], KO = K, VO = V>(
    name: string,
    options: ProcessOptions<K, R, KO, VO>,
    processor: Processor<K, V, R, KO, VO>,
  ): Stream<KO, VO, 'rekeyed'> {
    const stream = new Stream<K, V, 'keyed'>(this.place)
    return (stream as Stream<K, V, never>).process(name, options, processor)
  }
}
