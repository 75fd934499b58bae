/** Cuts the graph where records change hands through a topic. A sub-topology times a partition is a task. */

import type { Region } from '../region/definition.ts'
import type { Graph, GraphNode, NodeId, RepartitionNode, SinkNode, SourceNode } from './graph.ts'

export interface SubTopology {
  /** Its number in this topology, for people; it moves when the topology changes. */
  readonly id: number
  /** The alphabetically first of its topics: names its tasks' directories, for a topic has one reader. */
  readonly name: string
  readonly sources: readonly (SourceNode | RepartitionNode)[]
  /** Operators and sinks, parents first; a repartition node stands here where it is written to. */
  readonly nodes: readonly GraphNode[]
  readonly regions: readonly Region[]
}

/** Every topic that a sub-topology reads. */
export function inputTopics(sub: SubTopology): string[] {
  return sub.sources.flatMap((source) => (source.kind === 'source' ? source.topics : [source.topic])).sort()
}

/** Every topic that it writes, changelogs left out. */
export function outputNodes(sub: SubTopology): (SinkNode | RepartitionNode)[] {
  return sub.nodes.filter((node) => node.kind === 'sink' || node.kind === 'repartition')
}

export function subTopologies(graph: Graph): SubTopology[] {
  // A repartition node is two places: where it is written (its id) and where it is read (id + count).
  const count = graph.nodes.length
  const leader = Array.from({ length: count * 2 }, (_, index) => index)
  const find = (place: number): number => {
    let at = place
    while (leader[at] !== at) at = leader[at] as number
    return at
  }
  const join = (a: number, b: number): void => {
    const [low, high] = [find(a), find(b)].sort((x, y) => x - y) as [number, number]
    leader[high] = low
  }
  const output = (id: NodeId): number => (graph.nodes[id]?.kind === 'repartition' ? id + count : id)

  const userOf = new Map<string, NodeId>()
  for (const node of graph.nodes) {
    for (const parent of node.parents) join(node.id, output(parent))
    if (node.kind !== 'operator') continue
    for (const region of node.regions) {
      if (graph.globals.has(region)) continue
      const other = userOf.get(region)
      if (other === undefined) userOf.set(region, node.id)
      else join(node.id, other)
    }
  }

  const groups = new Map<number, { sources: (SourceNode | RepartitionNode)[]; nodes: GraphNode[] }>()
  const group = (place: number) => {
    const key = find(place)
    const found = groups.get(key) ?? { sources: [], nodes: [] }
    groups.set(key, found)
    return found
  }
  for (const node of graph.nodes) {
    if (node.kind === 'source') group(node.id).sources.push(node)
    else group(node.id).nodes.push(node)
    if (node.kind === 'repartition') group(node.id + count).sources.push(node)
  }
  return [...groups.values()].map(({ sources, nodes }, id) => {
    const names = new Set(nodes.flatMap((node) => (node.kind === 'operator' ? node.regions : [])))
    const sub = {
      id,
      name: '',
      sources,
      nodes,
      regions: [...graph.regions.values()].filter((r) => names.has(r.name)),
    }
    return { ...sub, name: inputTopics(sub)[0] as string }
  })
}
