/** Regions as the topology sees them: what they are called and hold, and what an operator may do with them. */
import type { Serde } from '../ports.ts'
import type { Windowed } from '../serde/windowed.ts'
import type { OperatorTimes } from './operator-times.ts'
import type { TimeOrder } from './time-order.ts'

/** A partitioned region: part p belongs to task p and is logged in its changelog topic. */
export interface Region<Name extends string = string, K = unknown, V = unknown> {
  readonly kind: 'partitioned'
  readonly name: Name
  readonly key: Serde<K>
  readonly value: Serde<V>
  readonly store: 'persistent' | 'memory'
  /** The source topic whose records it holds, and which is its changelog: a task writes down nothing but its position. */
  readonly source?: string
  /** Of a region whose entries stand in time. */
  readonly timed?: TimedEntries
  /** Of keys in other topics than the changelog, where their bytes are others there. */
  readonly topicKey?: Serde<K>
}

/** How the entries of a region stand in time. */
export interface TimedEntries {
  readonly order: TimeOrder
  /** Entries are gone when the newest time in the region is this much later than theirs. Undefined: never. */
  readonly retentionMs: number | undefined
}

/** Whether retention hides entries of the region, which its changelog then need not hold. */
export function forgets({ timed }: { readonly timed?: TimedEntries | undefined }): boolean {
  return timed?.retentionMs !== undefined
}

/** A replicated region: a full copy of a topic in every process, read-only to operators. */
export interface GlobalRegion<Name extends string = string, K = unknown, V = unknown> {
  readonly kind: 'global'
  readonly name: Name
  readonly topic: string
  readonly key: Serde<K>
  readonly value: Serde<V>
  readonly store: 'persistent' | 'memory'
}

// biome-ignore lint/suspicious/noExplicitAny: stands for every region in constraints; K and V are invariant
export type AnyRegion = Region<string, any, any> | GlobalRegion<string, any, any>

/** Bounds on keys, in key order. At most one of `gt`, `gte` and one of `lt`, `lte`. */
export interface KeyRange<K> {
  readonly gt?: K
  readonly gte?: K
  readonly lt?: K
  readonly lte?: K
  /** From the last key to the first. Default false. */
  readonly reverse?: boolean
  /** At most this many entries. Default: all. */
  readonly limit?: number
}

export interface ReadableRegion<K, V> {
  get(key: K): V | undefined
  has(key: K): boolean
  /**
   * Entries in key order: by number for numbers, by UTF-8 bytes for strings. Sees what was there at the call.
   * Errors: OPTION_INVALID when both `gt` and `gte`, or both `lt` and `lte`, are given.
   */
  range(bounds?: KeyRange<K>): AsyncIterable<readonly [key: K, value: V]>
  /** Entries whose key, as bytes, begins with the bytes of `prefix`. For string and bytes keys. */
  prefix(prefix: K, options?: PrefixOptions): AsyncIterable<readonly [key: K, value: V]>
}

/** See `KeyRange`. */
export type PrefixOptions = Pick<KeyRange<unknown>, 'reverse' | 'limit'>

export interface FetchOptions {
  /** From the last window to the first. Default false. */
  readonly reverse?: boolean
}

/** What a region of windows or sessions has beside. */
export interface WindowReads<K, V> {
  /**
   * The windows of a key that begin in this stretch of time, both ends included, in the order of time; of sessions, those
   * that have any of it.
   */
  fetch(
    key: K,
    fromMs: number,
    toMs: number,
    options?: FetchOptions,
  ): AsyncIterable<readonly [key: Windowed<K>, value: V]>
  /** The same of all keys, in the order of the region. Goes through all entries. */
  fetchAll(
    fromMs: number,
    toMs: number,
    options?: FetchOptions,
  ): AsyncIterable<readonly [key: Windowed<K>, value: V]>
}

export type WindowReadsOf<K, V> = K extends Windowed<infer I> ? WindowReads<I, V> : unknown

/** A partitioned region in an operator's hands. Writes are visible to the operators of this task at once, to all others after the commit. */
export interface WritableRegion<K, V> extends ReadableRegion<K, V> {
  /** Errors: RECORD_TOO_LARGE when the changelog topic would not take the entry. */
  put(key: K, value: V): void
  /** Puts unless there is a value; returns the value found, undefined when it has put. */
  putIfAbsent(key: K, value: V): V | undefined
  putAll(entries: Iterable<readonly [key: K, value: V]>): void
  delete(key: K): void
}

/** What operators of the library use beyond the public handle: entries carry the time of the record that wrote them. */
export interface TimedRegion<K, V> extends WritableRegion<K, V> {
  entry(key: K): { readonly value: V; readonly timestamp: number } | undefined
  putAt(key: K, value: V, timestamp: number): void
}

export interface FoundEntry<K = unknown, V = unknown> {
  readonly key: K
  readonly value: V
  readonly timestamp: number
}

/** A region whose entries stand in time, in the hands of the library's operators. See time-index.ts. */
export interface TimeOrderedRegion<K, V> extends TimedRegion<K, V> {
  /** What the operators that share the region remember. */
  readonly times: OperatorTimes
  /** What the entry under a key takes in the changelog, key included; 0: there is none. */
  bytesUnder(key: K): number
  /** An entry as it stands in the changelog. */
  encoded(key: K, value: V): { readonly key: Uint8Array; readonly value: Uint8Array }
  /** False: no entry has a time up to this one that `due` has not seen. */
  isDue(toMs: number): boolean
  /**
   * The entries later than `afterMs`, up to `toMs`, in the order of time; also those that retention hides. What is not
   * later than `afterMs` counts as seen.
   */
  due(afterMs: number, toMs: number): AsyncIterable<FoundEntry<K, V>>
  /**
   * The entries from one key to another, both included, of what the two keys have in common. A promise only when the
   * store has to be asked.
   */
  between(first: K, last: K): readonly FoundEntry<K, V>[] | Promise<readonly FoundEntry<K, V>[]>
}

export type RegionHandle<R> =
  R extends Region<string, infer K, infer V>
    ? WritableRegion<K, V> & WindowReadsOf<K, V>
    : R extends GlobalRegion<string, infer K, infer V>
      ? ReadableRegion<K, V>
      : never

/** Handles by region name, as an operator's context has them. */
export type RegionHandles<Regions extends readonly AnyRegion[]> = {
  readonly [R in Regions[number] as R['name']]: RegionHandle<R>
}
