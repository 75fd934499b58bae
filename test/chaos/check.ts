/**
 * Judges a chaos run when it is over: faults have ended, everything is processed, all processes are closed. What counts
 * is what Kafka's own consumer sees; models are computed from the inputs as it sees them, and share no code with what is
 * tested.
 *
 *   C1   each topic is what its model says: nothing is lost, twice, changed or out of order
 *   C2   changelogs fold to what the models say; state directories hold what changelogs say, up to where they stand
 *   C3   committed offsets never go back (offset-sampler.ts, while the run is on; offset-log.ts), and end where the inputs
 *        end
 *   C4   nothing of an aborted transaction is visible
 *   C5   no transaction is left open
 *   C6   who read along (watch.ts) saw the same
 *   C7   no directory was moved aside; state is the same after a restart (state.ts)
 *   C8   all is processed in time (drain.ts)
 *   C9   no error that nobody has caught, C10 no secrets, in what processes have printed (logs-law.ts)
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type CommittedRecord, type PartitionEnds, readCommitted, recordsRead } from '../stack/committed.ts'
import { judgeBank, judgeSums } from './bank-law.ts'
import { judgeChanges } from './changes-law.ts'
import { judgeCounts } from './counts-law.ts'
import { type Fed, judgeInputs } from './input-law.ts'
import { type Ledger, readLedger } from './ledger.ts'
import { judgeLists } from './lists-law.ts'
import { judgeLogs } from './logs-law.ts'
import { applicationOf, changelogOf, creditsOf, topicsOf } from './names.ts'
import { type CommittedInput, OFFSETS } from './offset-law.ts'
import { judgeOffsetLog, OFFSET_LOG } from './offset-log.ts'
import { OffsetSampler } from './offset-sampler.ts'
import { AvroValues, judgeOrders } from './orders-law.ts'
import { judgePairs } from './pairs-law.ts'
import { judgeRaw } from './raw-law.ts'
import { byPartition, type Entries, idOf, int64Of, type Topics, textOf } from './records.ts'
import { judgeRefused } from './refused-law.ts'
import { readState, regionNames, type StoredState } from './state.ts'
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
  /** With what processes have printed. */
  readonly logs?: readonly string[]
  /** What may not be in there. */
  readonly secrets?: readonly string[]
  /** How long a transaction may still be open. Default 40 000 ms: brokers end those that are over time by then. */
  readonly patienceMs?: number
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

/** All there is to be judged. */
export interface Evidence {
  readonly prefix: string
  readonly ledger: Ledger
  readonly topics: ReadonlyMap<string, readonly CommittedRecord[]>
  readonly ends: readonly PartitionEnds[]
  /** Undefined: brokers did not tell. */
  readonly committed: readonly CommittedInput[] | undefined
  readonly state: StoredState
  /** By topic, as `topics`; undefined: nobody has read along. */
  readonly watched: ReadonlyMap<string, readonly CommittedRecord[]> | undefined
  readonly values: AvroValues | undefined
}

/** A transaction that is over time is ended by the broker within this. */
const PATIENCE_MS = 40_000
const OFFSET_ATTEMPTS = 20
const OFFSET_PAUSE_MS = 500

export async function check(options: CheckOptions): Promise<Checked> {
  const verdict = new Verdict()
  const evidence = await gather(options, verdict)
  const fed = judge(evidence, verdict)
  if (options.mayMoveAside !== true) {
    for (const aside of evidence.state.aside) verdict.say('C7 state', `${aside} was moved aside`)
  }
  await judgeLogs(options.logs ?? [], options.secrets ?? [], verdict)
  return { violations: verdict.violations, aborted: evidence.ledger.aborted.length, ...fed }
}

/** Metadata that are not the application's are a violation. */
export async function gather(options: CheckOptions, verdict: Verdict): Promise<Evidence> {
  const { brokers, prefix, stateDirs, registryUrl, watched, patienceMs = PATIENCE_MS } = options
  const ledger = await readLedger(options.ledger)
  if (ledger === undefined) throw new Error(`${options.ledger} is no ledger`)
  if (ledger.plan.orders && registryUrl === undefined) throw new Error('There are orders: name the registry')
  const names = topicNames(prefix, ledger)
  const directory = await mkdtemp(join(tmpdir(), 'druse-check-'))
  try {
    const ends = await readCommitted({ brokers, directory, topics: [...names.values()], patienceMs })
    const topics = await recordsOf(directory, names)
    const values = registryUrl === undefined ? undefined : new AvroValues(registryUrl)
    for (const name of ['orders', 'totals', 'spend-changelog']) await values?.prepare(topics.get(name) ?? [])
    return {
      prefix,
      ledger,
      topics,
      ends,
      committed: await readOffsets(brokers, prefix, verdict),
      state: await readState(stateDirs),
      watched: watched === undefined ? undefined : await recordsOf(watched, watchedNames(prefix)),
      values,
    }
  } finally {
    await rm(directory, { recursive: true })
  }
}

