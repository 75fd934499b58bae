/** What a run of a topology shows, in the form of the recordings. */
import { bytes, type Serde, type StreamRecord } from '../../src/index.ts'
import type { AnyRegion } from '../../src/region/definition.ts'
import type { Graph, SinkNode } from '../../src/topology/graph.ts'
import { logOf } from '../../src/topology/internal-topics.ts'
import type { Case, CaseEntry } from './case.ts'
import { shown, shownKey } from './text.ts'

export interface Outcomes {
  readonly outputs: Record<string, CaseEntry[]>
  readonly stores: Record<string, CaseEntry[]>
}

export interface Pair {
  readonly key: Serde<unknown>
  readonly value: Serde<unknown>
}

/** How a run can be looked at. */
export interface Sight {
  /** What is committed in a topic. */
  records(topic: string, serdes: Pair): Promise<readonly StreamRecord[]>
  /** What is committed in a region. */
  entries(region: AnyRegion): AsyncIterable<readonly [key: unknown, value: unknown]>
  /** What callbacks saw. */
  readonly seen: Readonly<Record<string, CaseEntry[]>>
}

/** How the records of each topic are read that the topology reads. */
export function inputSerdes(graph: Graph): Map<string, Pair> {
  const serdes = new Map<string, Pair>()
  for (const node of graph.nodes) {
    if (node.kind === 'source') for (const topic of node.topics) serdes.set(topic, node)
  }
  for (const region of graph.globals.values()) serdes.set(region.topic, region)
  return serdes
}

/** All topics that a case needs. */
export function topicsOf(graph: Graph, recorded: Case): string[] {
  const sinks = graph.nodes.flatMap((node) =>
    node.kind === 'sink' && typeof node.topic === 'string' ? [node.topic] : [],
  )
  const topics = new Set([...inputSerdes(graph).keys(), ...sinks, ...Object.keys(recorded.outputs)])
  return [...topics].filter((topic) => !topic.startsWith('@'))
}

export async function outcomesOf(graph: Graph, recorded: Case, sight: Sight): Promise<Outcomes> {
  const outputs: Record<string, CaseEntry[]> = {}
  for (const name of Object.keys(recorded.outputs)) {
    outputs[name] = name.startsWith('@')
      ? (sight.seen[name] ?? [])
      : await outputOf(graph, recorded, name, sight)
  }
  const stores: Record<string, CaseEntry[]> = {}
  for (const name of Object.keys(recorded.stores)) {
    const region = graph.regions.get(name) ?? graph.globals.get(name)
    if (region === undefined) throw new Error(`the topology has no region ${name}`)
    stores[name] = await storeOf(graph, recorded, region, sight)
  }
  return { outputs, stores }
}

export async function outputOf(
  graph: Graph,
  recorded: Case,
  topic: string,
  sight: Pick<Sight, 'records'>,
): Promise<CaseEntry[]> {
  const sinks = graph.nodes.filter((node) => node.kind === 'sink')
  const sink = sinks.find((node) => node.topic === topic)
  const { key, value } = (sink ?? sinks.find((node) => typeof node.topic !== 'string')) as SinkNode
  const withHeaders = recorded.outputs[topic]?.some(({ headers }) => headers !== undefined)
  const records = await sight.records(topic, { key, value })
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

/** The entries, and their times from the topic that logs them. */
async function storeOf(graph: Graph, recorded: Case, region: AnyRegion, sight: Sight): Promise<CaseEntry[]> {
  const topic = region.kind === 'global' ? region.topic : logOf(graph.application, region)
  const id = (key: unknown): string => JSON.stringify(shownKey(key))
  const times = new Map<string, number>()
  const codec = await region.key.open({ topic, part: 'key', registry: undefined, writes: false })
  for (const record of await sight.records(topic, { key: bytes, value: bytes } as unknown as Pair)) {
    const key = record.key as Uint8Array | null
    // A record without key is no entry, and what operators keep beside the entries has a key of no bytes.
    if (key !== null && key.length > 0) times.set(id(codec.decode(key)), record.timestamp)
  }
  const withTimes = recorded.stores[region.name]?.some(({ ts }) => ts !== undefined)
  const entries: CaseEntry[] = []
  for await (const [key, value] of sight.entries(region)) {
    const ts = times.get(id(key)) as number
    entries.push({ ...shownKey(key), value: shown(value), ...(withTimes && { ts }) })
  }
  return entries
}

/** Without what only helps to read a recording. */
export function plain(outputs: Case['outputs']): Record<string, CaseEntry[]> {
  return Object.fromEntries(
    Object.entries(outputs).map(([name, entries]) => [name, entries.map(({ by: _, ...entry }) => entry)]),
  )
}
