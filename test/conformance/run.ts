/**
 * Runs a recorded case on the runtime of production: one partition, each input processed to its end before the next, also
 * through repartition topics. Only what is committed counts.
 */
import {
  type Clock,
  Druse,
  type Logger,
  memoryDisk,
  readTopic,
  silentLogger,
  systemClock,
  type TopicPartition,
  Topology,
  type Wire,
} from '../../src/index.ts'
import { partitionKey } from '../../src/kafka/partition-key.ts'
import { committedOffsets, listOffsets } from '../../src/kafka/topics.ts'
import type { AnyRegion } from '../../src/region/definition.ts'
import type { Graph } from '../../src/topology/graph.ts'
import { inputTopics, subTopologies } from '../../src/topology/subtopologies.ts'
import { Stage } from '../runtime/stage.ts'
import type { Build } from './build.ts'
import type { Case, CaseEntry, CaseRecord } from './case.ts'
import { inputSerdes, type Outcomes, outcomesOf, outputOf, type Pair, topicsOf } from './observe.ts'
import { encoded, shown, shownKey } from './text.ts'

/** Nothing is lost or moved here, so nothing is ever late but by a busy machine. */
const SETTINGS = {
  commitIntervalMs: 1,
  requestTimeoutMs: 60_000,
  transactionTimeoutMs: 60_000,
  sessionTimeoutMs: 60_000,
  // Wakes the application up to look at the clock.
  fetchMaxWaitMs: 20,
}

/** For outputs that do not come. */
const PATIENCE_MS = 5_000

export async function runCase(recorded: Case, build: Build): Promise<Outcomes> {
  const run = new Run(await Stage.open(), recorded, build)
  try {
    await run.start()
    for (const [i, input] of recorded.inputs.entries()) {
      if ('advanceWallClockMs' in input) await run.advance(input.advanceWallClockMs, i)
      else await run.feed(input)
    }
    return await run.outcomes()
  } finally {
    await run.close()
  }
}

class Run {
  readonly #stage: Stage
  readonly #case: Case
  readonly #seen: Record<string, CaseEntry[]> = {}
  readonly #graph: Graph
  readonly #app: Druse
  /** Where each source's topic is read, by topic. */
  readonly #serdes: ReadonlyMap<string, Pair>
  /** Internal ones too. */
  readonly #inputs: readonly TopicPartition[]
  #wallMs = 0
  /** How often the application has looked at the wall clock. */
  #looks = 0
  #looked = Promise.withResolvers<void>()
  #committed = Promise.withResolvers<void>()
  #failure: unknown

