/** Looking at a topic from outside: what is committed in it. Joins no group. */
import { DruseError } from '../errors.ts'
import { Cluster } from '../kafka/cluster.ts'
import { partitionKey } from '../kafka/partition-key.ts'
import { PartitionReader } from '../kafka/partition-reader.ts'
import { recordsOf } from '../kafka/read-committed.ts'
import type { RawRecord } from '../kafka/record-batch.ts'
import { describeTopics, listOffsets } from '../kafka/topics.ts'
import type { Codec, Isolation, Registry, Serde, Wire } from '../ports.ts'
import { silentLogger, systemClock } from '../system.ts'
import { StreamRecord } from '../topology/record.ts'
import type { TopicPartition } from '../types.ts'

export interface ReadTopicOptions<K, V> {
  readonly key: Serde<K>
  readonly value: Serde<V>
  readonly registry?: Registry
  /** Default 'read_committed'. */
  readonly isolation?: Isolation
}

/**
 * The records of a topic up to its end at the call, partition by partition, each in order.
 * Errors: TOPIC_MISSING, BROKER_UNAVAILABLE, those of the serdes.
 */
export async function readTopic<K, V>(
  wire: Wire,
  topic: string,
  options: ReadTopicOptions<K, V>,
): Promise<StreamRecord<K, V>[]> {
  const reader = await TopicReader.open(wire, topic, options)
  try {
    const read: StreamRecord<K, V>[][] = []
    await reader.read((record) => {
      read[record.partition] ??= []
      read[record.partition]?.push(record)
    })
    return read.flat()
  } finally {
    reader.close()
  }
}

/** Reads a topic from its beginning, in steps: for topics that are long, or still grow. */
export class TopicReader<K, V> {
  readonly #cluster: Cluster
  readonly #reader: PartitionReader
  readonly #isolation: Isolation
  readonly #keys: Codec<K>
  readonly #values: Codec<V>
  /** Where to go on. */
  readonly #places: (TopicPartition & { next: number })[]

  private constructor(
    cluster: Cluster,
    isolation: Isolation,
    keys: Codec<K>,
    values: Codec<V>,
    places: (TopicPartition & { next: number })[],
  ) {
    this.#cluster = cluster
    this.#reader = new PartitionReader(cluster, isolation)
    this.#isolation = isolation
    this.#keys = keys
    this.#values = values
    this.#places = places
  }

  /** Errors: TOPIC_MISSING, BROKER_UNAVAILABLE, those of the serdes. */
  static async open<K, V>(
    wire: Wire,
    topic: string,
    { key, value, registry, isolation = 'read_committed' }: ReadTopicOptions<K, V>,
  ): Promise<TopicReader<K, V>> {
    const cluster = new Cluster({ wire, clock: systemClock, log: silentLogger })
    try {
      const found = (await describeTopics(cluster, [topic])).get(topic)
      if (found === undefined)
        throw new DruseError('TOPIC_MISSING', `There is no topic '${topic}'`, { topic })
      const keys = await key.open({ topic, part: 'key', registry, writes: false })
      const values = await value.open({ topic, part: 'value', registry, writes: false })
      const partitions = Array.from({ length: found.partitions }, (_, partition) => ({ topic, partition }))
      const starts = await listOffsets(cluster, partitions, 'earliest', isolation)
      const places = partitions.map((at) => ({ ...at, next: starts.get(partitionKey(at)) as number }))
      return new TopicReader(cluster, isolation, keys, values, places)
    } catch (error) {
      cluster.close()
      throw error
    }
  }

  /**
   * Hands over the records from where the last `read` ended up to the topic's end at the call: each partition in
   * order, several at a time. Rejected, it may be called again: it goes on behind the last record whose `onRecord` has
   * returned. One call at a time.
   * Errors: BROKER_UNAVAILABLE, OFFSET_OUT_OF_RANGE, READ_ABANDONED after `close`, those of the serdes and of `onRecord`.
   */
  async read(onRecord: (record: StreamRecord<K, V>) => void): Promise<void> {
    const ends = await listOffsets(this.#cluster, this.#places, 'latest', this.#isolation)
    const stop = new AbortController()
    let failure: { readonly error: unknown } | undefined
    await Promise.all(
      this.#places.map(async (place) => {
        const end = ends.get(partitionKey(place)) as number
        if (place.next >= end) return
        try {
          await this.#reader.read(
            place,
            place.next,
            async ({ batches, nextOffset }) => {
              for (const raw of recordsOf(batches)) {
                if (raw.offset >= end) break
                const decoded = this.#recordOf(raw, place)
                const record = decoded instanceof Promise ? await decoded : decoded
                if (stop.signal.aborted) return true
                onRecord(record)
                place.next = raw.offset + 1
              }
              place.next = Math.max(place.next, Math.min(nextOffset, end))
              return nextOffset >= end
            },
            stop.signal,
          )
        } catch (error) {
          // The other partitions stop, too: after this nothing is handed over.
          failure ??= { error }
          stop.abort()
        }
      }),
    )
    if (failure !== undefined) throw failure.error
  }

  close(): void {
    this.#reader.close()
    this.#cluster.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** A promise only when there is something to wait for: a schema. */
  #recordOf(raw: RawRecord, place: TopicPartition): StreamRecord<K, V> | Promise<StreamRecord<K, V>> {
    const key = raw.key === null ? undefined : this.#keys.prepare?.(raw.key)
    const value = raw.value === null ? undefined : this.#values.prepare?.(raw.value)
    if (key === undefined && value === undefined) return this.#decoded(raw, place)
    return Promise.all([key, value]).then(() => this.#decoded(raw, place))
  }

  #decoded({ key, value, timestamp, headers, offset }: RawRecord, place: TopicPartition): StreamRecord<K, V> {
    const k = key === null ? null : this.#keys.decode(key)
    const v = value === null ? null : this.#values.decode(value)
    return new StreamRecord(k as K, v as V, timestamp, headers, place.topic, place.partition, offset)
  }
}
