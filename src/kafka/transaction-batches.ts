/** Collects the records of a transaction, by partition, in batches that their topics take. */
import type { Header, TopicPartition } from '../types.ts'
import type { PartitionBatches } from './commit-writer.ts'
import { partitionKey } from './partition-key.ts'
import { BatchWriter, recordBytesMax } from './record-batch.ts'

/** Of a batch, before it is compressed; a single record may be larger if its topic takes it. */
const BATCH_BYTES_MAX = 512 * 1024

export class TransactionBatches {
  readonly #byPartition = new Map<string, TopicPartition & { readonly batches: BatchWriter[] }>()

  /** `topicBytesMax`: the largest batch that the topic takes. Compression makes none larger. */
  add(
    { topic, partition }: TopicPartition,
    topicBytesMax: number,
    timestamp: number,
    key: Uint8Array | null,
    value: Uint8Array | null,
    headers?: readonly Header[],
  ): void {
    const id = partitionKey({ topic, partition })
    let found = this.#byPartition.get(id)
    if (found === undefined) {
      found = { topic, partition, batches: [] }
      this.#byPartition.set(id, found)
    }
    let batch = found.batches.at(-1)
    const limit = Math.min(BATCH_BYTES_MAX, topicBytesMax)
    if (batch === undefined || batch.sizeBytes + recordBytesMax(key, value, headers) > limit) {
      batch = new BatchWriter()
      found.batches.push(batch)
    }
    batch.add(timestamp, key, value, headers)
  }

  get partitions(): PartitionBatches[] {
    return [...this.#byPartition.values()]
  }
}
