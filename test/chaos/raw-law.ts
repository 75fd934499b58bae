/** W6: bytes of all kinds come out as they went in, each once; with a key in the same partition, in order. */
import type { CommittedRecord } from '../stack/committed.ts'
import { byPartition, contentOf, idOf, type Topics } from './records.ts'
import type { Verdict } from './verdict.ts'

const LAW = 'C1 copies'

export function judgeRaw(topics: Topics, verdict: Verdict): void {
  const inputs = topics('raw')
  const outputs = topics('copies')
  verdict.same(LAW, 'copies', inputs.map(nameOf).sort(), outputs.map(nameOf).sort())
  const hasKey = ({ key }: CommittedRecord): boolean => key !== null
  const keyed = byPartition(inputs.filter(hasKey))
  const found = byPartition(outputs.filter(hasKey))
  for (const partition of new Set([...keyed.keys(), ...found.keys()])) {
    const expected = (keyed.get(partition) ?? []).map(idOf)
    verdict.same(LAW, `copies/${partition}`, expected, (found.get(partition) ?? []).map(idOf))
  }
}

const nameOf = (record: CommittedRecord): string => `${idOf(record)} (${contentOf(record)})`
