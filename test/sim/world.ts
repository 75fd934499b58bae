/**
 * Instances of the application over one broker, in one simulation, under the laws. What goes wrong, and when, is said by
 * its fates.
 */

import { EmbeddedBroker } from '../../src/embedded/embedded-broker.ts'
import type { BrokerSettings } from '../../src/embedded/settings.ts'
import { Druse, type DruseOptions, type MemoryDisk, memoryDisk } from '../../src/index.ts'
import type { Clock, Logger, Outcome, Request, Store, Wire, Write } from '../../src/ports.ts'
import { META_KEY, readStatement, readStoreValue, regionPrefix } from '../../src/region/layout.ts'
import { regionKey } from '../../src/runtime/task-metadata.ts'
import { readMeta, type StoreMeta } from '../../src/runtime/task-store.ts'
import { SimCluster } from '../../src/testing/cluster.ts'
import { type AnswerFate, Network, type NetworkHooks, type RequestFate } from '../../src/testing/network.ts'
import { type DiskFate, simDisk } from '../../src/testing/sim-disk.ts'
import { type SimProcess, Simulation } from '../../src/testing/simulation.ts'
import { bank, watchBank } from './bank.ts'
import type { Fed } from './feeder.ts'
import { Ledger } from './ledger.ts'
import {
  ALL_GROUPS,
  COPIES,
  changelogOf,
  EXTRA,
  INPUT,
  isRefused,
  REGIONS,
  simulated,
  TALLIES,
} from './workload.ts'

/** What becomes of the effects of instances. They may kill and pause the process on the way. */
export interface Fates {
  /** Of a request, an answer, an operation of a disk. */
  latencyMs(): number
  /** Of what the broker does by itself: markers, and requests in its queues. */
  brokerLagMs(): number
  /** Of what nodes do among each other. Default 0. */
  nodeLagMs?(what: 'spread' | 'election' | 'load' | 'replication'): number
  /** Of an instance; it has not heard of it. */
  carriedOut?(request: Request, who: string): void
  request(instance: Instance, request: Request): RequestFate
  answer(instance: Instance, request: Request, response: unknown): AnswerFate
  disk(instance: Instance, operation: string, path: string): DiskFate
  arrivesWithoutSender(): boolean
}

export class Violation extends Error {}

export interface Instance {
  readonly name: string
  readonly disk: MemoryDisk
  readonly process: SimProcess
  readonly app: Druse
  readonly regions: ReturnType<typeof simulated>['regions']
  /** Why it ended without being told to. */
  failure: unknown
  hasStarted: boolean
  isClosing: boolean
}

export interface WorldOptions {
  readonly seed: number
  readonly inOrder?: boolean
  readonly trace?: ((line: string) => void) | undefined
  readonly partitions: number
  /** Default 1. */
  readonly nodes?: number
  readonly fates: Fates
  readonly settings?: Partial<DruseOptions>
  readonly broker?: Partial<BrokerSettings>
  /** Default 'tally'. */
  readonly workload?: 'tally' | 'bank'
  /** Of one of the tally's regions. Default 'persistent'. */
  readonly store?: 'persistent' | 'memory'
  /** Some records of an input are refused by their operator, and become dead letters. */
  readonly refuses?: boolean
  /** Instances are static members, under their names. */
  readonly isStatic?: boolean
  /** Laws that the run itself breaks, as a tool of somebody else would. */
  readonly exempt?: RegExp
  /** Changelogs are compacted: while a replay runs, its store holds what is left of them. */
  readonly compacts?: boolean
  /** What instances say in their logs. */
  readonly logged?: (name: string, message: string) => void
}

const BROKER = { minSessionTimeoutMs: 100, transactionCleanUpIntervalMs: 500 }

/** What operators wait for is so many times as far away as a node. */
const OUTSIDE_TRIPS = 4

