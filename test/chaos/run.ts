/**
 * One run: a cluster, a fleet of processes with a supervisor, a feeder; faults round by round, and after each round
 * everything that was written has to come out in time. At the end all of it is read and judged.
 */
import { access, mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { kafkaWire } from '../../src/index.ts'
import { SeededRandom } from '../../src/testing/seeded-random.ts'
import { RegistryServer } from '../serde/registry-server.ts'
import type { CommittedReader } from '../stack/committed.ts'
import { KafkaProxy } from '../stack/proxy.ts'
import type { RunningCluster, StartCluster } from '../stack/running-cluster.ts'
import { check } from './check.ts'
import { broker, moves, registry } from './cluster-faults.ts'
import { CommitLedger } from './commit-ledger.ts'
import { damage, diskFull, hasDiskLimits } from './disk-faults.ts'
import { untilDrained } from './drain.ts'
import { POINTS } from './failpoints.ts'
import { feed } from './feed.ts'
import { type FeedPlan, transactionOf } from './input.ts'
import { readLedger } from './ledger.ts'
import { NetworkFaults } from './network-faults.ts'
import { OffsetSampler } from './offset-sampler.ts'
import { overlap } from './overlaps.ts'
import { Place } from './place.ts'
import { Failpoints, freeze, kill, rebalance, rolling } from './process-faults.ts'
import type { Failure, Report } from './reports.ts'
import { BROKER_CONFIGS, DRAIN_LIMIT_MS, REGISTRY_AUTH } from './settings.ts'
import type { Family, Fault, Stage } from './stage.ts'
import { fingerprintOf, readState } from './state.ts'
import { watch } from './watch.ts'
import { makeTopics } from './workloads.ts'

export interface ChaosOptions {
  readonly seed: number
  readonly nodes: 1 | 3
  readonly families: readonly Family[]
  /** How long there are faults, or how many times over those of each family, by their weights. */
  readonly faults:
    | { readonly forMs: number; readonly roundMs: number }
    | { readonly ofEach: number }
    /** None of the families: this one, again and again, for so long and until there were so many. */
    | { readonly forMs: number; readonly atLeast: number; readonly only: Fault }
  readonly recordsPerSecond: number
  readonly mutant?: string
  /** For logs and state. */
  readonly directory: string
  readonly startCluster: StartCluster
  readonly say: (line: string) => void
}

export interface ChaosResult {
  readonly violations: readonly string[]
  readonly faults: ReadonlyMap<Family, number>
  readonly points: { readonly hit: number; readonly all: number; readonly missing: readonly string[] }
  readonly transactions: number
  readonly records: number
  readonly ambiguous: { readonly committed: number; readonly aborted: number; readonly unresolved: number }
  readonly restores: number
  /** Samples in which Kafka's coordinator was behind its own log, for a moment. */
  readonly oldAnswers: number
  readonly wipes: number
  readonly wipesAfterDamage: number
  /** Of any process at any time. */
  readonly heapBytesMax: number
}

/**
 * Families that meet in time are in different lanes; of one lane there is one fault at a time. A weight is how many there
 * are of a family while there is one of another.
 */
const LANES: readonly {
  readonly pauseMs: readonly [number, number]
  readonly weights: Partial<Record<Family, number>>
}[] = [
  {
    pauseMs: [500, 4_000],
    weights: { kill: 3, failpoint: 8, freeze: 2, rebalance: 2, rolling: 1, diskFull: 1, damage: 1 },
  },
  { pauseMs: [0, 3_000], weights: { proxy: 6 } },
  { pauseMs: [15_000, 40_000], weights: { broker: 1, moves: 2 } },
  { pauseMs: [15_000, 40_000], weights: { registry: 1 } },
]

/** What a fault may do to a task or to an application. */
const EXPLAINS: Partial<Record<Family, readonly string[]>> = {
  diskFull: ['DISK_FAILED', 'STATE_WRITE_FAILED'],
  damage: ['DISK_FAILED', 'STORE_CORRUPT', 'STATE_UNREADABLE'],
  broker: ['BROKER_UNAVAILABLE'],
  proxy: ['BROKER_UNAVAILABLE'],
  registry: ['REGISTRY_UNAVAILABLE', 'BROKER_UNAVAILABLE'],
}

/** Begins what is said of a law that a clock decides. */
export const NOT_IN_TIME = 'Not in time'

const PLACES = ['A', 'B', 'C']
const GUESTS = ['D', 'E']
const SAY_MS = 10_000
/** Where each is asked for: its moment may not come at the first. */
const ATTEMPTS = 5
const SAMPLE_MS = 1_000

export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  await using run = new Run(options)
  return await run.all()
}

