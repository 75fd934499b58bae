/**
 * The doors to the outside: network, disk, time, chance, log. The runtime reaches the world through these alone,
 * so that it can run on real Kafka, on the embedded broker, and in a seeded simulator.
 */
import type { TopicPartition } from './types.ts'

// --- Wire: typed Kafka requests -------------------------------------------------------------------------------

/** Why a connection is opened. Kafka answers a connection's requests in order, so long waits get their own. */
export type Purpose = 'group' | 'fetch' | 'produce' | 'admin'

/** Any broker that can be reached: for Metadata, FindCoordinator and requests that every broker answers. */
export const ANY_NODE = -1

/** A way to a Kafka cluster. `connect` does no I/O. */
export interface Wire {
  connect(purpose: Purpose): Connection
}

export interface Connection {
  /**
   * Sends one request to a broker. Never rejects for anything the network or broker does: see `Outcome`.
   * After `destroy`, every pending and later send answers `disconnect`.
   */
  send<R extends Request>(node: number, request: R, timeoutMs: number): Promise<Outcome<ResponseOf<R>>>
  /** Closes the sockets at once. A request already written may still be carried out by the broker. */
  destroy(): void
}

/** `disconnect` and `timeout`: the broker may or may not have carried out the request. */
export type Outcome<T> =
  | { readonly ok: true; readonly response: T }
  | {
      readonly ok: false
      readonly reason: 'timeout' | 'disconnect' | 'undecodable'
      readonly cause?: unknown
    }

export type Request = { [A in Api]: { readonly api: A } & Requests[A] }[Api]
export type ResponseOf<R extends Request> = Responses[R['api']]
export type Api = keyof Requests

type PerPartition<T> = readonly (TopicPartition & T)[]
export interface PartitionCode extends TopicPartition {
  readonly errorCode: number
}

/** Requests, flattened: partitions are lists, not topics of partitions. Versions are those a body has to speak. */
export interface Requests {
  /** v7 or later with topic ids (v10). `topics: null` asks for all. Never creates topics. */
  Metadata: { readonly topics: readonly string[] | null }
  /** v1. */
  FindCoordinator: { readonly key: string; readonly keyType: 'group' | 'transaction' }
  CreateTopics: { readonly topics: readonly NewTopic[]; readonly timeoutMs: number }
  DeleteTopics: { readonly topics: readonly string[]; readonly timeoutMs: number }
  /** Of topics only; answers every setting in force, defaults included. */
  DescribeConfigs: { readonly topics: readonly string[] }
  DeleteRecords: {
    readonly partitions: PerPartition<{ readonly offset: number }>
    readonly timeoutMs: number
  }
  /**
   * v4+: isolation decides whether `latest` is the last stable offset or the high watermark. A number asks for the first
   * record of at least that timestamp (milliseconds since 1970) below that.
   */
  ListOffsets: {
    readonly isolation: Isolation
    readonly partitions: PerPartition<{ readonly at: 'earliest' | 'latest' | number }>
  }
  /** v7. `records` is one whole v2 record batch: two for a partition are refused. */
  Produce: {
    readonly transactionalId: string | null
    readonly acks: -1 | 0 | 1
    readonly timeoutMs: number
    readonly partitions: PerPartition<{ readonly records: Uint8Array }>
  }
  /** v11, no fetch sessions. */
  Fetch: {
    readonly maxWaitMs: number
    readonly minBytes: number
    readonly maxBytes: number
    readonly isolation: Isolation
    readonly partitions: PerPartition<{ readonly offset: number; readonly maxBytes: number }>
  }
  /** v1. */
  InitProducerId: { readonly transactionalId: string | null; readonly transactionTimeoutMs: number }
  /** v0-1. */
  AddPartitionsToTxn: Producing & { readonly partitions: readonly TopicPartition[] }
  /** v0-1. */
  AddOffsetsToTxn: Producing & { readonly groupId: string }
  /** v3: with member and generation. Outside of a group: generation -1, member ''. */
  TxnOffsetCommit: Producing & {
    readonly groupId: string
    readonly generationId: number
    readonly memberId: string
    readonly groupInstanceId: string | null
    readonly partitions: PerPartition<{ readonly offset: number; readonly metadata: string }>
  }
  /** v1. */
  EndTxn: Producing & { readonly committed: boolean }
  /** v5. */
  JoinGroup: {
    readonly groupId: string
    readonly sessionTimeoutMs: number
    readonly rebalanceTimeoutMs: number
    readonly memberId: string
    readonly groupInstanceId: string | null
    readonly protocolType: string
    readonly protocols: readonly { readonly name: string; readonly metadata: Uint8Array }[]
  }
  /** v3. */
  SyncGroup: Membership & {
    readonly assignments: readonly { readonly memberId: string; readonly assignment: Uint8Array }[]
  }
  /** v3. */
  Heartbeat: Membership
  /** v3. */
  LeaveGroup: {
    readonly groupId: string
    readonly members: readonly { readonly memberId: string; readonly groupInstanceId: string | null }[]
  }
  /** v7. Without a transaction. Outside of a group: generation -1, member '', and the group has to be empty. */
  OffsetCommit: Membership & {
    readonly partitions: PerPartition<{ readonly offset: number; readonly metadata: string }>
  }
  /** v4. Asked of the group's coordinator. */
  DescribeGroups: { readonly groups: readonly string[] }
  /** v7. */
  OffsetFetch: {
    readonly groupId: string
    readonly partitions: readonly TopicPartition[]
    readonly requireStable: boolean
  }
}

