export type { AsyncContext, AsyncFn, AsyncOptions } from './dsl/async.ts'
export { type CogroupAggregator, CogroupedStream, WindowedCogroupedStream } from './dsl/cogrouped-stream.ts'
export type { DeduplicateOptions } from './dsl/deduplicate.ts'
export type { ForeignKeyJoinOptions } from './dsl/foreign-key-join.ts'
export { GlobalTable } from './dsl/global-table.ts'
export { GroupedStream } from './dsl/grouped-stream.ts'
export { GroupedTable } from './dsl/grouped-table.ts'
export type { Materialized, RegionOptions } from './dsl/materialized.ts'
export type { Named, Partitioning, Serdes } from './dsl/place.ts'
export type { PrintOptions } from './dsl/print.ts'
export type { ProcessOptions, ProcessValuesOptions } from './dsl/processor.ts'
export type { RegionElsewhere, SessionsElsewhere, WindowsElsewhere } from './dsl/region-stream.ts'
export type { RepartitionOptions } from './dsl/repartition.ts'
export { SplitStream } from './dsl/split-stream.ts'
export { type SinkOptions, Stream } from './dsl/stream.ts'
export type { StreamJoined } from './dsl/stream-join.ts'
export type { SuppressedOptions, Suppression } from './dsl/suppressed-table.ts'
export { Table } from './dsl/table.ts'
export { type SourceOptions, type TableOptions, Topology, type TopologyOptions } from './dsl/topology.ts'
export { type SessionMerger, WindowedStream } from './dsl/windowed-stream.ts'
export type { EmitStrategy, WindowOptions } from './dsl/windowed-table.ts'
export type { EmbeddedBroker } from './embedded/embedded-broker.ts'
export { DruseError, ERROR_KINDS, type ErrorCode, type ErrorKind } from './errors.ts'
export type { Compression } from './kafka/compression.ts'
export { type KafkaWireOptions, kafkaWire } from './kafka/kafkajs.ts'
export { type EmbeddedBrokerOptions, embeddedBroker } from './local.ts'
export type {
  Clock,
  Codec,
  CodecContext,
  Disk,
  Isolation,
  Logger,
  Random,
  Registry,
  Serde,
  Store,
  Wire,
} from './ports.ts'
export type {
  FetchOptions,
  GlobalRegion,
  KeyRange,
  PrefixOptions,
  ReadableRegion,
  Region,
  WindowReads,
  WritableRegion,
} from './region/definition.ts'
export {
  type DeadLetter,
  type DeadLetterChoice,
  listDeadLetters,
  type Replayed,
  type ReplayOptions,
  replayDeadLetters,
} from './runtime/dead-letter-topic.ts'
export { type ApplicationState, Druse, type Health } from './runtime/druse.ts'
export { ensureTopics, type WantedTopic } from './runtime/ensure-topics.ts'
export type { DruseOptions, DruseSettings } from './runtime/options.ts'
export type { CommittedRegion } from './runtime/query.ts'
export { type ResetOptions, resetApplication } from './runtime/reset.ts'
export type {
  KeptRegion,
  ResetDirectory,
  ResetInput,
  ResetPlan,
  ResetPosition,
  ResetTopic,
} from './runtime/reset-plan.ts'
export type { RestoreProgress } from './runtime/restore.ts'
export type { TaskHealth, TaskStatus } from './runtime/task-table.ts'
export { type ReadTopicOptions, readTopic, TopicReader } from './runtime/topic-reader.ts'
export {
  type ProducedRecord,
  type ProducerTopic,
  TransactionalProducer,
  type TransactionalProducerOptions,
} from './runtime/transactional-producer.ts'
export * from './serde/index.ts'
export { levelDisk, type MemoryDisk, memoryDisk } from './store/index.ts'
export { consoleLogger, silentLogger, systemClock, systemRandom } from './system.ts'
export type { CallContext, RetryOptions } from './topology/async-call.ts'
export type { DescribeFormat } from './topology/describe.ts'
export type {
  DescribedGlobalRegion,
  DescribedOperator,
  DescribedRegion,
  DescribedSink,
  DescribedSource,
  DescribedSubTopology,
  TopologyDescription,
} from './topology/description.ts'
export type { EntryCreated, EntryDestroyed, EntryEvent, EntryUpdated } from './topology/entry-event.ts'
export type { TimestampRule } from './topology/graph.ts'
export { type JoinWindows, joinWindows } from './topology/join-windows.ts'
export type { Around, Middleware, OperatorInfo } from './topology/middleware.ts'
export type {
  ForwardOptions,
  OnTimer,
  OnValueTimer,
  ProcessContext,
  Processor,
  ProcessorSupplier,
  ProcessRecord,
  Timing,
  ValueProcessContext,
  ValueProcessor,
  WithTimers,
} from './topology/process.ts'
export { StreamRecord } from './topology/record.ts'
export type { Partitioner, PartitionerTarget, TopicChooser } from './topology/routing.ts'
export {
  type BufferLimits,
  type SuppressUntilTimeLimit,
  type SuppressUntilWindowCloses,
  untilTimeLimit,
  untilWindowCloses,
} from './topology/suppress.ts'
export type { Cancellable, PunctuationType, Punctuator } from './topology/time.ts'
export type { KeyTimers, Timer } from './topology/timers.ts'
export {
  type AnyWindows,
  hoppingWindows,
  type SessionWindows,
  type SlidingWindows,
  sessionWindows,
  slidingWindows,
  type TimeWindows,
  tumblingWindows,
} from './topology/windows.ts'
export type { ErrorPolicy, Header, LatePolicy, OffsetReset, TopicPartition } from './types.ts'