const SETTINGS = {
  commitIntervalMs: 20,
  sessionTimeoutMs: 1_500,
  heartbeatIntervalMs: 300,
  rebalanceTimeoutMs: 2_000,
  transactionTimeoutMs: 2_000,
  requestTimeoutMs: 1_000,
  fetchMaxWaitMs: 400,
  metadataMaxAgeMs: 5_000,
  repartitionPurgeIntervalMs: 700,
}

export class World {
  readonly simulation: Simulation
  readonly ledger: Ledger
  readonly instances: Instance[] = []
  readonly partitions: number
  /** Of the process that only looks: to the broker itself. */
  readonly wire: Wire
  readonly observer: SimProcess
  /** Directories that were moved aside; in most runs that breaks a law. */
  readonly movedAside: string[] = []
  readonly cluster: SimCluster
  #broker: EmbeddedBroker | undefined
  /** Of instances: to the nodes of the cluster. */
  readonly #network: Network
  readonly #fates: Fates
  readonly #options: WorldOptions
  readonly #brokerDisk = memoryDisk()
  #machine: SimProcess | undefined
  readonly #broken: string[] = []
  /** Bytes of each batch that was sent, by whom and at which sequence. */
  readonly #batches = new Map<string, Buffer>()
  /** Producer and epoch of transactional requests without an answer. */
  readonly #struck = new Set<string>()
  readonly #names = new Map<SimProcess, Instance>()

  private constructor(options: WorldOptions) {
    const { seed, inOrder = false, trace, partitions, fates } = options
    this.simulation = new Simulation({ seed, inOrder, ...(trace && { trace }) })
    this.partitions = partitions
    this.#fates = fates
    this.#options = options
    this.ledger = new Ledger((law) => this.broken(law), this.isExact)
    if (this.isBank) watchBank(this.ledger, (law) => this.broken(law))
    this.observer = this.simulation.process('observer')
    const of = (process: SimProcess): Instance | undefined => this.#names.get(process)
    this.cluster = new SimCluster(this.simulation, () => this.broker, {
      nodes: options.nodes ?? 1,
      spreadMs: () => fates.nodeLagMs?.('spread') ?? 0,
      electionMs: () => fates.nodeLagMs?.('election') ?? 0,
      loadMs: () => fates.nodeLagMs?.('load') ?? 0,
      queueMs: () => fates.brokerLagMs(),
      replicationMs: () => fates.nodeLagMs?.('replication') ?? 0,
      carriedOut: (who, request, response) => {
        this.ledger.carriedOut(who, request, response)
        fates.carriedOut?.(request, who)
      },
    })
    const hooks: NetworkHooks = {
      latencyMs: () => fates.latencyMs(),
      request: (process, request) => {
        const instance = of(process)
        return instance === undefined ? 'deliver' : fates.request(instance, request)
      },
      answer: (process, request, response) => {
        const instance = of(process)
        return instance === undefined ? 'deliver' : fates.answer(instance, request, response)
      },
      arrivesWithoutSender: () => fates.arrivesWithoutSender(),
      sent: (process, request) => {
        if (of(process) !== undefined) this.#sent(process, request)
      },
      settled: (process, request, outcome) => {
        if (of(process) !== undefined) this.#settled(request, outcome)
      },
      anyNode: () => {
        const up = Array.from({ length: this.cluster.nodes }, (_, node) => node)
        return this.simulation.random.pick(up.filter((node) => this.cluster.isUp(node)))
      },
    }
    this.#network = new Network(this.simulation, ({ name }) => this.cluster.wireOf(name), hooks)
    // Who feeds and who looks is no part of what is judged: one node, which is always there.
    const direct = new Network(
      this.simulation,
      { connect: (purpose) => this.broker.wire().connect(purpose) },
      {
        ...hooks,
        carriedOut: ({ name }, request, response) => this.ledger.carriedOut(name, request, response),
        anyNode: () => 0,
      },
    )
    this.wire = direct.wireOf(this.observer)
  }

