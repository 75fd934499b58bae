/**
 * Runs a recorded case on the runtime of production: one partition, each input processed to its end before the next, also
 * through repartition topics. Only what is committed counts.
 */
import {
  bytes,
  type Clock,
  Druse,
  type Logger,
  memoryDisk,
  readTopic,
  type Serde,
  silentLogger,
  systemClock,
  type TopicPartition,
  Topology,
  type Wire,
} from '../../src/index.ts'
import { partitionKey } from '../../src/kafka/partition-key.ts'
import { committedOffsets, listOffsets } from '../../src/kafka/topics.ts'
import type { AnyRegion } from '../../src/region/definition.ts'
import type { Graph, SinkNode } from '../../src/topology/graph.ts'
import { changelogTopic } from '../../src/topology/internal-topics.ts'
import { inputTopics, subTopologies } from '../../src/topology/subtopologies.ts'
import { Stage } from '../runtime/stage.ts'
import type { Build } from './build.ts'
import type { Case, CaseEntry, CaseRecord } from './case.ts'
import { encoded, shown, shownKey } from './text.ts'

export interface Outcomes {
  readonly outputs: Record<string, CaseEntry[]>
  readonly stores: Record<string, CaseEntry[]>
}

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
    return { outputs: await run.outputs(), stores: await run.stores() }
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
  readonly #serdes = new Map<string, { key: Serde<unknown>; value: Serde<unknown> }>()
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
    for (const node of this.#graph.nodes) {
      if (node.kind === 'source') for (const topic of node.topics) this.#serdes.set(topic, node)
    }
    for (const region of this.#graph.globals.values()) this.#serdes.set(region.topic, region)
    this.#app = new Druse(topology, {
      ...SETTINGS,
      wire: this.#listening(stage.wire),
      stateDir: memoryDisk(),
      clock: this.#clock(),
      logger: this.#logger(),
    })
  }

  async start(): Promise<void> {
    const topics = new Set([...this.#serdes.keys(), ...this.#sinks(), ...Object.keys(this.#case.outputs)])
    // Times are near 1970: nothing may be deleted by age.
    const configs = { 'retention.ms': '-1' }
    await this.#stage.topics(
      ...[...topics].filter((topic) => !topic.startsWith('@')).map((topic) => ({ topic, configs })),
    )
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
      while (expected > 0 && (await this.#records(topic)).length < expected) {
        if (systemClock.monotonicMs() > untilMs) break
        await this.#looked.promise
      }
    }
  }

  async outputs(): Promise<Record<string, CaseEntry[]>> {
    const outputs: Record<string, CaseEntry[]> = {}
    const names = new Set([...Object.keys(this.#case.outputs), ...this.#sinks()])
    for (const name of names) {
      outputs[name] = name.startsWith('@') ? (this.#seen[name] ?? []) : await this.#records(name)
    }
    return outputs
  }

  /** Those that the case names: the entries as committed, and their times from the topic that logs them. */
  async stores(): Promise<Record<string, CaseEntry[]>> {
    const stores: Record<string, CaseEntry[]> = {}
    for (const name of Object.keys(this.#case.stores)) {
      const region = this.#graph.regions.get(name) ?? this.#graph.globals.get(name)
      if (region === undefined) throw new Error(`the topology has no region ${name}`)
      stores[name] = await this.#entries(region)
    }
    return stores
  }

  async #entries(region: AnyRegion): Promise<CaseEntry[]> {
    const topic =
      region.kind === 'global' ? region.topic : changelogTopic(this.#graph.application, region.name)
    const id = (key: unknown): string => JSON.stringify(shownKey(key))
    const times = new Map<string, number>()
    const codec = await region.key.open({ topic, part: 'key', registry: undefined, writes: false })
    for (const { key, timestamp } of await this.#stage.records(topic, { key: bytes, value: bytes })) {
      // A record without key is no entry, and what operators keep beside the entries has a key of no bytes.
      if (key !== null && key.length > 0) times.set(id(codec.decode(key)), timestamp)
    }
    const withTimes = this.#case.stores[region.name]?.some(({ ts }) => ts !== undefined)
    const entries: CaseEntry[] = []
    for await (const [key, value] of this.#app.region(region).range()) {
      const ts = times.get(id(key)) as number
      entries.push({ ...shownKey(key), value: shown(value), ...(withTimes && { ts }) })
    }
    return entries
  }

  async #records(topic: string): Promise<CaseEntry[]> {
    const sink = this.#graph.nodes.find((node) => node.kind === 'sink' && node.topic === topic)
    const chosen = this.#graph.nodes.find((node) => node.kind === 'sink' && typeof node.topic !== 'string')
    const { key, value } = (sink ?? chosen) as SinkNode
    const withHeaders = this.#case.outputs[topic]?.some(({ headers }) => headers !== undefined)
    const records = await readTopic(this.#stage.wire, topic, { key, value })
    return records.map((record) => ({
      ...shownKey(record.key),
      value: shown(record.value),
      ts: record.timestamp,
      ...(withHeaders && {
        headers: record.headers.map(
          (header) => [header.key, Buffer.from(header.value ?? '').toString()] as const,
        ),
      }),
    }))
  }

  #sinks(): string[] {
    return this.#graph.nodes.flatMap((node) =>
      node.kind === 'sink' && typeof node.topic === 'string' ? [node.topic] : [],
    )
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
