/** The topology as data: nodes and edges, without behaviour but the users' own functions. */
import type { Clock, Serde } from '../ports.ts'
import type { GlobalRegion, ReadableRegion, Region, TimeOrderedRegion } from '../region/definition.ts'
import type { ErrorPolicy, LatePolicy, OffsetReset } from '../types.ts'
import type { AsyncCall } from './async-call.ts'
import type { StreamRecord } from './record.ts'
import type { Partitioner, TopicChooser } from './routing.ts'
import type { TaskTime } from './time.ts'
import type { TimeUnit } from './unit.ts'

export type NodeId = number

/** One link of the compiled chain. A promise is returned only when there is something to wait for. */
export type Step = (record: StreamRecord) => void | Promise<void>

/** What a node's behaviour may touch, given when a task compiles its chain. */
export interface NodeHost {
  /** `TimeOrderedRegion` only where it was declared so. */
  region(name: string): TimeOrderedRegion<unknown, unknown>
  globalRegion(name: string): ReadableRegion<unknown, unknown>
  /** Of the task. */
  readonly partition: number
  readonly time: TaskTime
  readonly clock: Clock
  /** A record came after its window had closed, and is left out of it. */
  late(late: LateRecord): void
  /** A record lacks what the operator goes by, and is left out. */
  dropped(operator: string, record: StreamRecord, lacks: 'key' | 'value'): void
  /** Carries out what time has come to, as a unit of its own. What it throws, no policy lets through. */
  carryOut(unit: TimeUnit, run: () => void | Promise<void>): void | Promise<void>
  /** A user's function is at work while what it has forwarded goes on: no unit begins before it is through. */
  calling(running: Promise<void>): void
}

export interface LateRecord {
  readonly operator: string
  readonly record: StreamRecord
  /** The newest that the operator has seen. */
  readonly streamTimeMs: number
  /** The end of the window that has closed. */
  readonly windowEnd: number
}

interface Common {
  readonly id: NodeId
  readonly name: string
  readonly parents: readonly NodeId[]
}

/**
 * A record's event time, in milliseconds since 1970. A function is called with the newest timestamp of the partition's
 * records so far too (-1 before the first one), and leaves a record out by a negative number. As Kafka Streams'
 * TimestampExtractor; the texts are its LogAndSkipOnInvalidTimestamp, UsePartitionTimeOnInvalidTimestamp and
 * WallclockTimestampExtractor.
 */
export type TimestampRule<K = unknown, V = unknown> =
  | ((value: V, key: K, record: StreamRecord<K, V>, partitionTimeMs: number) => number)
  | 'skipOnInvalid'
  | 'partitionTimeOnInvalid'
  | 'wallClock'

export interface SourceNode extends Common {
  readonly kind: 'source'
  /**
   * Its topic is where another application logs a region. What stands there beside entries is passed over: without a key,
   * or, where entries stand in time, under a key of no bytes (see operator-times.ts).
   */
  readonly changelogOf?: { readonly application: string; readonly isTimed: boolean }
  readonly topics: readonly string[]
  readonly key: Serde<unknown>
  readonly value: Serde<unknown>
  readonly timestamp: TimestampRule | undefined
  readonly reset: OffsetReset
  readonly onUndecodable: ErrorPolicy
  readonly onFailure: ErrorPolicy
  readonly onLate: LatePolicy
}

/** Any operator between source and sink; `regions` says which state it uses. */
interface AnyOperatorNode extends Common {
  readonly kind: 'operator'
  /** What describe calls it: map, filter, process, count, ... */
  readonly operator: string
  readonly regions: readonly string[]
  /** It has no parents: its records are the events of this region, which is one of its regions. */
  readonly listensTo?: string
  /** The operator that was written, where that is several nodes: what errors and dead letters call it. */
  readonly partOf?: string
  /** Its records carry a `Change`, the new value alone for children that do not take changes. */
  readonly emits?: 'changes'
  /** Its records come from tables, and carry a `Change`. */
  readonly takes?: 'changes'
  /** What it does to a record depends on the record alone: it may be done before its turn, and again at its turn. */
  readonly stateless?: true
  /** Records without key mean something to it, so that repartition topics before it carry them. */
  readonly takesKeyless?: true
}

export interface SyncNode extends AnyOperatorNode {
  /** The steps of its children are given in the order of the edges; `name` is the node's. */
  readonly bind: (host: NodeHost, children: readonly Step[], name: string) => Step
  readonly call?: undefined
}

/** It calls out for each record: the runtime may do so before the record's turn (see async-calls.ts). */
export interface CallNode extends AnyOperatorNode {
  readonly call: AsyncCall
}

export type OperatorNode = SyncNode | CallNode

export interface SinkNode extends Common {
  readonly kind: 'sink'
  readonly topic: string | TopicChooser
  readonly partitioner: Partitioner | undefined
  readonly key: Serde<unknown>
  readonly value: Serde<unknown>
}

/** Writes to an internal topic and reads it again, in another sub-topology. */
export interface RepartitionNode extends Common {
  readonly kind: 'repartition'
  readonly topic: string
  /** Whether records without key are written. No operator behind it has a use for them otherwise. */
  readonly keyless: boolean
  readonly partitions: number | undefined
  readonly partitioner: Partitioner | undefined
  /** Its partitioner sends answers back to where they were asked for: equal keys meet in the same task as there. */
  readonly returns?: true
  readonly key: Serde<unknown>
  readonly value: Serde<unknown>
  readonly onUndecodable: ErrorPolicy
  readonly onFailure: ErrorPolicy
  readonly onLate: LatePolicy
}

/** Every topic that a source's records may end in when they cannot be processed. */
export function deadLetterTopics({
  onUndecodable,
  onFailure,
  onLate,
}: Pick<SourceNode, 'onUndecodable' | 'onFailure' | 'onLate'>): string[] {
  return [onUndecodable, onFailure, onLate].flatMap((policy) =>
    typeof policy === 'object' ? policy.deadLetter : [],
  )
}

export type GraphNode = SourceNode | OperatorNode | SinkNode | RepartitionNode

export interface Graph {
  readonly application: string
  /** See `TopologyOptions`. */
  readonly idleAfterMs: number | undefined
  /** See `TopologyOptions`. */
  readonly maxOutOfOrdernessMs: number
  /** By id; parents come before their children. */
  readonly nodes: readonly GraphNode[]
  readonly regions: ReadonlyMap<string, Region>
  readonly globals: ReadonlyMap<string, GlobalRegion>
}
