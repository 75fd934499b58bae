/** W3: what comes out for a key are the prefixes of its list of inputs, each longer by one. */
import { type Entries, grouped, isPoison, jsonOf, keyOf, type Topics, timedIdOf } from './records.ts'
import type { Verdict } from './verdict.ts'

const LAW = 'C1 lists'

export function judgeLists(topics: Topics, verdict: Verdict): Entries {
  const inputs = grouped(
    topics('items').filter((record) => !isPoison(record)),
    keyOf,
  )
  const outputs = grouped(topics('lists'), keyOf)
  const entries: Entries = new Map()
  for (const [key, fed] of inputs) {
    const where = `list ${Buffer.from(key, 'hex')}`
    const ids = fed.map((record) => jsonOf<{ id: string }>(record).id)
    const written = outputs.get(key) ?? []
    verdict.same(LAW, where, fed.map(timedIdOf), written.map(timedIdOf))
    for (const [i, record] of written.entries()) {
      verdict.same(LAW, `${where}, ${i + 1} long`, ids.slice(0, i + 1), jsonOf<string[]>(record))
    }
    entries.set(key, JSON.stringify(ids))
  }
  for (const [key, list] of outputs) {
    if (!inputs.has(key)) verdict.say(LAW, `list ${Buffer.from(key, 'hex')}: ${list.length} times, never fed`)
  }
  return entries
}
