/**
 * Keys that stand in time: of windows, of sessions, of whatever waits for its time under a key. An entry's key is some
 * bytes, then one or two times, then a number that tells entries of one key and time apart, where there may be several.
 *
 *   in the changelog  key, times, number         Kafka Streams' WindowKeySchema and SessionKeySchema
 *   ordered           key terminated, times, number   the entries of one key lie together, in the order of time
 *
 * Terminated: a zero byte in the key becomes 00 FF, and 00 00 ends it. So no key is the beginning of another, and the
 * order of keys stays.
 */
import type { Serde } from '../ports.ts'
import { readTime, TIME_BYTES, writeTime } from '../serde/time-bytes.ts'
import { sessionWindowed, Windowed, windowedSerde } from '../serde/windowed.ts'

/** How the keys of a region are made up. */
export interface TimedKeys {
  /** Bytes of the times; the first one is what entries are ordered by and expire by. */
  readonly timesBytes: number
  /** Bytes of the number. */
  readonly numberBytes: number
}

/** Of windows that have a size: key, start, number. */
export const WINDOW_KEYS: TimedKeys = { timesBytes: TIME_BYTES, numberBytes: 4 }

/** Of sessions: key, end, start. */
export const SESSION_KEYS: TimedKeys = { timesBytes: 2 * TIME_BYTES, numberBytes: 0 }

/** Of a window in the changelog of a window store, as Kafka Streams' WindowKeySchema has it. */
export function windowStoreKey<K>(key: Serde<K>, sizeMs: number): Serde<Windowed<K>> {
  const { timesBytes, numberBytes } = WINDOW_KEYS
  const serde = windowedSerde(`window(${key.kind}, ${sizeMs})`, key, timesBytes + numberBytes, {
    write: ({ windowStart }: Windowed<K>, into, at) => {
      writeTime(into, at, windowStart)
      into.writeUInt32BE(0, at + timesBytes)
    },
    read: (inner, bytes, at) => {
      const start = readTime(bytes, at)
      return new Windowed(inner, start, start + sizeMs)
    },
  })
  return { ...serde, ordered: orderedTimedKeys(WINDOW_KEYS, key.ordered) }
}

/** Of a session in the changelog of a session store, as Kafka Streams' SessionKeySchema has it. */
export function sessionStoreKey<K>(key: Serde<K>): Serde<Windowed<K>> {
  return { ...sessionWindowed(key), ordered: orderedTimedKeys(SESSION_KEYS, key.ordered) }
}

/** The ordered form of such keys, from that of what they begin with. */
export function orderedTimedKeys(
  { timesBytes, numberBytes }: TimedKeys,
  key: Serde<unknown>['ordered'],
): NonNullable<Serde<unknown>['ordered']> {
  const suffixBytes = timesBytes + numberBytes
  return {
    // A key of no bytes is none of these: see operator-times.ts.
    toOrdered(bytes) {
      if (bytes.length === 0) return bytes
      const end = bytes.length - suffixBytes
      const own = bytes.subarray(0, end)
      return terminated(key === undefined ? own : key.toOrdered(own), bytes.subarray(end))
    },
    fromOrdered(ordered) {
      if (ordered.length === 0) return ordered
      const end = ordered.length - suffixBytes
      const own = unterminated(ordered.subarray(0, end))
      return Buffer.concat([key === undefined ? own : key.fromOrdered(own), ordered.subarray(end)])
    },
  }
}

function terminated(key: Uint8Array, suffix: Uint8Array): Buffer {
  let zeros = 0
  for (let at = key.indexOf(0); at >= 0; at = key.indexOf(0, at + 1)) zeros += 1
  const bytes = Buffer.allocUnsafe(key.length + zeros + 2 + suffix.length)
  let end = key.length
  if (zeros === 0) bytes.set(key, 0)
  else {
    end = 0
    for (const byte of key) {
      bytes[end++] = byte
      if (byte === 0) bytes[end++] = 0xff
    }
  }
  bytes[end] = 0
  bytes[end + 1] = 0
  bytes.set(suffix, end + 2)
  return bytes
}

function unterminated(bytes: Uint8Array): Uint8Array {
  const end = bytes.length - 2
  if (bytes.subarray(0, end).indexOf(0) < 0) return bytes.subarray(0, end)
  const key = Buffer.allocUnsafe(end)
  let length = 0
  for (let at = 0; at < end; at++) {
    const byte = bytes[at] as number
    key[length++] = byte
    if (byte === 0) at += 1
  }
  return key.subarray(0, length)
}
