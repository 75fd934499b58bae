/**
 * No chance: two instances with two tasks and a few transactions, and one fault, of each kind at each effect, or two.
 * Effects are the requests of instances that change something or say what was committed, and the operations of disks.
 */
import { memoryDisk } from '../../src/index.ts'
import type { Api, Request } from '../../src/ports.ts'
import type { SimCluster } from '../../src/testing/cluster.ts'
import type { AnswerFate, RequestFate } from '../../src/testing/network.ts'
import { SeededRandom } from '../../src/testing/seeded-random.ts'
import type { DiskFate } from '../../src/testing/sim-disk.ts'
import { Feeder } from './feeder.ts'
import { checkOutcome } from './outcome.ts'
import { inPart } from './partial.ts'
import { assertExplained, hasComeOut, isOver, stateOf } from './supervision.ts'
import { type Fates, type Instance, Violation, World } from './world.ts'

export const MISHAPS = [
  'crashBefore',
  'crashAfter',
  'loseRequest',
  'loseAnswer',
  'late',
  'lateAnswer',
  'pauseBefore',
  'pauseAfter',
  'pauseLongBefore',
  'pauseLongAfter',
  'fail',
  'inPart',
  'restartBefore',
  'restartAfter',
  'moveBefore',
  'moveAfter',
  'nodeDown',
] as const
export type Mishap = (typeof MISHAPS)[number]
export const HEIRS = ['same', 'power', 'empty'] as const
export type Heir = (typeof HEIRS)[number]

export interface Case {
  /** Counts effects from 0. */
  readonly at: number
  readonly mishap: Mishap
  /** The directory that an instance goes on with after a crash. */
  readonly heir: Heir
}

/** Fetches, heartbeats and look-ups are repeated anyway, and whatever lies between two of them is covered by its neighbours. */
const PASSED_OVER: ReadonlySet<Api> = new Set([
  'Fetch',
  'Heartbeat',
  'Metadata',
  'FindCoordinator',
  'DescribeConfigs',
])

const SETTINGS = {
  commitIntervalMs: 30,
  commitRecords: 6,
  sessionTimeoutMs: 600,
  heartbeatIntervalMs: 100,
  transactionTimeoutMs: 5_000,
  requestTimeoutMs: 1_000,
  rebalanceTimeoutMs: 1_500,
}
/** Beyond the session, and the successor has begun. */
const PAUSE_MS = 1_100
/** Until others have committed; at most so long, which is beyond the transaction's time as well. */
const PAUSE_LONG_MS = 8_000
const LATE_MS = 1_300
const NODES = 3
/** Until another leader is elected, until nodes hear of it, until a coordinator has loaded. */
const NODE_LAG_MS = 40
const NODE_DOWN_MS = 1_000
const FEED_AT_MS = [0, 250, 200, 0, 250, 1_200, 3_000]
/** Their records have the key of an abort marker, too. */
const ABORTED = [2]
const LOOK_MS = 40
const DRAIN_MS = 60_000
const SETTLE_MS = 6_500

/** How many effects there are when nothing goes wrong. */
export async function countEffects(): Promise<number> {
  return (await run([])).effects
}

/** The cases of one effect. */
export function* casesAt(at: number): Generator<Case> {
  for (const mishap of MISHAPS) {
    const heirs = mishap.startsWith('crash') ? HEIRS : (['same'] as const)
    for (const heir of heirs) yield { at, mishap, heir }
  }
}

/** As many pairs of cases as wanted, the second behind the first, of all that there are. */
export function* pairsOf(effects: number, count: number, random: SeededRandom): Generator<[Case, Case]> {
  const some = (from: number, to: number): Case =>
    random.pick([...casesAt(random.between(from, Math.max(from, to)))])
  for (let n = 0; n < count; n++) {
    const first = some(0, effects - 1)
    // Most of the second come while the first is being recovered from, which has effects of its own.
    const isSoon = random.chance(0.6)
    yield [first, some(first.at + 1, isSoon ? first.at + 30 : effects * 1.3)]
  }
}

/** `AT,MISHAP,HEIR`, several of them joined by `+`. */
export function namesOf(cases: readonly Case[]): string {
  return cases.map(({ at, mishap, heir }) => `${at},${mishap},${heir}`).join('+')
}