class Run implements AsyncDisposable {
  readonly #options: ChaosOptions
  readonly #random: SeededRandom
  readonly #violations: string[] = []
  readonly #counts = new Map<Family, number>()
  readonly #details = new Map<string, number>()
  readonly #commits = new CommitLedger()
  /** Stores that may be moved aside, and those of them that nobody has opened since. */
  readonly #damaged = new Set<string>()
  readonly #unopened = new Set<string>()
  #hasDamage = false
  #heapBytesMax = 0
  /** Told already. */
  #offsetViolations = 0
  readonly #failpoints: Failpoints
  readonly #network: NetworkFaults
  readonly #prefix: string
  readonly #closing = new AbortController()
  readonly #places: Place[] = []
  readonly #guests: Place[] = []
  #cluster: RunningCluster | undefined
  #registry: RegistryServer | undefined
  #offsets: OffsetSampler | undefined
  #watching: CommittedReader | undefined
  #feeding: { readonly stop: AbortController; readonly ended: Promise<void> } | undefined
  #transactions = 0
  #restores = 0
  #wipes = 0
  #wipesAfterDamage = 0
  #startedMs = performance.now()

  constructor(options: ChaosOptions) {
    this.#options = options
    this.#random = new SeededRandom(options.seed)
    this.#prefix = `c${options.seed}-`
    this.#failpoints = new Failpoints(this.#random.fork())
    this.#network = new NetworkFaults(this.#random.fork())
  }

