import type { GlobalRegion } from '../region/definition.ts'

/**
 * A full copy of a topic in every process, to join streams with: see `Topology.globalTable`. Its updates trigger nothing,
 * and no repartitioning is needed, for any key can be looked up anywhere.
 */
export class GlobalTable<Name extends string, K, V> {
  /** To look into: in operators, and from outside through the running application. */
  readonly region: GlobalRegion<Name, K, V>

  /** @internal */
  constructor(region: GlobalRegion<Name, K, V>) {
    this.region = region
  }
}
