import type { Topology } from '../dsl/topology.ts'
import { DruseError } from '../errors.ts'
import { Cluster } from '../kafka/cluster.ts'
import { createTopics, describeTopics } from '../kafka/topics.ts'
import type { Clock, Disk, Logger, Random } from '../ports.ts'
import type { AnyRegion } from '../region/definition.ts'
import { cachedRegistry } from '../serde/index.ts'
import { levelDisk } from '../store/index.ts'
import { consoleLogger, systemClock, systemRandom } from '../system.ts'
import type { Graph } from '../topology/graph.ts'
import { internalTopicNames } from '../topology/internal-topics.ts'
import { GlobalRegions } from './global-regions.ts'
import { type DruseOptions, type DruseSettings, settingsOf } from './options.ts'
import { doubtful, externalTopics, makePlan } from './plan.ts'
import { type Committed, committedRegion } from './query.ts'
import { StateDirectory } from './state-directory.ts'
import { Surroundings } from './surroundings.ts'
import type { TaskHealth } from './task-table.ts'
import { watchTopics } from './topic-watch.ts'
import { Worker, type WorkerCounts } from './worker.ts'

/**
 * Kafka Streams' states.
 *
 *   CREATED ──► REBALANCING ◄──► RUNNING
 *                    └──────┬───────┘
 *                           ├──► PENDING_SHUTDOWN ──► NOT_RUNNING
 *                           └──► ERROR
 */
export type ApplicationState =
  | 'CREATED'
  | 'REBALANCING'
  | 'RUNNING'
  | 'PENDING_SHUTDOWN'
  | 'NOT_RUNNING'
  | 'ERROR'

const MOVES: Readonly<Record<ApplicationState, readonly ApplicationState[]>> = {
  CREATED: ['REBALANCING', 'PENDING_SHUTDOWN', 'ERROR'],
  REBALANCING: ['RUNNING', 'PENDING_SHUTDOWN', 'ERROR'],
  RUNNING: ['REBALANCING', 'PENDING_SHUTDOWN', 'ERROR'],
  PENDING_SHUTDOWN: ['NOT_RUNNING', 'ERROR'],
  NOT_RUNNING: [],
  ERROR: ['NOT_RUNNING'],
}

export interface Health {
  readonly state: ApplicationState
  /** Whether everything that was assigned here runs, or is on its way to. */
  readonly healthy: boolean
  /** What ended the application, in state ERROR. */
  readonly error: DruseError | undefined
  readonly tasks: readonly TaskHealth[]
  readonly counts: Readonly<WorkerCounts>
}

interface Running {
  readonly cluster: Cluster
  readonly directory: StateDirectory
  readonly surroundings: Surroundings
  readonly globals: GlobalRegions
  readonly worker: Worker
  /** Ends what looks after the application beside the worker. */
  readonly watching: AbortController
}

const NO_COUNTS: Readonly<WorkerCounts> = { commits: 0, records: 0, indefinite: 0, recoveries: 0 }
const CLOSE_TIMEOUT_MS = 30_000

/**
 * Runs a topology: a member of the consumer group named after the application.
 *
 * @example
 * const app = new Druse(topology, { wire, stateDir: './state' })
 * await app.start()
 * await app.region(counts).get('word')
 * await app.close()
 */
export class Druse {
  readonly application: string
  readonly #topology: Topology
  readonly #options: DruseOptions
  readonly #settings: DruseSettings
  readonly #clock: Clock
  readonly #random: Random
  readonly #log: Logger
  readonly #listeners = new Set<(state: ApplicationState, from: ApplicationState) => void>()
  #state: ApplicationState = 'CREATED'
  #error: DruseError | undefined
  #running: Running | undefined
  /** What there was to see when the worker was closed. */
  #last: Pick<Health, 'tasks' | 'counts'> = { tasks: [], counts: NO_COUNTS }
  #starting: Promise<void> | undefined
  /** Cuts off what a start waits for. */
  #stopStart: (() => void) | undefined
  #releasing: Promise<void> | undefined

