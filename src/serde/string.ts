import type { Serde } from '../ports.ts'
import { decodeFailed, encodeFailed, shown } from './failure.ts'
import { decodeUtf8, encodeUtf8 } from './utf8.ts'

/** Text as UTF-8, the bytes of Kafka's StringSerializer. Bytes are ordered as code points are. */
export const string: Serde<string> = {
  kind: 'string',
  stableBytes: true,
  open: (context) => ({
    encode(value) {
      if (typeof value !== 'string') throw encodeFailed(context, 'string', `${shown(value)} is no string`)
      const bytes = encodeUtf8(value)
      if (bytes === undefined) {
        throw encodeFailed(context, 'string', `${shown(value)} has half of a surrogate pair`)
      }
      return bytes
    },
    decode(bytes) {
      const text = decodeUtf8(bytes)
      if (text === undefined) throw decodeFailed(context, 'string', 'the bytes are no UTF-8')
      return text
    },
  }),
}
