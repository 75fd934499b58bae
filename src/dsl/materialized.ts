import type { Region } from '../region/definition.ts'
import { type Place, type Serdes, serdeOf } from './place.ts'

/** Of a region that an operator keeps its result in. Serdes may be left out where they are known. */
export interface RegionOptions<K, V> extends Serdes<K, V> {
  /** `'memory'` keeps it out of LevelDB and rebuilds it from its changelog at each start. Default 'persistent'. */
  readonly store?: 'persistent' | 'memory'
}

/** A table that is to be kept in a region, under this name (Kafka Streams' Materialized). */
export interface Materialized<Name extends string, K, V> extends RegionOptions<K, V> {
  readonly name: Name
}

/** Errors: TOPOLOGY_INVALID when a serde is neither given nor known. */
export function addRegion<Name extends string, K, V>(
  { builder, serdes }: Pick<Place<K, V>, 'builder' | 'serdes'>,
  { name, store = 'persistent', source, ...given }: Materialized<Name, K, V> & Pick<Region, 'source'>,
): Region<Name, K, V> {
  const key = serdeOf({ serdes }, 'key', given.key, `'${name}'`)
  const value = serdeOf({ serdes }, 'value', given.value, `'${name}'`)
  return builder.addRegion<Region<Name, K, V>>({
    kind: 'partitioned',
    name,
    key,
    value,
    store,
    ...(source !== undefined && { source }),
  })
}
