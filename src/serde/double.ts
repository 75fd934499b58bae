import type { Serde } from '../ports.ts'
import { decodeFailed, encodeFailed, shown, sizeMismatch } from './failure.ts'
import { asBuffer } from './utf8.ts'

/** The one NaN that Java writes; JavaScript's may carry any payload, and a key needs one spelling. */
const NAN = 0x7ff8_0000_0000_0000n

/**
 * Numbers as IEEE 754 doubles in 8 bytes, big-endian: the bytes of Kafka's DoubleSerializer. As keys, -0 and 0 differ
 * and stand in this order; NaN stands behind Infinity.
 */
export const double: Serde<number> = {
  kind: 'double',
  stableBytes: true,
  ordered: {
    // Negative numbers grow with their magnitude: all bits turn. The others only move above them.
    toOrdered: (bytes) => turned(bytes, ((bytes[0] ?? 0) & 0x80) !== 0),
    fromOrdered: (bytes) => turned(bytes, ((bytes[0] ?? 0) & 0x80) === 0),
  },
  open: (context) => ({
    encode(value) {
      if (typeof value !== 'number') throw encodeFailed(context, 'double', `${shown(value)} is no number`)
      const bytes = Buffer.allocUnsafe(8)
      if (Number.isNaN(value)) bytes.writeBigUInt64BE(NAN, 0)
      else bytes.writeDoubleBE(value, 0)
      return bytes
    },
    decode(bytes) {
      const mismatch = sizeMismatch(bytes, 8)
      if (mismatch !== undefined) throw decodeFailed(context, 'double', mismatch)
      return asBuffer(bytes).readDoubleBE(0)
    },
  }),
}

function turned(bytes: Uint8Array, allBits: boolean): Uint8Array {
  const result = Buffer.from(bytes)
  if (allBits) for (let n = 0; n < result.length; n++) result[n] = ~(result[n] ?? 0)
  else result[0] = (result[0] ?? 0) ^ 0x80
  return result
}
