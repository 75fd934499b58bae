/** Dead letters: what could not be processed, each once, with its bytes, and headers that say where it came from. */
import type { CommittedRecord } from '../stack/committed.ts'
import { contentOf, headerOf, idOf, isPoison, type Topics } from './records.ts'
import type { Verdict } from './verdict.ts'

const LAW = 'C1 refused'
const SOURCES = ['transfers', 'items', 'orders']
const ERROR_HEADER = 'druse.error.'

export function judgeRefused(prefix: string, topics: Topics, verdict: Verdict): void {
  const letters = topics('refused')
  const poison = SOURCES.flatMap((topic) =>
    topics(topic)
      .filter(isPoison)
      .map((record) => ({ topic, record })),
  )
  const fed = new Map(poison.map((one) => [idOf(one.record), one]))
  verdict.same(LAW, 'refused', [...fed.keys()].sort(), letters.map(idOf).sort())
  for (const letter of letters) {
    const from = fed.get(idOf(letter))
    if (from === undefined) continue
    const { topic, record } = from
    const said = ['topic', 'partition', 'offset'].map((name) => headerOf(letter, ERROR_HEADER + name))
    const should = [`${prefix}${topic}`, record.partition, record.offset].map(String)
    if (said.join() !== should.join()) verdict.say(LAW, `${idOf(letter)} says ${said}, it is from ${should}`)
    if (contentOf(withoutErrors(letter)) !== contentOf(record)) {
      verdict.say(LAW, `${idOf(letter)} is not what was fed`)
    }
    const code = headerOf(letter, `${ERROR_HEADER}code`)
    const wanted = headerOf(record, 'poison') === 'throws' ? 'OPERATOR_FAILED' : 'RECORD_UNDECODABLE'
    if (code !== wanted) verdict.say(LAW, `${idOf(letter)} was refused for ${code}, not ${wanted}`)
  }
}

function withoutErrors(letter: CommittedRecord): CommittedRecord {
  return { ...letter, headers: letter.headers.filter(({ key }) => !key.startsWith(ERROR_HEADER)) }
}
