/** What several requests have in common on the wire. */
import type { PartitionCode, Producing, TopicMetadata, TopicResult } from '../ports.ts'
import type { TopicPartition } from '../types.ts'
import type { WireReader, WireWriter } from './wire-bytes.ts'

/** Partitions, grouped by topic in the order of first appearance. */
export function writeTopics<T extends TopicPartition>(
  writer: WireWriter,
  partitions: readonly T[],
  write: (partition: T) => void,
): void {
  const topics = Map.groupBy(partitions, ({ topic }) => topic)
  writer.array([...topics], ([topic, list]) => {
    writer.text(topic)
    writer.array(list, write)
    writer.tags()
  })
}

export function readTopics<T>(reader: WireReader, read: (topic: string) => T): T[] {
  const topics = reader.array(() => {
    const topic = reader.text()
    const partitions = reader.array(() => read(topic))
    reader.tags()
    return partitions
  })
  return topics.flat()
}

export function readPartitionCodes(reader: WireReader): PartitionCode[] {
  return readTopics(reader, (topic) => {
    const found = { topic, partition: reader.int32(), errorCode: reader.int16() }
    reader.tags()
    return found
  })
}

export function writeProducing(
  writer: WireWriter,
  { transactionalId, producerId, producerEpoch }: Producing,
): void {
  writer.text(transactionalId)
  writer.int64(producerId)
  writer.int16(producerEpoch)
}

export function readCode(reader: WireReader): { errorCode: number } {
  reader.int32() // throttle time
  return { errorCode: reader.int16() }
}

export function readTopicResult(reader: WireReader): TopicResult {
  return { topic: reader.text(), errorCode: reader.int16(), errorMessage: reader.textOrNull() }
}

export function readTopicMetadata(reader: WireReader): TopicMetadata {
  const errorCode = reader.int16()
  const topic = reader.text()
  const topicId = reader.id()
  reader.bool() // internal
  const partitions = reader.array(() => {
    const code = reader.int16()
    const partition = reader.int32()
    const leader = reader.int32()
    const leaderEpoch = reader.int32()
    const replicas = reader.array(() => reader.int32())
    reader.array(() => reader.int32()) // in sync
    reader.array(() => reader.int32()) // offline
    reader.tags()
    return { partition, errorCode: code, leader, leaderEpoch, replicas }
  })
  reader.int32() // authorized operations
  reader.tags()
  return { topic, errorCode, topicId, partitions }
}
