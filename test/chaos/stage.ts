/** What faults are done to, and where they are told of. */
import type { SeededRandom } from '../../src/testing/seeded-random.ts'
import type { RegistryServer } from '../serde/registry-server.ts'
import type { RunningCluster } from '../stack/running-cluster.ts'
import type { Place } from './place.ts'

export interface Stage {
  readonly cluster: RunningCluster
  /** Those that always run. */
  readonly places: readonly Place[]
  /** Those that come and go. */
  readonly guests: readonly Place[]
  readonly registry: RegistryServer
  /** Aborted when there are to be no more faults: what waits for one gives up. */
  readonly signal: AbortSignal
  /** A fault that has happened. */
  happened(family: Family, what: string): void
  /** One that was prepared in vain: its moment did not come. */
  missed(family: Family, what: string): void
  /** This store may be moved aside. */
  damaged(store: string): void
}

/** One fault, from its beginning to when the stage is as before; what it did to processes may last longer. */
export type Fault = (stage: Stage, random: SeededRandom) => Promise<void>

export const FAMILIES = [
  'kill',
  'failpoint',
  'freeze',
  'rebalance',
  'rolling',
  'diskFull',
  'damage',
  'proxy',
  'broker',
  'moves',
  'registry',
  'poison',
] as const
export type Family = (typeof FAMILIES)[number]
