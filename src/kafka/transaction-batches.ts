/** Collects the records of a transaction, by partition, in batches that their topics take. */
import type { Header, TopicPartition } from '../types.ts'
import type { PartitionBatches } from './commit-writer.ts'
import { BatchWriter, recordBytesMax } from './record-batch.ts'

/** Of a batch, before it is compressed; a single record may be larger if its topic takes it. */
const BATCH_BYTES_MAX = 512 * 1024

interface Filling extends PartitionBatches {
  readonly batches: BatchWriter[]
}

export class TransactionBatches {
  /** By topic, then by partition. */
  readonly #fillings = new Map<string, Filling[]>()

  /** `topicBytesMax`: the largest batch that the topic takes. Compression makes none larger. */
  add(
    { topic, partition }: TopicPartition,
    topicBytesMax: number,
    timestamp: number,
    key: Uint8Array | null,
    value: Uint8Array | null,
    headers?: readonly Header[],
  ): void {
    const { batches } = this.#fillings.get(topic)?.[partition] ?? this.#begin(topic, partition)
    let batch = batches.at(-1)
    const limit = Math.min(BATCH_BYTES_MAX, topicBytesMax)
    if (batch === undefined || batch.sizeBytes + recordBytesMax(key, value, headers) > limit) {
      batch = new BatchWriter()
      batches.push(batch)
    }
    batch.add(timestamp, key, value, headers)
  }

  get partitions(): PartitionBatches[] {
    // Partitions without records are holes, which flat() leaves out.
    return [...this.#fillings.values()].flat()
  }

  #begin(topic: string, partition: number): Filling {
    const filling = { topic, partition, batches: [] }
    const ofTopic = this.#fillings.get(topic) ?? []
    ofTopic[partition] = filling
    this.#fillings.set(topic, ofTopic)
    return filling
  }
}
