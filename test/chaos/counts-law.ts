/** W1: per key the numbers from 1 up, one for each input, in its order. */
import {
  byPartition,
  type Entries,
  grouped,
  idOf,
  int64Of,
  isPoison,
  keyOf,
  type Topics,
  timedIdOf,
} from './records.ts'
import type { Verdict } from './verdict.ts'

const LAW = 'C1 counts'

export function judgeCounts(topics: Topics, verdict: Verdict): Entries {
  const inputs = grouped(
    topics('numbers').filter((record) => !isPoison(record)),
    keyOf,
  )
  const outputs = grouped(topics('counts'), keyOf)
  const entries: Entries = new Map()
  for (const [key, fed] of inputs) {
    const counted = outputs.get(key) ?? []
    const where = `key ${Buffer.from(key, 'hex')}`
    // The time of a count is the newest of what was counted.
    let newest = 0
    const expected = fed.map((record) => {
      newest = Math.max(newest, record.timestamp)
      return `${idOf(record)} of ${newest}`
    })
    verdict.same(LAW, where, expected, counted.map(timedIdOf))
    const numbers = counted.map(({ value }) => int64Of(value))
    const wrong = numbers.findIndex((number, i) => number !== String(i + 1))
    if (wrong >= 0) verdict.say(LAW, `${where}: at ${wrong} stands ${numbers[wrong]}`)
    if (byPartition(counted).size > 1) verdict.say(LAW, `${where}: in several partitions`)
    entries.set(key, String(fed.length))
  }
  for (const [key, list] of outputs) {
    if (!inputs.has(key)) verdict.say(LAW, `key ${Buffer.from(key, 'hex')}: ${list.length} times, never fed`)
  }
  return entries
}
