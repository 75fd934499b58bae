/** What is committed in a topic, from its beginning, as it comes. */
import type { Cluster } from '../kafka/cluster.ts'
import { CODE } from '../kafka/error-codes.ts'
import { partitionKey } from '../kafka/partition-key.ts'
import { recordsOf, visibleBatches } from '../kafka/read-committed.ts'
import type { RawRecord } from '../kafka/record-batch.ts'
import { Again } from '../kafka/retry.ts'
import { listOffsets } from '../kafka/topics.ts'
import type { TopicPartition } from '../types.ts'

const BYTES_MAX = 8 << 20

export interface CommittedRecord extends TopicPartition {
  readonly raw: RawRecord
}

export class CommittedTail {
  readonly #cluster: Cluster
  readonly #places: (TopicPartition & { next: number })[]

  constructor(cluster: Cluster, topic: string, partitions: number) {
    this.#cluster = cluster
    this.#places = Array.from({ length: partitions }, (_, partition) => ({ topic, partition, next: 0 }))
  }

  /** Those that were committed since the last call: partition by partition, each in order. */
  async next(): Promise<CommittedRecord[]> {
    const records: CommittedRecord[] = []
    for (const place of this.#places) {
      const { topic, partition } = place
      for (let from = -1; from < place.next; ) {
        from = place.next
        for (const raw of await this.#read(place)) records.push({ topic, partition, raw })
      }
    }
    return records
  }

  async #read(place: TopicPartition & { next: number }): Promise<RawRecord[]> {
    const { topic, partition, next: offset } = place
    const answer = await this.#cluster.ask(
      `read ${topic}/${partition}`,
      async () => {
        const node = await this.#cluster.leader(place)
        if (node instanceof Again) return node
        const at = { topic, partition, offset, maxBytes: BYTES_MAX }
        const isolation = 'read_committed'
        const limits = { maxWaitMs: 0, minBytes: 0, maxBytes: BYTES_MAX, isolation } as const
        return { node, request: { api: 'Fetch', ...limits, partitions: [at] } }
      },
      ({ errorCode }) => errorCode,
    )
    const [fetched] = answer.partitions
    if (fetched === undefined) return []
    // Repartition topics are purged of what was processed.
    if (fetched.errorCode === CODE.OFFSET_OUT_OF_RANGE) {
      const starts = await listOffsets(this.#cluster, [place], 'earliest')
      place.next = starts.get(partitionKey(place)) as number
      return []
    }
    const { batches, nextOffset } = visibleBatches(fetched, offset, 'read_committed')
    place.next = nextOffset
    return [...recordsOf(batches)]
  }
}
