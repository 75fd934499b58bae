/**
 * The order of time in which a region's entries lie beside the order of their keys: in a second key space of the store,
 * written in the same batch, rebuilt from the entries when they are replayed. It is this process's own and stands in no
 * topic.
 *
 * Entries are known by their ids, the bytes of the ordered key as latin1 text, and have a place in time: a text whose
 * first 8 characters are the time, from which the id can be had again. Order of texts is order of bytes.
 *
 *   keys   the time is in the key: see timed-keys.ts. Place: times, key, number
 *   values the time is in the first 8 bytes of the value. Place: time, id
 */
import { TIME_BYTES, writeTime } from '../serde/time-bytes.ts'
import type { TimedKeys } from './timed-keys.ts'

const TWO_POWER_32 = 2 ** 32

export interface TimeOrder {
  placeOf(id: string, value: Uint8Array): string
  idOf(place: string): string
  /** Undefined where it is not in the key. */
  readonly keys: TimedKeys | undefined
}

export function orderByKeys(keys: TimedKeys): TimeOrder {
  const { timesBytes, numberBytes } = keys
  return {
    keys,
    placeOf(id) {
      const end = id.length - timesBytes - numberBytes
      return id.slice(end, end + timesBytes) + id.slice(0, end) + id.slice(end + timesBytes)
    },
    idOf(place) {
      const end = place.length - numberBytes
      return place.slice(timesBytes, end) + place.slice(0, timesBytes) + place.slice(end)
    },
  }
}

export const ORDER_BY_VALUES: TimeOrder = {
  keys: undefined,
  placeOf: (id, value) => Buffer.from(value.buffer, value.byteOffset, TIME_BYTES).toString('latin1') + id,
  idOf: (place) => place.slice(TIME_BYTES),
}

/** Of a place in time. */
export function timeAt(text: string, at = 0): number {
  let high = 0
  let low = 0
  for (let i = 0; i < 4; i++) {
    high = high * 256 + text.charCodeAt(at + i)
    low = low * 256 + text.charCodeAt(at + 4 + i)
  }
  return high * TWO_POWER_32 + low
}

/** What the places of this time, and of later ones, are not before. */
export function firstPlace(timeMs: number): string {
  const bytes = Buffer.allocUnsafe(TIME_BYTES)
  writeTime(bytes, 0, Math.max(0, timeMs))
  return bytes.toString('latin1')
}
