import type { Serde } from '../ports.ts'
import type { AnyRegion } from '../region/definition.ts'
import { bytes } from '../serde/index.ts'
import type { NodeId } from '../topology/graph.ts'
import {
  type AnyOnTimer,
  type AnyProcessor,
  bindProcessor,
  type OfSerde,
  type OnTimer,
  type OnValueTimer,
  type SideOutputs,
} from '../topology/process.ts'
import { fanOut } from '../topology/steps.ts'
import { timerKeys, timersRegion } from '../topology/timers.ts'
import { type Place, requireKeyed, type Serdes, serdeOf } from './place.ts'
import type { Stream } from './stream.ts'

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

/** See `Stream.process`. */
export interface WithSideOutputs<O extends SideOutputs> {
  /** Streams beside the main one, by name. A serde that is left out is that of what the operator reads. */
  readonly outputs: O
}

/** The streams of an operator's side outputs. */
export type SideStreams<K, V, O extends SideOutputs> = {
  readonly [Name in keyof O]: Stream<OfSerde<O[Name], 'key', K>, OfSerde<O[Name], 'value', V>, 'rekeyed'>
}

export interface ProcessValuesOptions<K, R extends readonly AnyRegion[], VO>
  extends Regions<R>,
    TimerKeys<K> {
  readonly value?: Serde<VO>
  /** As in `ProcessOptions`; it forwards under the timer's key. */
  readonly onTimer?: OnValueTimer<K, R, VO>
}

export type AddedOptions<K> = { readonly onTimer?: unknown; readonly outputs?: SideOutputs } & Regions<
  readonly AnyRegion[]
> &
  TimerKeys<K>

interface Added<K> {
  readonly name: string
  readonly options: AddedOptions<K>
  readonly processor: unknown
  /** It forwards under the key that it was called with. */
  readonly keepsKey: boolean
}

/** Errors: TOPOLOGY_INVALID. */
export function addProcessor<K, V>(
  place: Place<K, V>,
  added: Added<K>,
): { readonly node: NodeId; readonly outputs: ReadonlyMap<string, Place<unknown, unknown>> } {
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
  const outputs = Object.entries(options.outputs ?? {})
  const node = builder.add({
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
      outputs: outputs.map(([output]) => output),
    }),
  })
  // Before anything else is put behind it: the operator knows them by their places.
  const places = outputs.map(([output, { key = place.serdes.key, value = place.serdes.value }]) => {
    const at = builder.add({
      kind: 'operator',
      operator: 'output',
      name: `${name}-${output}`,
      parents: [node],
      regions: [],
      bind: (_, children) => fanOut(children),
    })
    const serdes = { ...(key && { key }), ...(value && { value }) } as Serdes<unknown, unknown>
    return [output, { builder, node: at, serdes, rekeyed: true }] as const
  })
  return { node, outputs: new Map(places) }
}
