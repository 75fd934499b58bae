/** Which of the recorded topologies are built here. */
import type { Family } from './build.ts'
import { aggregations } from './topologies/aggregations.ts'
import { stateless } from './topologies/stateless.ts'
import { tables } from './topologies/tables.ts'
import { time } from './topologies/time.ts'
import { windows } from './topologies/windows.ts'

export const built: Family = { ...aggregations, ...stateless, ...tables, ...time, ...windows }

/** May be absent. */
export const optional: readonly string[] = [
  'headers-suppress',
  'sliding-emit-final',
  'stream-stream-left-throttled',
  'stream-stream-self-optimized',
  'stream-table-inner-grace',
  'stream-table-left-grace',
  'stream-table-versioned',
  'table-versioned-source',
  'window-store-retention',
]

/** Required, and on their way. */
export const pending: readonly string[] = [
  'chain-enrich-window',
  'chain-join-then-aggregate',
  'chain-windowed-regroup',
  'cogroup',
  'cogroup-session',
  'cogroup-tumbling',
  'dedup-window-store',
  'headers-join',
  'hopping-emit-final',
  'session-aggregate',
  'session-count',
  'session-emit-final',
  'session-reduce',
  'sliding-aggregate',
  'sliding-count',
  'stream-stream-inner',
  'stream-stream-inner-asymmetric',
  'stream-stream-left',
  'stream-stream-left-asymmetric',
  'stream-stream-left-no-grace',
  'stream-stream-outer',
  'stream-stream-outer-asymmetric',
  'stream-stream-rekeyed',
  'stream-stream-self',
  'suppress-session-close',
  'suppress-table-tombstones',
  'suppress-time-limit',
  'suppress-time-limit-max-records',
  'suppress-window-close',
  'suppress-window-close-hopping',
  'suppress-windowed-time-limit',
  'tumbling-emit-final',
]
