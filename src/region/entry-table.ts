/**
 * Entries by key, in one growing buffer: many small entries take little more than their bytes, and are no work for the
 * garbage collector. The buffer is only ever appended to, so bytes that were given out stay as they are.
 *
 *   length of what is stored (4), the key's hash (4), length of the key (4), key, then as in the store: format (0: there
 *   is no entry), check (4), timestamp (6), value; up to a whole word
 *
 * The newest entry of each key is found by the key's hash, in slots of two words: hash, place.
 */
import { asBuffer } from '../serde/utf8.ts'
import { NO_ENTRY, readTimestamp, STORE_HEAD_BYTES, storeValueInto } from './layout.ts'
import { SortedIds } from './sorted-ids.ts'
import type { TimeOrder } from './time-order.ts'

const WORD_BYTES = 4
const HEAD_WORDS = 3
const HEAD_BYTES = HEAD_WORDS * WORD_BYTES
const FIRST_CAPACITY_WORDS = 256
const FIRST_SLOTS = 16
const NO_BYTES = new Uint8Array(0)

/** Where an entry stands, in words; a later one of the same key stands elsewhere. Of slots: */
export type Place = number
const FREE = 0
const GONE = -1

/** A key in its ordered form. */
export interface EntryKey {
  readonly orderedKey: Uint8Array
  /** The same for all tables of a region: a signed number of 32 bits. */
  readonly hash: number
}

/** The bytes of a key's ordered form as latin1 text, whose order as text is the bytes' order. */
export function idOf(orderedKey: Uint8Array): string {
  return asBuffer(orderedKey).toString('latin1')
}

export class EntryTable {
  #bytes: Buffer = Buffer.allocUnsafeSlow(FIRST_CAPACITY_WORDS * WORD_BYTES)
  /** The same bytes. */
  #words = new Int32Array(this.#bytes.buffer)
  /** In words: nothing stands at 0, which is FREE. */
  #end = 1
  #slots = new Int32Array(2 * FIRST_SLOTS)
  /** With those that are gone. */
  #used = 0
  #size = 0
  /** From when they are first asked for. */
  #byKey: SortedIds | undefined
  #byTime: SortedIds | undefined
  #timeOrder: TimeOrder | undefined

  /** Keys. */
  get size(): number {
    return this.#size
  }

