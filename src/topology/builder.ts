/** Collects nodes while the DSL is called, and checks what can be checked at each call. */
import { DruseError } from '../errors.ts'
import type { AnyRegion, GlobalRegion, Region } from '../region/definition.ts'
import type { ErrorPolicy, LatePolicy } from '../types.ts'
import { checkGraph } from './checks.ts'
import { deadLetterTopics, type Graph, type GraphNode, type NodeId, type RepartitionNode } from './graph.ts'
import { type Middleware, within } from './middleware.ts'
import { isTopicName } from './topic-name.ts'
import { checkMs } from './windows.ts'

/** Names stand in topic names and paths: Kafka's characters, and room for a prefix and a suffix in its 249. */
const NAME = /^[A-Za-z0-9._-]{1,120}$/
/** Leaves room for a number. */
const AUTO_NAME_MAX = 100
/** What an operator's context holds beside the regions. */
const RESERVED_REGION_NAMES = new Set([
  'forward',
  'schedule',
  'streamTimeMs',
  'wallClockMs',
  'timers',
  'outputs',
  'record',
  'signal',
  'attempt',
  '__proto__',
  'constructor',
  'prototype',
])

/** For a stateless node, which nothing outlives: becomes a name when all those that were given are known. */
export class AutoName {
  readonly what: string

  /** `what` may be as long as a topic's name. */
  constructor(what: string) {
    this.what = what.slice(0, AUTO_NAME_MAX)
  }
}

/** What the topology as a whole says of a node. */
type Whole<N> = 'id' | 'name' | (N extends RepartitionNode ? 'keyless' | keyof Policies : never)
type Named<N> = N extends GraphNode ? Omit<N, Whole<N>> & { readonly name: string | AutoName } : never
type NewNode = Named<GraphNode>

export interface Policies {
  readonly onUndecodable: ErrorPolicy
  readonly onFailure: ErrorPolicy
  readonly onLate: LatePolicy
}

export class GraphBuilder {
  readonly application: string
  readonly policies: Policies
  readonly maxOutOfOrdernessMs: number
  readonly #idleAfterMs: number | undefined
  readonly #middleware: Middleware | undefined
  readonly #nodes: NewNode[] = []
  readonly #names = new Set<string>()
  readonly #sourceTopics = new Set<string>()
  readonly #regions = new Map<string, Region>()
  readonly #globals = new Map<string, GlobalRegion>()
  /** Of the user's own: no operator keeps its result there. */
  readonly #declared = new Set<string>()

  constructor(
    application: string,
    policies: Policies,
    {
      idleAfterMs,
      maxOutOfOrdernessMs,
      middleware,
    }: {
      idleAfterMs: number | undefined
      maxOutOfOrdernessMs: number
      middleware: Middleware | undefined
    },
  ) {
    this.#middleware = middleware
    this.application = checkName('application', application)
    this.policies = policies
    if (idleAfterMs !== undefined && (!Number.isSafeInteger(idleAfterMs) || idleAfterMs < 1)) {
      throw new DruseError('TOPOLOGY_INVALID', `idleAfterMs is ${idleAfterMs}: a whole number from 1`)
    }
    checkMs(`Topology '${application}'`, { maxOutOfOrdernessMs }, 0)
    this.#idleAfterMs = idleAfterMs
    this.maxOutOfOrdernessMs = maxOutOfOrdernessMs
    checkPolicies(policies)
  }

  add(node: NewNode): NodeId {
    if (node.kind === 'source') {
      for (const topic of node.topics) checkTopic(topic)
      checkPolicies(node)
      checkNoLoop(node)
    }
    if (node.kind === 'sink' && typeof node.topic === 'string') checkTopic(node.topic)
    if (!(node.name instanceof AutoName)) {
      checkName(node.kind, node.name)
      if (this.#names.has(node.name)) {
        throw new DruseError(
          'TOPOLOGY_INVALID',
          `Two operators are named '${node.name}'; give one another name`,
        )
      }
      this.#names.add(node.name)
    }
    if (node.kind === 'source') for (const topic of node.topics) this.#addSourceTopic(topic)
    return this.#nodes.push(node) - 1
  }

