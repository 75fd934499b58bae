/**
 * Updates of a table that wait for their time: what stands in the changelog of a suppression's region.
 *
 *   key    01, the table's key: so that it has bytes in any case
 *   value  time (8), new value, old value, number of headers (2), and of each its name and value
 *
 * Values and names are preceded by their length (4), -1 for null.
 */
import type { Codec, Serde } from '../ports.ts'
import { readTime, TIME_BYTES, writeTime } from '../serde/time-bytes.ts'
import type { Header } from '../types.ts'

export interface Buffered<V = unknown> {
  /** By which it waits. */
  readonly timeMs: number
  readonly newValue: V | null
  /** That was passed on before, or stood there when the first of the updates came. */
  readonly oldValue: V | null
  readonly headers: readonly Header[]
}

const TAG = Uint8Array.of(1)
const NULL_LENGTH = -1

export function bufferedKey<K>(key: Serde<K>): Serde<K> {
  return {
    kind: `buffered(${key.kind})`,
    stableBytes: key.stableBytes,
    partitionBytes: (bytes) => {
      const own = bytes.subarray(TAG.length)
      return key.partitionBytes?.(own) ?? own
    },
    open: async (context) => {
      const inner = await key.open(context)
      return {
        encode: (value) => Buffer.concat([TAG, inner.encode(value)]),
        decode: (bytes) => inner.decode(bytes.subarray(TAG.length)),
      }
    },
  }
}

export function bufferedValue<V>(value: Serde<V>): Serde<Buffered<V>> {
  return {
    kind: `buffered(${value.kind})`,
    stableBytes: false,
    open: async (context) => {
      const inner = await value.open(context)
      const encode = (of: V | null): Uint8Array | null => (of === null ? null : inner.encode(of))
      const decode = (bytes: Uint8Array | null): V | null => (bytes === null ? null : inner.decode(bytes))
      const codec: Codec<Buffered<V>> = {
        encode({ timeMs, newValue, oldValue, headers }) {
          const head = Buffer.allocUnsafe(TIME_BYTES)
          writeTime(head, 0, timeMs)
          const count = Buffer.allocUnsafe(2)
          count.writeUInt16BE(headers.length)
          const parts = [head, ...chunk(encode(newValue)), ...chunk(encode(oldValue)), count]
          for (const header of headers) {
            parts.push(...chunk(Buffer.from(header.key, 'utf8')), ...chunk(header.value))
          }
          return Buffer.concat(parts)
        },
        decode(bytes) {
          const { timeMs, newValue, oldValue, headers } = partsOf(bytes)
          return { timeMs, newValue: decode(newValue), oldValue: decode(oldValue), headers }
        },
      }
      const prepare = inner.prepare?.bind(inner)
      if (prepare === undefined) return codec
      return {
        ...codec,
        prepare(bytes) {
          const { newValue, oldValue } = partsOf(bytes)
          const pending = [newValue, oldValue].flatMap((part) => (part && prepare(part)) ?? [])
          return pending.length === 0 ? undefined : Promise.all(pending).then(() => {})
        },
      }
    },
  }
}

/** Of an update that waits: what would be passed on. */
export function bufferedUpdate({ key, value }: { readonly key: Uint8Array; readonly value: Uint8Array }) {
  return { key: key.subarray(TAG.length), value: partsOf(value).newValue }
}

function chunk(bytes: Uint8Array | null): Uint8Array[] {
  const length = Buffer.allocUnsafe(4)
  length.writeInt32BE(bytes?.length ?? NULL_LENGTH)
  return bytes === null ? [length] : [length, bytes]
}

function partsOf(bytes: Uint8Array): Buffered<Uint8Array> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = TIME_BYTES
  const next = (): Buffer | null => {
    const length = buffer.readInt32BE(at)
    at += 4
    if (length === NULL_LENGTH) return null
    at += length
    return buffer.subarray(at - length, at)
  }
  const newValue = next()
  const oldValue = next()
  const headers: Header[] = []
  const count = buffer.readUInt16BE(at)
  at += 2
  for (let i = 0; i < count; i++) headers.push({ key: String(next()), value: next() })
  return { timeMs: readTime(bytes, 0), newValue, oldValue, headers }
}