export function casesNamed(text: string): Case[] {
  return text.split('+').map((one) => {
    const [at, mishap, heir] = one.split(',')
    return { at: Number(at), mishap: mishap as Mishap, heir: heir as Heir }
  })
}

/** Errors: Violation, with the law. */
export async function runCase(cases: readonly Case[], trace?: (line: string) => void): Promise<void> {
  await run(cases, trace)
}

async function run(cases: readonly Case[], trace?: (line: string) => void): Promise<{ effects: number }> {
  const fates = new Fate(cases)
  const world = await World.open({
    seed: 1,
    inOrder: true,
    trace,
    partitions: 1,
    nodes: NODES,
    fates,
    settings: SETTINGS,
  })
  fates.cluster = world.cluster
  const { simulation } = world
  const plan = {
    transactions: FEED_AT_MS.length,
    recordsMax: 8,
    partitions: 1,
    pauseMs: (n: number) => FEED_AT_MS[n] as number,
    isAborted: (n: number) => ABORTED.includes(n),
  }
  const feeder = new Feeder(simulation.process('feeder'), world.wire, new SeededRandom(24), plan)
  const feeding = feeder.run()
  const wanted = new Map(['i0', 'i1'].map((name) => [name, world.start(name)]))
  const canFillDisk = cases.some(({ mishap }) => mishap === 'fail')
  fates.commits = (name) => {
    let commits = 0
    for (const [who, count] of world.ledger.commits) if (who !== name && who !== 'observer') commits += count
    return commits
  }

  const isOut = (): boolean => feeder.isDone && hasComeOut(world, feeder)
  const untilMs = simulation.nowMs + DRAIN_MS
  const failedSince = new Map<Instance, number>()
  while (!isOut() || fates.isPending) {
    if (simulation.nowMs > untilMs) throw new Violation(`not everything has come out${stateOf(world)}`)
    await simulation.runUntil(() => fates.wantsRestart, simulation.nowMs + LOOK_MS)
    if (fates.wantsRestart) await world.restartBroker()
    fates.wantsRestart = false
    fates.look()
    for (const [name, instance] of wanted) {
      if (!isOver(instance)) {
        failedSince.delete(instance)
        continue
      }
      const sinceMs = failedSince.get(instance) ?? simulation.nowMs
      failedSince.set(instance, sinceMs)
      if (!instance.process.isDead && instance.failure === undefined && simulation.nowMs - sinceMs < 1_500)
        continue
      assertExplained(world, instance, canFillDisk)
      if (instance.process.isDead) world.forget(instance)
      else await world.close(instance)
      const heir = fates.heirs.get(instance)
      if (heir === 'power') instance.disk.crash({ loseUnsynced: true })
      await world.checkDisk(instance.disk)
      wanted.set(name, world.start(name, heir === 'empty' ? memoryDisk() : instance.disk))
    }
    await world.checkQueries()
  }
  await feeding
  await simulation.runUntil(() => false, simulation.nowMs + 500)
  fates.isOver = true
  await world.checkQueries()
  for (const instance of wanted.values()) {
    if (isOver(instance)) assertExplained(world, instance, canFillDisk)
    await world.close(instance)
    await world.checkDisk(instance.disk)
  }
  await simulation.runUntil(() => false, simulation.nowMs + SETTLE_MS)
  await simulation.settle(checkOutcome(world, feeder.committed), DRAIN_MS)
  world.assertLaws()
  return { effects: fates.effects }
}

class Fate implements Fates {
  effects = 0
  /** The broker is to be killed and opened again, before anything else happens. */
  wantsRestart = false
  /** The instances are being closed. */
  isOver = false
  /** Those of all but one instance. */
  commits: (exceptOf: string) => number = () => 0
  cluster: SimCluster | undefined
  /** With what those go on that a case has killed. */
  readonly heirs = new Map<Instance, Heir>()
  readonly #cases: ReadonlyMap<number, Case>
  /** When it is done, and before it is answered, something happens. */
  readonly #doing = new Map<Request, Case>()
  readonly #answering = new Map<Request, Case>()
  readonly #paused = new Set<{ instance: Instance; atMs: number; commits: number; isLong: boolean }>()

  constructor(cases: readonly Case[]) {
    this.#cases = new Map(cases.map((one) => [one.at, one]))
  }

  /** A pause has not ended. */
  get isPending(): boolean {
    return this.#paused.size > 0
  }

