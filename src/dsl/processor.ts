import type { Serde } from '../ports.ts'
import type { AnyRegion } from '../region/definition.ts'
import { bytes } from '../serde/index.ts'
import type { NodeId } from '../topology/graph.ts'
import {
  type AnyOnTimer,
  type AnyProcessor,
  bindProcessor,
  type OnTimer,
  type OnValueTimer,
} from '../topology/process.ts'
import { timerKeys, timersRegion } from '../topology/timers.ts'
import { type Place, requireKeyed, type Serdes, serdeOf } from './place.ts'

interface Regions<R extends readonly AnyRegion[]> {
  /** What the operator reads and writes: in its context, under their names. */
  readonly regions?: R
}

interface TimerKeys<K> {
  /** Of the timers' keys. Default: that of the stream. */
  readonly timerKey?: Serde<K>
}

export interface ProcessOptions<K, R extends readonly AnyRegion[], KO, VO>
  extends Serdes<KO, VO>,
    Regions<R>,
    TimerKeys<K> {
  /** Called when a timer of a key has come: see `KeyTimers`. They stand in the region `<name>-timers`. */
  readonly onTimer?: OnTimer<K, R, KO, VO>
}

export interface ProcessValuesOptions<K, R extends readonly AnyRegion[], VO>
  extends Regions<R>,
    TimerKeys<K> {
  readonly value?: Serde<VO>
  /** As in `ProcessOptions`; it forwards under the timer's key. */
  readonly onTimer?: OnValueTimer<K, R, VO>
}

interface Added<K> {
  readonly name: string
  readonly options: { readonly onTimer?: unknown } & Regions<readonly AnyRegion[]> & TimerKeys<K>
  readonly processor: unknown
  /** It forwards under the key that it was called with. */
  readonly keepsKey: boolean
}

/** Errors: TOPOLOGY_INVALID. */
export function addProcessor<K, V>(place: Place<K, V>, added: Added<K>): NodeId {
  const { name, options, processor, keepsKey } = added
  const { builder } = place
  const operator = keepsKey ? 'processValues' : 'process'
  const where = `${operator}('${name}')`
  const regions = options.regions ?? []
  builder.requireRegions(name, regions)
  const own = regions.map((region) => region.name)
  if (options.onTimer !== undefined) {
    const key = timerKeys(serdeOf(place, 'key', options.timerKey, where))
    const timers = timersRegion(name)
    own.push(timers)
    builder.addRegion({ kind: 'partitioned', name: timers, key, value: bytes, store: 'persistent' })
  }
  if (own.some((region) => !builder.isGlobal(region))) requireKeyed(place, where)
  return builder.add({
    kind: 'operator',
    operator,
    name,
    parents: [place.node],
    regions: own,
    bind: bindProcessor({
      name,
      regions,
      processor: processor as AnyProcessor,
      onTimer: options.onTimer as AnyOnTimer | undefined,
      keepsKey,
    }),
  })
}
