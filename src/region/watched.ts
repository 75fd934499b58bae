/** A region whose writes are told to somebody, each as it takes effect. */
import type { FoundEntry, KeyRange, PrefixOptions, TimeOrderedRegion, WindowReads } from './definition.ts'
import type { OperatorTimes } from './operator-times.ts'

/** An entry as read back from the region: what an operator does to an object later does not change it. */
type Entry<V> = { readonly value: V; readonly timestamp: number } | undefined

export type Watcher<K, V> = (key: K, after: Entry<V>, before: Entry<V>) => void

export class WatchedRegion<K = unknown, V = unknown> implements TimeOrderedRegion<K, V> {
  readonly #region: TimeOrderedRegion<K, V>
  readonly #watcher: Watcher<K, V>

  constructor(region: TimeOrderedRegion<K, V>, watcher: Watcher<K, V>) {
    this.#region = region
    this.#watcher = watcher
  }

  put(key: K, value: V): void {
    this.#write(key, () => this.#region.put(key, value))
  }

  putAt(key: K, value: V, timestamp: number): void {
    this.#write(key, () => this.#region.putAt(key, value, timestamp))
  }

  putIfAbsent(key: K, value: V): V | undefined {
    const found = this.get(key)
    if (found === undefined) this.put(key, value)
    return found
  }

  putAll(entries: Iterable<readonly [key: K, value: V]>): void {
    for (const [key, value] of entries) this.put(key, value)
  }

  delete(key: K): void {
    this.#write(key, () => this.#region.delete(key))
  }

  get(key: K): V | undefined {
    return this.#region.get(key)
  }

  has(key: K): boolean {
    return this.#region.has(key)
  }

  entry(key: K): Entry<V> {
    return this.#region.entry(key)
  }

  range(bounds?: KeyRange<K>): AsyncIterable<readonly [key: K, value: V]> {
    return this.#region.range(bounds)
  }

  prefix(prefix: K, options?: PrefixOptions): AsyncIterable<readonly [key: K, value: V]> {
    return this.#region.prefix(prefix, options)
  }

  /** Only of a region of windows. */
  fetch(...of: Parameters<WindowReads<unknown, V>['fetch']>): ReturnType<WindowReads<unknown, V>['fetch']> {
    return (this.#region as unknown as WindowReads<unknown, V>).fetch(...of)
  }

  fetchAll(
    ...of: Parameters<WindowReads<unknown, V>['fetchAll']>
  ): ReturnType<WindowReads<unknown, V>['fetchAll']> {
    return (this.#region as unknown as WindowReads<unknown, V>).fetchAll(...of)
  }

  get times(): OperatorTimes {
    return this.#region.times
  }

  bytesUnder(key: K): number {
    return this.#region.bytesUnder(key)
  }

  encoded(key: K, value: V): { readonly key: Uint8Array; readonly value: Uint8Array } {
    return this.#region.encoded(key, value)
  }

  isDue(toMs: number): boolean {
    return this.#region.isDue(toMs)
  }

  due(afterMs: number, toMs: number): AsyncIterable<FoundEntry<K, V>> {
    return this.#region.due(afterMs, toMs)
  }

  between(first: K, last: K): readonly FoundEntry<K, V>[] | Promise<readonly FoundEntry<K, V>[]> {
    return this.#region.between(first, last)
  }

  #write(key: K, write: () => void): void {
    const before = this.#region.entry(key)
    write()
    // Of a region of windows, what comes too late has no effect.
    this.#watcher(key, this.#region.entry(key), before)
  }
}