export interface Responses {
  Metadata: {
    readonly clusterId: string
    readonly controllerId: number
    readonly brokers: readonly { readonly nodeId: number; readonly host: string; readonly port: number }[]
    readonly topics: readonly TopicMetadata[]
  }
  FindCoordinator: { readonly errorCode: number; readonly nodeId: number }
  CreateTopics: { readonly topics: readonly TopicResult[] }
  DeleteTopics: { readonly topics: readonly TopicResult[] }
  DescribeConfigs: {
    readonly topics: readonly (TopicResult & { readonly configs: Readonly<Record<string, string>> })[]
  }
  DeleteRecords: { readonly partitions: readonly (PartitionCode & { readonly lowWatermark: number })[] }
  /** Offset -1: no record has such a timestamp. */
  ListOffsets: { readonly partitions: readonly (PartitionCode & { readonly offset: number })[] }
  Produce: { readonly partitions: readonly (PartitionCode & { readonly baseOffset: number })[] }
  Fetch: { readonly errorCode: number; readonly partitions: readonly FetchedPartition[] }
  InitProducerId: {
    readonly errorCode: number
    readonly producerId: bigint
    readonly producerEpoch: number
  }
  AddPartitionsToTxn: { readonly partitions: readonly PartitionCode[] }
  AddOffsetsToTxn: { readonly errorCode: number }
  TxnOffsetCommit: { readonly partitions: readonly PartitionCode[] }
  EndTxn: { readonly errorCode: number }
  JoinGroup: {
    readonly errorCode: number
    readonly generationId: number
    readonly protocolName: string
    readonly leader: string
    readonly memberId: string
    /** For the leader only. */
    readonly members: readonly {
      readonly memberId: string
      readonly groupInstanceId: string | null
      readonly metadata: Uint8Array
    }[]
  }
  SyncGroup: { readonly errorCode: number; readonly assignment: Uint8Array }
  Heartbeat: { readonly errorCode: number }
  LeaveGroup: { readonly errorCode: number }
  OffsetCommit: { readonly partitions: readonly PartitionCode[] }
  DescribeGroups: { readonly groups: readonly GroupDescription[] }
  OffsetFetch: {
    readonly errorCode: number
    /** Offset -1: nothing committed. */
    readonly partitions: readonly (PartitionCode & { readonly offset: number; readonly metadata: string })[]
  }
}

