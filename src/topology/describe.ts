/** A topology as text, in the manner of Kafka Streams' describe. */
import type { Graph, GraphNode, SourceNode } from './graph.ts'
import { logOf } from './internal-topics.ts'
import { type SubTopology, subTopologies } from './subtopologies.ts'

export function describe(graph: Graph): string {
  const lines = [`Topology ${graph.application}`]
  for (const region of graph.globals.values()) {
    const { name, topic, store } = region
    lines.push(
      `  Global region ${name} (topic: ${topic}${store === 'memory' ? ', memory' : ''}, ${serdes(region)})`,
    )
  }
  for (const sub of subTopologies(graph)) lines.push(...describeSub(graph, sub))
  return `${lines.join('\n')}\n`
}

function describeSub(graph: Graph, sub: SubTopology): string[] {
  const lines = [`  Sub-topology ${sub.id}`]
  const after = (parent: GraphNode): string => {
    const names = sub.nodes.filter((node) => node.parents.includes(parent.id)).map((node) => node.name)
    return names.length === 0 ? '' : `\n      --> ${names.join(', ')}`
  }
  for (const source of sub.sources) {
    const topics = source.kind === 'source' ? source.topics : [source.topic]
    lines.push(`    Source ${source.name} (topics: ${topics.join(', ')}; ${serdes(source)})${after(source)}`)
  }
  for (const node of sub.nodes) {
    if (node.kind === 'operator') {
      const regions = node.regions.length === 0 ? '' : ` (regions: ${node.regions.join(', ')})`
      lines.push(`    Operator ${node.name}: ${node.operator}${regions}${after(node)}`)
    } else if (node.kind !== 'source') {
      const topic = typeof node.topic === 'string' ? node.topic : 'chosen per record'
      const by = node.partitioner === undefined ? '' : ', partitions: chosen per record'
      lines.push(`    Sink ${node.name} (topic: ${topic}${by}; ${serdes(node)})`)
    }
  }
  for (const region of sub.regions) {
    const changelog = logOf(graph.application, region)
    lines.push(`    Region ${region.name} (changelog: ${changelog}, ${region.store}; ${serdes(region)})`)
  }
  return lines
}

function serdes({ key, value }: Pick<SourceNode, 'key' | 'value'>): string {
  return `key: ${key.kind}, value: ${value.kind}`
}
