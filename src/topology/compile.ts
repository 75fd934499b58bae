/** From nodes to one closure per input topic. */
import type { Change } from './change.ts'
import type { GraphNode, NodeHost, NodeId, RepartitionNode, SinkNode, SourceNode, Step } from './graph.ts'
import { fanOut } from './steps.ts'
import { inputTopics, type SubTopology } from './subtopologies.ts'

export interface TaskHost extends NodeHost {
  /** Takes a record for a topic into the task's effects. */
  output(node: SinkNode | RepartitionNode): Step
}

export interface CompiledSource {
  readonly source: SourceNode | RepartitionNode
  readonly step: Step
}

const emitsChanges = (node: GraphNode): boolean => node.kind === 'operator' && node.emits === 'changes'
const takesChanges = (node: GraphNode): boolean => node.kind === 'operator' && node.takes === 'changes'

/** What a stream sees of a table's changes. */
const ofNewValues =
  (step: Step): Step =>
  (record) =>
    step(record.with(record.key, (record.value as Change).newValue))

/** Records without key belong to no task: as in Kafka Streams, they go on only where a join behind takes them. */
function repartitioned({ keyless }: RepartitionNode, output: Step): Step {
  return keyless ? output : (record) => (record.key === null ? undefined : output(record))
}

/** The compiled chain of each topic that the sub-topology reads. */
export function compile(sub: SubTopology, host: TaskHost): Map<string, CompiledSource> {
  const steps = new Map<NodeId, Step>()
  const childrenOf = (parent: GraphNode): Step[] =>
    sub.nodes
      .filter((node) => node.parents.includes(parent.id))
      .map((node) => {
        const step = steps.get(node.id) as Step
        return emitsChanges(parent) && !takesChanges(node) ? ofNewValues(step) : step
      })
  // Children have higher ids than their parents.
  for (const node of sub.nodes.toReversed()) {
    if (node.kind === 'operator') steps.set(node.id, node.bind(host, childrenOf(node), node.name))
    else if (node.kind === 'repartition') steps.set(node.id, repartitioned(node, host.output(node)))
    else if (node.kind === 'sink') steps.set(node.id, host.output(node))
  }
  const compiled = new Map<string, CompiledSource>()
  for (const source of sub.sources) {
    const entry = { source, step: fanOut(childrenOf(source)) }
    for (const topic of source.kind === 'source' ? source.topics : [source.topic]) compiled.set(topic, entry)
  }
  if (compiled.size !== inputTopics(sub).length) throw new Error('a topic was compiled twice')
  return compiled
}
