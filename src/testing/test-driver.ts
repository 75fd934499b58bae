/** Runs a topology in a test: the production runtime, on an embedded broker, in virtual time. */

import type { Topology } from '../dsl/topology.ts'
import { DruseError } from '../errors.ts'
import type { Logger, NewTopic, Registry } from '../ports.ts'
import type { AnyRegion } from '../region/definition.ts'
import type { DruseSettings } from '../runtime/options.ts'
import { externalTopics } from '../runtime/plan.ts'
import type { Committed } from '../runtime/query.ts'
import { localRegistry } from '../serde/index.ts'
import { memoryDisk } from '../store/index.ts'
import { silentLogger } from '../system.ts'
import type { Graph } from '../topology/graph.ts'
import { regionView } from './region-view.ts'
import { type InputTopicOptions, TestInputTopic } from './test-input-topic.ts'
import { TestInstance } from './test-instance.ts'
import { type OutputTopicOptions, TestOutputTopic } from './test-output-topic.ts'
import { World } from './world.ts'

/** A topic that is not as the others of the test. */
export interface TestTopic {
  readonly topic: string
  /** Default: as of all topics. */
  readonly partitions?: number
  /** Kafka's topic settings by name. Default: the broker's, but nothing is deleted by age. */
  readonly configs?: Readonly<Record<string, string>>
}

/** Settings have the meaning and the defaults that they have in production; they are in virtual time. */
export interface TestDriverOptions
  extends Partial<Omit<DruseSettings, 'groupInstanceId' | 'replicationFactor'>> {
  /** What happens at the same moment happens in an order drawn from it, and so are latencies. A whole number, default 1. */
  readonly seed?: number
  /** How many instances are started. Default 1. */
  readonly instances?: number
  /** Of each topic that the topology names and `topics` does not. Default 1. */
  readonly partitions?: number
  /** Topics with other settings, and those that operators choose per record. */
  readonly topics?: readonly TestTopic[]
  /** The wall clock's time at the beginning, in milliseconds since 1970. Default 1 700 000 000 000. */
  readonly startTimeMs?: number
  /** Where Avro schemas get their ids. Default: a registry in memory. */
  readonly registry?: Registry
  /** What the application logs. Default: nowhere. */
  readonly logger?: Logger
  /** Is told each event of the simulation, for those who want to see what happens. */
  readonly trace?: (line: string) => void
}

/**
 * Runs a topology in a test, on a Kafka in memory and in virtual time: pipe records in, read what comes out, look into
 * regions, let time pass; crash, freeze, add and restart instances. It is the runtime of production with its commits,
 * changelogs, rebalances and recovery; nothing takes longer than its work, and a run is a function of the seed.
 *
 * Calls have their turn one after the other; an operator that waits for one waits for ever.
 *
 * A task that stops (see `onFailure`) makes the call that lets it happen reject with its error: the code of that, the
 * task and the instance in its details. Each failure is told once.
 *
 * @example
 * await using driver = await TestDriver.create(topology)
 * const lines = driver.createInputTopic('lines', { key: string, value: string })
 * const counts = driver.createOutputTopic('word-counts', { key: string, value: int64 })
 * await lines.pipeInput(null, 'to be or not to be')
 * expect(await counts.readKeyValuesToMap()).toEqual(new Map([['to', 2], ['be', 2], ['or', 1], ['not', 1]]))
 */
export class TestDriver {
  readonly #world: World
  readonly #instances: [TestInstance, ...TestInstance[]]
  #closed: Promise<void> | undefined

  private constructor(world: World, count: number) {
    this.#world = world
    this.#instances = [new TestInstance(world, 'instance-0')]
    for (let n = 1; n < count; n++) this.#instances.push(new TestInstance(world, `instance-${n}`))
  }

