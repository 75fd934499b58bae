/**
 * How entries lie in a store.
 *
 *   key    0x01, length of the region's name, name, the entry's key in its ordered form
 *   value  format (2), check (4 bytes), timestamp (6 bytes, signed, milliseconds), the entry's value as in the changelog
 *   0x00…  statements: what the store as a whole is at (its meta), and where regions stand
 *   value  format (2), check (4 bytes), JSON
 *   0x02…  length of the region's name, name, an entry's place in time: see time-order.ts
 */
import { DruseError } from '../errors.ts'
import type { Write } from '../ports.ts'
import { asBuffer } from '../serde/utf8.ts'
import { checkOf, hashOf } from './check.ts'

export const META_KEY: Uint8Array = Uint8Array.of(0)

const ENTRIES = 1
const PLACES = 2
const FORMAT = 2
/** Where the format stands, and only in memory: there is no entry. */
export const NO_ENTRY = 0
/** Of a value, in front of the entry's own bytes. */
export const STORE_HEAD_BYTES = 11
const CHECK_AT = 1
const TIMESTAMP_AT = 5
const TIMESTAMP_MAX = 2 ** 47 - 1
const TIMESTAMP_MIN = -(2 ** 47)

/** What every store key of a region begins with. */
export function regionPrefix(name: string): Buffer {
  return prefixOf(ENTRIES, name)
}

/** What the places in time of its entries begin with. */
export function placesPrefix(name: string): Buffer {
  return prefixOf(PLACES, name)
}

function prefixOf(space: number, name: string): Buffer {
  const bytes = Buffer.from(name, 'utf8')
  return Buffer.concat([Buffer.of(space, bytes.length), bytes])
}

export function storeKey(prefix: Uint8Array, key: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(prefix.length + key.length)
  bytes.set(prefix, 0)
  bytes.set(key, prefix.length)
  return bytes
}

/** The first key after all that begin with these bytes; undefined when there is none. */
export function afterPrefix(prefix: Uint8Array): Buffer | undefined {
  for (let end = prefix.length; end > 0; end--) {
    const last = prefix[end - 1] as number
    if (last < 0xff) {
      const bytes = Buffer.from(prefix.subarray(0, end))
      bytes[end - 1] = last + 1
      return bytes
    }
  }
  return undefined
}

/** Whether an entry can carry it: milliseconds since 1970, until the year 6429. Microseconds are none. */
export function isTimestamp(ms: number): boolean {
  return Number.isInteger(ms) && ms >= 0 && ms <= TIMESTAMP_MAX
}

/** The nearest time that an entry can carry. Topics that others write may hold any. */
export function storable(timestamp: number): number {
  return Math.max(TIMESTAMP_MIN, Math.min(TIMESTAMP_MAX, timestamp))
}

/** `keyHash`: see `entryHash`. */
export function storeValue(keyHash: number, timestamp: number, value: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(STORE_HEAD_BYTES + value.length)
  storeValueInto(bytes, 0, entryCheck(keyHash, timestamp, value), timestamp, value)
  return bytes
}

/** Needs `STORE_HEAD_BYTES` more than the value has. */
export function storeValueInto(
  into: Buffer,
  at: number,
  check: number,
  timestamp: number,
  value: Uint8Array,
): void {
  into[at] = FORMAT
  into.writeUInt32LE(check, at + CHECK_AT)
  into.writeIntBE(storable(timestamp), at + TIMESTAMP_AT, 6)
  into.set(value, at + STORE_HEAD_BYTES)
}

/** What the check of an entry begins with: the region's prefix, then its key. */
export function entryHash(prefixHash: number, orderedKey: Uint8Array): number {
  return hashOf(orderedKey, prefixHash)
}

export function entryCheck(keyHash: number, timestamp: number, value: Uint8Array): number {
  return checkOf(keyHash, storable(timestamp), value)
}

export function readTimestamp(bytes: Buffer, at: number): number {
  return bytes.readIntBE(at + TIMESTAMP_AT, 6)
}

/** The check that an entry carries. */
export function readCheck(bytes: Uint8Array): number {
  return asBuffer(bytes).readUInt32LE(CHECK_AT)
}

/** Of an entry that is known to be whole. */
export function readStoreValue(bytes: Uint8Array): { readonly timestamp: number; readonly value: Buffer } {
  const buffer = asBuffer(bytes)
  return { timestamp: readTimestamp(buffer, 0), value: buffer.subarray(STORE_HEAD_BYTES) }
}

/** Whether an entry read from a store is one that was written under this key. */
export function isWhole(keyHash: number, bytes: Uint8Array): boolean {
  if (bytes[0] !== FORMAT || bytes.length < STORE_HEAD_BYTES) return false
  const { timestamp, value } = readStoreValue(bytes)
  return checkOf(keyHash, timestamp, value) === readCheck(bytes)
}

export function statementWrite(key: Uint8Array, statement: object): Write {
  const text = Buffer.from(JSON.stringify(statement), 'utf8')
  const head = Buffer.alloc(TIMESTAMP_AT)
  head[0] = FORMAT
  head.writeUInt32LE(checkOf(hashOf(key), 0, text), CHECK_AT)
  return [key, Buffer.concat([head, text])]
}

/** Errors: STORE_CORRUPT. */
export function readStatement<T extends object>(key: Uint8Array, bytes: Uint8Array): T {
  const buffer = asBuffer(bytes)
  const text = buffer.subarray(TIMESTAMP_AT)
  if (
    buffer[0] !== FORMAT ||
    buffer.length < TIMESTAMP_AT ||
    readCheck(buffer) !== checkOf(hashOf(key), 0, text)
  ) {
    // Before there were checks, it began with its JSON.
    const what = buffer[0] === 0x7b ? 'was written by an earlier version of Druse' : 'is not what was written'
    throw new DruseError('STORE_CORRUPT', `What a store says of itself ${what}`)
  }
  return JSON.parse(text.toString('utf8')) as T
}