  async all(): Promise<ChaosResult> {
    await this.#open()
    void this.#sample()
    await this.#faults()
    if (this.#isDecided) return this.#result(0)
    await this.#restartOnce()
    await this.#watching?.finish()
    await this.#offsets?.close()
    this.#judgeOffsets()
    // Nobody knows of it yet, so it proves nothing.
    for (const store of this.#unopened) await rm(store, { recursive: true, force: true })
    this.#log('reading what has come out')
    const checked = await check({
      ...this.#what,
      ledger: this.#ledger,
      stateDirs: await this.#stateDirs(),
      watched: this.#watched,
      mayMoveAside: this.#hasDamage,
      logs: [...this.#places, ...this.#guests].map(({ logPath }) => logPath),
      secrets: [REGISTRY_AUTH.password, `${REGISTRY_AUTH.username}:${REGISTRY_AUTH.password}`],
    })
    for (const violation of checked.violations) this.#violation(violation)
    await this.#countPoison(checked.transactions)
    return this.#result(checked.records)
  }

  /** It is among what is fed, in every run. */
  async #countPoison(transactions: number): Promise<void> {
    const plan = (await readLedger(this.#ledger))?.plan as FeedPlan
    let count = 0
    for (let n = 0; n < transactions; n++) {
      for (const { poison } of transactionOf(plan, n)) if (poison !== undefined) count += 1
    }
    this.#counts.set('poison', count)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    this.#feeding?.stop.abort()
    this.#takeAlong()
    process.off('exit', this.#takeAlong)
    await Promise.all([...this.#places, ...this.#guests].map((place) => place.remove()))
    await this.#offsets?.close()
    await this.#registry?.stop()
    await this.#cluster?.close()
  }

  /** A reader whose broker is gone would wait for it for ever. */
  readonly #takeAlong = (): void => this.#watching?.kill()

  /** With one fault alone the first violation is all that is asked for. */
  get #isDecided(): boolean {
    return 'only' in this.#options.faults && this.#violations.length > 0
  }

  /** Which run on which brokers. */
  get #what() {
    const { brokers } = this.#cluster as RunningCluster
    const { url } = this.#registry as RegistryServer
    return { brokers: brokers.join(), prefix: this.#prefix, registryUrl: url }
  }

  get #ledger(): string {
    return join(this.#options.directory, 'ledger.jsonl')
  }

  get #watched(): string {
    return join(this.#options.directory, 'watched')
  }

  async #stateDirs(): Promise<string[]> {
    const all = [...this.#places, ...this.#guests].map(({ stateDir }) => stateDir)
    const there = await Promise.all(
      all.map((path) =>
        access(path).then(
          () => true,
          () => false,
        ),
      ),
    )
    return all.filter((_, i) => there[i])
  }

  // --- the stage ---

  async #open(): Promise<void> {
    const { nodes, startCluster, directory, mutant } = this.#options
    const cluster = await startCluster({ nodes, configs: BROKER_CONFIGS })
    this.#cluster = cluster
    this.#registry = await RegistryServer.open()
    const wire = kafkaWire({ brokers: cluster.brokers })
    const prefix = this.#prefix
    await makeTopics(wire, prefix)
    await mkdir(directory, { recursive: true })
    const registryUrl = this.#registry.url
    for (const [names, list] of [
      [PLACES, this.#places],
      [GUESTS, this.#guests],
    ] as const) {
      for (const name of names) {
        const proxy = await KafkaProxy.open(wire)
        proxy.forgets = true
        list.push(
          new Place(
            name,
            directory,
            proxy,
            { prefix, registryUrl, mutant },
            {
              report: (place, process, report) => this.#onReport(place, process, report),
              ended: (_, process, wasAsked, code) => this.#onEnded(process, wasAsked, code),
              unhealthy: (place, failures) => {
                for (const failure of failures) this.#explain(place, failure)
              },
              violation: (what) => this.#violation(what),
            },
          ),
        )
      }
    }
    for (const guest of this.#guests) guest.isSupervised = false
    this.#offsets = new OffsetSampler(this.#what)
    this.#watching = await watch({ ...this.#what, directory: this.#watched })
    process.once('exit', this.#takeAlong)
    const [first, ...others] = this.#places as [Place, ...Place[]]
    if (this.#has('failpoint')) await this.#failpoints.onFirstStart(this.#stage(this.#closing.signal), first)
    else first.start()
    for (const place of others) place.start()
    this.#startedMs = performance.now()
  }

  get #happened(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0)
  }

  #stage(signal: AbortSignal): Stage {
    return {
      cluster: this.#cluster as RunningCluster,
      places: this.#places,
      guests: this.#guests,
      registry: this.#registry as RegistryServer,
      signal,
      happened: (family, what) => {
        this.#counts.set(family, (this.#counts.get(family) ?? 0) + 1)
        const name = `${family}: ${what}`
        this.#details.set(name, (this.#details.get(name) ?? 0) + 1)
        this.#log(name)
      },
      missed: (family, what) => this.#log(`${family}: ${what} has not come`),
      damaged: (store) => {
        this.#hasDamage = true
        this.#damaged.add(store)
        this.#unopened.add(store)
      },
    }
  }

  #has(family: Family): boolean {
    return this.#options.families.includes(family)
  }

  // --- faults ---

  async #faults(): Promise<void> {
    const { faults } = this.#options
    if ('ofEach' in faults) {
      await this.#round(undefined, faults.ofEach)
      return
    }
    if ('only' in faults) {
      await this.#round(faults.forMs, undefined, faults.atLeast)
      return
    }
    const end = performance.now() + faults.forMs
    while (performance.now() < end) await this.#round(Math.min(faults.roundMs, end - performance.now()))
  }

  #feed(): void {
    const stop = new AbortController()
    const { seed, recordsPerSecond } = this.#options
    const ended = Promise.all([
      feed({ ...this.#what, seed, ledger: this.#ledger, recordsPerSecond }, stop.signal),
      overlap(this.#what, stop.signal),
    ])
    this.#feeding = {
      stop,
      ended: ended.then(
        () => {},
        (error: unknown) => this.#violation(`the feeder has failed: ${String(error)}`),
      ),
    }
  }

  /** For so long and at least so many faults, or so many of each family; then all that was fed comes out. */
  async #round(ms?: number, ofEach?: number, atLeast = 0): Promise<void> {
    this.#feed()
    const over = new AbortController()
    const stage = this.#stage(AbortSignal.any([over.signal, this.#closing.signal]))
    const { faults } = this.#options
    const lanes =
      'only' in faults
        ? [this.#script(stage, faults.only)]
        : LANES.map(({ pauseMs, weights }) => this.#lane(stage, pauseMs, weights, ofEach))
    if (ms !== undefined) {
      const end = performance.now() + ms
      while (!this.#isDecided && !(performance.now() >= end && this.#happened >= atLeast)) await sleep(200)
      over.abort()
    }
    await Promise.all(lanes)
    over.abort()
    for (const place of this.#places) place.arm(undefined)
    this.#feeding?.stop.abort()
    await this.#feeding?.ended
    if (!this.#isDecided) await this.#untilDrained('after the last fault')
  }

  async #script(stage: Stage, fault: Fault): Promise<void> {
    while (!stage.signal.aborted && !this.#isDecided) await this.#do(fault, stage, this.#random)
  }

  /** One that cannot be done is a mistake of this program: the run goes on, and fails. */
  async #do(fault: Fault, stage: Stage, random: SeededRandom): Promise<void> {
    try {
      await fault(stage, random)
    } catch (error) {
      this.#violation(`a fault could not be made: ${(error as Error).stack}`)
    }
  }

  async #lane(
    stage: Stage,
    [least, most]: readonly [number, number],
    weights: Partial<Record<Family, number>>,
    ofEach: number | undefined,
  ): Promise<void> {
    const random = this.#random.fork()
    const families = (Object.keys(weights) as Family[]).filter((family) => this.#has(family))
    const bag = families.flatMap((family) => Array.from({ length: weights[family] as number }, () => family))
    const times = ofEach ?? Number.POSITIVE_INFINITY
    const left = new Map(families.map((family) => [family, times * (weights[family] as number)]))
    while (!stage.signal.aborted && bag.some((family) => (left.get(family) as number) > 0)) {
      const family = random.pick(bag.filter((family) => (left.get(family) as number) > 0))
      left.set(family, (left.get(family) as number) - 1)
      const pause = random.between(least, most)
      if (ofEach === undefined) await sleep(pause, undefined, { signal: stage.signal }).catch(() => {})
      if (stage.signal.aborted) return
      const before = this.#counts.get(family)
      const attempts = ofEach === undefined ? 1 : ATTEMPTS
      for (let n = 0; n < attempts && this.#counts.get(family) === before; n++) {
        await this.#do(this.#faultOf(family), stage, random.fork())
      }
      if (ofEach !== undefined) await sleep(Math.min(pause, 1_500))
    }
  }

  #faultOf(family: Family): Fault {
    switch (family) {
      case 'kill':
        return kill
      case 'failpoint':
        return this.#failpoints.fault
      case 'freeze':
        return freeze
      case 'rebalance':
        return rebalance
      case 'rolling':
        return rolling
      case 'diskFull':
        return diskFull
      case 'damage':
        return damage
      case 'proxy':
        return this.#network.fault
      case 'broker':
        return broker
      case 'moves':
        return moves
      case 'registry':
        return registry
      case 'poison':
        throw new Error('Poison is fed')
    }
  }

  // --- what has to hold ---

  /** Everything that was written comes out, in time, and everybody is well. */
  async #untilDrained(when: string): Promise<void> {
    const deadline = performance.now() + DRAIN_LIMIT_MS
    const ms = await untilDrained({ ...this.#what, orders: true }, DRAIN_LIMIT_MS)
    const isWell = () =>
      this.#places.every(({ health }) => health?.state === 'RUNNING' && health.failed.length === 0)
    while (!isWell() && performance.now() < deadline) await sleep(100)
    if (ms !== undefined && isWell()) {
      this.#log(`${when}: drained in ${(ms / 1_000).toFixed(1)} s`)
      return
    }
    const unwell = this.#places
      .map(({ name, health }) => `${name} ${health?.state} ${JSON.stringify(health?.failed)}`)
      .join(', ')
    const what = ms === undefined ? 'not everything has come out' : 'not everybody is well'
    this.#violation(`${NOT_IN_TIME} ${when}: ${what} after ${DRAIN_LIMIT_MS / 1_000} s: ${unwell}`)
  }

  /** All ends, as it should, and begins again, with one directory lost: nothing changes by that. */
  async #restartOnce(): Promise<void> {
    for (const place of this.#places) place.isSupervised = false
    await Promise.all(this.#places.map((place) => place.terminate()))
    const before = await this.#fingerprint()
    await this.#places[0]?.emptyDirectory()
    for (const place of this.#places) {
      place.isSupervised = true
      place.start()
    }
    await this.#untilDrained('after the restart at the end')
    await Promise.all(this.#places.map((place) => place.end()))
    const after = await this.#fingerprint()
    if (after !== before) this.#violation(`a restart has changed state: ${before} before, ${after} after`)
  }

  /** Undefined where directories were damaged: what stands in those proves nothing. */
  async #fingerprint(): Promise<string | undefined> {
    return this.#hasDamage ? undefined : fingerprintOf(await readState(await this.#stateDirs()))
  }

  #onReport(place: Place, process: string, report: Report): void {
    switch (report.kind) {
      case 'point':
        this.#failpoints.hit(report.armed.point)
        return
      case 'movedAside':
        if (this.#damaged.delete(join(place.stateDir, report.path))) this.#wipesAfterDamage += 1
        else {
          this.#wipes += 1
          this.#violation(`${process} has moved ${report.path} aside, and nobody has damaged it`)
        }
        return
      case 'opening':
        this.#unopened.delete(join(place.stateDir, report.path))
        return
      case 'restored':
        this.#restores += 1
        return
      case 'ending':
        this.#commits.ending(process, report.mark)
        return
      case 'ended':
        this.#commits.ended(process, report.known)
        if (report.known) this.#transactions += 1
        return
      case 'offsets':
        this.#commits.read(report.marks)
        return
      case 'stopped':
        this.#explain(place, report.failure)
        return
      case 'unhandled':
        this.#violation(`${process}: not handled: ${report.message}`)
        return
      case 'health':
        this.#heapBytesMax = Math.max(this.#heapBytesMax, report.heapBytes)
        return
    }
  }

  #onEnded(process: string, wasAsked: boolean, code: number | null): void {
    this.#commits.lost(process)
    if (!wasAsked) this.#violation(`${process} has ended by itself: ${code}`)
  }

  /** Nothing but what the faults of this run can do may end a task or an application. */
  #explain(place: Place, { task, code, message }: Failure): void {
    const who = task === undefined ? place.name : `${place.name}, task ${task}`
    this.#log(`${who} has failed: ${message}`)
    if (this.#options.families.some((family) => EXPLAINS[family]?.includes(code))) return
    this.#violation(`${who} has failed: ${message}`)
  }

  #violation(what: string): void {
    this.#violations.push(what)
    this.#log(`VIOLATION ${what}`)
  }

  // --- what is told ---

  #log(line: string): void {
    this.#options.say(`${((performance.now() - this.#startedMs) / 1_000).toFixed(1).padStart(7)} ${line}`)
  }

  /** At once: what goes on with wrong offsets may only look slow. */
  #judgeOffsets(): void {
    const all = this.#offsets?.violations ?? []
    for (const violation of all.slice(this.#offsetViolations)) this.#violation(violation)
    this.#offsetViolations = all.length
  }

  async #sample(): Promise<void> {
    let saidMs = performance.now()
    while (!this.#closing.signal.aborted) {
      await this.#offsets?.sample()
      this.#judgeOffsets()
      if (performance.now() - saidMs > SAY_MS) {
        saidMs = performance.now()
        const faults = Array.from(this.#counts, ([family, n]) => `${family} ${n}`).join(', ')
        this.#log(
          `-- ${this.#transactions} transactions, ${this.#commits.ambiguous} ambiguous commits (${this.#commits.unresolved} open), ${this.#restores} restores; ${faults}; ${this.#violations.length} violations`,
        )
      }
      await sleep(SAMPLE_MS)
    }
  }

  #result(records: number): ChaosResult {
    const missing = POINTS.filter(({ name }) => !this.#failpoints.hits.has(name)).map(({ name }) => name)
    const { committed, aborted } = this.#commits.resolved
    for (const [name, n] of [...this.#details].sort()) this.#options.say(`        ${name}: ${n}`)
    return {
      violations: this.#violations,
      faults: this.#counts,
      points: { hit: POINTS.length - missing.length, all: POINTS.length, missing },
      transactions: this.#transactions,
      records,
      ambiguous: { committed, aborted, unresolved: this.#commits.unresolved },
      restores: this.#restores,
      oldAnswers: this.#offsets?.oldAnswers ?? 0,
      wipes: this.#wipes,
      wipesAfterDamage: this.#wipesAfterDamage,
      heapBytesMax: this.#heapBytesMax,
    }
  }
}

/** Those that can be had on so many nodes of this machine. */
export async function possible(families: readonly Family[], nodes: number): Promise<Family[]> {
  const limits = await hasDiskLimits()
  return families.filter((family) => {
    if (family === 'moves') return nodes > 1
    return family !== 'diskFull' || limits
  })
}
