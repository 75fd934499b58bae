import type { DruseSettings } from '../../src/index.ts'

/** Many small transactions; the shortest session that Kafka allows. */
export const ON_KAFKA: Partial<DruseSettings> = {
  commitIntervalMs: 10,
  commitRecords: 40,
  sessionTimeoutMs: 6_000,
  heartbeatIntervalMs: 500,
  fetchMaxWaitMs: 50,
}
