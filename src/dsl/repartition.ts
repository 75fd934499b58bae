import { DruseError } from '../errors.ts'
import type { Serde } from '../ports.ts'
import type { Partitioner } from '../topology/routing.ts'
import { type Place, type Serdes, serdeOf } from './place.ts'

export interface RepartitionOptions<K, V> extends Serdes<K, V> {
  /**
   * Chooses the partition of each record. Equal keys have to get the same one: what comes behind relies on it.
   * Topics that share a region with this one need the same partitioner. Default: by key, as Kafka's own producer.
   */
  readonly partitioner?: Partitioner<K, V>
  /** Of the internal topic. Default: as many as the topics that feed it have, or as those read together with it. */
  readonly partitions?: number
}

/** Where records stand that have gone through an internal topic. Errors: TOPOLOGY_INVALID. */
export function addRepartition<K, V>(
  place: Place<K, V>,
  name: string,
  options: RepartitionOptions<K, V>,
): Place<K, V> {
  const { builder } = place
  const key = serdeOf(place, 'key', options.key, `repartition('${name}')`)
  const value = serdeOf(place, 'value', options.value, `repartition('${name}')`)
  const { partitions } = options
  if (partitions !== undefined && (!Number.isInteger(partitions) || partitions < 1)) {
    throw new DruseError(
      'TOPOLOGY_INVALID',
      `repartition('${name}'): partitions must be a whole number from 1`,
    )
  }
  const node = builder.add({
    kind: 'repartition',
    name,
    parents: [place.node],
    topic: `${builder.application}-${name}-repartition`,
    partitions,
    partitioner: options.partitioner as Partitioner | undefined,
    key: key as Serde<unknown>,
    value: value as Serde<unknown>,
  })
  return { ...place, node, serdes: { key, value }, rekeyed: false }
}
