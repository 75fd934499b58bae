/** Which topics have to be partitioned alike: those that feed one region, for equal keys have to meet in one task. */
import type { Graph, GraphNode, NodeId, RepartitionNode, SourceNode } from './graph.ts'

export type Feeder = SourceNode | RepartitionNode

/** The sources and repartition topics whose records reach an operator of the region. */
export function feedersOf(graph: Graph, region: string): Feeder[] {
  const found = new Set<Feeder>()
  const seen = new Set<NodeId>()
  const visit = (id: NodeId): void => {
    if (seen.has(id)) return
    seen.add(id)
    const node = graph.nodes[id] as GraphNode
    if (node.kind === 'source' || node.kind === 'repartition') found.add(node)
    else visitParents(node)
  }
  const visitParents = (node: GraphNode): void => {
    node.parents.forEach(visit)
    // What it listens to is written by the records of others.
    if (node.kind !== 'operator' || node.listensTo === undefined) return
    for (const user of usersOf(graph, node.listensTo)) if (user !== node) visit(user.id)
  }
  usersOf(graph, region).forEach(visitParents)
  return [...found]
}

const usersOf = (graph: Graph, region: string): GraphNode[] =>
  graph.nodes.filter((node) => node.kind === 'operator' && node.regions.includes(region))

/** Of the feeders of a region, those whose records were not sent back to where they were asked for. */
export const choosing = (feeders: readonly Feeder[]): Feeder[] =>
  feeders.filter((node) => node.kind === 'source' || !node.returns)

export const topicsOf = (node: Feeder): readonly string[] =>
  node.kind === 'source' ? node.topics : [node.topic]

/** Of topics that others write, Kafka's own is assumed: undefined. */
export const partitionerOf = (node: Feeder): RepartitionNode['partitioner'] =>
  node.kind === 'repartition' ? node.partitioner : undefined

/** The topics of a topology in groups that feed the same regions. */
export function coPartitionGroups(graph: Graph): (readonly string[])[] {
  const groups = new Map<string, Set<string>>()
  for (const region of graph.regions.keys()) {
    const topics = new Set(feedersOf(graph, region).flatMap(topicsOf))
    for (const topic of topics) for (const other of groups.get(topic) ?? []) topics.add(other)
    for (const topic of topics) groups.set(topic, topics)
  }
  return [...new Set(groups.values())].map((topics) => [...topics].sort())
}
