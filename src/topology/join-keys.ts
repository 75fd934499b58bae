/**
 * What a join of streams keeps.
 *
 *   records of a side   key, timestamp (8), number (4)         Kafka Streams' WindowKeySchema with duplicates
 *   those that wait     side (1), key, time (8), number (4)    value: side (1), the record's value
 *
 * The number tells records of one key and time apart, in the order in which they came. What waits stands under the time
 * at which its window ends, which differs by side; the right side (0) comes before the left one (1).
 */
import type { Codec, Serde } from '../ports.ts'
import { orderedTimedKeys, WINDOW_KEYS } from '../region/timed-keys.ts'
import { readTime, writeTime } from '../serde/time-bytes.ts'

export interface JoinKey<K = unknown> {
  readonly key: K
  readonly timestamp: number
  readonly number: number
}

export interface PendingKey<K = unknown> {
  readonly isLeft: boolean
  readonly key: K
  /** When nothing can come any more that it could be joined with, but for grace. */
  readonly windowEnd: number
  readonly number: number
}

export interface PendingValue {
  readonly isLeft: boolean
  readonly value: unknown
}

const { timesBytes, numberBytes } = WINDOW_KEYS
const SUFFIX_BYTES = timesBytes + numberBytes
export const NUMBER_MAX = 2 ** (8 * numberBytes) - 1
const LEFT = 1

export function joinKeys<K>(key: Serde<K>): Serde<JoinKey<K>> {
  return {
    kind: `joined(${key.kind})`,
    stableBytes: key.stableBytes,
    ordered: orderedTimedKeys(WINDOW_KEYS, key.ordered),
    open: async (context) => {
      const inner = await key.open(context)
      return {
        encode: ({ key: own, timestamp, number }) => suffixed([], inner.encode(own), timestamp, number),
        decode(bytes) {
          const end = bytes.length - SUFFIX_BYTES
          return { key: inner.decode(bytes.subarray(0, end)), ...suffixOf(bytes) }
        },
      }
    },
  }
}

export function pendingKeys<K>(key: Serde<K>): Serde<PendingKey<K>> {
  const own = key.ordered
  return {
    kind: `pending(${key.kind})`,
    stableBytes: key.stableBytes,
    ordered: orderedTimedKeys(
      WINDOW_KEYS,
      own && {
        toOrdered: (bytes) => Buffer.concat([bytes.subarray(0, 1), own.toOrdered(bytes.subarray(1))]),
        fromOrdered: (bytes) => Buffer.concat([bytes.subarray(0, 1), own.fromOrdered(bytes.subarray(1))]),
      },
    ),
    open: async (context) => {
      const inner = await key.open(context)
      return {
        encode: ({ isLeft, key: of, windowEnd, number }) =>
          suffixed([isLeft ? LEFT : 0], inner.encode(of), windowEnd, number),
        decode(bytes) {
          const { timestamp: windowEnd, number } = suffixOf(bytes)
          const end = bytes.length - SUFFIX_BYTES
          return { isLeft: bytes[0] === LEFT, key: inner.decode(bytes.subarray(1, end)), windowEnd, number }
        },
      }
    },
  }
}

export function pendingValues(left: Serde<unknown>, right: Serde<unknown>): Serde<PendingValue> {
  return {
    kind: `pending(${left.kind}, ${right.kind})`,
    stableBytes: false,
    open: async (context) => {
      const [ofLeft, ofRight] = await Promise.all([left.open(context), right.open(context)])
      const of = (isLeft: boolean): Codec<unknown> => (isLeft ? ofLeft : ofRight)
      const codec: Codec<PendingValue> = {
        encode: ({ isLeft, value }) =>
          Buffer.concat([Uint8Array.of(isLeft ? LEFT : 0), of(isLeft).encode(value)]),
        decode(bytes) {
          const isLeft = bytes[0] === LEFT
          return { isLeft, value: of(isLeft).decode(bytes.subarray(1)) }
        },
      }
      if (ofLeft.prepare === undefined && ofRight.prepare === undefined) return codec
      return { ...codec, prepare: (bytes) => of(bytes[0] === LEFT).prepare?.(bytes.subarray(1)) }
    },
  }
}

/** Of one that waits: the record that came. */
export function pendingRecord({ key, value }: { readonly key: Uint8Array; readonly value: Uint8Array }) {
  return { key: key.subarray(1, key.length - SUFFIX_BYTES), value: value.subarray(1) }
}

function suffixed(head: readonly number[], key: Uint8Array, time: number, number: number): Buffer {
  const bytes = Buffer.allocUnsafe(head.length + key.length + SUFFIX_BYTES)
  bytes.set(head, 0)
  bytes.set(key, head.length)
  writeTime(bytes, bytes.length - SUFFIX_BYTES, time)
  bytes.writeUInt32BE(number, bytes.length - numberBytes)
  return bytes
}

function suffixOf(bytes: Uint8Array): { timestamp: number; number: number } {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return {
    timestamp: readTime(bytes, bytes.length - SUFFIX_BYTES),
    number: buffer.readUInt32BE(bytes.length - numberBytes),
  }
}
