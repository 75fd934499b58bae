/** Between typed keys and values and their bytes, for one region. */
import { DruseError } from '../errors.ts'
import type { Codec, Serde, Store, Write } from '../ports.ts'
import { Windowed } from '../serde/windowed.ts'
import { hashOf } from './check.ts'
import type { FetchOptions, KeyRange, PrefixOptions, TimedEntries } from './definition.ts'
import {
  afterPrefix,
  entryHash,
  isWhole,
  placesPrefix,
  regionPrefix,
  storeKey,
  storeValue,
} from './layout.ts'
import type { ByteRange } from './range.ts'
import { SESSION_KEYS } from './timed-keys.ts'

/** A record of a changelog, or of a replicated region's topic. */
export interface TopicEntry {
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly timestamp: number
}

const identity = (bytes: Uint8Array): Uint8Array => bytes

export class TypedEntries<K, V> {
  readonly name: string
  readonly prefix: Uint8Array
  /** The first store key after the region's. */
  readonly end: Uint8Array
  readonly value: Codec<V>
  readonly #prefixHash: number
  readonly #key: Codec<K>
  readonly toOrdered: (bytes: Uint8Array) => Uint8Array
  readonly fromOrdered: (bytes: Uint8Array) => Uint8Array
  /** Of a key in topics, what chooses its partition. */
  readonly partitionBytes: (bytes: Uint8Array) => Uint8Array
  /** Set: keys stand in time, and the one of no bytes is not an entry's: see operator-times.ts. */
  readonly timed: TimedEntries | undefined
  /** What their places in time begin with. */
  readonly places: Uint8Array | undefined

  constructor(name: string, serde: Serde<K>, key: Codec<K>, value: Codec<V>, timed?: TimedEntries) {
    this.name = name
    this.prefix = regionPrefix(name)
    this.end = afterPrefix(this.prefix) as Uint8Array
    this.value = value
    this.#prefixHash = hashOf(this.prefix)
    this.#key = key
    this.toOrdered = serde.ordered?.toOrdered ?? identity
    this.fromOrdered = serde.ordered?.fromOrdered ?? identity
    this.partitionBytes = serde.partitionBytes ?? identity
    this.timed = timed
    this.places = timed && placesPrefix(name)
  }

  /** As in topics. */
  encodeKey(key: K): Uint8Array {
    return this.#key.encode(key)
  }

  storeKey(ordered: Uint8Array): Uint8Array {
    return storeKey(this.prefix, ordered)
  }

  /** A record of the region's topic as a write of its store; undefined without a key, which no entry has. */
  write({ key, value, timestamp }: TopicEntry): Write | undefined {
    if (key === null) return undefined
    const ordered = this.toOrdered(key)
    return [
      this.storeKey(ordered),
      value === null ? null : storeValue(this.keyHash(ordered), timestamp, value),
    ]
  }

  /** Makes the value of a record of the region's topic ready to be decoded; undefined: it is. */
  prepare({ key, value }: TopicEntry): Promise<void> | undefined {
    if (value === null || (this.timed !== undefined && key?.length === 0)) return undefined
    return this.value.prepare?.(value)
  }

