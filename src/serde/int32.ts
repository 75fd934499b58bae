import type { Serde } from '../ports.ts'
import { decodeFailed, encodeFailed, shown, sizeMismatch } from './failure.ts'
import { signFlippedOrder } from './sign-flipped.ts'
import { asBuffer } from './utf8.ts'

/** Integers from -2³¹ to 2³¹-1 in 4 bytes, big-endian: the bytes of Kafka's IntegerSerializer. */
export const int32: Serde<number> = {
  kind: 'int32',
  stableBytes: true,
  ordered: signFlippedOrder,
  open: (context) => ({
    encode(value) {
      if (typeof value !== 'number' || value !== (value | 0)) {
        throw encodeFailed(context, 'int32', `${shown(value)} is no 32-bit integer`)
      }
      const bytes = Buffer.allocUnsafe(4)
      bytes.writeInt32BE(value, 0)
      return bytes
    },
    decode(bytes) {
      const mismatch = sizeMismatch(bytes, 4)
      if (mismatch !== undefined) throw decodeFailed(context, 'int32', mismatch)
      return asBuffer(bytes).readInt32BE(0)
    },
  }),
}
