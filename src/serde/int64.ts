import type { Serde } from '../ports.ts'
import { decodeFailed, encodeFailed, shown, sizeMismatch } from './failure.ts'
import { signFlippedOrder } from './sign-flipped.ts'
import { asBuffer } from './utf8.ts'

const TWO_POWER_32 = 2 ** 32

/**
 * Integers in 8 bytes, big-endian: the bytes of Kafka's LongSerializer. A number holds integers exactly up to
 * ±(2⁵³-1); others are refused both ways. For all 64 bits take `bigint64`, whose bytes are the same.
 */
export const int64: Serde<number> = {
  kind: 'int64',
  stableBytes: true,
  ordered: signFlippedOrder,
  open: (context) => ({
    encode(value) {
      if (!Number.isSafeInteger(value)) {
        throw encodeFailed(context, 'int64', `${shown(value)} is no safe integer; bigint64 takes all 64 bits`)
      }
      const high = Math.floor(value / TWO_POWER_32)
      const bytes = Buffer.allocUnsafe(8)
      bytes.writeInt32BE(high, 0)
      bytes.writeUInt32BE(value - high * TWO_POWER_32, 4)
      return bytes
    },
    decode(bytes) {
      const mismatch = sizeMismatch(bytes, 8)
      if (mismatch !== undefined) throw decodeFailed(context, 'int64', mismatch)
      const buffer = asBuffer(bytes)
      const value = buffer.readInt32BE(0) * TWO_POWER_32 + buffer.readUInt32BE(4)
      if (!Number.isSafeInteger(value)) {
        const found = buffer.readBigInt64BE(0)
        throw decodeFailed(context, 'int64', `${found} is no safe integer; bigint64 takes all 64 bits`)
      }
      return value
    },
  }),
}