  /** All appended so far, in bytes. */
  get appended(): number {
    return (this.#end - 1) * WORD_BYTES
  }

  /** The newest entry of each key, in the order in which they came. Nothing may be written meanwhile. */
  forEach(visit: (place: Place) => void): void {
    const words = this.#words
    for (let place = 1; place < this.#end; ) {
      if (this.#slots[this.#slotAt(words[place + 1] as number, place) + 1] === place) visit(place)
      place += entryWords(words[place] as number, words[place + 2] as number)
    }
  }

  /** The ids in order: what was asked for keeps up with what is written. */
  byKey(): SortedIds {
    if (this.#byKey === undefined) {
      const ids: string[] = []
      this.forEach((place) => {
        ids.push(this.id(place))
      })
      this.#byKey = new SortedIds(ids)
    }
    return this.#byKey
  }

  /** The places in time of the entries; also of those that are elsewhere now, or not there any more. */
  byTime(order: TimeOrder): SortedIds {
    if (this.#byTime === undefined) {
      const times: string[] = []
      this.forEach((place) => {
        const value = this.value(place)
        const id = this.id(place)
        if (value !== null && id !== '') times.push(order.placeOf(id, value))
      })
      this.#byTime = new SortedIds(times)
      this.#timeOrder = order
    }
    return this.#byTime
  }

  place(key: EntryKey): Place | undefined {
    const place = this.#slots[this.#slotOf(key) + 1] as Place
    return place === FREE ? undefined : place
  }

  /** In the form of the store; null: there is no entry under the key. Undefined: nothing is known of it here. */
  get(key: EntryKey): Buffer | null | undefined {
    const place = this.#slots[this.#slotOf(key) + 1] as Place
    return place === FREE ? undefined : this.stored(place)
  }

  /** The key's ordered form. */
  key(place: Place): Buffer {
    const from = place * WORD_BYTES + HEAD_BYTES
    return this.#bytes.subarray(from, from + (this.#words[place + 2] as number))
  }

  /** Behind these bytes, in a buffer of its own. */
  keyBehind(prefix: Uint8Array, place: Place): Buffer {
    const from = place * WORD_BYTES + HEAD_BYTES
    const length = this.#words[place + 2] as number
    const bytes = Buffer.allocUnsafe(prefix.length + length)
    bytes.set(prefix, 0)
    this.#bytes.copy(bytes, prefix.length, from, from + length)
    return bytes
  }

  id(place: Place): string {
    const from = place * WORD_BYTES + HEAD_BYTES
    return this.#bytes.toString('latin1', from, from + (this.#words[place + 2] as number))
  }

  stored(place: Place): Buffer | null {
    const from = this.#storedAt(place)
    if (this.#bytes[from] === NO_ENTRY) return null
    return this.#bytes.subarray(from, from + (this.#words[place] as number))
  }

  value(place: Place): Buffer | null {
    const from = this.#storedAt(place)
    if (this.#bytes[from] === NO_ENTRY) return null
    return this.#bytes.subarray(from + STORE_HEAD_BYTES, from + (this.#words[place] as number))
  }

  /** Also that of a deletion. */
  timestamp(place: Place): number {
    return readTimestamp(this.#bytes, this.#storedAt(place))
  }

  /** A value of null: there is no entry any more, and `check` does not count. */
  set(key: EntryKey, check: number, timestamp: number, value: Uint8Array | null): void {
    const bytes = value ?? NO_BYTES
    const place = this.#append(key, STORE_HEAD_BYTES + bytes.length)
    const at = this.#storedAt(place)
    storeValueInto(this.#bytes, at, check, timestamp, bytes)
    if (value === null) this.#bytes[at] = NO_ENTRY
    this.#put(key, place)
    if (this.#byTime !== undefined && value !== null) this.#addTime(this.id(place), value)
  }

  /** An entry in the form of the store; null: there is none. */
  copy(key: EntryKey, stored: Uint8Array | null): void {
    if (stored === null) {
      this.set(key, 0, 0, null)
      return
    }
    const place = this.#append(key, stored.length)
    this.#bytes.set(stored, this.#storedAt(place))
    this.#put(key, place)
  }

  /** Back to an earlier entry of the key, or to none. */
  reset(key: EntryKey, place: Place | undefined): void {
    const slot = this.#slotOf(key)
    if (this.#slots[slot + 1] === FREE) return
    if (place !== undefined) {
      this.#slots[slot + 1] = place
      const value = this.value(place)
      if (this.#byTime !== undefined && value !== null) this.#addTime(this.id(place), value)
      return
    }
    this.#slots[slot + 1] = GONE
    this.#size -= 1
    this.#byKey?.delete(idOf(key.orderedKey))
  }

  #addTime(id: string, value: Uint8Array): void {
    if (id === '') return
    this.#byTime?.add((this.#timeOrder as TimeOrder).placeOf(id, value))
  }

  #storedAt(place: Place): number {
    return place * WORD_BYTES + HEAD_BYTES + (this.#words[place + 2] as number)
  }

  /** The slot of a key, or the free one where it would be. */
  #slotOf({ orderedKey, hash }: EntryKey): number {
    const slots = this.#slots
    const last = slots.length - 2
    for (let slot = firstSlot(hash, last); ; slot = (slot + 2) & last) {
      const place = slots[slot + 1] as Place
      if (place === FREE) return slot
      if (slots[slot] === hash && place !== GONE && this.#isUnder(orderedKey, place)) return slot
    }
  }

  /** The slot of a place, or the free one behind those that it would be in. */
  #slotAt(hash: number, place: Place): number {
    const slots = this.#slots
    const last = slots.length - 2
    let slot = firstSlot(hash, last)
    while (slots[slot + 1] !== FREE && slots[slot + 1] !== place) slot = (slot + 2) & last
    return slot
  }

  #isUnder(orderedKey: Uint8Array, place: Place): boolean {
    const { length } = orderedKey
    if (this.#words[place + 2] !== length) return false
    const bytes = this.#bytes
    const from = place * WORD_BYTES + HEAD_BYTES
    for (let i = 0; i < length; i++) if (bytes[from + i] !== orderedKey[i]) return false
    return true
  }

  #put(key: EntryKey, place: Place): void {
    const slot = this.#slotOf(key)
    const isNew = this.#slots[slot + 1] === FREE
    this.#slots[slot + 1] = place
    if (!isNew) return
    this.#slots[slot] = key.hash
    this.#size += 1
    this.#used += 1
    this.#byKey?.add(this.id(place))
    // At most half full.
    if (4 * this.#used > this.#slots.length) this.#makeSlots()
  }

  #makeSlots(): void {
    const before = this.#slots
    this.#slots = new Int32Array(Math.max(2 * FIRST_SLOTS, powerOfTwo(8 * this.#size)))
    this.#used = this.#size
    for (let slot = 0; slot < before.length; slot += 2) {
      const place = before[slot + 1] as Place
      if (place === FREE || place === GONE) continue
      const hash = before[slot] as number
      const into = this.#slotAt(hash, place)
      this.#slots[into] = hash
      this.#slots[into + 1] = place
    }
  }

  /** Room for an entry with so many bytes as in the store; its key is there. */
  #append({ orderedKey, hash }: EntryKey, storedBytes: number): Place {
    const place = this.#end
    const { length } = orderedKey
    const end = place + entryWords(storedBytes, length)
    if (end > this.#words.length) this.#grow(end)
    this.#end = end
    const words = this.#words
    words[place] = storedBytes
    words[place + 1] = hash
    words[place + 2] = length
    this.#bytes.set(orderedKey, place * WORD_BYTES + HEAD_BYTES)
    return place
  }

  #grow(words: number): void {
    const grown = Buffer.allocUnsafeSlow(WORD_BYTES * Math.max(words, this.#words.length * 2))
    this.#bytes.copy(grown, 0, 0, this.#end * WORD_BYTES)
    this.#bytes = grown
    this.#words = new Int32Array(grown.buffer)
  }
}

function entryWords(storedBytes: number, keyBytes: number): number {
  return HEAD_WORDS + ((storedBytes + keyBytes + WORD_BYTES - 1) >>> 2)
}

/** `last`: the last slot there is. */
function firstSlot(hash: number, last: number): number {
  return (Math.imul(hash ^ (hash >>> 15), 0x85ebca6b) >>> 7) & last
}

function powerOfTwo(atLeast: number): number {
  return 2 ** Math.ceil(Math.log2(atLeast))
}
