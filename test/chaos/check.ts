/**
 * Judges a chaos run when it is over: faults have ended, everything is processed, all processes are closed. What counts
 * is what Kafka's own consumer sees; models are computed from the inputs as it sees them, and share no code with what is
 * tested.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CommittedRecord, type PartitionEnds, readCommitted, recordsRead } from '../stack/committed.ts'
import { judgeBank, judgeSums } from './bank-law.ts'
import { judgeChanges } from './changes-law.ts'
import { judgeCounts } from './counts-law.ts'
import { judgeInputs } from './input-law.ts'
import { type Ledger, readLedger } from './ledger.ts'
import { judgeLists } from './lists-law.ts'
import { changelogOf, creditsOf, topicsOf } from './names.ts'
import { type CommittedInput, OffsetSampler } from './offset-sampler.ts'
import { AvroValues, judgeOrders } from './orders-law.ts'
import { judgePairs } from './pairs-law.ts'
import { judgeRaw } from './raw-law.ts'
import { type Entries, grouped, idOf, int64Of, type Topics, textOf } from './records.ts'
import { judgeRefused } from './refused-law.ts'
import { readState, regionNames } from './state.ts'
import { judgeRegion, judgeState, type RegionModel } from './state-law.ts'
import { Verdict } from './verdict.ts'

export interface CheckOptions {
  /** host:port,host:port */
  readonly brokers: string
  readonly prefix: string
  /** The feeder's. */
  readonly ledger: string
  /** Of all processes that took part. None is open. */
  readonly stateDirs: readonly string[]
  /** Where the feeder had one. */
  readonly registryUrl?: string | undefined
  /** What a `Watch` has written. */
  readonly watched?: string | undefined
  /** Directories may have been moved aside, for they were damaged on purpose. Default false. */
  readonly mayMoveAside?: boolean
}

export interface Checked {
  /** Empty: everything is as it should be. */
  readonly violations: readonly string[]
  /** Inputs that were committed. */
  readonly records: number
  /** Of the feeder, in which they were. */
  readonly transactions: number
  /** Of the feeder, too: aborted on purpose. */
  readonly aborted: number
}

/** A transaction that is over time is ended by the broker within this. */
const PATIENCE_MS = 40_000

export async function check(options: CheckOptions): Promise<Checked> {
  const { brokers, prefix, stateDirs, registryUrl, watched, mayMoveAside = false } = options
  const ledger = await readLedger(options.ledger)
  if (ledger === undefined) throw new Error(`${options.ledger} is no ledger`)
  const verdict = new Verdict()
  const directory = await mkdtemp(join(tmpdir(), 'druse-check-'))
  try {
    const names = topicNames(prefix, ledger)
    const read = { brokers, directory, topics: [...names.values()], patienceMs: PATIENCE_MS }
    const ends = await readCommitted(read)
    const records = new Map<string, readonly CommittedRecord[]>()
    for (const [name, topic] of names) records.set(name, inOrder(await recordsRead(directory, topic)))
    const topics: Topics = (name) => records.get(name) ?? []
    const values = registryUrl === undefined ? undefined : new AvroValues(registryUrl)
    if (ledger.plan.orders && values === undefined) throw new Error('There are orders: name the registry')
    for (const name of ['orders', 'totals', 'spend-changelog']) await values?.prepare(topics(name))
    const fed = judgeTopics(prefix, ledger, topics, values, verdict)
    judgeEnds(ends, verdict)
    const committed = await readOffsets(brokers, prefix, verdict)
    judgeProgress(committed, inputEnds(prefix, ledger, ends), verdict)
    const state = await readState(stateDirs)
    judgeState(state, committed, topics, verdict)
    if (!mayMoveAside) {
      for (const aside of state.aside) verdict.say('C7 state', `${aside} was moved aside`)
    }
    if (watched !== undefined) await judgeWatched(watched, prefix, topics, verdict)
    return { violations: verdict.violations, aborted: ledger.aborted.length, ...fed }
  } finally {
    await rm(directory, { recursive: true })
  }
}

