/**
 * The world of a test: an embedded broker, a network, and instances of one application, in one simulation. Nothing goes
 * wrong in it but what the test asks for.
 */

import type { Topology } from '../dsl/topology.ts'
import { EmbeddedBroker } from '../embedded/embedded-broker.ts'
import { DruseError } from '../errors.ts'
import { Cluster, unexpected } from '../kafka/cluster.ts'
import type { PartitionBatches } from '../kafka/commit-writer.ts'
import { CODE } from '../kafka/error-codes.ts'
import { Again } from '../kafka/retry.ts'
import { createTopics, describeTopics, type TopicDescription } from '../kafka/topics.ts'
import type { Clock, Disk, Logger, NewTopic, Registry, Request } from '../ports.ts'
import { Druse } from '../runtime/druse.ts'
import type { DruseSettings } from '../runtime/options.ts'
import { PROCESS_STORE } from '../runtime/state-directory.ts'
import type { MemoryDisk } from '../store/index.ts'
import { silentLogger } from '../system.ts'
import type { Graph } from '../topology/graph.ts'
import type { TopicPartition } from '../types.ts'
import { CommittedTail } from './committed-tail.ts'
import { InstanceLife } from './instance-life.ts'
import { Network } from './network.ts'
import { OutsideWork } from './outside-work.ts'
import { Remainder } from './remainder.ts'
import { simDisk } from './sim-disk.ts'
import { type SimProcess, Simulation } from './simulation.ts'

export interface WorldOptions {
  readonly seed: number
  /** Of everybody's wall clock. */
  readonly startTimeMs: number | undefined
  readonly topology: () => Topology
  readonly registry: Registry
  readonly settings: Partial<DruseSettings>
  readonly logger: Logger
  readonly trace: ((line: string) => void) | undefined
}

/** Of a request, an answer or an operation of a disk; drawn anew for each. */
const LATENCY_MS_MAX = 2
/** While it is waited for something, a look at it is taken so often, and less often when nothing comes of it. */
const LOOK_MS = 25
const LOOK_MS_MAX = 1_000
/** Longer than time-outs of requests and of a rebalance take, with their defaults. */
const PATIENCE_MS = 600_000
const CLOSE_MS = 60_000

const COMMITTING: ReadonlySet<Request['api']> = new Set<Request['api']>([
  'AddPartitionsToTxn',
  'Produce',
  'AddOffsetsToTxn',
  'TxnOffsetCommit',
  'EndTxn',
  'OffsetCommit',
])

export class World {
  readonly graph: Graph
  readonly registry: Registry
  readonly seed: number
  /** Of the test itself: past the network. */
  readonly cluster: Cluster
  /** Where instances have written to. */
  readonly produced = new Map<string, TopicPartition>()
  readonly #simulation: Simulation
  readonly #options: WorldOptions
  readonly #broker: EmbeddedBroker
  readonly #network: Network
  readonly #remainder: Remainder
  /** What the test itself waits for. */
  readonly #own = new OutsideWork()
  readonly #lives = new Map<SimProcess, InstanceLife>()
  readonly #patienceMs: number
  readonly #told = new Set<DruseError>()
  readonly #wallOffsetMs: number
  readonly #latencyMs: () => number
  #steps = 0
  #last: Promise<unknown> = Promise.resolve()
  #isClosed = false
  #isStalled = false

