/**
 * A topology's operators over real regions, on one partition, where the test says when a record goes on that stands in a
 * repartition topic: for what happens only when answers overtake one another.
 */
import { memoryDisk, StreamRecord, type Topology } from '../../src/index.ts'
import type { RegionPart } from '../../src/region/part.ts'
import { compile } from '../../src/topology/compile.ts'
import type { Graph, Step } from '../../src/topology/graph.ts'
import { subTopologies } from '../../src/topology/subtopologies.ts'
import { partOf } from '../region/parts.ts'

export class Loom {
  /** What waits in each internal topic, named without application and suffix. */
  readonly waiting: Record<string, StreamRecord[]> = {}
  /** What came out: [key, value, time] of each record. */
  readonly out: [unknown, unknown, number][] = []
  readonly #steps = new Map<string, Step>()
  #offset = 0

  static async of(topology: Topology): Promise<Loom> {
    const graph = topology.build()
    const parts = new Map<string, RegionPart>()
    for (const { name, key, value } of graph.regions.values()) {
      parts.set(name, (await partOf(await memoryDisk().open(name), key, value, { name })) as RegionPart)
    }
    return new Loom(graph, parts)
  }

  private constructor(graph: Graph, parts: ReadonlyMap<string, RegionPart>) {
    const none = (): never => {
      throw new Error('there is none here')
    }
    for (const sub of subTopologies(graph)) {
      const compiled = compile(sub, {
        region: (name) => parts.get(name) as RegionPart,
        globalRegion: none,
        get time(): never {
          return none()
        },
        get clock(): never {
          return none()
        },
        late: none,
        dropped: () => {},
        partition: 0,
        carryOut: (_, run) => run(),
        calling: () => {},
        early: none,
        signal: new AbortController().signal,
        output: (node) => (record) => {
          const { key, value, timestamp } = record
          if (node.kind === 'sink') this.out.push([key, value, timestamp])
          else this.#queue(node.name).push(record)
        },
      })
      for (const { source, step } of compiled.values()) {
        if (source.kind === 'repartition') this.#steps.set(source.name, step)
        else for (const topic of source.topics) this.#steps.set(topic, step)
      }
    }
  }

  async feed(topic: string, key: unknown, value: unknown, timestamp = 0): Promise<void> {
    await this.#steps.get(topic)?.(new StreamRecord(key, value, timestamp, [], topic, 0, this.#offset++))
  }

  /** Lets the next record of an internal topic go on, or all that wait there. */
  async pass(name: string, count = this.#queue(name).length): Promise<void> {
    for (const record of this.#queue(name).splice(0, count)) {
      const { key, value, timestamp } = record
      await this.#steps.get(name)?.(new StreamRecord(key, value, timestamp, [], name, 0, this.#offset++))
    }
  }

  #queue(name: string): StreamRecord[] {
    this.waiting[name] ??= []
    return this.waiting[name]
  }
}