export type Isolation = 'read_uncommitted' | 'read_committed'

export interface Producing {
  readonly transactionalId: string
  readonly producerId: bigint
  readonly producerEpoch: number
}

export interface Membership {
  readonly groupId: string
  readonly generationId: number
  readonly memberId: string
  readonly groupInstanceId: string | null
}

export interface GroupDescription {
  readonly groupId: string
  readonly errorCode: number
  /** Kafka's name: 'Empty', 'PreparingRebalance', 'CompletingRebalance', 'Stable'; 'Dead' when there is no such group. */
  readonly state: string
  readonly protocolName: string
  readonly members: readonly GroupMemberDescription[]
}

export interface GroupMemberDescription {
  readonly memberId: string
  readonly groupInstanceId: string | null
  readonly clientId: string
  readonly clientHost: string
}

export interface NewTopic {
  readonly topic: string
  readonly partitions: number
  /** -1: the broker's default. */
  readonly replicationFactor: number
  readonly configs: Readonly<Record<string, string>>
}

export interface TopicResult {
  readonly topic: string
  readonly errorCode: number
  readonly errorMessage: string | null
}

export interface TopicMetadata {
  readonly topic: string
  readonly errorCode: number
  /** Kafka's topic id, as a string of its own form; a re-created topic has another. */
  readonly topicId: string
  readonly partitions: readonly {
    readonly partition: number
    readonly errorCode: number
    readonly leader: number
    readonly leaderEpoch: number
    readonly replicas: readonly number[]
  }[]
}

export interface AbortedTransaction {
  readonly producerId: bigint
  readonly firstOffset: number
}

export interface FetchedPartition extends PartitionCode {
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly logStartOffset: number
  /** In the broker's order, which is by last offset; null under read_uncommitted. */
  readonly abortedTransactions: readonly AbortedTransaction[] | null
  /** Whole batches, the first of which may begin before the asked offset; the last may be cut off. */
  readonly records: Uint8Array
}

// --- Disk and Store -------------------------------------------------------------------------------------------

/**
 * Directories of stores below one root. Paths are relative, made of `/`-joined names that are safe on every file system.
 * Errors: DISK_LOCKED (held by another handle or process), DISK_FAILED (the cause tells), STORE_CORRUPT.
 */
export interface Disk {
  /** Where it lies, for messages. */
  readonly root: string
  open(path: string): Promise<Store>
  exists(path: string): Promise<boolean>
  /** Names of the entries directly below a path; empty when it does not exist. */
  list(path: string): Promise<readonly string[]>
  /** Renames a directory, of a store or of several, to a free name beside it, never deletes; resolves to the new path. */
  moveAside(path: string): Promise<string>
  readText(path: string): Promise<string | undefined>
  /** Replaces the file in one step: a crash leaves the old text or the new. */
  writeText(path: string, text: string): Promise<void>
}

export interface RangeBounds {
  readonly gte?: Uint8Array
  readonly gt?: Uint8Array
  readonly lte?: Uint8Array
  readonly lt?: Uint8Array
  readonly reverse?: boolean
  readonly limit?: number
}

export type Entry = readonly [key: Uint8Array, value: Uint8Array]
/** A value of null deletes the key. */
export type Write = readonly [key: Uint8Array, value: Uint8Array | null]

/** Ordered bytes to bytes, order as unsigned bytes. One owner at a time. */
export interface Store {
  /** It was opened just as its last owner closed it. False: a crash or something else may have changed what it holds. */
  readonly asClosed: boolean
  getSync(key: Uint8Array): Uint8Array | undefined
  getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]>
  /** What the store held when `range` was called; later writes are not seen. */
  range(bounds: RangeBounds): AsyncIterable<Entry>
  /** All or nothing, also over a crash of the process. */
  write(writes: readonly Write[]): Promise<void>
  /** What was read is not what was written: however it is closed, its next owner does not get it `asClosed`. */
  distrust(): void
  /** After this every call fails with STORE_CLOSED. */
  close(): Promise<void>
}

