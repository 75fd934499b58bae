import { DruseError } from '../errors.ts'
import type { Serde } from '../ports.ts'
import type { AnyRegion, GlobalRegion, Region } from '../region/definition.ts'
import { orderByKeys } from '../region/time-order.ts'
import { WINDOW_KEYS, windowStoreKey } from '../region/timed-keys.ts'
import { timeWindowed, type Windowed } from '../serde/windowed.ts'
import { AutoName, GraphBuilder } from '../topology/builder.ts'
import { type DescribeFormat, describe } from '../topology/describe.ts'
import type { EntryEvent } from '../topology/entry-event.ts'
import type { Graph, SourceNode, TimestampRule } from '../topology/graph.ts'
import type { Middleware } from '../topology/middleware.ts'
import { checkMs } from '../topology/windows.ts'
import type { OffsetReset } from '../types.ts'
import type { FailurePolicies } from './failure-policies.ts'
import { GlobalTable } from './global-table.ts'
import { addRegion, type RegionOptions } from './materialized.ts'
import type { Named } from './place.ts'
import {
  type AnyRegionElsewhere,
  addFromChangelog,
  addFromRegion,
  type RegionElsewhere,
  type SessionsElsewhere,
  type WindowsElsewhere,
} from './region-stream.ts'
import { Stream } from './stream.ts'
import { type Table, tableOf } from './table.ts'

export interface TopologyOptions extends FailurePolicies {
  /**
   * When a task has had no record for so long, and there is none to be read, its stream time goes on as the clock does:
   * windows close, timers fire and results come although nothing new comes. Milliseconds. Default: never, as in Kafka
   * Streams, where time stands still between records.
   */
  readonly idleAfterMs?: number
  /**
   * How far records may be out of order: stream time is so much behind the newest timestamp, in every operator, as with
   * Flink's `forBoundedOutOfOrderness`. Windows stay open and timers wait for so much longer, beside any grace.
   * Milliseconds. Default 0, as in Kafka Streams.
   */
  readonly maxOutOfOrdernessMs?: number
  /**
   * Stands around every operator, for tracing and metrics. What it gives for an operator is
   * called for each record, as a part of the operator: what it throws is a failure of the record. It sees records that are
   * called for ahead of their turn when the operator does. Kafka Streams' `processor.wrapper.class`.
   */
  readonly middleware?: Middleware
}

export interface SourceOptions<K, V> extends FailurePolicies {
  readonly key: Serde<K>
  readonly value: Serde<V>
  /**
   * Event time in milliseconds since 1970. A function that gives a negative number leaves the record out; any other that
   * is no time makes it undecodable. Default: the record's own timestamp; if that is no time, it is undecodable.
   */
  readonly timestamp?: TimestampRule<K, V>
  /** Where to start when nothing is committed. Default 'earliest'. */
  readonly offsetReset?: OffsetReset
}

export interface TableOptions<K, V> extends SourceOptions<K, V>, Pick<RegionOptions<K, V>, 'store'> {
  /**
   * True: the region has no changelog of its own, the topic serves as one (Kafka Streams'
   * `reuse.ktable.source.topics`). The topic may delete nothing by age, best is a compacted one; and what is read from it has to be what stands in it:
   * from its earliest record on, with its own timestamps, nothing left out by an error policy. Default false.
   */
  readonly reuseSourceTopic?: boolean
}

/**
 * What an application does: sources, operators, regions and sinks. Pure data; `Druse` runs it.
 * The application's name is its consumer group and begins the names of its internal topics.
 *
 * @example
 * const t = new Topology('word-count')
 * t.stream('lines', { key: string, value: string })
 *   .flatMap((line) => line.split(' ').map((word) => [word, word] as const))
 *   .repartition('by-word', { key: string, value: string })
 *   .groupByKey()
 *   .count('counts')
 *   .toStream()
 *   .to('word-counts')
 */
export class Topology {
  readonly application: string
  readonly #builder: GraphBuilder