  constructor(stage: Stage, recorded: Case, build: Build) {
    this.#stage = stage
    this.#case = recorded
    const topology = new Topology(recorded.topology)
    build(topology, (sink, key, value) => {
      this.#seen[sink] ??= []
      this.#seen[sink].push({ ...shownKey(key), value: shown(value) })
    })
    this.#graph = topology.build()
    this.#inputs = subTopologies(this.#graph)
      .flatMap(inputTopics)
      .map((topic) => ({ topic, partition: 0 }))
    this.#serdes = inputSerdes(this.#graph)
    this.#app = new Druse(topology, {
      ...SETTINGS,
      wire: this.#listening(stage.wire),
      stateDir: memoryDisk(),
      clock: this.#clock(),
      logger: this.#logger(),
    })
  }

  async start(): Promise<void> {
    // Times are near 1970: nothing may be deleted by age.
    const configs = { 'retention.ms': '-1' }
    await this.#stage.topics(...topicsOf(this.#graph, this.#case).map((topic) => ({ topic, configs })))
    await this.#app.start()
    await this.#app.untilRunning()
  }

  async close(): Promise<void> {
    await this.#app.close()
    await this.#stage.close()
  }

  async feed({ topic, key, value, ts, headers = [] }: CaseRecord): Promise<void> {
    const serdes = this.#serdes.get(topic)
    if (serdes === undefined) throw new Error(`the topology reads no topic ${topic}`)
    const context = { topic, registry: undefined, writes: true }
    const encode = async (part: 'key' | 'value', given: string | null): Promise<Uint8Array | null> => {
      const codec = await serdes[part].open({ ...context, part })
      return given === null ? null : codec.encode(encoded(serdes[part], given))
    }
    await this.#stage.produce({ topic, partition: 0 }, [
      {
        key: await encode('key', key),
        value: await encode('value', value),
        timestamp: ts,
        headers: headers.map(([name, text]) => ({ key: name, value: Buffer.from(text) })),
      },
    ])
    await this.#settled()
    for (const region of this.#graph.globals.values()) {
      if (region.topic === topic && key !== null) await this.#loaded(region, key, value)
    }
  }

  /** What comes of it is known from the recording alone: nothing was fed that could be committed. */
  async advance(byMs: number, index: number): Promise<void> {
    this.#wallMs += byMs
    for (let looks = this.#looks; this.#looks < looks + 3; ) await this.#looked.promise
    for (const [topic, entries] of Object.entries(this.#case.outputs)) {
      const expected = entries.filter(({ by }) => by !== undefined && by <= index).length
      const untilMs = systemClock.monotonicMs() + PATIENCE_MS
      while (expected > 0 && (await this.#written(topic)) < expected) {
        if (systemClock.monotonicMs() > untilMs) break
        await this.#looked.promise
      }
    }
  }

  outcomes(): Promise<Outcomes> {
    return outcomesOf(this.#graph, this.#case, {
      records: (topic, serdes) => readTopic(this.#stage.wire, topic, serdes),
      entries: (region) => this.#app.region(region).range(),
      seen: this.#seen,
    })
  }

  async #written(topic: string): Promise<number> {
    const { wire } = this.#stage
    const records = (name: string, serdes: Pair) => readTopic(wire, name, serdes)
    return (await outputOf(this.#graph, this.#case, topic, { records })).length
  }

  /** All that was fed is committed, and what came of it in repartition topics. */
  async #settled(): Promise<void> {
    for (;;) {
      const commit = this.#committed.promise
      if (await this.#isDrained()) return
      await commit
      if (this.#failure !== undefined) throw this.#failure
    }
  }

  async #isDrained(): Promise<boolean> {
    const { cluster } = this.#stage
    const committed = await committedOffsets(cluster, this.#graph.application, this.#inputs)
    const ends = await listOffsets(cluster, this.#inputs, 'latest')
    return committed.every(({ topic, offset }) => offset === ends.get(partitionKey({ topic, partition: 0 })))
  }

  async #loaded(region: AnyRegion, key: string, value: string | null): Promise<void> {
    const wanted = value === null ? undefined : encoded(region.value, value)
    const typed = encoded(region.key, key)
    while ((await this.#app.region(region).get(typed)) !== wanted) {
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }

  /** Tells of each transaction that has ended. */
  #listening(wire: Wire): Wire {
    return {
      connect: (purpose) => {
        const connection = wire.connect(purpose)
        return {
          destroy: () => connection.destroy(),
          send: async (node, request, timeoutMs) => {
            const outcome = await connection.send(node, request, timeoutMs)
            if (request.api === 'EndTxn') this.#tell()
            return outcome
          },
        }
      },
    }
  }

  #tell(): void {
    this.#committed.resolve()
    this.#committed = Promise.withResolvers()
  }

  /** The wall clock is the case's; everything else is in the machine's time. */
  #clock(): Clock {
    return {
      monotonicMs: () => systemClock.monotonicMs(),
      wake: (delayMs, callback) => systemClock.wake(delayMs, callback),
      wallMs: () => {
        this.#looks += 1
        this.#looked.resolve()
        this.#looked = Promise.withResolvers()
        return this.#wallMs
      },
    }
  }

  #logger(): Logger {
    return {
      ...silentLogger,
      error: (details, message) => {
        this.#failure ??= (details as { error?: unknown }).error ?? new Error(message)
        this.#tell()
      },
    }
  }
}
