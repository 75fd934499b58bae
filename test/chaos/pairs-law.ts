/** W4: the same records in both topics, and they are the input's, per key in its order. */
import { contentOf, grouped, idOf, keyOf, type Topics } from './records.ts'
import type { Verdict } from './verdict.ts'

export function judgePairs(topics: Topics, verdict: Verdict): void {
  const inputs = grouped(topics('pairs'), keyOf)
  const fed = new Map(topics('pairs').map((record) => [idOf(record), contentOf(record)]))
  for (const side of ['left', 'right']) {
    const law = `C1 ${side}`
    const outputs = grouped(topics(side), keyOf)
    for (const key of new Set([...inputs.keys(), ...outputs.keys()])) {
      const expected = (inputs.get(key) ?? []).map(idOf)
      verdict.same(law, `key ${Buffer.from(key, 'hex')}`, expected, (outputs.get(key) ?? []).map(idOf))
    }
    for (const record of topics(side)) {
      const should = fed.get(idOf(record))
      if (should !== undefined && contentOf(record) !== should) {
        verdict.say(law, `${side}/${record.partition}@${record.offset}: ${idOf(record)} has changed`)
      }
    }
  }
}
