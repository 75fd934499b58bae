/** Collects nodes while the DSL is called, and checks what can be checked at each call. */
import { DruseError } from '../errors.ts'
import type { AnyRegion, GlobalRegion, Region } from '../region/definition.ts'
import type { ErrorPolicy } from '../types.ts'
import type { Graph, GraphNode, NodeId } from './graph.ts'

/** Names stand in topic names and paths: Kafka's characters, and room for a prefix and a suffix in its 249. */
const NAME = /^[A-Za-z0-9._-]{1,120}$/
/** What an operator's context holds beside the regions. */
const RESERVED_REGION_NAMES = new Set(['forward', 'streamTimeMs', '__proto__', 'constructor', 'prototype'])

type NewNode = GraphNode extends infer N ? (N extends GraphNode ? Omit<N, 'id'> : never) : never

export interface Policies {
  readonly onUndecodable: ErrorPolicy
  readonly onFailure: ErrorPolicy
}

export class GraphBuilder {
  readonly application: string
  readonly policies: Policies
  readonly #nodes: GraphNode[] = []
  readonly #names = new Set<string>()
  readonly #sourceTopics = new Set<string>()
  readonly #regions = new Map<string, Region>()
  readonly #globals = new Map<string, GlobalRegion>()

  constructor(application: string, policies: Policies) {
    this.application = checkName('application', application)
    this.policies = policies
  }

  add(node: NewNode): NodeId {
    checkName(node.kind, node.name)
    if (this.#names.has(node.name)) {
      throw new DruseError(
        'TOPOLOGY_INVALID',
        `Two operators are named '${node.name}'; give one another name`,
      )
    }
    if (node.kind === 'source') for (const topic of node.topics) this.#addSourceTopic(topic)
    if (node.kind === 'operator') {
      for (const name of node.regions) {
        if (!this.#regions.has(name) && !this.#globals.has(name)) {
          throw new DruseError(
            'TOPOLOGY_INVALID',
            `Operator '${node.name}' uses region '${name}', which is not of this topology; declare it with region() or globalRegion()`,
          )
        }
      }
    }
    const id = this.#nodes.length
    this.#names.add(node.name)
    this.#nodes.push({ ...node, id } as GraphNode)
    return id
  }

  /** A name for a stateless node, which nothing outlives. */
  autoName(kind: string): string {
    return `${kind}-${this.#nodes.length}`
  }

  addRegion<R extends AnyRegion>(region: R): R {
    checkName('region', region.name)
    if (RESERVED_REGION_NAMES.has(region.name)) {
      throw new DruseError(
        'TOPOLOGY_INVALID',
        `A region cannot be named '${region.name}': operators find something else there`,
      )
    }
    if (this.#regions.has(region.name) || this.#globals.has(region.name)) {
      throw new DruseError('TOPOLOGY_INVALID', `Two regions are named '${region.name}'`)
    }
    if (!region.key.stableBytes) {
      throw new DruseError(
        'TOPOLOGY_INVALID',
        `Region '${region.name}' cannot have ${region.key.kind} keys: equal keys may get different bytes over time; use string, bytes or a number serde`,
      )
    }
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
    return {
      application: this.application,
      nodes: [...this.#nodes],
      regions: new Map(this.#regions),
      globals: new Map(this.#globals),
    }
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

function checkName(what: string, name: string): string {
  if (!NAME.test(name)) {
    throw new DruseError(
      'TOPOLOGY_INVALID',
      `'${name}' cannot name a ${what}: 1 to 120 letters, digits, '.', '_' or '-'`,
    )
  }
  return name
}