// --- Registry -------------------------------------------------------------------------------------------------

/**
 * Schema ids, as in Confluent's registry. Ids are never re-used; a schema of an id never changes.
 *
 * What is wrong with a schema, an id or the bytes it stands in has an error of kind `user`, and an error policy may pass
 * over it; what is wrong with the registry has not: REGISTRY_UNAVAILABLE, REGISTRY_REFUSED (it answers, but refuses
 * us), REGISTRY_CHANGED (its ids have another meaning than before).
 */
export interface Registry {
  /**
   * The id of this schema under this subject; registers it if need be.
   * Errors: SCHEMA_REJECTED, SCHEMA_INVALID, SCHEMA_NOT_REGISTERED where it is looked up only, the registry's own.
   */
  idOf(subject: string, schema: string): Promise<number>
  /** Whole: names no types that stand elsewhere. Errors: SCHEMA_UNKNOWN, SCHEMA_INVALID, and the registry's own. */
  schemaOf(id: number): Promise<string>
  /** The schema of an id that this process, or an earlier one with the same state directory, has asked for. */
  cached?(id: number): string | undefined
}

// --- Serdes ---------------------------------------------------------------------------------------------------

/** What a codec may know about where its bytes live. */
export interface CodecContext {
  readonly topic: string
  readonly part: 'key' | 'value'
  readonly registry: Registry | undefined
  /** False: only `decode` is used, so nothing needs to be registered. */
  readonly writes: boolean
}

/** A serde bound to one topic: synchronous on the path of a record. */
export interface Codec<T> {
  encode(value: T): Uint8Array
  decode(bytes: Uint8Array): T
  /**
   * Makes `decode` of these bytes synchronous, e.g. by fetching a writer schema once per id.
   * Returns a promise only when there is something to wait for. Absent: nothing ever is.
   */
  prepare?(bytes: Uint8Array): Promise<void> | undefined
}

/**
 * How values of a type become bytes in topics. A serde is a definition and holds no connection: `open` binds it
 * to a topic at start.
 */
export interface Serde<T> {
  /** Part of a region's definition: changing it changes what stands in the changelog. E.g. `string`, `avro:Flight`. */
  readonly kind: string
  open(context: CodecContext): Codec<T> | Promise<Codec<T>>
  /** Bytes to bytes: an encoding whose byte order is the values' own order, for region keys, and its inverse. */
  readonly ordered?: {
    toOrdered(bytes: Uint8Array): Uint8Array
    fromOrdered(bytes: Uint8Array): Uint8Array
  }
  /** False when equal values may have different bytes over time (a schema id in the framing): no region key. */
  readonly stableBytes: boolean
  /** Of a key's bytes, those that choose the partition: a windowed key goes where its key does. Default: all. */
  partitionBytes?(bytes: Uint8Array): Uint8Array
}

// --- Time, chance, log ----------------------------------------------------------------------------------------

export interface Clock {
  /** Never goes back, no relation to the calendar; for time-outs and intervals. */
  monotonicMs(): number
  /** Milliseconds since 1970; may jump. */
  wallMs(): number
  /** Calls back once, after at least `delayMs`; 0 means after pending I/O has had its turn. Returns a way to cancel. */
  wake(delayMs: number, callback: () => void): () => void
}

export interface Random {
  /** In [0, 1). */
  next(): number
  bytes(count: number): Uint8Array
}

/** pino's shape: any logger with these fits. */
export interface Logger {
  debug(details: object, message: string): void
  info(details: object, message: string): void
  warn(details: object, message: string): void
  error(details: object, message: string): void
}
