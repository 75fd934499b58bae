/**
 * W2: every transfer is booked once or refused for want of money; money that leaves a branch arrives once. Accounts that
 * money does not leave by (`in…`) are computed from the input; a branch's sum of these is the same at the end of each
 * committed transaction.
 */
import type { CommittedRecord } from '../stack/committed.ts'
import {
  type Entries,
  grouped,
  idOf,
  int64Of,
  isPoison,
  jsonOf,
  keyOf,
  type Topics,
  textOf,
} from './records.ts'
import type { Verdict } from './verdict.ts'

interface Transfer {
  readonly id: string
  readonly from: string
  readonly to: string
  readonly toBranch: string
  readonly amount: number
}

interface Statement extends Transfer {
  readonly kind: string
  readonly fromBalance: number | null
  readonly toBalance: number | null
}

const LAW = 'C1 bank'
const OPENING = 1_000

export function judgeBank(topics: Topics, verdict: Verdict): Entries {
  const transfers = topics('transfers').filter((record) => !isPoison(record))
  const statements = grouped(topics('statements'), keyOf)
  const fed = grouped(transfers, keyOf)
  /** Money on its way to each branch. */
  const sent = new Map<string, string[]>()
  const received = new Map<string, string[]>()
  const balances = new Map<string, number>()
  for (const key of new Set([...fed.keys(), ...statements.keys()])) {
    const branch = Buffer.from(key, 'hex').toString()
    const booked: string[] = []
    for (const record of statements.get(key) ?? []) {
      const statement = jsonOf<Statement>(record)
      const { kind, id, amount, toBranch } = statement
      if (idOf(record) !== id) verdict.say(LAW, `a statement of ${id} has the headers of ${idOf(record)}`)
      const credit = `${id} of ${amount} to ${statement.to}`
      if (kind === 'credit') add(received, branch, credit)
      else booked.push(id)
      if (kind === 'debit') add(sent, toBranch, credit)
      book(branch, statement, balances, verdict)
    }
    verdict.same(LAW, `branch ${branch}`, (fed.get(key) ?? []).map(idOf), booked)
  }
  for (const branch of new Set([...sent.keys(), ...received.keys()])) {
    const [out = [], into = []] = [sent.get(branch), received.get(branch)]
    verdict.same(LAW, `money to ${branch}`, out.sort(), into.sort())
  }
  const said = new Map(topics('statements').map((record) => [statementName(record), record]))
  for (const record of transfers) judgeTransfer(record, said, verdict)
  judgeInside(transfers, balances, verdict)
  return new Map(
    Array.from(balances, ([account, has]) => [Buffer.from(account).toString('hex'), String(has)]),
  )
}

/** No sum that anybody could read is another one: at the end of each committed transaction of the changelog. */
export function judgeSums(changelog: readonly CommittedRecord[], verdict: Verdict): void {
  const last = new Map<number, number>()
  /** By partition and branch: what the accounts have more than at the beginning. */
  const sums = new Map<string, number>()
  const has = new Map<string, number>()
  const settle = (partition: number, offset: number): void => {
    for (const [place, sum] of sums) {
      if (sum === 0 || !place.startsWith(`${partition}/`)) continue
      verdict.say(
        'C1 bank',
        `balances/${partition}@${offset}: the accounts within ${place} have ${sum} too much`,
      )
      sums.set(place, 0)
    }
  }
  for (const { partition, offset, key, value } of changelog) {
    // A marker stands between two transactions.
    if (offset !== (last.get(partition) ?? -1) + 1) settle(partition, offset)
    last.set(partition, offset)
    const account = textOf(key)
    if (!account.includes('/in')) continue
    const place = `${partition}/${account.split('/')[0]}`
    const now = Number(int64Of(value))
    sums.set(place, (sums.get(place) ?? 0) + now - (has.get(account) ?? OPENING))
    has.set(account, now)
  }
  for (const [partition, offset] of last) settle(partition, offset)
}

function add(to: Map<string, string[]>, key: string, name: string): void {
  to.set(key, [...(to.get(key) ?? []), name])
}

/** Statements of a branch stand in one partition, in the order in which they were booked. */
function book(branch: string, statement: Statement, balances: Map<string, number>, verdict: Verdict): void {
  const { id, kind, from, to, toBranch, amount, fromBalance, toBalance } = statement
  const wrong = (what: string): void => verdict.say(LAW, `${kind} ${id} at ${branch}: ${what}`)
  const move = (account: string, by: number, said: number | null): void => {
    const now = (balances.get(account) ?? OPENING) + by
    balances.set(account, now)
    if (said !== now) wrong(`${account} has ${now}, it says ${said}`)
    if (now < 0) wrong(`${account} has ${now}`)
    if (account.split('/')[0] !== branch) wrong(`${account} is of another branch`)
  }
  if (kind === 'refused') {
    const now = balances.get(from) ?? OPENING
    if (now >= amount) wrong(`${from} has ${now}, enough for ${amount}`)
    if (fromBalance !== now) wrong(`${from} has ${now}, it says ${fromBalance}`)
  } else if (kind === 'credit') move(to, amount, toBalance)
  else if (kind === 'inside' || kind === 'debit') {
    if ((kind === 'inside') !== (toBranch === branch)) wrong(`it is to ${toBranch}`)
    move(from, -amount, fromBalance)
    if (kind === 'inside') move(to, amount, toBalance)
  } else wrong('no such kind')
}

const statementName = (record: CommittedRecord): string => {
  const { id, kind } = jsonOf<Statement>(record)
  return kind === 'credit' ? `credit ${id}` : id
}

function judgeTransfer(
  record: CommittedRecord,
  said: ReadonlyMap<string, CommittedRecord>,
  verdict: Verdict,
): void {
  const { id, from, to, toBranch, amount } = jsonOf<Transfer>(record)
  const statement = said.get(id)
  if (statement === undefined) return
  const about = jsonOf<Statement>(statement)
  const same = [about.from, about.to, about.toBranch, about.amount].join()
  if (same !== [from, to, toBranch, amount].join()) verdict.say(LAW, `${id} is booked as ${same}`)
}

/** Accounts within a branch see its transfers in their order, and nothing else. */
function judgeInside(
  transfers: readonly CommittedRecord[],
  balances: ReadonlyMap<string, number>,
  verdict: Verdict,
): void {
  const model = new Map<string, number>()
  for (const record of transfers) {
    const { from, to, amount } = jsonOf<Transfer>(record)
    if (!from.includes('/in')) continue
    const has = model.get(from) ?? OPENING
    if (amount > has) continue
    model.set(from, has - amount)
    model.set(to, (model.get(to) ?? OPENING) + amount)
  }
  for (const [account, has] of model) {
    const found = balances.get(account)
    if (found !== has) verdict.say(LAW, `${account} should have ${has}, the statements say ${found}`)
  }
}
