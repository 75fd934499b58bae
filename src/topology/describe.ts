/** A topology as text, in the manner of Kafka Streams' describe; as JSON; and as a diagram for Mermaid. */
import {
  type DescribedOperator,
  type DescribedSink,
  type DescribedSubTopology,
  descriptionOf,
  type SerdeNames,
  type TopologyDescription,
} from './description.ts'
import type { Graph } from './graph.ts'

/** `text` for people, `json` is a `TopologyDescription`, `mermaid` a flowchart that Markdown viewers draw. */
export type DescribeFormat = 'text' | 'json' | 'mermaid'

export function describe(graph: Graph, format: DescribeFormat): string {
  const description = descriptionOf(graph)
  if (format === 'json') return `${JSON.stringify(description, null, 2)}\n`
  return `${(format === 'text' ? text(description) : mermaid(description)).join('\n')}\n`
}

function text({ application, globalRegions, subTopologies }: TopologyDescription): string[] {
  const lines = [`Topology ${application}`]
  for (const { name, topic, store, ...kinds } of globalRegions) {
    const where = store === 'memory' ? ', memory' : ''
    lines.push(`  Global region ${name} (topic: ${topic}${where}, ${serdes(kinds)})`)
  }
  for (const sub of subTopologies) lines.push(...textOf(sub))
  return lines
}

function textOf({ id, sources, nodes, regions }: DescribedSubTopology): string[] {
  const lines = [`  Sub-topology ${id}`]
  const after = ({ to }: { readonly to: readonly string[] }): string =>
    to.length === 0 ? '' : `\n      --> ${to.join(', ')}`
  for (const source of sources) {
    const topics = source.topics.join(', ')
    lines.push(`    Source ${source.name} (topics: ${topics}; ${serdes(source)})${after(source)}`)
  }
  for (const node of nodes) {
    if (isOperator(node)) {
      const used = node.regions.length === 0 ? '' : ` (regions: ${node.regions.join(', ')})`
      lines.push(`    Operator ${node.name}: ${node.operator}${used}${after(node)}`)
    } else {
      const by = node.isPartitioned ? ', partitions: chosen per record' : ''
      lines.push(`    Sink ${node.name} (topic: ${node.topic ?? CHOSEN}${by}; ${serdes(node)})`)
    }
  }
  for (const region of regions) {
    const { name, changelog, store } = region
    lines.push(`    Region ${name} (changelog: ${changelog}, ${store}; ${serdes(region)})`)
  }
  return lines
}

/** Topics are drawn once, between the sub-topologies that write and read them. */
function mermaid({ globalRegions, subTopologies }: TopologyDescription): string[] {
  const ids = new Map<string, string>()
  const idOf = (what: string): string => {
    const known = ids.get(what) ?? `n${ids.size}`
    ids.set(what, known)
    return known
  }
  const inside: string[] = []
  const edges: string[] = []
  const topics = new Set<string>()
  const topic = (name: string): string => {
    topics.add(name)
    return idOf(`topic ${name}`)
  }
  const regionIds = new Map<string, string>()
  for (const { name, topic: from } of globalRegions) {
    regionIds.set(name, idOf(`region ${name}`))
    inside.push(`  ${idOf(`region ${name}`)}[(${quoted(name)})]`)
    edges.push(`  ${topic(from)} --> ${idOf(`region ${name}`)}`)
  }
  for (const { id, sources, nodes, regions } of subTopologies) {
    const node = (name: string): string => idOf(`${id} ${name}`)
    inside.push(`  subgraph s${id}["Sub-topology ${id}"]`)
    for (const source of sources) {
      // A repartition node is written and read under one name: its source stands for what is read.
      const own = idOf(`${id} source ${source.name}`)
      inside.push(`    ${own}([${quoted(source.name)}])`)
      for (const name of source.topics) edges.push(`  ${topic(name)} --> ${own}`)
      for (const next of source.to) edges.push(`  ${own} --> ${node(next)}`)
    }
    for (const { name } of regions) {
      regionIds.set(name, idOf(`region ${name}`))
      inside.push(`    ${idOf(`region ${name}`)}[(${quoted(name)})]`)
    }
    for (const described of nodes) {
      const own = node(described.name)
      if (isOperator(described)) {
        const label = described.name.startsWith(described.operator)
          ? described.name
          : `${described.name}: ${described.operator}`
        inside.push(`    ${own}[${quoted(label)}]`)
        for (const next of described.to) edges.push(`  ${own} --> ${node(next)}`)
        for (const region of described.regions) {
          const kept = regionIds.get(region) as string
          if (described.operator === 'toRegion') edges.push(`  ${own} --> ${kept}`)
          else if (described.operator === 'fromRegion') edges.push(`  ${kept} --> ${own}`)
          else edges.push(`  ${own} -.- ${kept}`)
        }
      } else {
        inside.push(`    ${own}([${quoted(described.name)}])`)
        edges.push(`  ${own} --> ${topic(described.topic ?? CHOSEN)}`)
      }
    }
    inside.push('  end')
  }
  const drawn = [...topics].sort().map((name) => `  ${idOf(`topic ${name}`)}[/${quoted(name)}/]`)
  return ['flowchart TD', ...drawn, ...inside, ...edges]
}

const CHOSEN = 'chosen per record'

const isOperator = (node: DescribedOperator | DescribedSink): node is DescribedOperator => 'operator' in node

const quoted = (name: string): string => `"${name.replaceAll('"', '#quot;')}"`

function serdes({ key, value }: SerdeNames): string {
  return `key: ${key}, value: ${value}`
}