  static async open(options: WorldOptions): Promise<World> {
    const world = new World(options)
    await world.#openBroker()
    const topics = [INPUT, EXTRA, COPIES, TALLIES].map((topic) => ({
      topic,
      partitions: options.partitions,
      replicationFactor: -1,
      configs: { 'retention.ms': '-1' },
    }))
    const admin = world.wire.connect('admin')
    await world.simulation.settle(
      admin.send(-1, { api: 'CreateTopics', topics, timeoutMs: 1_000 }, 60_000),
      60_000,
    )
    await world.cluster.adopt(topics.map(({ topic }) => topic))
    return world
  }

  /**
   * As kill -9 and a restart: what it has answered stays, its groups have no members, and markers go on being written.
   * `change`: what becomes of its disk meanwhile.
   */
  async restartBroker(change?: (store: Store) => Promise<void>): Promise<void> {
    this.simulation.note(undefined, 'BROKER RESTARTS')
    this.#machine?.kill()
    this.#brokerDisk.crash()
    await this.#broker?.close().catch(() => {})
    if (change !== undefined) {
      const store = await this.#brokerDisk.open('broker')
      await change(store)
      await store.close()
    }
    this.cluster.breakAll()
    await this.#openBroker()
  }

  /** Of the broker's machine. */
  jumpClock(ms: number): void {
    if (this.#machine !== undefined) this.#machine.wallOffsetMs += ms
  }

  get broker(): EmbeddedBroker {
    return this.#broker as EmbeddedBroker
  }

  async #openBroker(): Promise<void> {
    const { simulation } = this
    const fates = this.#fates
    const machine = simulation.process('broker')
    this.#machine = machine
    const clock: Clock = {
      ...machine.clock,
      wake: (delayMs, callback) => machine.clock.wake(delayMs > 0 ? delayMs : fates.brokerLagMs(), callback),
    }
    const store = await this.#brokerDisk.open('broker')
    this.#broker = await EmbeddedBroker.open({
      store,
      clock,
      random: simulation.random.fork(),
      ...BROKER,
      ...this.#options.broker,
    })
  }

  /** Under exactly-once. */
  get isExact(): boolean {
    return this.#options.settings?.processingGuarantee !== 'at_least_once'
  }

  get isBank(): boolean {
    return this.#options.workload === 'bank'
  }

  isRefused({ topic, id }: Fed): boolean {
    return this.#options.refuses === true && isRefused(topic, id)
  }

  get isStatic(): boolean {
    return this.#options.isStatic === true
  }

  /** A law does not hold. */
  broken(law: string): void {
    if (this.#options.exempt?.test(law)) return
    this.simulation.note(undefined, `LAW ${law}`)
    this.#broken.push(law)
  }

  /** Errors: Violation. */
  assertLaws(): void {
    if (this.#broken.length > 0) throw new Violation(this.#broken.slice(0, 4).join('; '))
  }

  start(name: string, disk: MemoryDisk = memoryDisk(), settings: Partial<DruseOptions> = {}): Instance {
    const process = this.simulation.process(name)
    const { store = 'persistent', workload = 'tally', refuses = false } = this.#options
    const outside = (): Promise<void> =>
      new Promise((resolve) => process.clock.wake(this.#fates.latencyMs() * OUTSIDE_TRIPS, resolve))
    const { topology, regions } = workload === 'bank' ? bank() : simulated(store, outside, refuses)
    const app = new Druse(topology, {
      ...SETTINGS,
      ...this.#options.settings,
      ...(this.#options.isStatic && { groupInstanceId: name }),
      ...settings,
      wire: this.#network.wireOf(process),
      stateDir: simDisk(process, disk, {
        latencyMs: () => this.#fates.latencyMs(),
        operation: (_, operation, path) => this.#fates.disk(instance, operation, path),
        writing: (_, path, writes) => this.#writing(path, writes),
        written: (_, path, store) => this.#checkTask(path, store),
        movedAside: (_, path) => {
          this.movedAside.push(path)
          this.broken(`${name} moves ${path} aside`)
        },
      }),
      clock: process.clock,
      random: this.simulation.random.fork(),
      logger: this.#logger(process),
    })
    const instance: Instance = {
      name,
      disk,
      process,
      app,
      regions,
      failure: undefined,
      hasStarted: false,
      isClosing: false,
    }
    process.onKilled(() => disk.crash())
    this.#names.set(process, instance)
    this.instances.push(instance)
    app.onStateChange((state) => {
      if (state === 'ERROR') instance.failure = app.health.error
    })
    app.start().then(
      () => {
        instance.hasStarted = true
      },
      (error: unknown) => {
        instance.failure = error
      },
    )
    return instance
  }

  /** Commits, leaves the group, and is gone. */
  async close(instance: Instance, withinMs = 60_000): Promise<void> {
    instance.isClosing = true
    instance.process.resume()
    if (!instance.process.isDead) {
      const closed = instance.app.close({ timeoutMs: 10_000 }).then(() => true)
      const gone = new Promise<false>((resolve) => instance.process.onKilled(() => resolve(false)))
      await this.simulation.settle(Promise.race([closed, gone]), withinMs)
    }
    this.forget(instance)
  }

  /** Its process has ended, one way or another. */
  forget(instance: Instance): void {
    instance.process.kill()
    const at = this.instances.indexOf(instance)
    if (at >= 0) this.instances.splice(at, 1)
  }

  /** A query sees what was committed once, and nothing else. */
  async checkQueries(): Promise<void> {
    // Otherwise they may see what is seen again.
    if (!this.isExact) return this.assertLaws()
    for (const { app, regions, process, hasStarted, failure, isClosing } of this.instances) {
      if (!process.isRunning || !hasStarted || failure !== undefined || isClosing) continue
      const region = app.region(regions.counts)
      const seen: (readonly [group: string, count: number])[] = []
      for (const group of ALL_GROUPS) {
        // Another instance has it, or nobody yet.
        const count = await region.get(group).catch(() => undefined)
        if (count !== undefined) seen.push([group, count])
      }
      for await (const entry of region.range()) seen.push(entry)
      for (const [group, count] of seen) {
        const had = this.ledger.values.get(`${changelogOf('counts')} ${group}`)
        if (had?.has(hexOf(count)) !== true)
          this.broken(`a query sees ${count} of ${group}, and that was never committed`)
      }
    }
    this.assertLaws()
  }

  committedCount(group: string): number {
    let count = 0
    for (const { key, value } of Array.from(
      { length: this.partitions },
      (_, partition) => this.ledger.changes.get(`${changelogOf('counts')}/${partition}`) ?? [],
    ).flat()) {
      if (key === group && value !== null) count = Number(value.readBigInt64BE(0))
    }
    return count
  }

  /** What lies in a directory that nobody has open is what was committed, up to where it says it stands. */
  async checkDisk(disk: MemoryDisk): Promise<void> {
    for (const name of await disk.list('tasks')) {
      if (name.includes('aside')) continue
      const path = `tasks/${name}`
      const store = await disk.open(path)
      try {
        await this.#checkTask(path, store)
      } finally {
        await store.close()
      }
    }
    this.assertLaws()
  }

  async #checkTask(path: string, store: Store): Promise<void> {
    if (!this.isExact) return
    const meta = path.startsWith('tasks/') ? readMeta(store) : undefined
    if (meta?.sequence === null && this.#options.compacts) return
    if (meta !== undefined) await this.#checkStore(path, store, meta)
  }

  async #checkStore(path: string, store: Store, meta: StoreMeta): Promise<void> {
    const partition = path.slice(path.lastIndexOf('-') + 1)
    this.#checkSequence(path, meta)
    for (const region of REGIONS) {
      const position = meta.regions[regionKey(region)]?.position
      if (position === undefined) continue
      const changelog = `${changelogOf(region)}/${partition}`
      const expected = this.ledger.fold(changelog, position)
      const prefix = regionPrefix(region)
      const found = new Map<string, Buffer>()
      for await (const [key, value] of store.range({ gte: prefix })) {
        const bytes = Buffer.from(key)
        if (!bytes.subarray(0, prefix.length).equals(prefix)) break
        found.set(bytes.subarray(prefix.length).toString('latin1'), readStoreValue(value).value)
      }
      const isSame =
        found.size === expected.size &&
        [...expected].every(([key, value]) => found.get(key)?.equals(value) === true)
      if (!isSame) {
        this.broken(
          `${path} at sequence ${meta.sequence}: region ${region} at ${position} holds ${shown(found)}, its changelog says ${shown(expected)}`,
        )
      }
    }
  }

  #checkSequence(path: string, { incarnation, sequence }: StoreMeta): void {
    const committed = this.ledger.sequences.get(incarnation) ?? -1
    if ((sequence ?? -1) > committed) {
      this.broken(`${path} stands at sequence ${sequence}, committed is ${committed}`)
    }
  }

  #writing(path: string, writes: readonly Write[]): void {
    if (!this.isExact) return
    for (const [key, value] of writes) {
      if (key.length !== 1 || key[0] !== META_KEY[0] || value === null) continue
      this.#checkSequence(path, readStatement<StoreMeta>(key, value))
    }
  }

  #sent(process: SimProcess, request: Request): void {
    if ('producerId' in request && this.#struck.has(`${request.producerId}:${request.producerEpoch}`)) {
      this.broken(`${process.name} sends ${request.api} under an epoch that it had to give up`)
    }
    if (request.api !== 'Produce') return
    for (const { topic, partition, records } of request.partitions) {
      const bytes = Buffer.from(records)
      const [producerId, epoch, sequence] = [
        bytes.readBigInt64BE(43),
        bytes.readInt16BE(51),
        bytes.readInt32BE(53),
      ]
      if (this.#struck.has(`${producerId}:${epoch}`)) {
        this.broken(`${process.name} produces under an epoch that it had to give up`)
      }
      const place = `${producerId}:${epoch} ${topic}/${partition}@${sequence}`
      const before = this.#batches.get(place)
      if (before !== undefined && !before.equals(bytes))
        this.broken(`${place} is sent again with other bytes`)
      this.#batches.set(place, bytes)
    }
  }

  #settled(request: Request, outcome: Outcome<unknown>): void {
    if (outcome.ok) return
    if ('producerId' in request) this.#struck.add(`${request.producerId}:${request.producerEpoch}`)
    if (request.api !== 'Produce' || request.transactionalId === null) return
    const bytes = Buffer.from(request.partitions[0]?.records ?? [])
    this.#struck.add(`${bytes.readBigInt64BE(43)}:${bytes.readInt16BE(51)}`)
  }

  #logger(process: SimProcess): Logger {
    const { logged } = this.#options
    if (!this.simulation.isTraced && logged === undefined) return SILENT
    const at =
      (level: string) =>
      (details: object, message: string): void => {
        logged?.(process.name, message)
        if (this.simulation.isTraced)
          this.simulation.note(process, `${level} ${message} ${rendered(details)}`)
      }
    return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
  }
}

const nothing = (): void => {}
const SILENT: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing }

/** As in a changelog. */
function hexOf(value: number): string {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(value))
  return bytes.toString('hex')
}

function rendered(details: object): string {
  return JSON.stringify(details, (_, inner: unknown) =>
    inner instanceof Error ? inner.message : typeof inner === 'bigint' ? String(inner) : inner,
  ).slice(0, 300)
}

function shown(entries: ReadonlyMap<string, Buffer>): string {
  return `{${Array.from(entries, ([key, value]) => `${key}: ${value.toString('hex')}`)
    .sort()
    .join(', ')}}`
}
