/** Where a sink's record goes, when the application says so itself. */
import type { StreamRecord } from './record.ts'

/** The topic of each record. It has to exist: a name that no topic has is a failure of that record. */
export type TopicChooser<K = unknown, V = unknown> = (value: V, key: K, record: StreamRecord<K, V>) => string

/** What a partitioner chooses from. */
export interface PartitionerTarget<K = unknown, V = unknown> {
  readonly topic: string
  /** How many partitions the topic has. */
  readonly partitions: number
  readonly record: StreamRecord<K, V>
}

/**
 * The partition of each record, from 0 to `partitions - 1`; undefined leaves it to Kafka's own partitioner. Asked once
 * for a record, whatever becomes of the attempts to send it. Any other answer is a failure of that record.
 */
export type Partitioner<K = unknown, V = unknown> = (
  value: V,
  key: K,
  target: PartitionerTarget<K, V>,
) => number | undefined
