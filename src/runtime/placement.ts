/** Which partition a record goes to: chosen once, when it is sent; every attempt of its commit goes there. */
import { DruseError } from '../errors.ts'
import { partitionFor } from '../kafka/partitioner.ts'
import type { StreamRecord } from '../topology/record.ts'
import type { Partitioner } from '../topology/routing.ts'
import type { TopicPartition } from '../types.ts'

/** One partition of a topic that is written to; the same object for all records that go there. */
export interface Destination extends TopicPartition {
  readonly maxRecordBytes: number
}

/** The partitions of a topic, in order. */
export type TopicDestinations = readonly Destination[]

export class Placement {
  /** Of records without a key, for each topic by itself: several sinks must not take turns with each other. */
  readonly #turns = new Map<TopicDestinations, number>()

  /** As Kafka's own producer; without a key, one partition after the other. */
  byKey(destinations: TopicDestinations, key: Uint8Array | null): Destination {
    if (key !== null) return destinations[partitionFor(key, destinations.length)] as Destination
    const turn = this.#turns.get(destinations) ?? 0
    this.#turns.set(destinations, (turn + 1) % destinations.length)
    return destinations[turn] as Destination
  }

  /** Errors: PARTITION_INVALID, what the partitioner throws. */
  chosen(
    partitioner: Partitioner,
    destinations: TopicDestinations,
    key: Uint8Array | null,
    record: StreamRecord,
  ): Destination {
    const { topic } = destinations[0] as Destination
    const partitions = destinations.length
    const partition: unknown = partitioner(record.value, record.key, { topic, partitions, record })
    if (partition === undefined) return this.byKey(destinations, key)
    if (!Number.isInteger(partition) || (partition as number) < 0 || (partition as number) >= partitions) {
      throw new DruseError(
        'PARTITION_INVALID',
        `The partitioner chose ${String(partition)} in topic '${topic}', which has partitions 0 to ${partitions - 1}`,
        { topic, partition, partitions },
      )
    }
    return destinations[partition as number] as Destination
  }
}
