/**
 * One seed: records are fed while instances crash, freeze, come and go; then the faults end, everything has to come out,
 * and what came out is judged.
 */
import { memoryDisk } from '../../src/index.ts'
import { SeededRandom } from '../../src/testing/seeded-random.ts'
import { checkBank } from './bank.ts'
import { Chaos, type Fault, REQUEST_TIMEOUT_LEAST_MS } from './chaos.ts'
import { Feeder } from './feeder.ts'
import { raiseEpochs } from './high-epochs.ts'
import { checkAtLeastOnce, checkOutcome } from './outcome.ts'
import { assertExplained, hasComeOut, isOver, stateOf } from './supervision.ts'
import { type Instance, Violation, World } from './world.ts'

export interface SeedOptions {
  readonly trace?: ((line: string) => void) | undefined
  /** Of the seed's faults, only these: names as in `happened`. Default: all. */
  readonly only?: ReadonlySet<string> | undefined
  /** Gets the names of the faults that happen, as they do. */
  readonly happened?: ((names: readonly string[]) => void) | undefined
}

export interface SeedResult {
  readonly seed: number
  readonly events: number
  /** Requests of instances and operations of their disks. */
  readonly effects: number
  readonly virtualMs: number
  readonly transactions: number
  readonly records: number
  readonly kinds: readonly Fault[]
  readonly faults: ReadonlyMap<Fault, number>
}

/** Virtual time in which everything has to come out once the faults have ended. */
const DRAIN_MS = 90_000
const CHAOS_MS = 9_000
const LOOK_MS = 150
/** Longer than a transaction can stay open. */
const SETTLE_MS = 4_000
/** Beyond the time of an instance's transaction, not of the feeder's. */
const BROKER_JUMP_MS = 3_000

/** Errors: Violation, with the law. */
export async function runSeed(seed: number, options: SeedOptions = {}): Promise<SeedResult> {
  const { chaos, world, feeder, isMild } = await open(seed, options)
  const { simulation } = world
  const feeding = feeder.run()
  feeding.catch((error: unknown) => world.broken(`the feeder: ${String(error)}`))
  const supervisor = new Supervisor(world, chaos)
  await supervisor.begin()

  while (simulation.nowMs < CHAOS_MS && !(feeder.isDone && simulation.nowMs > CHAOS_MS / 2)) {
    await simulation.runUntil(() => false, simulation.nowMs + LOOK_MS)
    await supervisor.look()
  }
  await simulation.settle(feeding, DRAIN_MS)

  chaos.isOn = false
  const isOut = (): boolean => hasComeOut(world, feeder)
  for (const untilMs = simulation.nowMs + DRAIN_MS; !isOut(); ) {
    if (simulation.nowMs >= untilMs) {
      throw new Violation(`not everything has come out ${DRAIN_MS} ms after the last fault${stateOf(world)}`)
    }
    await simulation.runUntil(isOut, simulation.nowMs + LOOK_MS)
    await supervisor.look()
  }
  await simulation.runUntil(() => false, simulation.nowMs + SETTLE_MS)
  await world.checkQueries()
  await supervisor.end()
  // Where nothing has gone wrong, at least once is once.
  const checking = world.isBank
    ? checkBank(world, feeder.committed)
    : world.isExact || isMild
      ? checkOutcome(world, feeder.committed)
      : checkAtLeastOnce(world, feeder.committed, chaos.isFenced)
  await simulation.settle(checking, DRAIN_MS)
  world.assertLaws()
  return {
    seed,
    events: simulation.count,
    effects: chaos.effects,
    virtualMs: simulation.nowMs,
    transactions: world.ledger.transactions,
    records: feeder.committed.length,
    kinds: chaos.kinds,
    faults: chaos.counts,
  }
}

async function open(seed: number, { trace, only, happened }: SeedOptions) {
  const random = new SeededRandom(seed)
  const nodes = random.pick([1, 3, 3])
  const processingGuarantee = random.chance(0.2) ? ('at_least_once' as const) : ('exactly_once' as const)
  const isExact = processingGuarantee === 'exactly_once'
  const workload = isExact && random.chance(0.25) ? ('bank' as const) : ('tally' as const)
  const isMild = processingGuarantee === 'at_least_once' && random.chance(0.3)
  const chaos = new Chaos(random.fork(), { seed, nodes, isMild, only })
  happened?.(chaos.happened)
  const partitions = random.between(1, 3)
  const settings = {
    processingGuarantee,
    commitIntervalMs: random.pick([1, 10, 80, 400]),
    commitRecords: random.pick([1, 4, 20, 20_000]),
    bufferedRecordsPerPartition: random.pick([1, 4, 1_000]),
    regionCacheBytes: random.pick([1, 1 << 20]),
    commitBytes: random.pick([1, 1 << 24, 1 << 24]),
    transactionTimeoutMs: random.pick([450, 2_000, 2_000]),
    sessionTimeoutMs: random.pick([700, 1_500, 4_000]),
    rebalanceTimeoutMs: random.pick([600, 2_000]),
    requestTimeoutMs: random.pick([REQUEST_TIMEOUT_LEAST_MS, 1_000, 1_000]),
    fetchMaxWaitMs: random.pick([100, 400, 400]),
    metadataMaxAgeMs: random.pick([250, 5_000]),
    repartitionPurgeIntervalMs: random.pick([25, 700]),
  }
  // What a purge relies on: nothing is carried out later than three time-outs after it was sent.
  if (!isExact) Object.assign(settings, { requestTimeoutMs: 2_000 })
  // Nothing is given up there that will be carried out.
  if (isMild)
    Object.assign(settings, { requestTimeoutMs: 2_000, sessionTimeoutMs: 4_000, rebalanceTimeoutMs: 4_000 })
  const broker = {
    transactionCleanUpIntervalMs: random.pick([60, 500]),
    asynchronousOffsets: random.chance(0.5),
  }
  const store = random.pick(['persistent', 'persistent', 'memory'] as const)
  const isStatic = random.chance(0.25)
  const world = await World.open({
    seed,
    trace,
    partitions,
    nodes,
    fates: chaos,
    settings,
    broker,
    workload,
    store,
    refuses: seed % 3 === 0,
    isStatic,
  })
  chaos.cluster = world.cluster
  const pauseMaxMs = random.pick([50, 300, 900])
  const feed = random.fork()
  const plan = {
    transactions: random.between(3, 9),
    recordsMax: random.pick([2, 8]),
    pauseMs: () => feed.below(pauseMaxMs + 1),
    isAborted: () => feed.chance(0.25),
    partitions,
  }
  const process = world.simulation.process('feeder')
  const feeder = new Feeder(process, world.wire, feed, plan)
  return { chaos, world, feeder, isMild }
}