  constructor(application: string, options: TopologyOptions = {}) {
    this.application = application
    const { onUndecodable = 'fail', onFailure = 'fail', onLate = 'drop' } = options
    const { idleAfterMs, maxOutOfOrdernessMs = 0, middleware } = options
    this.#builder = new GraphBuilder(
      application,
      { onUndecodable, onFailure, onLate },
      { idleAfterMs, maxOutOfOrdernessMs, middleware },
    )
  }

  /** Reads one topic, or several of the same kind. */
  stream<K, V>(topics: string | readonly string[], options: SourceOptions<K, V> & Named): Stream<K, V> {
    const list = typeof topics === 'string' ? [topics] : [...topics]
    const [first] = list
    if (first === undefined) throw new DruseError('TOPOLOGY_INVALID', 'stream() needs at least one topic')
    const node = this.#builder.add({
      kind: 'source',
      name: options.name ?? new AutoName(`from-${first}`),
      parents: [],
      topics: list,
      key: options.key as Serde<unknown>,
      value: options.value as Serde<unknown>,
      timestamp: options.timestamp as SourceNode['timestamp'],
      reset: options.offsetReset ?? 'earliest',
      onUndecodable: options.onUndecodable ?? this.#builder.policies.onUndecodable,
      onFailure: options.onFailure ?? this.#builder.policies.onFailure,
      onLate: options.onLate ?? this.#builder.policies.onLate,
    })
    return new Stream({
      builder: this.#builder,
      node,
      serdes: { key: options.key, value: options.value },
      rekeyed: false,
    })
  }

  /**
   * A topic as a table: each record puts its key, null deletes it. The last to arrive stands, whatever its time. Records
   * without key are dropped.
   *
   * With a name it is kept in a region of that name. Without one it is kept, under the topic's name, where an operator
   * behind it needs that: a join, or `groupBy`.
   */
  table<K, V>(topic: string, options: TableOptions<K, V>): Table<undefined, K, V>
  table<K, V, const Name extends string>(
    topic: string,
    options: TableOptions<K, V> & { readonly name: Name },
  ): Table<Name, K, V>
  table<K, V>(
    topic: string,
    {
      name,
      store = 'persistent',
      reuseSourceTopic = false,
      ...source
    }: TableOptions<K, V> & { readonly name?: string },
  ): Table<string | undefined, K, V> {
    if (reuseSourceTopic) this.#checkReusable(topic, source)
    const { place } = this.stream(topic, source)
    const { key, value } = source
    const kept = (under: string) =>
      addRegion(place, { name: under, key, value, store, ...(reuseSourceTopic && { source: topic }) })
    return tableOf(place, {
      name: name ?? new AutoName(`table-${topic}`),
      region: name === undefined ? undefined : kept(name),
      keep: () => kept(topic),
    })
  }

  /**
   * A partitioned region: keyed state of the operators that name it, logged in `<application>-<name>-changelog`.
   * `store: 'memory'` keeps it out of LevelDB and rebuilds it from its changelog at each start. Default 'persistent'.
   */
  region<const Name extends string, K, V>(
    name: Name,
    options: { readonly key: Serde<K>; readonly value: Serde<V>; readonly store?: 'persistent' | 'memory' },
  ): Region<Name, K, V> {
    const { key, value, store = 'persistent' } = options
    return this.#builder.declareRegion({ kind: 'partitioned', name, key, value, store })
  }

  /**
   * A region of windows for operators of your own: entries by key and window start, gone when the newest start in the part
   * is `retentionMs` or more later than theirs. Writes that come too late for that have no effect. Logged in the bytes of a
   * window store's changelog.
   */
  windowRegion<const Name extends string, K, V>(
    name: Name,
    options: {
      readonly key: Serde<K>
      readonly value: Serde<V>
      readonly sizeMs: number
      readonly retentionMs: number
      readonly store?: 'persistent' | 'memory'
    },
  ): Region<Name, Windowed<K>, V> {
    const { key, value, sizeMs, retentionMs, store = 'persistent' } = options
    checkMs(`windowRegion('${name}')`, { sizeMs, retentionMs }, 1)
    return this.#builder.declareRegion({
      kind: 'partitioned',
      name,
      key: windowStoreKey(key, sizeMs),
      value,
      store,
      timed: { order: orderByKeys(WINDOW_KEYS), retentionMs },
      topicKey: timeWindowed(key, { sizeMs }),
    })
  }

  /**
   * A replicated region: every process keeps a full copy of a topic, loaded before tasks run. Read-only to operators.
   * `store: 'memory'` keeps it out of LevelDB and loads all of it at each start. Default 'persistent'.
   *
   * A value that cannot be decoded is the topic's: reading it throws (DECODE_FAILED), and if the operator lets that
   * through, `onFailure` applies to the record that asked. Schemas that the registry does not give are waited for before
   * that, at the start and with each update.
   */
  globalRegion<const Name extends string, K, V>(
    name: Name,
    options: {
      readonly topic: string
      readonly key: Serde<K>
      readonly value: Serde<V>
      readonly store?: 'persistent' | 'memory'
    },
  ): GlobalRegion<Name, K, V> {
    const { topic, key, value, store = 'persistent' } = options
    return this.#builder.addRegion({ kind: 'global', name, topic, key, value, store })
  }

  /**
   * A replicated table: every process keeps a full copy of a topic, loaded before tasks run, for streams to be joined
   * with by any key. `name` is that of its region; default the topic's. See `globalRegion`.
   */
  globalTable<const Topic extends string, K, V, const Name extends string = Topic>(
    topic: Topic,
    options: {
      readonly key: Serde<K>
      readonly value: Serde<V>
      readonly name?: Name
      readonly store?: 'persistent' | 'memory'
    },
  ): GlobalTable<Name, K, V> {
    const { name = topic, ...rest } = options
    return new GlobalTable(this.globalRegion(name as Name, { topic, ...rest }))
  }

  /**
   * The changes of a region as a stream of entry events, whoever makes them: an aggregation, a table, `toRegion`, a
   * processor, a timer. There is one for each write, in the order in which they take effect; a deletion of what is not
   * there is none, nor is an entry that goes because its retention is over. Events come behind the record, or the timer,
   * that the writes belong to, in the same task and transaction, with the time of the entry; of what is destroyed, that of
   * the record. A failure behind this operator is a failure of that record.
   *
   * What is behind it cannot write the region itself: TOPOLOGY_INVALID where that shows in the topology, else REGION_CYCLE,
   * as a failure of the record.
   */
  fromRegion<K, V>(region: Region<string, K, V>, named?: Named): Stream<K, EntryEvent<K, V>>
  /**
   * The changes of a region of another application, by its changelog `<application>-<region>-changelog`, which is read
   * committed. A copy of the region, `<application>-<region>`, tells what an entry was before. Events come once each, in
   * the order of the changelog, with the time of the entry: one for each key in a commit of the other application, less
   * what compaction has taken away before it was read.
   */
  fromRegion<K, V>(
    region: WindowsElsewhere<K, V> | SessionsElsewhere<K, V>,
    named?: Named,
  ): Stream<Windowed<K>, EntryEvent<Windowed<K>, V>>
  fromRegion<K, V>(
    region: RegionElsewhere<K, V> & { readonly windows?: never; readonly sessions?: never },
    named?: Named,
  ): Stream<K, EntryEvent<K, V>>
  fromRegion(region: AnyRegion | AnyRegionElsewhere, named?: Named): unknown {
    if ('application' in region) return new Stream(addFromChangelog(this.#builder, region, named))
    return new Stream(addFromRegion(this.#builder, region, named))
  }

  #checkReusable<K, V>(topic: string, source: SourceOptions<K, V>): void {
    const {
      onUndecodable = this.#builder.policies.onUndecodable,
      onFailure = this.#builder.policies.onFailure,
    } = source
    const { timestamp, offsetReset = 'earliest' } = source
    let wrong: string | undefined
    if (timestamp !== undefined) wrong = 'it has a timestamp rule'
    else if (offsetReset !== 'earliest') wrong = `it begins at offsetReset '${offsetReset}'`
    else if (onUndecodable !== 'fail' || onFailure !== 'fail') wrong = 'an error policy may leave records out'
    if (wrong === undefined) return
    throw new DruseError(
      'TOPOLOGY_INVALID',
      `table('${topic}') cannot be restored from its topic, for what it holds is not what stands there: ${wrong}. Leave out reuseSourceTopic`,
    )
  }

  /** The graph as data. Errors: TOPOLOGY_INVALID. */
  build(): Graph {
    return this.#builder.build()
  }

  /** Sub-topologies, operators, regions and topics. Default as text. Errors: TOPOLOGY_INVALID. */
  describe(format: DescribeFormat = 'text'): string {
    return describe(this.build(), format)
  }
}