export function judge(evidence: Evidence, verdict: Verdict): Fed {
  const { prefix, ledger, ends, committed, state, watched, values } = evidence
  const topics: Topics = (name) => evidence.topics.get(name) ?? []
  const fed = judgeTopics(prefix, ledger, topics, values, verdict)
  attempt(OFFSET_LOG, verdict, () => judgeOffsetLog(applicationOf(prefix), topics(OFFSET_LOG), verdict))
  judgeEnds(
    ends.filter(({ topic }) => topic !== OFFSET_LOG),
    verdict,
  )
  if (committed === undefined) verdict.say(OFFSETS, 'the committed offsets cannot be read')
  else {
    judgeProgress(committed, inputEnds(prefix, ledger, ends), verdict)
    judgeState(state, committed, topics, verdict)
  }
  if (watched !== undefined) judgeWatched(watched, topics, verdict)
  return fed
}

/** C1, C4, and that the regions' changelogs are what the models say. */
function judgeTopics(
  prefix: string,
  ledger: Ledger,
  topics: Topics,
  values: AvroValues | undefined,
  verdict: Verdict,
): Fed {
  const fed = judgeInputs(ledger, topics, verdict)
  const text = (value: Buffer): string => textOf(value)
  const region = (name: string, law: Law, meaning: RegionModel['meaning']): void =>
    attempt(name, verdict, () =>
      judgeRegion(name, topics, { entries: law(topics, verdict), meaning }, verdict),
    )
  region('counts', judgeCounts, int64Of)
  region('balances', judgeBank, int64Of)
  region('lists', judgeLists, text)
  region('live', judgeChanges, text)
  attempt('sums', verdict, () => judgeSums(topics('balances-changelog'), verdict))
  attempt('pairs', verdict, () => judgePairs(topics, verdict))
  attempt('copies', verdict, () => judgeRaw(topics, verdict))
  attempt('refused', verdict, () => judgeRefused(prefix, topics, verdict))
  if (values !== undefined) {
    region(
      'spend',
      () => judgeOrders(ledger, topics, values, verdict),
      (value) => values.read(value),
    )
  }
  return fed
}

type Law = (topics: Topics, verdict: Verdict) => Entries

/** What a law cannot even read breaks it. */
function attempt(name: string, verdict: Verdict, law: () => void): void {
  try {
    law()
  } catch (error) {
    verdict.say(`C1 ${name}`, `cannot be read: ${(error as Error).message}`)
  }
}

/** By the name that laws use. */
function topicNames(prefix: string, { plan }: Ledger): ReadonlyMap<string, string> {
  const regions = regionNames.filter((name) => plan.orders || name !== 'spend')
  return new Map([
    ...watchedNames(prefix),
    ...regions.map((name) => [`${name}-changelog`, changelogOf(prefix, name)] as const),
    ['credits', creditsOf(prefix).topic],
    [OFFSET_LOG, OFFSET_LOG],
  ])
}

const watchedNames = (prefix: string): ReadonlyMap<string, string> =>
  new Map(topicsOf(prefix).all.map(({ topic }) => [topic.slice(prefix.length), topic]))

/** By partition; within one as they were read. */
async function recordsOf(
  directory: string,
  names: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, readonly CommittedRecord[]>> {
  const topics = new Map<string, readonly CommittedRecord[]>()
  for (const [name, topic] of names) {
    const records = await recordsRead(directory, topic)
    topics.set(
      name,
      records.sort((a, b) => a.partition - b.partition),
    )
  }
  return topics
}

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
): Promise<readonly CommittedInput[] | undefined> {
  const sampler = new OffsetSampler({ brokers, prefix }, verdict)
  try {
    for (let attempts = 1; ; attempts++) {
      const committed = await sampler.sample()
      if (committed !== undefined || attempts === OFFSET_ATTEMPTS) return committed
      await pause(OFFSET_PAUSE_MS)
    }
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
    verdict.say(OFFSETS, `${topic}/${partition} is committed at ${offset}, it ends at ${highWatermark}`)
  }
}

/** C6: who read along saw what there is. */
function judgeWatched(
  watched: ReadonlyMap<string, readonly CommittedRecord[]>,
  topics: Topics,
  verdict: Verdict,
): void {
  const place = (record: CommittedRecord): string => `${record.offset} (${idOf(record)})`
  for (const [name, records] of watched) {
    const [seen, there] = [byPartition(records), byPartition(topics(name))]
    for (const partition of new Set([...seen.keys(), ...there.keys()])) {
      const [along = [], final = []] = [seen.get(partition), there.get(partition)]
      verdict.same('C6 watched', `${name}/${partition}`, final.map(place), along.map(place))
    }
  }
}
