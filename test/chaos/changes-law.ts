/** W5: entries come, go, and are swept when they are old; what comes out per partition is what a model says. */
import { byPartition, type Entries, idOf, type Topics, textOf } from './records.ts'
import type { Verdict } from './verdict.ts'

const TIME_TO_LIVE_MS = 20_000

export function judgeChanges(topics: Topics, verdict: Verdict): Entries {
  const inputs = byPartition(topics('changes'))
  const outputs = byPartition(topics('live'))
  const entries: Entries = new Map()
  for (const partition of new Set([...inputs.keys(), ...outputs.keys()])) {
    /** Until when, and what put it. */
    const live = new Map<number, readonly [untilMs: number, text: string]>()
    const expected: string[] = []
    for (const record of inputs.get(partition) ?? []) {
      const key = (record.key as Buffer).readInt32BE()
      const text = textOf(record.value)
      let out = text
      if (record.value === null) live.delete(key)
      else if (text === 'sweep') {
        const old = [...live].filter(([, [until]]) => until <= record.timestamp).map(([entry]) => entry)
        const below = [...live.keys()].filter((entry) => entry < 0).length
        for (const entry of old) live.delete(entry)
        out = `swept ${old.sort((a, b) => a - b).join()}; ${below} below zero`
      } else live.set(key, [record.timestamp + TIME_TO_LIVE_MS, text])
      expected.push(`${idOf(record)} at ${record.timestamp}: ${key} ${out}`)
    }
    const found = (outputs.get(partition) ?? []).map(
      (record) =>
        `${idOf(record)} at ${record.timestamp}: ${record.key?.readInt32BE()} ${textOf(record.value)}`,
    )
    verdict.same('C1 live', `live/${partition}`, expected, found)
    for (const [key, [untilMs, text]] of live) {
      const bytes = Buffer.alloc(4)
      bytes.writeInt32BE(key)
      entries.set(bytes.toString('hex'), `${untilMs} ${text}`)
    }
  }
  return entries
}