  /** Not only a region of that name: the very one, for operators find it by its name. */
  requireRegions(operator: string, regions: readonly AnyRegion[]): void {
    for (const region of regions) {
      this.requireOwn(operator, region)
      if (region.kind !== 'partitioned' || region.source === undefined) continue
      throw new DruseError(
        'TOPOLOGY_INVALID',
        `Operator '${operator}' uses region '${region.name}', which topic '${region.source}' is the changelog of: what it wrote there would be lost. Join with the table, or leave out reuseSourceTopic`,
      )
    }
  }

  /** As `requireRegions`, for an operator that only reads. */
  requireOwn(operator: string, region: AnyRegion): void {
    if ((this.#regions.get(region.name) ?? this.#globals.get(region.name)) === region) return
    throw new DruseError(
      'TOPOLOGY_INVALID',
      `Operator '${operator}' uses region '${region.name}', which is not of this topology; declare it with region() or globalRegion()`,
    )
  }

  /** A region that the user declares, for any operator to write. */
  declareRegion<R extends AnyRegion>(region: R): R {
    this.addRegion(region)
    this.#declared.add(region.name)
    return region
  }

  isDeclared(region: string): boolean {
    return this.#declared.has(region)
  }

  isGlobal(region: string): boolean {
    return this.#globals.has(region)
  }

  addRegion<R extends AnyRegion>(region: R): R {
    checkName('region', region.name)
    if (RESERVED_REGION_NAMES.has(region.name)) {
      throw new DruseError(
        'TOPOLOGY_INVALID',
        `A region cannot be named '${region.name}': operators find something else there; choose another name`,
      )
    }
    if (this.#regions.has(region.name) || this.#globals.has(region.name)) {
      throw new DruseError(
        'TOPOLOGY_INVALID',
        `Two regions are named '${region.name}'; give one another name`,
      )
    }
    if (!region.key.stableBytes) {
      throw new DruseError(
        'TOPOLOGY_INVALID',
        `Region '${region.name}' cannot have ${region.key.kind} keys: equal keys may get different bytes over time; use string, bytes or a number serde`,
      )
    }
    if (region.kind === 'global') checkTopic(region.topic)
    if (region.kind === 'global') this.#globals.set(region.name, region)
    else this.#regions.set(region.name, region)
    return region
  }

  build(): Graph {
    if (this.#sourceTopics.size === 0 && this.#globals.size === 0) {
      throw new DruseError(
        'TOPOLOGY_INVALID',
        `Topology '${this.application}' reads nothing; begin with stream()`,
      )
    }
    const keyless = takingKeyless(this.#nodes)
    const policies = policiesBehind(this.#nodes, this.policies)
    const graph: Graph = {
      application: this.application,
      idleAfterMs: this.#idleAfterMs,
      maxOutOfOrdernessMs: this.maxOutOfOrdernessMs,
      nodes: this.#nodes.map(
        (node, id) =>
          ({
            ...node,
            id,
            name: this.#nameOf(node, id),
            ...(node.kind === 'repartition' && { keyless: keyless.has(id), ...policies.get(id) }),
          }) as GraphNode,
      ),
      regions: new Map(this.#regions),
      globals: new Map(this.#globals),
    }
    checkGraph(graph)
    const middleware = this.#middleware
    if (middleware === undefined) return graph
    return { ...graph, nodes: graph.nodes.map((node) => within(middleware, node)) }
  }

  #nameOf({ name }: NewNode, id: NodeId): string {
    if (!(name instanceof AutoName)) return name
    let free = `${name.what}-${id}`
    while (this.#names.has(free)) free += `-${id}`
    return free
  }

  #addSourceTopic(topic: string): void {
    // Committed offsets are kept per topic and group, so a topic has one reader.
    if (this.#sourceTopics.has(topic)) {
      throw new DruseError(
        'TOPOLOGY_INVALID',
        `Topic '${topic}' is read twice; keep its stream in a variable and continue from there twice`,
      )
    }
    this.#sourceTopics.add(topic)
  }
}

/** Nodes that records without key pass on their way to one that takes them. */
function takingKeyless(nodes: readonly NewNode[]): Set<NodeId> {
  const found = new Set<NodeId>()
  // Children have higher ids than their parents.
  for (const [id, node] of [...nodes.entries()].toReversed()) {
    if (node.kind === 'operator' && node.takesKeyless) found.add(id)
    if (found.has(id)) for (const parent of node.parents) found.add(parent)
  }
  return found
}

/**
 * Of each repartition: as the sources before it say, where they agree. What cannot be decoded is no fault of theirs, but of
 * an internal topic.
 */
function policiesBehind(nodes: readonly NewNode[], own: Policies): ReadonlyMap<NodeId, Policies> {
  const found = new Map<NodeId, Policies>()
  const before: (readonly Policies[])[] = []
  const agreed = <P>(all: readonly P[], otherwise: P): P => {
    const [first] = all
    const same = all.every((each) => JSON.stringify(each) === JSON.stringify(first))
    return first !== undefined && same ? first : otherwise
  }
  for (const [id, node] of nodes.entries()) {
    const reaching = [...new Set(node.parents.flatMap((parent) => before[parent] ?? []))]
    if (node.kind !== 'repartition') {
      // Whose records an operator hears of that listens to a region is not known here.
      const listens = node.kind === 'operator' && node.listensTo !== undefined
      before.push(node.kind === 'source' ? [node] : listens ? [own] : reaching)
      continue
    }
    const policies = {
      onUndecodable: own.onUndecodable,
      onFailure: agreed(
        reaching.map(({ onFailure }) => onFailure),
        own.onFailure,
      ),
      onLate: agreed(
        reaching.map(({ onLate }) => onLate),
        own.onLate,
      ),
    }
    found.set(id, policies)
    before.push([policies])
  }
  return found
}

function checkName(what: string, name: string): string {
  if (!NAME.test(name)) {
    throw new DruseError(
      'TOPOLOGY_INVALID',
      `'${name}' cannot name ${/^[aeo]/.test(what) ? 'an' : 'a'} ${what}: 1 to 120 letters, digits, '.', '_' or '-'`,
    )
  }
  return name
}

function checkTopic(topic: string): void {
  if (isTopicName(topic)) return
  throw new DruseError(
    'TOPOLOGY_INVALID',
    `'${topic}' is no name of a topic: 1 to 249 letters, digits, '.', '_' or '-'`,
  )
}

const POLICIES = { onUndecodable: ['fail', 'skip'], onFailure: ['fail', 'skip'], onLate: ['drop'] }

function checkPolicies(policies: Policies): void {
  for (const [name, plain] of Object.entries(POLICIES)) {
    const policy: unknown = policies[name as keyof Policies]
    if (plain.includes(policy as string)) continue
    if (typeof policy === 'object' && policy !== null && 'deadLetter' in policy) continue
    throw new DruseError(
      'TOPOLOGY_INVALID',
      `${name} is ${JSON.stringify(policy)}: ${plain.map((one) => `'${one}'`).join(', ')} or { deadLetter: topic } is needed`,
    )
  }
  for (const topic of deadLetterTopics(policies)) checkTopic(topic)
}

/** What fails there would fail again, for ever. */
function checkNoLoop({ topics, ...policies }: Policies & { readonly topics: readonly string[] }): void {
  const own = deadLetterTopics(policies).find((topic) => topics.includes(topic))
  if (own === undefined) return
  throw new DruseError(
    'TOPOLOGY_INVALID',
    `Dead letters of topic '${own}' would go to the same topic, and come again for ever: give its source another policy`,
  )
}
