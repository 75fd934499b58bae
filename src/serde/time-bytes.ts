/** Times in 8 bytes, big-endian: as Kafka writes them; those from 0 are in their order. */
import { asBuffer } from './utf8.ts'

export const TIME_BYTES = 8

const TWO_POWER_32 = 2 ** 32

export function writeTime(into: Buffer, at: number, ms: number): void {
  const high = Math.floor(ms / TWO_POWER_32)
  into.writeInt32BE(high, at)
  into.writeUInt32BE(ms - high * TWO_POWER_32, at + 4)
}

export function readTime(bytes: Uint8Array, at: number): number {
  const buffer = asBuffer(bytes)
  return buffer.readInt32BE(at) * TWO_POWER_32 + buffer.readUInt32BE(at + 4)
}
