import type { Serde } from '../ports.ts'
import { decodeFailed, encodeFailed, shown } from './failure.ts'
import { decodeUtf8 } from './utf8.ts'

/**
 * Values as JSON text in UTF-8. `T` is believed, not checked. JSON's own losses apply: `undefined` members and
 * methods are left out, NaN becomes null, a Date becomes its text. Equal objects may differ in their bytes (order of
 * members), so it is no key of a region.
 */
export function json<T>(): Serde<T> {
  return {
    kind: 'json',
    stableBytes: false,
    open: (context) => ({
      encode(value) {
        let text: string | undefined
        try {
          text = JSON.stringify(value)
        } catch (cause) {
          throw encodeFailed(context, 'json', `${shown(value)} has no JSON: ${messageOf(cause)}`, cause)
        }
        if (text === undefined) throw encodeFailed(context, 'json', `${shown(value)} has no JSON`)
        return Buffer.from(text, 'utf8')
      },
      decode(bytes) {
        const text = decodeUtf8(bytes)
        if (text === undefined) throw decodeFailed(context, 'json', 'the bytes are no UTF-8')
        try {
          return JSON.parse(text)
        } catch (cause) {
          throw decodeFailed(context, 'json', messageOf(cause), cause)
        }
      },
    }),
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
