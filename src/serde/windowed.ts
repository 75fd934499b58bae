/** Keys of windows, in the bytes of Kafka Streams' TimeWindowedSerializer and SessionWindowedSerializer. */
import { DruseError } from '../errors.ts'
import type { Codec, Serde } from '../ports.ts'
import { decodeFailed } from './failure.ts'
import { readTime, TIME_BYTES, writeTime } from './time-bytes.ts'

/** A key and the window that it is seen in. Times are milliseconds since 1970. */
export class Windowed<K = unknown> {
  readonly key: K
  readonly windowStart: number
  /** The window's own for tumbling and hopping windows ends before it; sliding windows and sessions hold it. */
  readonly windowEnd: number

  constructor(key: K, windowStart: number, windowEnd: number) {
    this.key = key
    this.windowStart = windowStart
    this.windowEnd = windowEnd
  }
}

/**
 * Keys of windows of one size: the key's own bytes, then the window's start in 8 bytes. The size is not in the bytes,
 * so the reader has to know it: for sliding windows it is the time difference. Sinks choose the partition by the key's
 * own bytes, as Kafka Streams does.
 */
export function timeWindowed<K>(key: Serde<K>, { sizeMs }: { readonly sizeMs: number }): Serde<Windowed<K>> {
  if (!Number.isSafeInteger(sizeMs) || sizeMs < 0) {
    throw new DruseError(
      'OPTION_INVALID',
      `timeWindowed: sizeMs is ${sizeMs}, a whole number from 0 is needed`,
    )
  }
  return windowedSerde(`windowed(${key.kind}, ${sizeMs})`, key, TIME_BYTES, {
    write: ({ windowStart }, into, at) => writeTime(into, at, windowStart),
    read: (inner, bytes, at) => {
      const start = readTime(bytes, at)
      return new Windowed(inner, start, start + sizeMs)
    },
  })
}

/** Keys of sessions: the key's own bytes, then the session's end and its start in 8 bytes each. */
export function sessionWindowed<K>(key: Serde<K>): Serde<Windowed<K>> {
  return windowedSerde(`session(${key.kind})`, key, 2 * TIME_BYTES, {
    write: ({ windowStart, windowEnd }, into, at) => {
      writeTime(into, at, windowEnd)
      writeTime(into, at + TIME_BYTES, windowStart)
    },
    read: (inner, bytes, at) => new Windowed(inner, readTime(bytes, at + TIME_BYTES), readTime(bytes, at)),
  })
}

/** What stands behind the key's own bytes. */
interface Suffix<K> {
  write(windowed: Windowed<K>, into: Buffer, at: number): void
  read(key: K, bytes: Uint8Array, at: number): Windowed<K>
}

/** @internal */
export function windowedSerde<K>(
  kind: string,
  key: Serde<K>,
  suffixBytes: number,
  suffix: Suffix<K>,
): Serde<Windowed<K>> {
  const own = (bytes: Uint8Array): Uint8Array => bytes.subarray(0, bytes.length - suffixBytes)
  return {
    kind,
    stableBytes: key.stableBytes,
    partitionBytes: own,
    open: async (context) => {
      const inner = await key.open(context)
      const codec: Codec<Windowed<K>> = {
        encode(windowed) {
          const bytes = inner.encode(windowed.key)
          const whole = Buffer.allocUnsafe(bytes.length + suffixBytes)
          whole.set(bytes, 0)
          suffix.write(windowed, whole, bytes.length)
          return whole
        },
        decode(bytes) {
          if (bytes.length < suffixBytes) {
            throw decodeFailed(context, kind, `${suffixBytes} bytes or more expected, ${bytes.length} found`)
          }
          return suffix.read(inner.decode(own(bytes)), bytes, bytes.length - suffixBytes)
        },
      }
      const prepare = inner.prepare?.bind(inner)
      return prepare === undefined ? codec : { ...codec, prepare: (bytes) => prepare(own(bytes)) }
    },
  }
}
