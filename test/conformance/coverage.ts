/** Which of the recorded topologies are built here. */
import type { Family } from './build.ts'
import { aggregations } from './topologies/aggregations.ts'
import { cogroups } from './topologies/cogroups.ts'
import { joins } from './topologies/joins.ts'
import { stateless } from './topologies/stateless.ts'
import { stores } from './topologies/stores.ts'
import { suppression } from './topologies/suppression.ts'
import { tables } from './topologies/tables.ts'
import { time } from './topologies/time.ts'
import { windows } from './topologies/windows.ts'

export const built: Family = {
  ...aggregations,
  ...stateless,
  ...tables,
  ...time,
  ...windows,
  ...suppression,
  ...cogroups,
  ...joins,
  ...stores,
}

/** Not built: versioned stores and what needs them, and what Kafka Streams does by a throttle or an optimisation. */
export const optional: readonly string[] = [
  'stream-stream-left-throttled',
  'stream-stream-self-optimized',
  'stream-table-inner-grace',
  'stream-table-left-grace',
  'stream-table-versioned',
  'table-versioned-source',
]
