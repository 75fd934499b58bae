/** Looking at a topic from outside: everything that is committed in it, now. */
import { DruseError } from '../errors.ts'
import { Cluster } from '../kafka/cluster.ts'
import { partitionKey } from '../kafka/partition-key.ts'
import { PartitionReader } from '../kafka/partition-reader.ts'
import { recordsOf } from '../kafka/read-committed.ts'
import { describeTopics, listOffsets } from '../kafka/topics.ts'
import type { Isolation, Registry, Serde, Wire } from '../ports.ts'
import { silentLogger, systemClock } from '../system.ts'
import { StreamRecord } from '../topology/record.ts'

export interface ReadTopicOptions<K, V> {
  readonly key: Serde<K>
  readonly value: Serde<V>
  readonly registry?: Registry
  /** Default 'read_committed'. */
  readonly isolation?: Isolation
}

/**
 * The records of a topic up to its end at the call, partition by partition, each in order. Joins no group.
 * Errors: TOPIC_MISSING, BROKER_UNAVAILABLE, those of the serdes.
 */
export async function readTopic<K, V>(
  wire: Wire,
  topic: string,
  { key, value, registry, isolation = 'read_committed' }: ReadTopicOptions<K, V>,
): Promise<StreamRecord<K, V>[]> {
  const cluster = new Cluster({ wire, clock: systemClock, log: silentLogger })
  const reader = new PartitionReader(cluster, isolation)
  try {
    const found = (await describeTopics(cluster, [topic])).get(topic)
    if (found === undefined) throw new DruseError('TOPIC_MISSING', `There is no topic '${topic}'`, { topic })
    const keys = await key.open({ topic, part: 'key', registry, writes: false })
    const values = await value.open({ topic, part: 'value', registry, writes: false })
    const partitions = Array.from({ length: found.partitions }, (_, partition) => ({ topic, partition }))
    const starts = await listOffsets(cluster, partitions, 'earliest', isolation)
    const ends = await listOffsets(cluster, partitions, 'latest', isolation)
    const read = await Promise.all(
      partitions.map(async (at) => {
        const from = starts.get(partitionKey(at)) as number
        const end = ends.get(partitionKey(at)) as number
        const records: StreamRecord<K, V>[] = []
        if (from >= end) return records
        await reader.read(at, from, async ({ batches, nextOffset }) => {
          for (const raw of recordsOf(batches)) {
            if (raw.offset >= end) break
            if (raw.key !== null) await keys.prepare?.(raw.key)
            if (raw.value !== null) await values.prepare?.(raw.value)
            const k = raw.key === null ? null : keys.decode(raw.key)
            const v = raw.value === null ? null : values.decode(raw.value)
            const { timestamp, headers, offset } = raw
            records.push(new StreamRecord(k as K, v as V, timestamp, headers, topic, at.partition, offset))
          }
          return nextOffset >= end
        })
        return records
      }),
    )
    return read.flat()
  } finally {
    reader.close()
    cluster.close()
  }
}
