/** What a feeder says it has committed: a file with a line of JSON for each thing it did. */
import { appendFile, readFile } from 'node:fs/promises'
import type { FeedPlan } from './input.ts'

type Line =
  | { readonly plan: FeedPlan }
  /** All transactions below are committed; answered, or learned from Kafka. */
  | { readonly committed: number }
  /** Aborted on purpose, before the transaction with this number. */
  | { readonly aborted: number }
  /** An answer was lost, or a broker went away: the feeder asked what was committed. */
  | { readonly asked: number; readonly because: string }
  /** It was told to stop, and has: no transaction is open. */
  | { readonly ended: number }

export interface Ledger {
  readonly plan: FeedPlan
  readonly transactions: number
  readonly aborted: readonly number[]
  /** How often it had to ask what was committed. */
  readonly asked: number
  readonly hasEnded: boolean
}

export async function writeLedger(path: string, line: Line): Promise<void> {
  await appendFile(path, `${JSON.stringify(line)}\n`)
}

/** Undefined: there is none. A last line that was cut off does not count. */
export async function readLedger(path: string): Promise<Ledger | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '')
  const lines = text.split('\n').slice(0, -1)
  let plan: FeedPlan | undefined
  let transactions = 0
  let asked = 0
  let hasEnded = false
  const aborted: number[] = []
  for (const line of lines) {
    const said = JSON.parse(line) as Line
    hasEnded = 'ended' in said
    if ('plan' in said) plan = said.plan
    else if ('committed' in said) transactions = Math.max(transactions, said.committed)
    else if ('aborted' in said) aborted.push(said.aborted)
    else if ('asked' in said) asked += 1
  }
  return plan && { plan, transactions, aborted, asked, hasEnded }
}
