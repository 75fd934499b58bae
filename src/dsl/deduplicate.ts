import type { Serde } from '../ports.ts'
import { orderByKeys } from '../region/time-order.ts'
import { WINDOW_KEYS, windowStoreKey } from '../region/timed-keys.ts'
import { bytes } from '../serde/index.ts'
import { bindDeduplicate, keyedIds } from '../topology/deduplicate.ts'
import type { NodeId } from '../topology/graph.ts'
import type { StreamRecord } from '../topology/record.ts'
import { checkMs } from '../topology/windows.ts'
import { type Fn, type Place, requireKeyed, serdeOf } from './place.ts'

export interface DeduplicateOptions<K, V> {
  /** What tells a record from others of its key; null: it is no duplicate of anything. */
  readonly by: Fn<K, V, string | null>
  /** How far apart in event time records with the same id are duplicates, in either direction. Milliseconds. */
  readonly withinMs: number
  /**
   * How much older than the newest record a record may be; beyond that nothing is known of its id, and it is late (see
   * `onLate`). Milliseconds. Default: as `withinMs`.
   */
  readonly graceMs?: number
  /** Default: the stream's. */
  readonly key?: Serde<K>
  readonly store?: 'persistent' | 'memory'
}

/** Errors: TOPOLOGY_INVALID, OPTION_INVALID. */
export function addDeduplicate<K, V>(
  place: Place<K, V>,
  name: string,
  { by, withinMs, graceMs = withinMs, key, store = 'persistent' }: DeduplicateOptions<K, V>,
): NodeId {
  const where = `deduplicate('${name}')`
  requireKeyed(place, where)
  checkMs(where, { withinMs, graceMs }, 0)
  const own = serdeOf(place, 'key', key, where) as Serde<unknown>
  const { builder } = place
  builder.addRegion({
    kind: 'partitioned',
    name,
    key: windowStoreKey(keyedIds(own), 0),
    value: bytes,
    store,
    // Of a record that is not late yet, all that lies within withinMs before it has to be there.
    timed: {
      order: orderByKeys(WINDOW_KEYS),
      retentionMs: withinMs + graceMs + builder.maxOutOfOrdernessMs + 1,
    },
  })
  return builder.add({
    kind: 'operator',
    operator: 'deduplicate',
    name,
    parents: [place.node],
    regions: [name],
    bind: bindDeduplicate({
      region: name,
      by: (record) => by(record.value as V, record.key as K, record as StreamRecord<K, V>),
      withinMs,
      graceMs,
    }),
  })
}