/** Starts instances, and starts them again: what a machine's own supervisor does. */
class Supervisor {
  readonly #world: World
  readonly #chaos: Chaos
  readonly #wanted = new Map<string, { instance: Instance; backAtMs: number | undefined }>()
  #next = 0

  constructor(world: World, chaos: Chaos) {
    this.#world = world
    this.#chaos = chaos
  }

  async begin(): Promise<void> {
    const { random } = this.#world.simulation
    for (let n = random.between(1, 3); n > 0; n--) this.#add()
  }

  async look(): Promise<void> {
    const world = this.#world
    const { simulation } = world
    const { random } = simulation
    for (const [name, place] of this.#wanted) {
      const { instance } = place
      if (place.backAtMs === undefined && isOver(instance)) {
        this.#assertExplained(instance)
        // What has failed is closed like one that was told to stop.
        if (!instance.process.isDead) await world.close(instance)
        else world.forget(instance)
        const power = this.#chaos.draws('power', name, 0.5)
        if (power !== undefined) {
          instance.disk.crash({ loseUnsynced: (unsynced) => power.below(unsynced + 1) })
        }
        await world.checkDisk(instance.disk)
        place.backAtMs = simulation.nowMs + (this.#chaos.isOn ? random.below(3_000) : 0)
      }
      if (place.backAtMs !== undefined && (simulation.nowMs >= place.backAtMs || !this.#chaos.isOn)) {
        const isEmpty = this.#chaos.draws('emptyDirectory', name, 0.4) !== undefined
        const disk = isEmpty ? memoryDisk() : instance.disk
        this.#wanted.set(name, { instance: world.start(name, disk), backAtMs: undefined })
      }
    }
    if (this.#chaos.isOn) await this.#disturb()
    await world.checkQueries()
  }

  async end(): Promise<void> {
    for (const { instance } of this.#wanted.values()) {
      if (isOver(instance)) this.#assertExplained(instance)
      await this.#world.close(instance)
      await this.#world.checkDisk(instance.disk)
    }
    // Transactions of those that have died are over by then.
    const { simulation } = this.#world
    await simulation.runUntil(() => false, simulation.nowMs + SETTLE_MS)
  }

  async #disturb(): Promise<void> {
    const world = this.#world
    const chaos = this.#chaos
    for (const { name, process } of world.instances) {
      const jump = chaos.draws('clock', name, 0.05)
      if (jump !== undefined) process.wallOffsetMs += jump.between(-3_600_000, 3_600_000)
    }
    const jump = chaos.draws('brokerClock', 'broker', 0.05)
    if (jump !== undefined) world.jumpClock(jump.between(-BROKER_JUMP_MS, BROKER_JUMP_MS))
    if (chaos.draws('brokerRestart', 'broker', 0.02) !== undefined) await world.restartBroker()
    const epochs = chaos.draws('highEpochs', 'broker', 0.02)
    if (epochs !== undefined) await world.restartBroker((store) => raiseEpochs(store, epochs))
    const change = chaos.draws('rebalance', 'group', 0.06)
    if (change === undefined) return
    const alive = [...this.#wanted].filter(([, { backAtMs }]) => backAtMs === undefined)
    if (alive.length < 4 && change.chance(0.5)) this.#add()
    else if (alive.length > 1) {
      const [name, { instance }] = change.pick(alive)
      if (!instance.process.isRunning || isOver(instance)) return
      this.#wanted.delete(name)
      await world.close(instance)
      await world.checkDisk(instance.disk)
    }
  }

  #add(): void {
    const name = `i${this.#next++}`
    this.#wanted.set(name, { instance: this.#world.start(name), backAtMs: undefined })
  }

  #assertExplained(instance: Instance): void {
    assertExplained(this.#world, instance, this.#chaos.rates.diskFull > 0)
  }
}
