/**
 * Entries by key, in one growing buffer: many small entries take little more than their bytes, and are no work for the
 * garbage collector. The buffer is only ever appended to, so bytes that were given out stay as they are.
 *
 *   length of the rest (4), format (as in the store; 0: there is no entry), check (4), timestamp (6), value
 */
import { NO_ENTRY, readTimestamp, STORE_HEAD_BYTES, storeValueInto } from './layout.ts'
import { SortedIds } from './sorted-ids.ts'
import type { TimeOrder } from './time-order.ts'

const LENGTH_BYTES = 4
const FIRST_CAPACITY_BYTES = 1024
const NO_BYTES = new Uint8Array(0)

/** Where an entry stands; a later one of the same key stands elsewhere. */
export type Place = number

/** The bytes of a key's ordered form as latin1 text, whose order as text is the bytes' order. */
export function idOf(orderedKey: Uint8Array): string {
  return Buffer.from(orderedKey.buffer, orderedKey.byteOffset, orderedKey.byteLength).toString('latin1')
}

/** Keys are known by their ids. */
export class EntryTable {
  readonly #places = new Map<string, Place>()
  #bytes: Buffer = Buffer.allocUnsafeSlow(FIRST_CAPACITY_BYTES)
  #end = 0
  /** From when they are first asked for. */
  #byKey: SortedIds | undefined
  #byTime: SortedIds | undefined
  #timeOrder: TimeOrder | undefined

  /** Keys. */
  get size(): number {
    return this.#places.size
  }

  /** All appended so far, in bytes. */
  get appended(): number {
    return this.#end
  }

  /** The newest entry of each key, in the order in which the keys came. */
  get places(): Iterable<readonly [id: string, place: Place]> {
    return this.#places
  }

  /** The ids in order: what was asked for keeps up with what is written. */
  byKey(): SortedIds {
    this.#byKey ??= new SortedIds(this.#places.keys())
    return this.#byKey
  }

  /** The places in time of the entries; also of those that are elsewhere now, or not there any more. */
  byTime(order: TimeOrder): SortedIds {
    if (this.#byTime === undefined) {
      const places: string[] = []
      for (const [id, place] of this.#places) {
        const value = this.value(place)
        if (value !== null && id !== '') places.push(order.placeOf(id, value))
      }
      this.#byTime = new SortedIds(places)
      this.#timeOrder = order
    }
    return this.#byTime
  }

  place(id: string): Place | undefined {
    return this.#places.get(id)
  }

  /** In the form of the store; null: there is no entry under the key. Undefined: nothing is known of it here. */
  get(id: string): Buffer | null | undefined {
    const place = this.#places.get(id)
    return place === undefined ? undefined : this.stored(place)
  }

  stored(place: Place): Buffer | null {
    const from = place + LENGTH_BYTES
    if (this.#bytes[from] === NO_ENTRY) return null
    return this.#bytes.subarray(from, from + this.#bytes.readUInt32LE(place))
  }

  value(place: Place): Buffer | null {
    const from = place + LENGTH_BYTES
    if (this.#bytes[from] === NO_ENTRY) return null
    return this.#bytes.subarray(from + STORE_HEAD_BYTES, from + this.#bytes.readUInt32LE(place))
  }

  /** Also that of a deletion. */
  timestamp(place: Place): number {
    return readTimestamp(this.#bytes, place + LENGTH_BYTES)
  }

  /** A value of null: there is no entry any more, and `check` does not count. */
  set(id: string, check: number, timestamp: number, value: Uint8Array | null): void {
    const bytes = value ?? NO_BYTES
    const place = this.#append(STORE_HEAD_BYTES + bytes.length)
    storeValueInto(this.#bytes, place + LENGTH_BYTES, check, timestamp, bytes)
    if (value === null) this.#bytes[place + LENGTH_BYTES] = NO_ENTRY
    if (this.#byKey !== undefined && !this.#places.has(id)) this.#byKey.add(id)
    this.#addTime(id, value)
    this.#places.set(id, place)
  }

  /** An entry in the form of the store; null: there is none. */
  copy(id: string, stored: Uint8Array | null): void {
    if (stored === null) {
      this.set(id, 0, 0, null)
      return
    }
    const place = this.#append(stored.length)
    this.#bytes.set(stored, place + LENGTH_BYTES)
    this.#places.set(id, place)
  }

  /** Back to an earlier entry of the key, or to none. */
  reset(id: string, place: Place | undefined): void {
    if (place !== undefined) {
      this.#places.set(id, place)
      this.#addTime(id, this.value(place))
      return
    }
    this.#places.delete(id)
    this.#byKey?.delete(id)
  }

  #addTime(id: string, value: Uint8Array | null): void {
    if (this.#byTime === undefined || value === null || id === '') return
    this.#byTime.add((this.#timeOrder as TimeOrder).placeOf(id, value))
  }

  #append(length: number): Place {
    const place = this.#end
    this.#end += LENGTH_BYTES + length
    if (this.#end > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(this.#end, this.#bytes.length * 2))
      this.#bytes.copy(grown, 0, 0, place)
      this.#bytes = grown
    }
    this.#bytes.writeUInt32LE(length, place)
    return place
  }
}
