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
  /** Records mostly go where the one before went. */
  #last: Filling | undefined
  #lastTo: TopicPartition | undefined

  /** `topicBytesMax`: the largest batch that the topic takes. Compression makes none larger. */
  add(
    to: TopicPartition,
    topicBytesMax: number,
    timestamp: number,
    key: Uint8Array | null,
    value: Uint8Array | null,
    headers?: readonly Header[],
  ): void {
    const { batches } = this.#filling(to)
    let batch = batches[batches.length - 1]
    const limit = Math.min(BATCH_BYTES_MAX, topicBytesMax)
    if (batch === undefined || batch.sizeBytes + recordBytesMax(key, value, headers) > limit) {
      batch = new BatchWriter()
      batches.push(batch)
    }
    batch.add(timestamp, key, value, headers)
  }

  #filling(to: TopicPartition): Filling {
    if (this.#last === undefined || to !== this.#lastTo) {
      const { topic, partition } = to
      this.#last = this.#fillings.get(topic)?.[partition] ?? this.#begin(topic, partition)
      this.#lastTo = to
    }
    return this.#last
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
