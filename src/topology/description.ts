/** A topology as data that can be shown, compared and stored: names alone, no functions. */
import type { Graph, GraphNode, SourceNode } from './graph.ts'
import { logOf } from './internal-topics.ts'
import { type SubTopology, subTopologies } from './subtopologies.ts'

export interface SerdeNames {
  readonly key: string
  readonly value: string
}

interface DescribedNode {
  readonly name: string
  /** Names of what stands behind it, in order. */
  readonly to: readonly string[]
}

export interface DescribedSource extends DescribedNode, SerdeNames {
  readonly topics: readonly string[]
}

export interface DescribedOperator extends DescribedNode {
  /** map, filter, count, process, … */
  readonly operator: string
  readonly regions: readonly string[]
}

export interface DescribedSink extends DescribedNode, SerdeNames {
  /** Null: chosen for each record. */
  readonly topic: string | null
  /** Whether a function chooses the partition of each record. */
  readonly isPartitioned: boolean
}

export interface DescribedRegion extends SerdeNames {
  readonly name: string
  /** Where it is logged, and restored from. */
  readonly changelog: string
  readonly store: 'persistent' | 'memory'
}

export interface DescribedGlobalRegion extends SerdeNames {
  readonly name: string
  readonly topic: string
  readonly store: 'persistent' | 'memory'
}

export interface DescribedSubTopology {
  readonly id: number
  readonly sources: readonly DescribedSource[]
  /** Operators and sinks, parents first. */
  readonly nodes: readonly (DescribedOperator | DescribedSink)[]
  readonly regions: readonly DescribedRegion[]
}

export interface TopologyDescription {
  readonly application: string
  readonly globalRegions: readonly DescribedGlobalRegion[]
  readonly subTopologies: readonly DescribedSubTopology[]
}

export function descriptionOf(graph: Graph): TopologyDescription {
  return {
    application: graph.application,
    globalRegions: Array.from(graph.globals.values(), (region) => ({
      name: region.name,
      topic: region.topic,
      ...serdes(region),
      store: region.store,
    })),
    subTopologies: subTopologies(graph).map((sub) => describedSub(graph, sub)),
  }
}

function describedSub(graph: Graph, sub: SubTopology): DescribedSubTopology {
  const to = (parent: GraphNode): string[] =>
    sub.nodes.filter((node) => node.parents.includes(parent.id)).map(({ name }) => name)
  return {
    id: sub.id,
    sources: sub.sources.map((source) => ({
      name: source.name,
      topics: source.kind === 'source' ? source.topics : [source.topic],
      ...serdes(source),
      to: to(source),
    })),
    nodes: sub.nodes.flatMap((node): (DescribedOperator | DescribedSink)[] => {
      if (node.kind === 'operator') {
        const { name, operator, regions } = node
        return [{ name, operator, regions, to: to(node) }]
      }
      if (node.kind === 'source') return []
      const topic = typeof node.topic === 'string' ? node.topic : null
      const isPartitioned = node.partitioner !== undefined
      // What is read from a repartition topic stands in another sub-topology, or in this one as a source.
      return [{ name: node.name, topic, isPartitioned, ...serdes(node), to: [] }]
    }),
    regions: sub.regions.map((region) => ({
      name: region.name,
      changelog: logOf(graph.application, region),
      store: region.store,
      ...serdes(region),
    })),
  }
}

function serdes({ key, value }: Pick<SourceNode, 'key' | 'value'>): SerdeNames {
  return { key: key.kind, value: value.kind }
}
