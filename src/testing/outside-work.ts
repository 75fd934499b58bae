/**
 * What a simulation cannot hurry: operators and registries that wait for something outside of it, such as an HTTP call.
 * That takes real time. The world stands still meanwhile, so that a run stays a function of its seed.
 */
import type { Registry } from '../ports.ts'
import type { CallNode, Graph, OperatorNode } from '../topology/graph.ts'

interface Work {
  /** Records that it has handed on and that are not through: what those wait for is not its own. */
  handedOn: number
}

export class OutsideWork {
  readonly #works = new Set<Work>()
  #wakes: (() => void)[] = []

  /** Of what is pending when promises have had their turn. */
  get isUnderWay(): boolean {
    for (const { handedOn } of this.#works) if (handedOn === 0) return true
    return false
  }

  /** Resolves when `isUnderWay`, or the state of its process, may have changed. */
  changed(): Promise<void> {
    return new Promise((resolve) => {
      this.#wakes.push(resolve)
    })
  }

  /** Its process has been stopped: whoever waits for it looks again. */
  stopped(): void {
    this.#wake()
  }

  /** The same graph, its operators under observation. */
  observed(graph: Graph): Graph {
    return {
      ...graph,
      nodes: graph.nodes.map((node) => (node.kind === 'operator' ? this.#node(node) : node)),
    }
  }

  observedRegistry(registry: Registry): Registry {
    return {
      idOf: (subject, schema) => this.#during({ handedOn: 0 }, registry.idOf(subject, schema)),
      schemaOf: (id) => this.#during({ handedOn: 0 }, registry.schemaOf(id)),
      ...(registry.cached && { cached: (id) => registry.cached?.(id) }),
    }
  }

  #node(node: OperatorNode): OperatorNode {
    if (node.call !== undefined) return this.#callNode(node, node.call)
    return {
      ...node,
      bind: (host, children, name) => {
        const work: Work = { handedOn: 0 }
        const observed = children.map((child) => (record: Parameters<typeof child>[0]) => {
          const pending = child(record)
          if (pending === undefined) return undefined
          work.handedOn += 1
          this.#wake()
          return pending.finally(() => {
            work.handedOn -= 1
            this.#wake()
          })
        })
        const step = node.bind(host, observed, name)
        return (record) => {
          const pending = step(record)
          return pending === undefined ? undefined : this.#during(work, pending)
        }
      },
    }
  }

  /** What it waits for between attempts is not outside. */
  #callNode(node: CallNode, call: CallNode['call']): CallNode {
    return {
      ...node,
      call: {
        ...call,
        run: (record, context) => {
          const given = call.run(record, context)
          return given instanceof Promise ? this.#during({ handedOn: 0 }, given) : given
        },
      },
    }
  }

  #during<T>(work: Work, pending: Promise<T>): Promise<T> {
    this.#works.add(work)
    return pending.finally(() => {
      this.#works.delete(work)
      this.#wake()
    })
  }

  #wake(): void {
    const wakes = this.#wakes
    this.#wakes = []
    for (const wake of wakes) wake()
  }
}
