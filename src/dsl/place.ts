import { DruseError } from '../errors.ts'
import type { Serde } from '../ports.ts'
import type { GraphBuilder } from '../topology/builder.ts'
import type { NodeId } from '../topology/graph.ts'
import type { StreamRecord } from '../topology/record.ts'

/**
 * `keyed`: records of one key are all in one task. `rekeyed`: an operator may have changed keys since, so keyed
 * operators need a repartition() or groupBy() first.
 */
export type Partitioning = 'keyed' | 'rekeyed'

export interface Serdes<K, V> {
  readonly key?: Serde<K>
  readonly value?: Serde<V>
}

/** Of an operator without state. */
export interface Named {
  /** How `describe`, errors and middleware call it. Default: what it does and a number, which moves when operators are added. */
  readonly name?: string
}

/** What is not looked at; no promise, for nobody would wait for it. */
export type Unawaited =
  // biome-ignore lint/suspicious/noConfusingVoidType: what a function without result returns
  void | null | undefined | string | number | bigint | boolean | symbol | (object & { readonly then?: never })

/** What users give to operators. */
export type Fn<K, V, R> = (value: V, key: K, record: StreamRecord<K, V>) => R

/** Where in the graph a stream stands, and what is known of its records. */
export interface Place<K, V> {
  readonly builder: GraphBuilder
  readonly node: NodeId
  readonly serdes: Serdes<K, V>
  /** Keys may have changed since records of one key were last sure to be in one task. */
  readonly rekeyed: boolean
  /** Of keys that are windowed: how long after its end a window closes. */
  readonly windowCloseMs?: number
}

/** Errors: TOPOLOGY_INVALID. */
export function requireKeyed({ rekeyed }: { readonly rekeyed: boolean }, what: string): void {
  if (!rekeyed) return
  throw new DruseError(
    'TOPOLOGY_INVALID',
    `${what} needs records of one key in one task, but a key may have changed before it; put a repartition(name) or groupBy(name, …) in between`,
  )
}

/** The one that was given, else the stream's. Errors: TOPOLOGY_INVALID when there is neither. */
export function serdeOf<K, V, Part extends 'key' | 'value'>(
  { serdes }: Pick<Place<K, V>, 'serdes'>,
  part: Part,
  given: Serdes<K, V>[Part] | undefined,
  where: string,
): NonNullable<Serdes<K, V>[Part]> {
  const serde = given ?? serdes[part]
  if (serde !== undefined) return serde
  throw new DruseError('TOPOLOGY_INVALID', `${where} does not know the ${part} serde: give { ${part}: … }`)
}

/** How long windows of what comes from all of these wait: as long as any of them; undefined where one has none. */
export function windowCloseOf(places: readonly { readonly windowCloseMs?: number }[]): {
  readonly windowCloseMs?: number
} {
  const all = places.flatMap(({ windowCloseMs }) => windowCloseMs ?? [])
  return all.length < places.length || all.length === 0 ? {} : { windowCloseMs: Math.max(...all) }
}

/** Nodes are known by numbers, which mean others in another topology. Errors: TOPOLOGY_INVALID. */
export function requireOneTopology(
  own: { readonly builder: GraphBuilder },
  other: { readonly builder: GraphBuilder },
  what: string,
): void {
  if (own.builder === other.builder) return
  throw new DruseError(
    'TOPOLOGY_INVALID',
    `${what} takes a stream or table of topology '${other.builder.application}' into topology '${own.builder.application}': begin both at one Topology`,
  )
}
