/** The inputs are what the feeder was to write: what it committed, once and in order, and nothing that was aborted. */
import { type FedRecord, type FeedPlan, transactionOf } from './input.ts'
import type { Ledger } from './ledger.ts'
import { INPUTS, type InputName } from './names.ts'
import { byPartition, contentOf, headerOf, idOf, type Topics } from './records.ts'
import type { Verdict } from './verdict.ts'

export interface Fed {
  readonly records: number
  readonly transactions: number
}

export function judgeInputs(ledger: Ledger, topics: Topics, verdict: Verdict): Fed {
  const { plan } = ledger
  const names = (Object.keys(INPUTS) as InputName[]).filter((name) => plan.orders || name !== 'orders')
  const transactions = lastTransaction(ledger, names, topics, verdict) + 1
  const fed = allFed(plan, transactions)
  let records = 0
  for (const name of names) {
    const expected = fed.get(name) ?? []
    const wanted = new Map(expected.map((record) => [record.id, record]))
    records += expected.length
    const found: string[] = []
    for (const [partition, list] of byPartition(topics(name))) {
      const where = `${name}/${partition}`
      const ids = list.map(idOf)
      found.push(...ids)
      for (const record of list) {
        const id = idOf(record)
        if (headerOf(record, 'fate') === 'aborted' || id.startsWith('x')) {
          verdict.say(
            'C4 input',
            `${where}@${record.offset}: record ${id} of an aborted transaction is visible`,
          )
        }
        const should = wanted.get(id)
        if (should === undefined || should.order !== undefined) continue
        if (contentOf(record) !== contentOf({ ...should, partition: 0, offset: 0 })) {
          verdict.say('C1 input', `${where}@${record.offset}: record ${id} is not what was written`)
        }
      }
      const inOrder = expected.map(({ id }) => id).filter(in_(new Set(ids)))
      verdict.same('C1 input', where, inOrder, ids)
    }
    const everywhere = expected.map(({ id }) => id)
    verdict.same('C1 input', name, everywhere.sort(), found.sort())
  }
  return { records, transactions }
}

const in_ = (names: ReadonlySet<string>) => (name: string) => names.has(name)

/** A feeder that was killed may have committed one more than it could say. */
function lastTransaction(
  { hasEnded, transactions }: Ledger,
  names: readonly InputName[],
  topics: Topics,
  verdict: Verdict,
): number {
  const said = transactions - 1
  let seen = -1
  for (const name of names) {
    for (const record of topics(name)) {
      const n = Number.parseInt(idOf(record), 10)
      if (n > seen) seen = n
    }
  }
  if (seen > said + (hasEnded ? 0 : 1)) {
    verdict.say('C1 input', `transaction ${seen} is visible; the feeder says that ${said} is the last`)
  }
  return Math.max(said, seen)
}

function allFed(plan: FeedPlan, transactions: number): ReadonlyMap<string, FedRecord[]> {
  const fed = new Map<string, FedRecord[]>()
  for (let n = 0; n < transactions; n++) {
    for (const record of transactionOf(plan, n)) {
      const list = fed.get(record.input) ?? []
      fed.set(record.input, list)
      list.push(record)
    }
  }
  return fed
}