  /**
   * Creates the topics and starts the application; resolves when it runs. A function is called for each start of an
   * instance, so that what its operators keep in variables dies with the process.
   *
   * Errors: OPTION_INVALID, TOPOLOGY_INVALID, TOPIC_NOT_CREATED, those of `Druse.start`.
   */
  static async create(
    topology: Topology | (() => Topology),
    options: TestDriverOptions = {},
  ): Promise<TestDriver> {
    const {
      seed = 1,
      instances = 1,
      partitions = 1,
      topics = [],
      startTimeMs,
      logger,
      registry,
      trace,
      ...settings
    } = options
    assertWhole('seed', seed, 0)
    assertWhole('instances', instances, 1)
    assertWhole('partitions', partitions, 1)
    if (startTimeMs !== undefined) assertWhole('startTimeMs', startTimeMs, 0)
    const world = await World.open(
      {
        seed,
        startTimeMs,
        topology: typeof topology === 'function' ? topology : () => topology,
        registry: registry ?? localRegistry(memoryDisk()),
        settings,
        logger: logger ?? silentLogger,
        trace,
      },
      (graph) => topicsOf(graph, partitions, topics),
    )
    try {
      const driver = new TestDriver(world, instances)
      await driver.untilIdle()
      return driver
    } catch (error) {
      await world.close()
      throw error
    }
  }

  /** In the order in which they were first started. */
  get instances(): readonly [TestInstance, ...TestInstance[]] {
    return this.#instances
  }

  /** The wall clock's time, in milliseconds since 1970. It moves while the application works, and by `advanceWallClockTime`. */
  get nowMs(): number {
    return this.#world.nowMs
  }

  /** A way to write into a topic. */
  createInputTopic<K, V>(topic: string, options: InputTopicOptions<K, V>): TestInputTopic<K, V> {
    return new TestInputTopic(this.#world, topic, options)
  }

  /** A way to read a topic from its beginning, beside others. Internal topics can be read, too. */
  createOutputTopic<K, V>(topic: string, options: OutputTopicOptions<K, V>): TestOutputTopic<K, V> {
    return new TestOutputTopic(this.#world, topic, options)
  }

  /**
   * The committed entries of a region, all parts of it, whether instances run or not. Reads let the application work
   * until nothing is left to do. Errors: TOPOLOGY_INVALID; reads: as `untilIdle`, OPTION_INVALID.
   */
  region<R extends AnyRegion>(region: R): Committed<R> {
    return regionView(this.#world, region)
  }

  /**
   * Lets so much time pass: commit intervals, sessions, time-outs. An hour takes less than a second; a day takes less
   * with a longer `fetchMaxWaitMs`. Errors: those of tasks.
   */
  advanceWallClockTime(ms: number): Promise<void> {
    return this.#world.inTurn(() => this.#world.advance(ms))
  }

  /**
   * Lets the application work until all its input is processed and committed, however long that takes, or no instance is
   * left that runs. Errors: those of tasks, DRIVER_STALLED when that has not come in 10 minutes of virtual time.
   */
  untilIdle(): Promise<void> {
    return this.#world.inTurn(() => this.#world.untilIdle())
  }

  /** Topics that the application has written to, internal ones included. */
  producedTopicNames(): Set<string> {
    return new Set(Array.from(this.#world.produced.values(), ({ topic }) => topic))
  }

  /** Starts another instance; resolves when tasks have been shared anew. Errors: as `untilIdle`. */
  async addInstance(): Promise<TestInstance> {
    return this.#world.inTurn(async () => {
      const added = new TestInstance(this.#world, `instance-${this.#instances.length}`)
      this.#instances.push(added)
      await this.#world.untilIdle()
      return added
    })
  }

  /**
   * Closes all instances. Errors: what the test has not been told yet, be it that a task has stopped or that some input
   * is never processed. A second call does nothing.
   */
  close(): Promise<void> {
    if (this.#closed !== undefined) return this.#closed
    const closing = this.#close()
    this.#closed = closing.catch(() => undefined)
    return closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #close(): Promise<void> {
    const world = this.#world
    return world.inTurn(async () => {
      try {
        if (!world.isStalled) await world.untilIdle()
        for (const instance of this.#instances) await instance.end()
      } finally {
        await world.close()
      }
    })
  }
}

function assertWhole(option: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return
  throw new DruseError(
    'OPTION_INVALID',
    `Option ${option} is ${value}; it has to be a whole number from ${least}`,
    {
      option,
    },
  )
}

function topicsOf(graph: Graph, count: number, given: readonly TestTopic[]): NewTopic[] {
  const wanted = new Map<string, TestTopic>(externalTopics(graph).map((topic) => [topic, { topic }]))
  for (const topic of given) wanted.set(topic.topic, topic)
  return Array.from(wanted.values(), ({ topic, configs, partitions = count }) => ({
    topic,
    partitions,
    replicationFactor: -1,
    configs: { 'retention.ms': '-1', ...configs },
  }))
}
