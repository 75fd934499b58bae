/**
 * No chance: two instances with two tasks and a few transactions, and one fault, of each kind at each effect. Effects are
 * the requests of instances that change something or say what was committed, and the operations of their disks.
 */
import { memoryDisk } from '../../src/index.ts'
import type { Api, Request } from '../../src/ports.ts'
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
const FEED_AT_MS = [0, 250, 200, 0, 250, 1_200, 3_000]
/** Their records have the key of an abort marker, too. */
const ABORTED = [2]
const LOOK_MS = 40
const DRAIN_MS = 60_000
const SETTLE_MS = 6_500

/** How many effects there are when nothing goes wrong. */
export async function countEffects(): Promise<number> {
  return (await run(undefined)).effects
}

/** The cases of one effect. */
export function* casesAt(at: number): Generator<Case> {
  for (const mishap of MISHAPS) {
    const heirs = mishap.startsWith('crash') ? HEIRS : (['same'] as const)
    for (const heir of heirs) yield { at, mishap, heir }
  }
}

/** Errors: Violation, with the law. */
export async function runCase(one: Case, trace?: (line: string) => void): Promise<void> {
  await run(one, trace)
}

async function run(one: Case | undefined, trace?: (line: string) => void): Promise<{ effects: number }> {
  const fates = new OneFate(one)
  const world = await World.open({ seed: 1, inOrder: true, trace, partitions: 1, fates, settings: SETTINGS })
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
  const canFillDisk = one?.mishap === 'fail'
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
      if (one?.heir === 'power') instance.disk.crash({ loseUnsynced: true })
      await world.checkDisk(instance.disk)
      wanted.set(name, world.start(name, one?.heir === 'empty' ? memoryDisk() : instance.disk))
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

class OneFate implements Fates {
  effects = 0
  /** The broker is to be killed and opened again, before anything else happens. */
  wantsRestart = false
  /** The instances are being closed. */
  isOver = false
  /** Those of all but one instance. */
  commits: (exceptOf: string) => number = () => 0
  readonly #case: Case | undefined
  #answering: Request | undefined
  #paused: { instance: Instance; atMs: number; commits: number } | undefined

  constructor(one: Case | undefined) {
    this.#case = one
  }

  /** A pause has not ended. */
  get isPending(): boolean {
    return this.#paused !== undefined
  }

  latencyMs(): number {
    return 1
  }

  brokerLagMs(): number {
    return 0
  }

  arrivesWithoutSender(): boolean {
    return true
  }

  request(instance: Instance, request: Request): RequestFate {
    if (PASSED_OVER.has(request.api) || !this.#isIt()) return 'deliver'
    switch (this.#case?.mishap) {
      case 'crashBefore':
        instance.process.kill()
        return 'lose'
      case 'loseRequest':
        return 'lose'
      case 'late':
        return { delayMs: LATE_MS }
      case 'inPart':
        return inPart(request) ?? 'deliver'
      case 'pauseBefore':
      case 'pauseLongBefore':
        this.#pause(instance)
        return 'hold'
      case 'pauseAfter':
      case 'pauseLongAfter':
        this.#pause(instance)
        return 'deliver'
      case 'restartBefore':
        this.wantsRestart = true
        return 'deliver'
      case 'crashAfter':
      case 'loseAnswer':
      case 'lateAnswer':
      case 'restartAfter':
        this.#answering = request
    }
    return 'deliver'
  }

  answer(instance: Instance, request: Request): AnswerFate {
    if (request !== this.#answering) return 'deliver'
    if (this.#case?.mishap === 'crashAfter') instance.process.kill()
    if (this.#case?.mishap === 'restartAfter') this.wantsRestart = true
    return this.#case?.mishap === 'lateAnswer' ? { delayMs: LATE_MS } : 'lose'
  }

  disk(instance: Instance, operation: string): DiskFate {
    if (!this.#isIt()) return 'do'
    switch (this.#case?.mishap) {
      case 'crashBefore':
        return 'die'
      case 'crashAfter':
        return 'dieAfter'
      case 'fail':
        return operation === 'write' ? 'fail' : 'do'
      case 'pauseBefore':
      case 'pauseLongBefore':
      case 'pauseAfter':
      case 'pauseLongAfter':
        this.#pause(instance)
        return 'do'
      default:
        return 'do'
    }
  }

  look(): void {
    const paused = this.#paused
    if (paused === undefined) return
    const { instance, atMs, commits } = paused
    const sinceMs = instance.process.simulation.nowMs - atMs
    const isLong = this.#case?.mishap.startsWith('pauseLong') === true
    const others = this.commits(instance.name) - commits
    if (sinceMs < (isLong ? PAUSE_LONG_MS : PAUSE_MS) && !(isLong && others >= 4 && sinceMs > PAUSE_MS))
      return
    this.#paused = undefined
    instance.process.resume()
  }

  #isIt(): boolean {
    if (this.isOver) return false
    this.effects += 1
    return this.#case !== undefined && this.effects - 1 === this.#case.at
  }

  #pause(instance: Instance): void {
    instance.process.pause()
    const atMs = instance.process.simulation.nowMs
    this.#paused = { instance, atMs, commits: this.commits(instance.name) }
  }
}
