/** A replicated region: operators and queries read what this process has loaded. */
import type { Store } from '../ports.ts'
import type { FetchOptions, KeyRange, PrefixOptions, ReadableRegion } from './definition.ts'
import { idOf } from './entry-table.ts'
import { readStoreValue } from './layout.ts'
import { NEWEST_SLOT, OperatorTimes } from './operator-times.ts'
import { type ByteRange, readRange } from './range.ts'
import { isOver } from './time-index.ts'
import type { TypedEntries } from './typed.ts'

export class RegionReplica<K = unknown, V = unknown> implements ReadableRegion<K, V> {
  readonly name: string
  readonly #entries: TypedEntries<K, V>
  readonly #store: Store

  constructor(entries: TypedEntries<K, V>, store: Store) {
    this.name = entries.name
    this.#entries = entries
    this.#store = store
  }

  get(key: K): V | undefined {
    const stored = this.#stored(key)
    return stored === undefined ? undefined : this.#entries.value.decode(readStoreValue(stored).value)
  }

  has(key: K): boolean {
    return this.#stored(key) !== undefined
  }

  range(bounds: KeyRange<K> = {}): AsyncIterable<readonly [key: K, value: V]> {
    return this.#read(this.#entries.byteRange(bounds))
  }

  prefix(prefix: K, options?: PrefixOptions): AsyncIterable<readonly [key: K, value: V]> {
    return this.#read(this.#entries.prefixRange(prefix, options))
  }

  /** See `WindowReads`. */
  fetch(
    key: unknown,
    fromMs: number,
    toMs: number,
    options?: FetchOptions,
  ): AsyncIterable<readonly [key: K, value: V]> {
    const found = this.#read(this.#entries.windowRange(key, fromMs, toMs, options))
    return this.#entries.windowsOf(key, found, fromMs, toMs)
  }

  fetchAll(
    fromMs: number,
    toMs: number,
    options: FetchOptions = {},
  ): AsyncIterable<readonly [key: K, value: V]> {
    return this.#entries.inTime(this.range(options), fromMs, toMs)
  }

  #stored(key: K): Uint8Array | undefined {
    const ordered = this.#entries.toOrdered(this.#entries.encodeKey(key))
    if (this.#isOver?.(idOf(ordered))) return undefined
    const stored = this.#store.getSync(this.#entries.storeKey(ordered))
    if (stored !== undefined) this.#entries.assertWhole(this.#store, this.#entries.keyHash(ordered), stored)
    return stored
  }

  #read(range: ByteRange): AsyncIterable<readonly [key: K, value: V]> {
    return this.#decode(readRange(this.#store, this.#entries, [], range, this.#isOver))
  }

  /** What its part hides: the changelog does not say it. */
  get #isOver(): ((id: string) => boolean) | undefined {
    const { timed, prefix } = this.#entries
    if (timed === undefined) return undefined
    const stored = this.#store.getSync(prefix)
    const newestMs = new OperatorTimes(stored && readStoreValue(stored).value).at(NEWEST_SLOT)
    return (id) => isOver(timed, id, newestMs)
  }

  async *#decode(
    entries: AsyncIterable<{ storeKey: Uint8Array; value: Uint8Array }>,
  ): AsyncGenerator<readonly [K, V]> {
    for await (const { storeKey, value } of entries) {
      yield [this.#entries.decodeStoreKey(storeKey), this.#entries.value.decode(value)]
    }
  }
}