  private constructor(options: WorldOptions, simulation: Simulation, broker: EmbeddedBroker, clock: Clock) {
    this.#options = options
    this.#simulation = simulation
    this.#broker = broker
    this.seed = options.seed
    this.registry = this.#own.observedRegistry(options.registry)
    this.graph = options.topology().build()
    this.#wallOffsetMs = clock.wallMs() - simulation.process('').clock.wallMs()
    this.cluster = new Cluster({ wire: broker.wire(), clock, log: silentLogger })
    this.#remainder = new Remainder(this.cluster, this.graph)
    const { sessionTimeoutMs = 0, rebalanceTimeoutMs = 0, transactionTimeoutMs = 0 } = options.settings
    this.#patienceMs = PATIENCE_MS + 2 * (sessionTimeoutMs + rebalanceTimeoutMs + transactionTimeoutMs)
    const latency = simulation.random.fork()
    this.#latencyMs = () => latency.below(LATENCY_MS_MAX + 1)
    const lifeOf = (process: SimProcess): InstanceLife => this.#lives.get(process) as InstanceLife
    this.#network = new Network(simulation, broker.wire(), {
      latencyMs: this.#latencyMs,
      request: (process, request) => {
        const life = lifeOf(process)
        if (life.crashesAt !== 'beforeCommit' || !isCommit(request)) return 'deliver'
        process.kill()
        return 'lose'
      },
      answer: (process, request, response) => {
        const life = lifeOf(process)
        if (life.crashesAt !== 'afterCommit' || !hasCommitted(request, response)) return 'deliver'
        process.kill()
        return 'lose'
      },
      arrivesWithoutSender: () => true,
      sent: (process, { api }) => {
        if (COMMITTING.has(api)) lifeOf(process).unanswered += 1
      },
      carriedOut: (_, request) => {
        if (request.api !== 'Produce') return
        for (const { topic, partition } of request.partitions) {
          this.produced.set(`${topic}/${partition}`, { topic, partition })
        }
      },
      settled: (process, { api }) => {
        if (!COMMITTING.has(api)) return
        lifeOf(process).unanswered -= 1
        this.#steps += 1
      },
    })
  }

  static async open(options: WorldOptions, topics: (graph: Graph) => readonly NewTopic[]): Promise<World> {
    const { seed, trace, startTimeMs } = options
    const simulation = new Simulation({ seed, ...(trace && { trace }) })
    const machine = simulation.process('broker')
    if (startTimeMs !== undefined) machine.wallOffsetMs = startTimeMs - machine.clock.wallMs()
    const { clock } = machine
    const broker = await EmbeddedBroker.open({ clock, random: simulation.random.fork() })
    const world = new World(options, simulation, broker, clock)
    await world.run(createTopics(world.cluster, topics(world.graph)))
    return world
  }

  get isStalled(): boolean {
    return this.#isStalled
  }

  /** Milliseconds since 1970. */
  get nowMs(): number {
    return this.cluster.clock.wallMs()
  }

  /** There is one world: what is asked of it has its turn when that before is through. Errors: APPLICATION_STATE. */
  inTurn<T>(what: () => Promise<T>): Promise<T> {
    const result = this.#last.then(() => {
      if (this.#isClosed) throw new DruseError('APPLICATION_STATE', 'The test driver is closed')
      return what()
    })
    this.#last = result.catch(() => undefined)
    return result
  }

  /** Lets the world go on until the promise is settled. */
  async run<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false
    const settle = (): void => {
      isSettled = true
    }
    promise.then(settle, settle)
    const untilMs = this.#simulation.nowMs + this.#patienceMs
    if (await this.#until(() => isSettled, untilMs)) return promise
    throw new DruseError('DRIVER_STALLED', `This has not ended in ${this.#patienceMs} ms of virtual time`)
  }

  /** Errors: those of tasks and instances. */
  async advance(ms: number): Promise<void> {
    await this.#until(() => false, this.#simulation.nowMs + ms)
    this.#throwFailure()
  }

  /** Until nothing is left to do, or nobody is there to do it. Errors: DRIVER_STALLED, those of tasks and instances. */
  async untilIdle(): Promise<void> {
    const untilMs = this.#simulation.nowMs + this.#patienceMs
    for (let lookMs = LOOK_MS; ; lookMs = Math.min(2 * lookMs, LOOK_MS_MAX)) {
      this.#throwFailure()
      const up = this.#up
      if (up.length === 0) return
      const left = await this.run(this.#remainder.look(up, [...this.produced.values()]))
      if (left.length === 0) return
      if (this.#simulation.nowMs >= untilMs) throw this.#stalled(left)
      const before = this.#steps
      if (await this.#until(() => this.#steps !== before, this.#simulation.nowMs + lookMs)) lookMs = LOOK_MS
    }
  }

  /** Errors: TOPIC_MISSING. */
  async describe(topic: string): Promise<TopicDescription> {
    const found = (await describeTopics(this.cluster, [topic])).get(topic)
    if (found !== undefined) return found
    throw new DruseError(
      'TOPIC_MISSING',
      `There is no topic '${topic}': the topology does not name it; give it with the option 'topics'`,
      { topic },
    )
  }

  /** Errors: TOPIC_MISSING. */
  async tail(topic: string): Promise<CommittedTail> {
    return new CommittedTail(this.cluster, topic, (await this.describe(topic)).partitions)
  }

  /** Appends, outside of any transaction. Errors: KAFKA_REFUSED. */
  async append(partitions: readonly PartitionBatches[]): Promise<void> {
    for (const { topic, partition, batches } of partitions) {
      for (const batch of batches) {
        const to = { topic, partition, records: batch.build(NO_PRODUCER) }
        const settings = {
          transactionalId: null,
          acks: -1,
          timeoutMs: this.cluster.requestTimeoutMs,
        } as const
        const answer = await this.cluster.ask(`produce to ${topic}/${partition}`, async () => {
          const node = await this.cluster.leader(to)
          return node instanceof Again
            ? node
            : { node, request: { api: 'Produce', ...settings, partitions: [to] } }
        })
        const code = answer.partitions[0]?.errorCode ?? CODE.UNKNOWN_SERVER_ERROR
        if (code !== CODE.NONE) throw unexpected(`produce to ${topic}/${partition}`, code)
      }
    }
  }

  start(name: string, disk: MemoryDisk): InstanceLife {
    const process = this.#simulation.process(name)
    process.wallOffsetMs = this.#wallOffsetMs
    const outside = new OutsideWork()
    const topology = this.#options.topology()
    const app = new Druse(observed(topology, outside), {
      ...this.#options.settings,
      wire: this.#network.wireOf(process),
      stateDir: this.#diskOf(process, disk),
      registry: outside.observedRegistry(this.#options.registry),
      clock: process.clock,
      random: this.#simulation.random.fork(),
      logger: this.#logger(process),
    })
    const life = new InstanceLife(process, disk, app, outside)
    this.#lives.set(process, life)
    app.start().then(
      () => {
        life.hasStarted = true
      },
      // Its state tells.
      () => {},
    )
    return life
  }

  /** Commits, leaves the group, and is gone. */
  async end({ process, app }: InstanceLife): Promise<void> {
    process.resume()
    if (process.isDead) return
    const killed = new Promise<void>((resolve) => process.onKilled(resolve))
    await this.run(Promise.race([app.close({ timeoutMs: CLOSE_MS }), killed]))
    process.kill()
  }

  /** Nothing happens any more. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const process of this.#lives.keys()) process.kill()
    this.cluster.close()
    await this.#broker.close()
  }

  get #up(): InstanceLife[] {
    return [...this.#lives.values()].filter(({ isUp }) => isUp)
  }

  /** As the simulation's own, but what takes real time is waited for, and no time passes meanwhile. */
  async #until(isSo: () => boolean, untilMs: number): Promise<boolean> {
    const working = (): OutsideWork[] =>
      [this.#own, ...this.#up.map(({ outside }) => outside)].filter(({ isUnderWay }) => isUnderWay)
    for (;;) {
      await this.#simulation.runUntil(() => isSo() || working().length > 0, untilMs)
      if (isSo()) return true
      const outside = working()
      if (outside.length === 0) return false
      await Promise.race(outside.map((work) => work.changed()))
    }
  }

  /** Each failure is told once. */
  #throwFailure(): void {
    for (const life of this.#lives.values()) {
      if (!life.process.isRunning) continue
      for (const { error, what, details } of failuresOf(life)) {
        if (this.#told.has(error)) continue
        this.#told.add(error)
        const message = `${what} has stopped: ${error.message.replace(` [${error.code}]`, '')}`
        throw new DruseError(error.code, message, { ...error.details, ...details, cause: error })
      }
    }
  }

  #stalled(left: readonly string[]): DruseError {
    this.#isStalled = true
    return new DruseError(
      'DRIVER_STALLED',
      `The application is not done after ${this.#patienceMs} ms of virtual time (seed ${this.seed}): ${left.join('; ')}`,
      { left, seed: this.seed },
    )
  }

  #diskOf(process: SimProcess, disk: MemoryDisk): Disk {
    const nothing = (): void => {}
    const inner = simDisk(process, disk, {
      latencyMs: this.#latencyMs,
      operation: () => 'do',
      writing: nothing,
      written: async () => {},
      movedAside: nothing,
    })
    return {
      ...inner,
      open: async (path) => {
        const store = await inner.open(path)
        const life = this.#lives.get(process) as InstanceLife
        if (path === PROCESS_STORE) life.processStore = store
        return {
          ...store,
          write: async (writes) => {
            life.unanswered += 1
            await store.write(writes).finally(() => {
              life.unanswered -= 1
            })
          },
        }
      },
    }
  }

  #logger(process: SimProcess): Logger {
    const { logger } = this.#options
    if (!this.#simulation.isTraced) return logger
    const at =
      (level: keyof Logger) =>
      (details: object, message: string): void => {
        this.#simulation.note(process, `${level} ${message}`)
        logger[level](details, message)
      }
    return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
  }
}

interface Failure {
  readonly error: DruseError
  readonly what: string
  readonly details: object
}

function failuresOf({ name, app, failure }: InstanceLife): Failure[] {
  if (failure !== undefined) {
    return [{ error: failure, what: `Instance ${name}`, details: { instance: name } }]
  }
  return app.health.tasks.flatMap(({ task, error }) =>
    error === undefined
      ? []
      : [{ error, what: `Task ${task} of ${name}`, details: { instance: name, task } }],
  )
}

/** The same topology, its operators under observation. */
function observed(topology: Topology, outside: OutsideWork): Topology {
  return Object.create(topology, { build: { value: () => outside.observed(topology.build()) } }) as Topology
}

const NO_PRODUCER = { producerId: -1n, producerEpoch: -1, baseSequence: -1, isTransactional: false }

/** What decides a commit, with a transaction and without. */
function isCommit(request: Request): boolean {
  return request.api === 'OffsetCommit' || (request.api === 'EndTxn' && request.committed)
}

function hasCommitted(request: Request, response: unknown): boolean {
  const { errorCode = CODE.NONE, partitions = [] } = response as {
    errorCode?: number
    partitions?: readonly { errorCode: number }[]
  }
  return (
    isCommit(request) &&
    [errorCode, ...partitions.map((at) => at.errorCode)].every((code) => code === CODE.NONE)
  )
}
