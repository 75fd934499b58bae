import type { Serde } from '../ports.ts'
import { encodeFailed, shown } from './failure.ts'

/**
 * Bytes as they are, never copied: do not change them after handing them over, and copy what is kept for long, since
 * it may be a view of a much larger fetch.
 */
export const bytes: Serde<Uint8Array> = {
  kind: 'bytes',
  stableBytes: true,
  open: (context) => ({
    encode(value) {
      if (!(value instanceof Uint8Array)) {
        throw encodeFailed(context, 'bytes', `${shown(value)} is no Uint8Array`)
      }
      return value
    },
    decode: (found) => found,
  }),
}
