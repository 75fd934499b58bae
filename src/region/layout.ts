/**
 * How entries lie in a store.
 *
 *   key    0x01, length of the region's name, name, the entry's key in its ordered form
 *   value  format (1), timestamp (6 bytes, signed, milliseconds), the entry's value as in the changelog
 *   0x00   one entry: what the store as a whole is at (its meta)
 */
import { DruseError } from '../errors.ts'

export const META_KEY: Uint8Array = Uint8Array.of(0)

const ENTRIES = 1
const FORMAT = 1
/** Where the format stands, and only in memory: there is no entry. */
export const NO_ENTRY = 0
/** Of a value, in front of the entry's own bytes. */
export const STORE_HEAD_BYTES = 7
const TIMESTAMP_MAX = 2 ** 47 - 1
const TIMESTAMP_MIN = -(2 ** 47)

/** What every store key of a region begins with. */
export function regionPrefix(name: string): Buffer {
  const bytes = Buffer.from(name, 'utf8')
  return Buffer.concat([Buffer.of(ENTRIES, bytes.length), bytes])
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

export function storeValue(timestamp: number, value: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(STORE_HEAD_BYTES + value.length)
  storeValueInto(bytes, 0, timestamp, value)
  return bytes
}

/** Needs `STORE_HEAD_BYTES` more than the value has. */
export function storeValueInto(into: Buffer, at: number, timestamp: number, value: Uint8Array): void {
  into[at] = FORMAT
  into.writeIntBE(storable(timestamp), at + 1, 6)
  into.set(value, at + STORE_HEAD_BYTES)
}

export function readTimestamp(bytes: Buffer, at: number): number {
  return bytes.readIntBE(at + 1, 6)
}

export function readStoreValue(bytes: Uint8Array): { readonly timestamp: number; readonly value: Buffer } {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (buffer[0] !== FORMAT || buffer.length < STORE_HEAD_BYTES) {
    throw new DruseError('STORE_CORRUPT', `An entry has format ${buffer[0]}, known is ${FORMAT}`)
  }
  return { timestamp: readTimestamp(buffer, 0), value: buffer.subarray(STORE_HEAD_BYTES) }
}