  /** Errors: OPTION_INVALID. */
  constructor(topology: Topology, options: DruseOptions) {
    this.application = topology.application
    this.#topology = topology
    this.#options = options
    this.#settings = settingsOf(options)
    this.#clock = options.clock ?? systemClock
    this.#random = options.random ?? systemRandom
    this.#log = options.logger ?? consoleLogger('warn')
  }

  get state(): ApplicationState {
    return this.#state
  }

  get health(): Health {
    const { tasks, counts } = this.#running === undefined ? this.#last : lookAt(this.#running.worker)
    const healthy = this.#state !== 'ERROR' && tasks.every(({ status }) => status !== 'failed')
    return { state: this.#state, healthy, error: this.#error, tasks, counts }
  }

  /** Calls back at each change; returns a way to stop it. */
  onStateChange(listener: (state: ApplicationState, from: ApplicationState) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Checks topics and state directory, creates internal topics, loads global regions and joins the group. Tasks then
   * begin as they are assigned and restored: see `untilRunning`.
   *
   * Errors: APPLICATION_STATE (started before), TOPOLOGY_INVALID, TOPIC_MISSING, TOPIC_PARTITIONS, TOPIC_SETTINGS,
   * TOPIC_NOT_CREATED, STATE_DIR_OCCUPIED, STATE_DIR_FOREIGN, DISK_FAILED, BROKER_UNAVAILABLE, those of serdes.
   */
  async start(): Promise<void> {
    if (this.#state !== 'CREATED') {
      throw new DruseError(
        'APPLICATION_STATE',
        `Application '${this.application}' is ${this.#state}; it starts once: make a new Druse to start again`,
      )
    }
    this.#starting = this.#start(this.#topology.build())
    return this.#starting
  }

  async #start(graph: Graph): Promise<void> {
    this.#move('REBALANCING')
    const cluster = new Cluster({
      wire: this.#options.wire,
      clock: this.#clock,
      log: this.#log,
      requestTimeoutMs: this.#settings.requestTimeoutMs,
    })
    let directory: StateDirectory | undefined
    let globals: GlobalRegions | undefined
    let worker: Worker | undefined
    this.#stopStart = () => {
      cluster.close()
      globals?.stop()
      worker?.stop()
    }
    try {
      const disk = this.#disk()
      directory = await StateDirectory.open(disk, this.application, this.#random, this.#log)
      const external = externalTopics(graph)
      const internal = internalTopicNames(graph)
      const found = await describeTopics(cluster, [...external, ...internal])
      const { replicationFactor } = this.#settings
      const { registry } = this.#options
      const plan = makePlan(graph, found, { replicationFactor })
      await createTopics(
        cluster,
        plan.internal.filter(({ topic }) => !found.has(topic)),
      )
      const existing = [...found.keys(), ...plan.internal.map(({ topic }) => topic)]
      const topics = await describeTopics(cluster, [...external, ...internal], existing)
      makePlan(graph, topics, { replicationFactor })
      for (const doubt of doubtful(topics, plan)) this.#log.warn({}, `topics: ${doubt}`)
      const surroundings = await Surroundings.open({
        plan,
        cluster,
        clusterId: await cluster.clusterId(),
        topics,
        directory,
        registry: registry && (await cachedRegistry(registry, disk, { logger: this.#log })),
        random: this.#random,
        regionCacheBytes: this.#settings.regionCacheBytes,
        guarantee: this.#settings.processingGuarantee,
        maxTaskIdleMs: this.#settings.maxTaskIdleMs,
      })
      globals = new GlobalRegions(surroundings)
      await globals.load(topics, (error) => this.#fail(error))
      this.#assertNotFailed()
      worker = new Worker(surroundings, this.#settings, {
        changed: () => this.#onWorkerChange(),
        failed: (error) => this.#fail(error),
        progress: (progress) => this.#options.onRestore?.(progress),
      })
      const watching = new AbortController()
      this.#running = { cluster, directory, surroundings, globals, worker, watching }
      await worker.start()
      this.#assertNotFailed()
      const { metadataMaxAgeMs } = this.#settings
      void watchTopics(surroundings, metadataMaxAgeMs, watching.signal, (error) => this.#fail(error))
    } catch (error) {
      await globals?.close()
      cluster.close()
      await directory?.close()
      this.#running = undefined
      this.#error = asError(error)
      this.#move('ERROR')
      throw error
    }
  }

  /** Resolves when all tasks that are assigned here run, or have failed by themselves. Errors: what ended the application. */
  untilRunning(): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (this.#state === 'RUNNING') resolve()
        else if (this.#state === 'ERROR' || this.#state === 'NOT_RUNNING') {
          reject(this.#error ?? new DruseError('APPLICATION_STATE', `The application is ${this.#state}`))
        } else return
        stop()
      }
      const stop = this.onStateChange(look)
      look()
    })
  }

  /** Committed entries of a region. Errors: APPLICATION_STATE before `start` has resolved and after `close`. */
  region<R extends AnyRegion>(region: R): Committed<R> {
    const running = this.#running
    if (running === undefined) {
      throw new DruseError('APPLICATION_STATE', `Application '${this.application}' is ${this.#state}`)
    }
    return committedRegion(region, running.surroundings, running.worker)
  }

  /**
   * Commits what is done, leaves the group and closes the state. After the deadline, without the commit. Default 30 s.
   * A static member stays in the group unless `leaveGroup` says otherwise: its tasks wait for it until its session is over.
   */
  async close({
    timeoutMs = CLOSE_TIMEOUT_MS,
    leaveGroup = this.#settings.groupInstanceId === undefined,
  } = {}): Promise<void> {
    // What is being opened can only be closed when it is there; without its connections it fails soon.
    const cancel = this.#clock.wake(timeoutMs, () => this.#stopStart?.())
    await this.#starting?.catch(() => undefined)
    cancel()
    if (this.#state === 'NOT_RUNNING') return
    if (this.#state !== 'ERROR') this.#move('PENDING_SHUTDOWN')
    await this.#release(timeoutMs, leaveGroup)
    this.#last = { tasks: [], counts: this.#last.counts }
    this.#move('NOT_RUNNING')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #release(timeoutMs: number, leaveGroup = true): Promise<void> {
    const running = this.#running
    if (running === undefined) return this.#releasing ?? Promise.resolve()
    this.#releasing ??= (async () => {
      this.#last = lookAt(running.worker)
      this.#running = undefined
      running.watching.abort()
      try {
        await running.worker.close(timeoutMs, leaveGroup)
      } finally {
        await running.globals.close()
        running.cluster.close()
        await running.directory.close()
      }
    })()
    return this.#releasing
  }

  #disk(): Disk {
    const { stateDir } = this.#options
    return typeof stateDir === 'string' ? levelDisk(stateDir) : stateDir
  }

  #onWorkerChange(): void {
    const worker = this.#running?.worker
    if (worker === undefined || (this.#state !== 'RUNNING' && this.#state !== 'REBALANCING')) return
    const isSettled =
      worker.isMember && worker.health.every(({ status }) => status === 'running' || status === 'failed')
    this.#move(isSettled ? 'RUNNING' : 'REBALANCING')
  }

  /** What failed beside the start ends it, too. */
  #assertNotFailed(): void {
    if (this.#state === 'ERROR') throw this.#error
  }

  #fail(cause: unknown): void {
    if (this.#state !== 'RUNNING' && this.#state !== 'REBALANCING') return
    this.#error = asError(cause)
    this.#log.error({ application: this.application, error: this.#error }, 'application: stopped')
    this.#move('ERROR')
    this.#release(CLOSE_TIMEOUT_MS).catch((error: unknown) => {
      this.#log.error({ error }, 'application: could not be closed')
    })
  }

  #move(to: ApplicationState): void {
    const from = this.#state
    if (from === to) return
    if (!MOVES[from].includes(to)) throw new Error(`no move from ${from} to ${to}`)
    this.#state = to
    this.#log.info({ application: this.application, from }, `application: ${to}`)
    for (const listener of this.#listeners) {
      try {
        listener(to, from)
      } catch (error) {
        this.#log.error({ error, state: to }, 'application: a state listener failed')
      }
    }
  }
}

function lookAt({ health, counts }: Worker): Pick<Health, 'tasks' | 'counts'> {
  return { tasks: health, counts: { ...counts } }
}

function asError(error: unknown): DruseError {
  return error instanceof DruseError ? error : new DruseError('INTERNAL', String(error), { cause: error })
}
