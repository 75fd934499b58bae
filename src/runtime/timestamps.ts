/** Which time a record has. */
import { DruseError } from '../errors.ts'
import type { Clock } from '../ports.ts'
import { isTimestamp } from '../region/layout.ts'
import type { TimestampRule } from '../topology/graph.ts'
import type { StreamRecord } from '../topology/record.ts'

/** Undefined: the record is left out. Errors: TIMESTAMP_INVALID. */
export type TimestampOf = (record: StreamRecord, partitionTimeMs: number) => number | undefined

export function timestampsOf(rule: TimestampRule | undefined, clock: Clock): TimestampOf {
  if (typeof rule === 'function') {
    return (record, partitionTimeMs) => {
      const timestamp = rule(record.value, record.key, record, partitionTimeMs)
      if (Number.isInteger(timestamp) && timestamp < 0) return undefined
      return valid(timestamp, 'The timestamp function gave')
    }
  }
  switch (rule) {
    case 'wallClock':
      return () => clock.wallMs()
    case 'skipOnInvalid':
      return ({ timestamp }) => (isTimestamp(timestamp) ? timestamp : undefined)
    case 'partitionTimeOnInvalid':
      return ({ timestamp }, partitionTimeMs) => {
        if (isTimestamp(timestamp) || partitionTimeMs < 0) return valid(timestamp, OWN)
        return partitionTimeMs
      }
    default:
      // Old producers write -1 for none.
      return ({ timestamp }) => (timestamp === -1 ? timestamp : valid(timestamp, OWN))
  }
}

const OWN = 'Its timestamp is'

function valid(timestamp: number, whose: string): number {
  if (isTimestamp(timestamp)) return timestamp
  throw new DruseError('TIMESTAMP_INVALID', `${whose} ${timestamp}: no time in milliseconds since 1970`)
}
