/** Of everything in a chaos run: times that are short where they may be, so that more happens in a minute. */
import type { DruseSettings } from '../../src/index.ts'

export const SETTINGS = {
  commitIntervalMs: 50,
  commitRecords: 500,
  transactionTimeoutMs: 8_000,
  sessionTimeoutMs: 3_000,
  heartbeatIntervalMs: 300,
  rebalanceTimeoutMs: 15_000,
  requestTimeoutMs: 3_000,
  fetchMaxWaitMs: 100,
  metadataMaxAgeMs: 5_000,
  repartitionPurgeIntervalMs: 2_000,
  // Less than the regions hold: entries are read from LevelDB, too.
  regionCacheBytes: 64 * 1_024,
} as const satisfies Partial<DruseSettings>

/** The registry of the tests does not ask for it. It is sent, and is to be found nowhere else. */
export const REGISTRY_AUTH = { username: 'chaos', password: 'what nobody may print' }

/** Of the brokers. */
export const BROKER_CONFIGS = {
  'group.min.session.timeout.ms': '1000',
  'transaction.abort.timed.out.transaction.cleanup.interval.ms': '1000',
  // Of a dead broker: its partitions have new leaders after so long, in place of 9 s.
  'broker.session.timeout.ms': '3000',
  'broker.heartbeat.interval.ms': '500',
  // Leaders go to the first of their replicas: so a change of the order moves them.
  'leader.imbalance.check.interval.seconds': '1',
}

/** Time in which all that was written has to come out after the last fault: session and transaction are over, and 30 s. */
export const DRAIN_LIMIT_MS = SETTINGS.sessionTimeoutMs + SETTINGS.transactionTimeoutMs + 30_000
