/**
 * What stands where in the store. Numbers are big endian, so that keys sort as logs do.
 *
 *     m                                  the cluster: JSON
 *     t <topic>                          a topic: JSON
 *     b <topic number> <partition> <base offset>   a record batch
 *     i <topic number> <partition> <base offset>   its entry in the index, see batch-entry.ts
 *     s <topic number> <partition>       start of the log and producer states up to an offset: JSON
 *     x <transactional id>               a transaction: JSON
 *     g <group>                          a group's generation: JSON
 *     o <[group, topic, partition]>      a committed offset: JSON
 *     q <[group, producer id]>           offsets of an open transaction: JSON
 */
import type { RangeBounds } from '../ports.ts'

export const META_KEY: Uint8Array = Buffer.from('m')

export type TextPrefix = 't' | 'x' | 'g' | 'o' | 'q'
export type LogPrefix = 'b' | 'i' | 's'

export function textKey(prefix: TextPrefix, text: string): Buffer {
  return Buffer.from(prefix + text)
}

/** Everything with this prefix. */
export function prefixBounds(prefix: TextPrefix | LogPrefix): RangeBounds {
  return { gte: Buffer.from(prefix), lt: Buffer.from(String.fromCharCode(prefix.charCodeAt(0) + 1)) }
}

export function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('utf8', 1)
}

export function snapshotKey(topicNumber: number, partition: number): Buffer {
  const key = Buffer.allocUnsafe(9)
  key.write('s', 0, 'latin1')
  key.writeUInt32BE(topicNumber, 1)
  key.writeUInt32BE(partition, 5)
  return key
}

export function batchKey(
  prefix: 'b' | 'i',
  topicNumber: number,
  partition: number,
  baseOffset: number,
): Buffer {
  const key = Buffer.allocUnsafe(17)
  key.write(prefix, 0, 'latin1')
  key.writeUInt32BE(topicNumber, 1)
  key.writeUInt32BE(partition, 5)
  key.writeBigUInt64BE(BigInt(baseOffset), 9)
  return key
}

export interface LogPosition {
  readonly topicNumber: number
  readonly partition: number
  /** 0 in the key of a snapshot, which has none. */
  readonly baseOffset: number
}

export function positionOf(key: Uint8Array): LogPosition {
  const bytes = Buffer.from(key.buffer, key.byteOffset, key.byteLength)
  return {
    topicNumber: bytes.readUInt32BE(1),
    partition: bytes.readUInt32BE(5),
    baseOffset: bytes.length < 17 ? 0 : Number(bytes.readBigUInt64BE(9)),
  }
}

export function toJson(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

/** The stores hold what this broker wrote, so the shape is taken at its word. */
export function fromJson<T>(bytes: Uint8Array): T {
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()) as T
}
