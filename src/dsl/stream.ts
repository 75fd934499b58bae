/** The DSL. Functions get `(value, key, record)`, value first as in JavaScript's own; names are Kafka Streams'. */
import { DruseError } from '../errors.ts'
import type { Serde } from '../ports.ts'
import type { AnyRegion, Region } from '../region/definition.ts'
import { AutoName } from '../topology/builder.ts'
import type { NodeHost, NodeId, Step } from '../topology/graph.ts'
import type { JoinWindows } from '../topology/join-windows.ts'
import type {
  NoOutputs,
  ProcessContext,
  Processor,
  SideOutputs,
  ValueProcessor,
  WithOutputs,
} from '../topology/process.ts'
import type { StreamRecord } from '../topology/record.ts'
import type { Partitioner, TopicChooser } from '../topology/routing.ts'
import { eachOf, fanOut, forwardEach, guarded, pairOf, settled } from '../topology/steps.ts'
import type { StreamJoinOptions } from '../topology/stream-join.ts'
import type { Timer } from '../topology/timers.ts'
import { type AsyncFn, type AsyncOptions, addAsync } from './async.ts'
import { addDeduplicate, type DeduplicateOptions } from './deduplicate.ts'
import { GlobalTable } from './global-table.ts'
import { GroupedStream } from './grouped-stream.ts'
import { addRegion, type RegionOptions } from './materialized.ts'
import {
  type Fn,
  type Named,
  type Partitioning,
  type Place,
  requireKeyed,
  requireOneTopology,
  type Serdes,
  serdeOf,
  type Unawaited,
  windowCloseOf,
} from './place.ts'
import { keyAndValue, type PrintOptions } from './print.ts'
import {
  type AddedOptions,
  addProcessor,
  type ProcessOptions,
  type ProcessValuesOptions,
  type SideStreams,
  type WithSideOutputs,
} from './processor.ts'
import { addToRegion } from './region-stream.ts'
import { addRepartition, type RepartitionOptions } from './repartition.ts'
import { SplitStream } from './split-stream.ts'
import { addStreamJoin, type StreamJoined } from './stream-join.ts'
import { addStreamTableJoin, type LookedUp } from './stream-table-join.ts'
import { type AnyTable, type Table, tableOf } from './table.ts'

type NeedsKey<R extends readonly AnyRegion[], P extends Partitioning> = [
  Extract<R[number], { kind: 'partitioned' }>,
] extends [never]
  ? P
  : 'keyed'

const NEITHER = { left: false, right: false }
const LEFT = { left: true, right: false }
const BOTH = { left: true, right: true }

export class Stream<K, V, P extends Partitioning = 'keyed'> {
  /** Only a type: whether keyed operators may follow. */
  declare readonly partitioning: P
  /** @internal */
  readonly place: Place<K, V>

  /** @internal Streams begin with `Topology.stream`. */
  constructor(place: Place<K, V>) {
    this.place = place
  }