/** C1, C4, and that the regions' changelogs are what the models say. */
export function judgeTopics(
  prefix: string,
  ledger: Ledger,
  topics: Topics,
  values: AvroValues | undefined,
  verdict: Verdict,
): { readonly records: number; readonly transactions: number } {
  const fed = judgeInputs(ledger, topics, verdict)
  const text = (value: Buffer): string => textOf(value)
  const region = (name: string, entries: Entries, meaning: RegionModel['meaning']): void =>
    judgeRegion(name, topics, { entries, meaning }, verdict)
  region('counts', judgeCounts(topics, verdict), int64Of)
  region('balances', judgeBank(topics, verdict), int64Of)
  judgeSums(topics('balances-changelog'), verdict)
  region('lists', judgeLists(topics, verdict), text)
  judgePairs(topics, verdict)
  region('live', judgeChanges(topics, verdict), text)
  judgeRaw(topics, verdict)
  judgeRefused(prefix, topics, verdict)
  if (values !== undefined) {
    region('spend', judgeOrders(ledger, topics, values, verdict), (value) => values.read(value))
  }
  return fed
}

/** By the name that laws use. */
function topicNames(prefix: string, { plan }: Ledger): ReadonlyMap<string, string> {
  const regions = regionNames.filter((name) => plan.orders || name !== 'spend')
  return new Map([
    ...topicsOf(prefix).all.map(({ topic }) => [topic.slice(prefix.length), topic] as const),
    ...regions.map((name) => [`${name}-changelog`, changelogOf(prefix, name)] as const),
    ['credits', creditsOf(prefix).topic],
  ])
}

const inOrder = (records: CommittedRecord[]): CommittedRecord[] =>
  records.sort((a, b) => a.partition - b.partition || a.offset - b.offset)

/** C5: no transaction is left open. */
function judgeEnds(ends: readonly PartitionEnds[], verdict: Verdict): void {
  for (const { topic, partition, lastStable, highWatermark } of ends) {
    if (lastStable === highWatermark) continue
    verdict.say(
      'C5 open',
      `${topic}/${partition}: stable up to ${lastStable}, there is more up to ${highWatermark}`,
    )
  }
}

async function readOffsets(
  brokers: string,
  prefix: string,
  verdict: Verdict,
): Promise<readonly CommittedInput[]> {
  const sampler = new OffsetSampler({ brokers, prefix }, verdict)
  try {
    const committed = (await sampler.sample()) ?? (await sampler.sample())
    if (committed === undefined) verdict.say('C3 offsets', 'the committed offsets cannot be read')
    return committed ?? []
  } finally {
    await sampler.close()
  }
}

function inputEnds(prefix: string, { plan }: Ledger, ends: readonly PartitionEnds[]): PartitionEnds[] {
  const inputs = topicsOf(prefix).inputs.map(({ topic }) => topic)
  const read = new Set([...inputs, creditsOf(prefix).topic])
  if (!plan.orders) read.delete(`${prefix}orders`)
  return ends.filter(({ topic }) => read.has(topic))
}

/** C3: what is committed is all there is. */
function judgeProgress(
  committed: readonly CommittedInput[],
  ends: readonly PartitionEnds[],
  verdict: Verdict,
): void {
  const offsets = new Map(committed.map((input) => [`${input.topic}/${input.partition}`, input.offset]))
  for (const { topic, partition, highWatermark } of ends) {
    const offset = offsets.get(`${topic}/${partition}`)
    if (offset === highWatermark) continue
    verdict.say('C3 offsets', `${topic}/${partition} is committed at ${offset}, it ends at ${highWatermark}`)
  }
}

/** C6: who read along saw what there is. */
async function judgeWatched(
  watched: string,
  prefix: string,
  topics: Topics,
  verdict: Verdict,
): Promise<void> {
  for (const { topic } of topicsOf(prefix).all) {
    const place = (record: CommittedRecord): string => `${record.offset} (${idOf(record)})`
    const seen = grouped(await recordsRead(watched, topic), ({ partition }) => String(partition))
    const there = grouped(topics(topic.slice(prefix.length)), ({ partition }) => String(partition))
    for (const partition of new Set([...seen.keys(), ...there.keys()])) {
      const [along = [], final = []] = [seen.get(partition), there.get(partition)]
      verdict.same('C6 watched', `${topic}/${partition}`, final.map(place), along.map(place))
    }
  }
}
