/** What can only be checked of a topology as a whole. */
import { DruseError } from '../errors.ts'
import { choosing, type Feeder, feedersOf, partitionerOf, topicsOf } from './co-partitioning.ts'
import { deadLetterTopics, type Graph, type GraphNode, type NodeId, type OperatorNode } from './graph.ts'
import { internalTopicNames } from './internal-topics.ts'

/** Errors: TOPOLOGY_INVALID. */
export function checkGraph(graph: Graph): void {
  for (const node of graph.nodes) if (node.kind === 'operator') checkListening(graph, node)
  for (const region of graph.regions.keys()) checkCoPartitioned(graph, region)
  checkOutputs(graph)
}

/** Something writes the region that is listened to, and what listens to it does not. */
function checkListening(graph: Graph, { id, name, listensTo }: OperatorNode): void {
  if (listensTo === undefined) return
  if (choosing(feedersOf(graph, listensTo)).length === 0) {
    throw new DruseError(
      'TOPOLOGY_INVALID',
      `'${name}' streams the events of region '${listensTo}', but no stream reaches an operator that writes it`,
    )
  }
  const seen = new Set<NodeId>([id])
  // Children that are listeners may have lower ids: each visit goes on at once.
  const visit = (from: NodeId): void => {
    if (seen.has(from)) return
    seen.add(from)
    const node = graph.nodes[from] as GraphNode
    if (node.kind === 'operator' && node.operator === 'toRegion') {
      if (node.regions.includes(listensTo)) throw feedsItself(name, listensTo)
      for (const other of graph.nodes) {
        if (other.kind === 'operator' && other.listensTo === node.regions[0]) visit(other.id)
      }
    }
    visitChildren(from)
  }
  const visitChildren = (parent: NodeId): void => {
    for (const child of graph.nodes) if (child.parents.includes(parent)) visit(child.id)
  }
  visitChildren(id)
}

function feedsItself(listener: string, region: string): DruseError {
  return new DruseError(
    'TOPOLOGY_INVALID',
    `The events of region '${region}' ('${listener}') lead to a toRegion('${region}'): that would go on for ever. Write to another region`,
    { region },
  )
}

/**
 * Equal keys of everything that reaches a region have to be in one task. Partition counts are compared at start; here,
 * whether the partitions were chosen by the same function. Of topics that others write, Kafka's own is assumed.
 */
function checkCoPartitioned(graph: Graph, region: string): void {
  const [first, ...others] = choosing(feedersOf(graph, region))
  const other = others.find((node) => partitionerOf(node) !== partitionerOf(first as Feeder))
  if (first === undefined || other === undefined) return
  const [one, two] = [first, other].map((node) => topicsOf(node).join(', '))
  throw new DruseError(
    'TOPOLOGY_INVALID',
    `Topics '${one}' and '${two}' feed region '${region}', but their partitions are not chosen by the same function: equal keys would meet in different tasks. Give them the same partitioner, by a repartition(name, { partitioner }) where there is none, or by otherPartitioner of a foreign-key join`,
  )
}

/** What stands in an internal topic is the runtime's own: a record from elsewhere would pass for state, or for input. */
function checkOutputs(graph: Graph): void {
  const internal = new Set(internalTopicNames(graph))
  for (const node of graph.nodes) {
    const topics = node.kind === 'sink' ? [node.topic] : []
    if (node.kind === 'source' || node.kind === 'repartition') topics.push(...deadLetterTopics(node))
    const wrong = topics.find((topic) => typeof topic === 'string' && internal.has(topic))
    if (wrong === undefined) continue
    throw new DruseError(
      'TOPOLOGY_INVALID',
      `'${node.name}' writes to '${wrong}', which is an internal topic of this application: write to a topic of your own`,
    )
  }
}
