import type { Serde } from '../ports.ts'
import { decodeFailed, encodeFailed, shown, sizeMismatch } from './failure.ts'
import { signFlippedOrder } from './sign-flipped.ts'
import { asBuffer } from './utf8.ts'

/** Integers from -2⁶³ to 2⁶³-1 in 8 bytes, big-endian: the bytes of Kafka's LongSerializer, and of `int64`. */
export const bigint64: Serde<bigint> = {
  kind: 'int64',
  stableBytes: true,
  ordered: signFlippedOrder,
  open: (context) => ({
    encode(value) {
      if (typeof value !== 'bigint' || value !== BigInt.asIntN(64, value)) {
        throw encodeFailed(context, 'int64', `${shown(value)} is no 64-bit bigint`)
      }
      const bytes = Buffer.allocUnsafe(8)
      bytes.writeBigInt64BE(value, 0)
      return bytes
    },
    decode(bytes) {
      const mismatch = sizeMismatch(bytes, 8)
      if (mismatch !== undefined) throw decodeFailed(context, 'int64', mismatch)
      return asBuffer(bytes).readBigInt64BE(0)
    },
  }),
}