  /** One record for one, with a new key and value. */
  map<K2, V2>(fn: Fn<K, V, readonly [key: K2, value: V2]>, named?: Named): Stream<K2, V2, 'rekeyed'> {
    return this.#rekey('map', named, {}, (name, next) => {
      const call = guarded(name, (value: V, key: K, record: StreamRecord<K, V>) =>
        pairOf(settled(fn(value, key, record))),
      )
      return (record) => {
        const [key, value] = call(record, record.value, record.key, record) as readonly [K2, V2]
        return next(record.with(key, value))
      }
    })
  }

  /** A new value under the same key. */
  mapValues<V2>(fn: Fn<K, V, V2>, named?: Named): Stream<K, V2, P> {
    return this.#keep('mapValues', named, without(this.place.serdes, 'value'), (name, next) => {
      const call = guarded(name, fn)
      return (record) => next(record.with(record.key, call(record, record.value, record.key, record)))
    })
  }

  /** Keeps the records for which the function returns true. */
  filter<V2 extends V>(
    predicate: (value: V, key: K, record: StreamRecord<K, V>) => value is V2,
    named?: Named,
  ): Stream<K, V2, P>
  filter(predicate: Fn<K, V, boolean>, named?: Named): Stream<K, V, P>
  filter(predicate: Fn<K, V, boolean>, named?: Named): Stream<K, V, P> {
    return this.#keep('filter', named, this.place.serdes, (name, next) => {
      const call = guarded(name, predicate)
      return (record) => (call(record, record.value, record.key, record) ? next(record) : undefined)
    })
  }

  /** Drops the records for which the function returns true. */
  filterNot(predicate: Fn<K, V, boolean>, named?: Named): Stream<K, V, P> {
    return this.#keep('filterNot', named, this.place.serdes, (name, next) => {
      const call = guarded(name, predicate)
      return (record) => (call(record, record.value, record.key, record) ? undefined : next(record))
    })
  }

  /** Any number of records for one, in the order of the iterable, with the record's timestamp. */
  flatMap<K2, V2>(
    fn: Fn<K, V, Iterable<readonly [key: K2, value: V2]>>,
    named?: Named,
  ): Stream<K2, V2, 'rekeyed'> {
    return this.#rekey('flatMap', named, {}, (name, next) => {
      const call = guarded(name, (value: V, key: K, record: StreamRecord<K, V>) =>
        Array.from(eachOf(settled(fn(value, key, record))), (pair) => {
          const [k, v] = pairOf(pair) as readonly [K2, V2]
          return record.with(k, v)
        }),
      )
      return (record) => forwardEach(call(record, record.value, record.key, record), next)
    })
  }

  /** Any number of values for one, under the same key. */
  flatMapValues<V2>(fn: Fn<K, V, Iterable<V2>>, named?: Named): Stream<K, V2, P> {
    return this.#keep('flatMapValues', named, without(this.place.serdes, 'value'), (name, next) => {
      const call = guarded(name, (value: V, key: K, record: StreamRecord<K, V>) =>
        Array.from(eachOf(settled(fn(value, key, record))), (v) => record.with(key, v)),
      )
      return (record) => forwardEach(call(record, record.value, record.key, record), next)
    })
  }

  /** A new key for the same value. */
  selectKey<K2>(fn: Fn<K, V, K2>, named?: Named): Stream<K2, V, 'rekeyed'> {
    return this.#rekey('selectKey', named, without(this.place.serdes, 'key'), (name, next) => {
      const call = guarded(name, fn)
      return (record) => next(record.with(call(record, record.value, record.key, record), record.value))
    })
  }

  /** Looks at each record. A side effect here happens at least once, not exactly once. */
  peek(fn: Fn<K, V, Unawaited>, named?: Named): Stream<K, V, P> {
    return this.#keep('peek', named, this.place.serdes, (name, next) => {
      const call = guarded(name, fn)
      return (record) => {
        call(record, record.value, record.key, record)
        return next(record)
      }
    })
  }

  /** Ends the stream in a function. Its side effects happen at least once, not exactly once. */
  foreach(fn: Fn<K, V, Unawaited>, named?: Named): void {
    this.#keep('foreach', named, this.place.serdes, (name) => {
      const call = guarded(name, fn)
      return (record) => {
        call(record, record.value, record.key, record)
      }
    })
  }

  /**
   * Ends the stream in lines of text, for a look at it: `[label]: key, value`, as Kafka Streams' `Printed`. What is read again
   * after a failure is printed again.
   */
  print(options: PrintOptions<K, V> = {}): void {
    const { label, text = keyAndValue, write = console.log } = options
    this.#keep('print', options, this.place.serdes, (name) => {
      const call = guarded(name, (value: V, key: K, record: StreamRecord<K, V>): void => {
        write(`[${label ?? name}]: ${text(value, key, record)}`)
      })
      return (record) => call(record, record.value, record.key, record)
    })
  }

  /** Records of both streams; no order is promised between them. */
  merge<P2 extends Partitioning>(
    other: Stream<K, V, P2>,
    named?: Named,
  ): Stream<K, V, [P, P2] extends ['keyed', 'keyed'] ? 'keyed' : 'rekeyed'> {
    requireOneTopology(this.place, other.place, 'merge')
    if (this.place.node === other.place.node) {
      throw new DruseError(
        'TOPOLOGY_INVALID',
        'merge() was given the stream that it is called on: there is nothing to merge. For each record twice, use flatMap',
      )
    }
    const node = this.place.builder.add({
      kind: 'operator',
      operator: 'merge',
      name: named?.name ?? new AutoName('merge'),
      parents: [this.place.node, other.place.node],
      regions: [],
      stateless: true,
      bind: (_, children) => fanOut(children),
    })
    const { key, value } = this.place.serdes
    const same = {
      ...(key && key === other.place.serdes.key && { key }),
      ...(value && value === other.place.serdes.value && { value }),
    }
    const { windowCloseMs: _, ...place } = this.place
    return new Stream({
      ...place,
      ...windowCloseOf([this.place, other.place]),
      node,
      serdes: same,
      rekeyed: this.place.rekeyed || other.place.rekeyed,
    })
  }

  /** Begins branches: each record goes to the first whose predicate is true. */
  split(named: Named = {}): SplitStream<K, V, P> {
    return new SplitStream(this.place, [], named)
  }

  /** Groups by the key that records have. After a change of key, use groupBy() or repartition() first. */
  groupByKey(this: Stream<K, V, 'keyed'>): GroupedStream<K, V> {
    requireKeyed(this.place, 'groupByKey')
    return new GroupedStream(this.place)
  }

  /**
   * Groups by another key: records travel through the internal topic `<application>-<name>-repartition`. Those for which the
   * function gives null are in no group.
   * The serdes may be left out where the stream still has those of its source.
   */
  groupBy(name: string, fn: Fn<K, V, K | null>, options?: RepartitionOptions<K, V>): GroupedStream<K, V>
  groupBy<K2>(
    name: string,
    fn: Fn<K, V, K2 | null>,
    options: RepartitionOptions<K2, V> & { readonly key: Serde<K2> },
  ): GroupedStream<K2, V>
  groupBy<K2>(
    name: string,
    fn: Fn<K, V, K2 | null>,
    options?: RepartitionOptions<K2, V>,
  ): GroupedStream<K2, V> {
    const key = options?.key ?? (this.place.serdes.key as Serde<K2> | undefined)
    // Records without key end at the repartition.
    return this.selectKey(fn as Fn<K, V, K2>)
      .repartition(name, { ...options, ...(key === undefined ? {} : { key }) })
      .groupByKey()
  }

  /**
   * Writes through the internal topic `<application>-<name>-repartition`, so that records of one key meet in one task.
   * Records without key are dropped, as in Kafka Streams, unless a left or outer join follows.
   */
  repartition(name: string, options: RepartitionOptions<K, V> = {}): Stream<K, V> {
    return new Stream(addRepartition(this.place, name, options))
  }

  /**
   * The newest value per key, kept in a region under this name: each record puts its key, null deletes it. Records without
   * key are dropped.
   */
  toTable<const Name extends string>(
    this: Stream<K, V, 'keyed'>,
    name: Name,
    options: RegionOptions<K, Exclude<V, null>> = {},
  ): Table<Name, K, Exclude<V, null>> {
    requireKeyed(this.place, `toTable('${name}')`)
    const kept = this.place as Place<K, Exclude<V, null>>
    const region = addRegion(kept, { ...options, name })
    const table = tableOf({ ...kept, serdes: region }, { name, region, keep: () => region })
    return table as Table<Name, K, Exclude<V, null>>
  }

  /**
   * Each record with what stands in a table under its key, when it comes: the table's updates trigger nothing. Records
   * without an entry there are dropped, and so are those without key or value. The stream's key, time and headers stay.
   *
   * Of a replicated table any entry can be joined: that of the key which `selectKey` gives, null for none.
   */
  join<V2, VO>(
    this: Stream<K, V, 'keyed'>,
    table: AnyTable<K, V2>,
    joiner: (value: V, tableValue: NoInfer<V2>, key: K) => VO,
    named?: Named,
  ): Stream<K, VO>
  join<K2, V2, VO>(
    table: GlobalTable<string, K2, V2>,
    selectKey: Fn<K, V, K2 | null>,
    joiner: (value: V, tableValue: NoInfer<V2>, key: K) => VO,
    named?: Named,
  ): Stream<K, VO, P>
  /**
   * Pairs of records of both streams that have one key and belong together by their times, each pair once, with the later
   * time of the two and the headers of the record that came last. Records without key or value are dropped.
   */
  join<V2, VO>(
    this: Stream<K, V, 'keyed'>,
    other: Stream<K, V2, 'keyed'>,
    joiner: (value: V, otherValue: NoInfer<V2>, key: K) => VO,
    windows: JoinWindows,
    joined: StreamJoined<string, K, V, V2>,
  ): Stream<K, VO>
  join(other: unknown, ...rest: readonly unknown[]): Stream<K, unknown, Partitioning> {
    if (other instanceof Stream) return this.#joinStream(other, NEITHER, rest)
    return this.#lookUp(false, other as LookedUp, rest)
  }

  /** As `join`; records without an entry in the table, or without a key to look up, are joined with null. */
  leftJoin<V2, VO>(
    this: Stream<K, V, 'keyed'>,
    table: AnyTable<K, V2>,
    joiner: (value: V, tableValue: NoInfer<V2> | null, key: K) => VO,
    named?: Named,
  ): Stream<K, VO>
  leftJoin<K2, V2, VO>(
    table: GlobalTable<string, K2, V2>,
    selectKey: Fn<K, V, K2 | null>,
    joiner: (value: V, tableValue: NoInfer<V2> | null, key: K) => VO,
    named?: Named,
  ): Stream<K, VO, P>
  /**
   * As `join` of streams; a record of this stream that finds no match gives one result with null, when its window and
   * grace are over, with its own time. A record without key gives one at once.
   */
  leftJoin<V2, VO>(
    this: Stream<K, V, 'keyed'>,
    other: Stream<K, V2, 'keyed'>,
    joiner: (value: V, otherValue: NoInfer<V2> | null, key: K) => VO,
    windows: JoinWindows,
    joined: StreamJoined<string, K, V, V2>,
  ): Stream<K, VO>
  leftJoin(other: unknown, ...rest: readonly unknown[]): Stream<K, unknown, Partitioning> {
    if (other instanceof Stream) return this.#joinStream(other, LEFT, rest)
    return this.#lookUp(true, other as LookedUp, rest)
  }

  /** As `leftJoin` of streams, for records of both. */
  outerJoin<V2, VO>(
    this: Stream<K, V, 'keyed'>,
    other: Stream<K, V2, 'keyed'>,
    joiner: (value: V | null, otherValue: NoInfer<V2> | null, key: K) => VO,
    windows: JoinWindows,
    joined: StreamJoined<string, K, V, V2>,
  ): Stream<K, VO> {
    return (this as Stream<K, V>).#joinStream(other, BOTH, [joiner, windows, joined]) as Stream<K, VO>
  }

  /**
   * Passes a record on unless one of its key and id was passed on within `withinMs` of its time, before or after it: the
   * first to arrive stands. What was passed on is kept in a region of this name, so it outlives restarts; a record that
   * fails behind this operator is forgotten again. Records without key or id are passed on.
   */
  deduplicate(this: Stream<K, V, 'keyed'>, name: string, options: DeduplicateOptions<K, V>): Stream<K, V> {
    return new Stream({ ...this.place, node: addDeduplicate(this.place, name, options) })
  }

  /**
   * A new value under the same key, from a function that waits for something: an HTTP call, a database. Up to
   * `concurrency` records of a task are called for at once, those of one key one after the other. Results go on in the
   * order of the input, exactly once: a record that is not complete holds back those behind it, not the calls that are
   * made for these. Commits go on meanwhile.
   *
   * The function is called again for records whose results were not committed when the task starts anew, so what it does
   * outside of Druse happens at least once. A call that fails, or takes longer than `timeoutMs`, is tried again as `retry`
   * says; after that the source's `onFailure` says what becomes of the record. Without `timeoutMs` it is waited for.
   *
   * Calls are made ahead of their records' turns where only stateless operators stand before this one. These see a
   * record when it is called for, not at its turn, and at its turn again if they lead elsewhere too. Behind anything
   * else there is one call at a time.
   *
   * The regions that it names are in the context; what it writes takes effect at the record's turn, if the call succeeds.
   * It sees what records of the same key before it have written, so the entries that it uses should be of that key, and
   * no other operator should write them.
   */
  mapValuesAsync<V2, const R extends readonly AnyRegion[] = readonly []>(
    this: Stream<K, V, NeedsKey<R, P>>,
    name: string,
    fn: AsyncFn<K, V, R, V2>,
    options: AsyncOptions<R> & { readonly value?: Serde<V2> } = {},
  ): Stream<K, V2, P> {
    const node = addAsync(this.place, { name, operator: 'mapValuesAsync', fn, options, keepsKey: true })
    const { key } = this.place.serdes
    const serdes = { ...(key && { key }), ...(options.value && { value: options.value }) }
    return new Stream<K, V2, P>({ ...this.place, node, serdes })
  }

  /** As `mapValuesAsync`, with a new key and value. */
  mapAsync<K2, V2, const R extends readonly AnyRegion[] = readonly []>(
    this: Stream<K, V, NeedsKey<R, P>>,
    name: string,
    fn: AsyncFn<K, V, R, readonly [key: K2, value: V2]>,
    options: AsyncOptions<R> & Serdes<K2, V2> = {},
  ): Stream<K2, V2, 'rekeyed'> {
    const node = addAsync(this.place, { name, operator: 'mapAsync', fn, options, keepsKey: false })
    const { key, value } = options
    return new Stream({
      ...this.place,
      node,
      serdes: { ...(key && { key }), ...(value && { value }) },
      rekeyed: true,
    })
  }

  /**
   * The general operator: reads and writes regions, forwards any number of records. `key` and `value` are the serdes
   * of what it forwards; left out, it forwards what it reads.
   */
  process<const R extends readonly AnyRegion[] = readonly [], KO = K, VO = V>(
    this: Stream<K, V, NeedsKey<R, P>>,
    name: string,
    options: ProcessOptions<K, R, KO, VO> & { readonly outputs?: undefined },
    processor: Processor<K, V, R, KO, VO>,
  ): Stream<KO, VO, 'rekeyed'>
  /**
   * With streams beside the main one: `outputs: { refused: { value: string } }` gives the operator
   * `context.outputs.refused(key, value)`, and the result the stream `outputs.refused`.
   */
  process<
    const R extends readonly AnyRegion[] = readonly [],
    KO = K,
    VO = V,
    const O extends SideOutputs = NoOutputs,
  >(
    this: Stream<K, V, NeedsKey<R, P>>,
    name: string,
    options: Omit<ProcessOptions<K, R, KO, VO>, 'onTimer'> &
      WithSideOutputs<O> & {
        readonly onTimer?: (
          timer: Timer<K>,
          context: ProcessContext<R, KO, VO> & WithOutputs<K, V, O>,
        ) => void | Promise<void>
      },
    processor: (
      record: StreamRecord<K, V>,
      context: ProcessContext<R, KO, VO> & WithOutputs<K, V, O>,
    ) => void | Promise<void>,
  ): Stream<KO, VO, 'rekeyed'> & { readonly outputs: SideStreams<K, V, O> }
  process(
    name: string,
    options: Serdes<unknown, unknown> & { readonly outputs?: SideOutputs | undefined },
    processor: unknown,
  ): unknown {
    const { node, outputs } = addProcessor(this.place, {
      name,
      options: options as AddedOptions<K>,
      processor,
      keepsKey: false,
    })
    const serdes = {
      ...(this.place.serdes as unknown as Serdes<unknown, unknown>),
      ...(options.key && { key: options.key }),
      ...(options.value && { value: options.value }),
    }
    const stream = new Stream<unknown, unknown, 'rekeyed'>({ ...this.place, node, serdes, rekeyed: true })
    if (options.outputs === undefined) return stream
    const streams = Array.from(outputs, ([output, place]) => [output, new Stream(place)] as const)
    return Object.assign(stream, { outputs: Object.fromEntries(streams) })
  }

  /**
   * As `process`, with `forward(value)`: what it forwards has the key of the record, so that keyed operators may follow
   * without a repartition. Kafka Streams' FixedKeyProcessor.
   */
  processValues<const R extends readonly AnyRegion[] = readonly [], VO = V>(
    this: Stream<K, V, NeedsKey<R, P>>,
    name: string,
    options: ProcessValuesOptions<K, R, VO>,
    processor: ValueProcessor<K, V, R, VO>,
  ): Stream<K, VO, P> {
    const { node } = addProcessor(this.place, { name, options, processor, keepsKey: true })
    const { key, value } = this.place.serdes as unknown as Serdes<K, VO>
    const given = options.value ?? value
    const serdes = { ...(key && { key }), ...(given && { value: given }) }
    return new Stream<K, VO, P>({ ...this.place, node, serdes })
  }

  /**
   * Writes to a topic, or to the topic that a function chooses for each record; partitioned by key as Kafka's own
   * producer does, unless a partitioner is given. Topics have to exist.
   *
   * Of a chosen topic, partitions and serdes are looked up with the first record that goes there; that record's task
   * waits for it. Failures of a record, for the source's `onFailure` to answer: TOPIC_MISSING when there is no such
   * topic (none is created), TOPIC_INVALID when it is no name of a topic, or an internal topic of this application.
   */
  to(topic: string | TopicChooser<K, V>, options: SinkOptions<K, V> & Named = {}): void {
    const where = typeof topic === 'string' ? `to('${topic}')` : 'to(…)'
    this.place.builder.add({
      kind: 'sink',
      name: options.name ?? new AutoName(typeof topic === 'string' ? `to-${topic}` : 'to'),
      parents: [this.place.node],
      topic: topic as string | TopicChooser,
      partitioner: options.partitioner as Partitioner | undefined,
      key: serdeOf(this.place, 'key', options.key, where) as Serde<unknown>,
      value: serdeOf(this.place, 'value', options.value, where) as Serde<unknown>,
    })
  }

  /**
   * Writes into a region that `Topology.region` or `windowRegion` has declared: each record puts its key, with its time,
   * and null deletes it. The last to arrive stands. Records without key are dropped. Other streams and processors of the
   * same task may write it too.
   */
  toRegion<RK, RV>(
    this: Stream<K, V, 'keyed'>,
    region: Region<string, RK, RV> & Takes<K, RK> & Takes<V, RV | null>,
    named?: Named,
  ): void {
    addToRegion((this as Stream<unknown, unknown>).place, region, named)
  }

  #lookUp(isLeft: boolean, table: LookedUp, rest: readonly unknown[]): Stream<K, unknown, Partitioning> {
    type Joiner = Parameters<typeof addStreamTableJoin>[2]['joiner']
    type KeyOf = Parameters<typeof addStreamTableJoin>[2]['keyOf']
    const isGlobal = table instanceof GlobalTable
    if (!isGlobal) requireKeyed(this.place, isLeft ? 'leftJoin' : 'join')
    const ownKey: KeyOf = (_, key) => key
    const [keyOf, joiner, named] = (isGlobal ? rest : [ownKey, ...rest]) as [KeyOf, Joiner, Named?]
    const node = addStreamTableJoin(this.place, table, { isLeft, joiner, keyOf, ...named })
    return new Stream({ ...this.place, node, serdes: without(this.place.serdes, 'value') })
  }

  #joinStream(
    other: { readonly place: unknown },
    isOuter: StreamJoinOptions['isOuter'],
    rest: readonly unknown[],
  ): Stream<K, unknown> {
    const [joiner, windows, joined] = rest as [
      StreamJoinOptions['joiner'],
      JoinWindows,
      StreamJoined<string, K, V, unknown>,
    ]
    const right = other.place as Place<K, unknown>
    requireOneTopology(this.place, right, `join '${joined.name}'`)
    for (const place of [this.place, right]) requireKeyed(place, `join '${joined.name}'`)
    const node = addStreamJoin(this.place, right, windows, joined, { isOuter, joiner })
    const key = joined.key ?? this.place.serdes.key
    return new Stream({ ...this.place, node, serdes: { ...(key && { key }) }, rekeyed: false })
  }

  #keep<V2>(
    operator: string,
    named: Named | undefined,
    serdes: Serdes<K, V2>,
    bind: (name: string, next: Step) => (record: StreamRecord<K, V>) => void | Promise<void>,
  ): Stream<K, V2, P> {
    return new Stream({ ...this.place, node: this.#add(operator, named, bind), serdes })
  }

  #rekey<K2, V2>(
    operator: string,
    named: Named | undefined,
    serdes: Serdes<K2, V2>,
    bind: (name: string, next: Step) => (record: StreamRecord<K, V>) => void | Promise<void>,
  ): Stream<K2, V2, 'rekeyed'> {
    return new Stream({ ...this.place, node: this.#add(operator, named, bind), serdes, rekeyed: true })
  }

  #add(
    operator: string,
    named: Named | undefined,
    bind: (name: string, next: Step) => (record: StreamRecord<K, V>) => void | Promise<void>,
  ): NodeId {
    return this.place.builder.add({
      kind: 'operator',
      operator,
      name: named?.name ?? new AutoName(operator),
      parents: [this.place.node],
      regions: [],
      stateless: true,
      bind: (_: NodeHost, children, name) => bind(name, fanOut(children)) as Step,
    })
  }
}

/** What stands in a type only where a `T` is an `Into`. */
type Takes<T, Into> = [T] extends [Into] ? unknown : never

export interface SinkOptions<K, V> extends Serdes<K, V> {
  /** Chooses the partition of each record. Default: by key, as Kafka's own producer; in turn without a key. */
  readonly partitioner?: Partitioner<K, V>
}

function without<K, V>(serdes: Serdes<K, V>, part: 'key' | 'value'): object {
  const { [part]: _, ...rest } = serdes
  return rest
}