  latencyMs(): number {
    return 1
  }

  brokerLagMs(): number {
    return 0
  }

  nodeLagMs(what: 'spread' | 'election' | 'load' | 'replication'): number {
    return what === 'replication' ? 1 : NODE_LAG_MS
  }

  arrivesWithoutSender(): boolean {
    return true
  }

  request(instance: Instance, request: Request): RequestFate {
    if (PASSED_OVER.has(request.api)) return 'deliver'
    const one = this.#next()
    switch (one?.mishap) {
      case 'crashBefore':
        this.#kill(instance, one)
        return 'lose'
      case 'loseRequest':
        return 'lose'
      case 'late':
        return { delayMs: LATE_MS }
      case 'inPart':
        return inPart(request) ?? 'deliver'
      case 'pauseBefore':
      case 'pauseLongBefore':
        this.#pause(instance, one)
        return 'hold'
      case 'pauseAfter':
      case 'pauseLongAfter':
        this.#pause(instance, one)
        return 'deliver'
      case 'restartBefore':
        this.wantsRestart = true
        return 'deliver'
      case 'moveBefore':
        this.#move(request)
        return 'deliver'
      case 'moveAfter':
      case 'nodeDown':
        this.#doing.set(request, one)
        return 'deliver'
      case 'crashAfter':
      case 'loseAnswer':
      case 'lateAnswer':
      case 'restartAfter':
        this.#answering.set(request, one)
    }
    return 'deliver'
  }

  carriedOut(request: Request): void {
    const one = this.#doing.get(request)
    if (one === undefined) return
    this.#doing.delete(request)
    if (one.mishap === 'moveAfter') this.#move(request)
    else this.#takeDown(request)
  }

  answer(instance: Instance, request: Request): AnswerFate {
    const one = this.#answering.get(request)
    if (one === undefined) return 'deliver'
    if (one.mishap === 'crashAfter') this.#kill(instance, one)
    if (one.mishap === 'restartAfter') this.wantsRestart = true
    return one.mishap === 'lateAnswer' ? { delayMs: LATE_MS } : 'lose'
  }

  disk(instance: Instance, operation: string): DiskFate {
    const one = this.#next()
    switch (one?.mishap) {
      case 'crashBefore':
        this.heirs.set(instance, one.heir)
        return 'die'
      case 'crashAfter':
        this.heirs.set(instance, one.heir)
        return 'dieAfter'
      case 'fail':
        return operation === 'write' ? 'fail' : 'do'
      case 'pauseBefore':
      case 'pauseLongBefore':
      case 'pauseAfter':
      case 'pauseLongAfter':
        this.#pause(instance, one)
        return 'do'
      default:
        return 'do'
    }
  }

  look(): void {
    for (const paused of this.#paused) {
      const { instance, atMs, commits, isLong } = paused
      const sinceMs = instance.process.simulation.nowMs - atMs
      const others = this.commits(instance.name) - commits
      const isEnough = sinceMs >= (isLong ? PAUSE_LONG_MS : PAUSE_MS)
      if (!isEnough && !(isLong && others >= 4 && sinceMs > PAUSE_MS)) continue
      this.#paused.delete(paused)
      instance.process.resume()
    }
  }

  /** The case of the effect that comes now. */
  #next(): Case | undefined {
    if (this.isOver) return undefined
    this.effects += 1
    return this.#cases.get(this.effects - 1)
  }

  #kill(instance: Instance, { heir }: Case): void {
    this.heirs.set(instance, heir)
    instance.process.kill()
  }

  #move(request: Request): void {
    for (const name of this.cluster?.placesOf(request) ?? []) this.cluster?.move(name)
  }

  #takeDown(request: Request): void {
    const { cluster } = this
    const [place] = cluster?.placesOf(request) ?? []
    const node = place === undefined ? undefined : cluster?.leaderOf(place)
    if (cluster === undefined || node === undefined) return
    cluster.takeDown(node)
    cluster.simulation.schedule(undefined, NODE_DOWN_MS, 'node is back', () => cluster.bringUp(node))
  }

  #pause(instance: Instance, { mishap }: Case): void {
    instance.process.pause()
    const atMs = instance.process.simulation.nowMs
    const isLong = mishap.startsWith('pauseLong')
    this.#paused.add({ instance, atMs, commits: this.commits(instance.name), isLong })
  }
}