  /** What an entry's check begins with. */
  keyHash(orderedKey: Uint8Array): number {
    return entryHash(this.#prefixHash, orderedKey)
  }

  /** As `assertWhole`, by the key in the store. Errors: STORE_CORRUPT. */
  assertStored(store: Store, key: Uint8Array, stored: Uint8Array): void {
    this.assertWhole(store, this.keyHash(key.subarray(this.prefix.length)), stored)
  }

  /** What a store has answered is what was written under the key. Errors: STORE_CORRUPT. */
  assertWhole(store: Store, keyHash: number, stored: Uint8Array): void {
    if (isWhole(keyHash, stored)) return
    store.distrust()
    throw new DruseError(
      'STORE_CORRUPT',
      `An entry of region '${this.name}' is not what was written: its disk or its files are damaged. Nothing is lost: start anew, and the directory is moved aside and rebuilt from the changelog`,
      { region: this.name },
    )
  }

  decodeStoreKey(bytes: Uint8Array): K {
    return this.decodeOrdered(bytes.subarray(this.prefix.length))
  }

  decodeOrdered(ordered: Uint8Array): K {
    return this.#key.decode(this.fromOrdered(ordered))
  }

  /** Of an entry of a task's own state: that it cannot be read is no fault of the record that asks. Errors: STATE_UNREADABLE. */
  decodeState(value: Uint8Array): V {
    try {
      return this.value.decode(value)
    } catch (cause) {
      throw new DruseError(
        'STATE_UNREADABLE',
        `An entry of region '${this.name}' cannot be decoded: ${String(cause)}. Either its serde has changed, or the state directory has lost its schema-cache.json: delete the directory, and state is rebuilt from the changelog`,
        { region: this.name, cause },
      )
    }
  }

  /** Errors: OPTION_INVALID. */
  byteRange({ gt, gte, lt, lte, reverse = false, limit = Number.POSITIVE_INFINITY }: KeyRange<K>): ByteRange {
    this.#checkOne('gt', gt, 'gte', gte)
    this.#checkOne('lt', lt, 'lte', lte)
    const from = gte ?? gt
    const to = lte ?? lt
    return {
      from: from === undefined ? this.#first : this.toOrdered(this.encodeKey(from)),
      fromInclusive: gt === undefined,
      to: to === undefined ? undefined : this.toOrdered(this.encodeKey(to)),
      toInclusive: lte !== undefined,
      reverse,
      limit,
    }
  }

  /** The key of no bytes is left out, where it is not an entry's. */
  get #first(): Uint8Array | undefined {
    return this.timed && Uint8Array.of(0)
  }

  #checkOne(one: string, bound: K | undefined, other: string, otherBound: K | undefined): void {
    if (bound === undefined || otherBound === undefined) return
    throw new DruseError(
      'OPTION_INVALID',
      `A range of region '${this.name}' was asked for with ${one} and ${other}: give one of them`,
      { region: this.name },
    )
  }

  /** Where the windows of a key that begin in a stretch of time lie; of sessions, those that end in it or later. */
  windowRange(key: unknown, fromMs: number, toMs: number, { reverse = false }: FetchOptions = {}): ByteRange {
    // Keys of several windows lie in between those of one.
    if (this.timed === undefined) return this.byteRange({ reverse })
    const lastMs = this.isOfSessions ? Number.MAX_SAFE_INTEGER : toMs
    const first = new Windowed(key, this.isOfSessions ? 0 : Math.max(0, fromMs), Math.max(0, fromMs))
    return this.byteRange({ gte: first as K, lte: new Windowed(key, lastMs, lastMs) as K, reverse })
  }

  /** Of these entries, the windows that begin in a stretch of time; of sessions, those that have any of it. */
  async *inTime(
    entries: AsyncIterable<readonly [key: K, value: V]>,
    fromMs: number,
    toMs: number,
  ): AsyncGenerator<readonly [key: K, value: V]> {
    for await (const entry of entries) {
      const { windowStart, windowEnd } = entry[0] as Windowed
      const lastMs = this.isOfSessions ? windowEnd : windowStart
      if (windowStart <= toMs && lastMs >= fromMs) yield entry
    }
  }

  /** The same of one key, of what lies in its `windowRange`. */
  async *windowsOf(
    key: unknown,
    entries: AsyncIterable<readonly [key: K, value: V]>,
    fromMs: number,
    toMs: number,
  ): AsyncGenerator<readonly [key: K, value: V]> {
    for await (const entry of this.inTime(entries, fromMs, toMs)) {
      if (this.timed !== undefined) yield entry
      else {
        const { windowStart, windowEnd } = entry[0] as Windowed
        const own = this.encodeKey(new Windowed(key, windowStart, windowEnd) as K)
        if (Buffer.compare(own, this.encodeKey(entry[0])) === 0) yield entry
      }
    }
  }

  get isOfSessions(): boolean {
    return this.timed?.order.keys === SESSION_KEYS
  }

  prefixRange(
    prefix: K,
    { reverse = false, limit = Number.POSITIVE_INFINITY }: PrefixOptions = {},
  ): ByteRange {
    const from = this.toOrdered(this.encodeKey(prefix))
    return {
      from,
      fromInclusive: true,
      to: afterPrefix(from),
      toInclusive: false,
      reverse,
      limit,
    }
  }
}
