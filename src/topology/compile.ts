/** From nodes to one closure per input topic. */
import { AsyncOperator, callAtTurn, type EarlyCall } from './async-calls.ts'
import { ofNewValues } from './change.ts'
import { EntryEvents } from './entry-events.ts'
import type {
  CallNode,
  GraphNode,
  NodeHost,
  NodeId,
  RepartitionNode,
  SinkNode,
  SourceNode,
  Step,
  SyncNode,
} from './graph.ts'
import { fanOut, told } from './steps.ts'
import { inputTopics, type SubTopology } from './subtopologies.ts'

export interface TaskHost extends NodeHost {
  /** Takes a record for a topic into the task's effects. */
  output(node: SinkNode | RepartitionNode): Step
  /** Takes a call that is to be made ahead. */
  early(call: EarlyCall): void
  /** Given when the task is no longer here. */
  readonly signal: AbortSignal
}

export interface CompiledSource {
  readonly source: SourceNode | RepartitionNode
  /** What a record does at its turn, but for what the calls made ahead come to. */
  readonly step: Step
  /** Asks for the calls that are to be made ahead of a record's turn. */
  readonly ahead: Step | undefined
}

const emitsChanges = (node: GraphNode): boolean => node.kind === 'operator' && node.emits === 'changes'
const takesChanges = (node: GraphNode): boolean => node.kind === 'operator' && node.takes === 'changes'

/** Records without key belong to no task: as in Kafka Streams, they go on only where a join behind takes them. */
function repartitioned({ keyless, name }: RepartitionNode, output: Step, host: NodeHost): Step {
  return keyless
    ? output
    : (record) => (record.key === null ? host.dropped(name, record, 'key') : output(record))
}

/** What is bound of one node. The last two only of nodes that calls ahead reach. */
interface Bound {
  /** All that it does and all that is behind it. */
  readonly whole: Step
  /** As `whole`, but for the calls that are made ahead, and what is behind these; undefined when nothing is left. */
  readonly atTurn: Step | undefined
  /** Asks for the calls that can be made ahead of the record's turn. */
  readonly ahead: Step | undefined
}

/** The compiled chain of each topic that the sub-topology reads. */
export function compile(sub: SubTopology, task: TaskHost): Map<string, CompiledSource> {
  const events = eventsOf(sub)
  const host = events === undefined ? task : withEvents(task, events)
  const bound = new Map<NodeId, Bound>()
  const childrenOf = (parent: GraphNode, part: keyof Bound): Step[] =>
    sub.nodes
      .filter((node) => node.parents.includes(parent.id))
      .flatMap((node) => {
        const step = bound.get(node.id)?.[part]
        if (step === undefined) return []
        return emitsChanges(parent) && !takesChanges(node) ? ofNewValues(step) : step
      })
  const optional = (steps: readonly Step[]): Step | undefined =>
    steps.length === 0 ? undefined : fanOut(steps)

  const bindOperator = (node: SyncNode): Bound => {
    const name = node.partOf ?? node.name
    const whole = told(name, node.bind(host, childrenOf(node, 'whole'), name))
    if (!node.stateless) return { whole, atTurn: whole, ahead: undefined }
    // Its children keep their places: some find theirs by it.
    const children = sub.nodes.filter(({ parents }) => parents.includes(node.id))
    const partly = (part: 'atTurn' | 'ahead'): Step | undefined => {
      const steps = children.map(({ id }) => bound.get(id)?.[part])
      if (children.length > 0 && steps.every((step) => step === undefined)) return undefined
      return told(
        name,
        node.bind(
          host,
          steps.map((step) => step ?? (() => {})),
          name,
        ),
      )
    }
    const ahead = children.length === 0 ? undefined : partly('ahead')
    return ahead === undefined ? { whole, atTurn: whole, ahead } : { whole, atTurn: partly('atTurn'), ahead }
  }
  const bindCall = (node: CallNode): Bound => {
    const { call } = node
    const operator = new AsyncOperator(node.name, call, host)
    const whole = callAtTurn(operator, fanOut(childrenOf(node, 'whole')), host.signal)
    // What it reads may be written by a record before it, by another operator or by a timer, until its turn has come.
    if (call.regions.some(({ kind }) => kind !== 'global')) {
      return { whole, atTurn: whole, ahead: undefined }
    }
    const behind = optional(childrenOf(node, 'ahead'))
    const next = fanOut(childrenOf(node, behind === undefined ? 'whole' : 'atTurn'))
    return {
      whole,
      atTurn: undefined,
      ahead: (record) => host.early({ operator, record, ahead: behind, next }),
    }
  }

  // Children have higher ids than their parents.
  for (const node of sub.nodes.toReversed()) {
    if (node.kind === 'operator') {
      const own = node.call === undefined ? bindOperator(node) : bindCall(node)
      bound.set(node.id, own)
      if (node.listensTo !== undefined) events?.listen(node.listensTo, own.whole)
    } else if (node.kind !== 'source') {
      const output = host.output(node)
      const step = node.kind === 'repartition' ? repartitioned(node, output, host) : output
      bound.set(node.id, { whole: step, atTurn: step, ahead: undefined })
    }
  }
  const compiled = new Map<string, CompiledSource>()
  for (const source of sub.sources) {
    const ahead = optional(childrenOf(source, 'ahead'))
    const atTurn = fanOut(childrenOf(source, 'atTurn'))
    const step = events === undefined ? atTurn : events.behind(atTurn)
    for (const topic of source.kind === 'source' ? source.topics : [source.topic]) {
      compiled.set(topic, { source, step, ahead })
    }
  }
  if (compiled.size !== inputTopics(sub).length) throw new Error('a topic was compiled twice')
  return compiled
}

/** Undefined: no operator listens to a region. */
function eventsOf(sub: SubTopology): EntryEvents | undefined {
  const regions = sub.nodes.flatMap((node) => (node.kind === 'operator' ? (node.listensTo ?? []) : []))
  return regions.length === 0 ? undefined : new EntryEvents(regions)
}

function withEvents(task: TaskHost, events: EntryEvents): TaskHost {
  return {
    ...task,
    region: (name) => events.watched(name, task.region(name)),
    time: events.timeOf(task.time),
    early: (call) => task.early({ ...call, next: events.behind(call.next) }),
    carryOut: (unit, run) => task.carryOut(unit, () => events.within(unit.timestamp, run)),
  }
}

/** How many records may have calls under way at once; 0 when there are none to make. */
export function concurrencyOf(sub: SubTopology): number {
  const calls = sub.nodes.flatMap((node) => (node.kind === 'operator' ? (node.call ?? []) : []))
  return calls.length === 0 ? 0 : Math.min(...calls.map(({ concurrency }) => concurrency))
}
