/** What stands around every operator of a topology. */
import { DruseError } from '../errors.ts'
import type { CallNode, GraphNode, NodeHost, Step, SyncNode } from './graph.ts'
import type { StreamRecord } from './record.ts'
import { pendingOf, told } from './steps.ts'

export interface OperatorInfo {
  readonly name: string
  /** As `describe` calls it: map, process, count, ... */
  readonly operator: string
}

/**
 * Around an operator's work on a record: calls `next`, which is that and all that follows in the same task, and returns
 * its promise, if it gives one. Not calling it leaves the record out; of an operator that calls out, it is a failure of the
 * record.
 */
export type Around = (
  record: StreamRecord,
  next: (record: StreamRecord) => void | Promise<void>,
) => void | Promise<void>

/**
 * Asked when a task makes its operators, of those that call out when the topology is built; undefined leaves the operator
 * alone.
 */
export type Middleware = (operator: OperatorInfo) => Around | undefined

export function within(middleware: Middleware, node: GraphNode): GraphNode {
  if (node.kind !== 'operator') return node
  return node.call === undefined ? aroundStep(middleware, node) : aroundCall(middleware, node)
}

function aroundStep(middleware: Middleware, node: SyncNode): SyncNode {
  return {
    ...node,
    bind: (host: NodeHost, children: readonly Step[], name: string): Step => {
      const step = node.bind(host, children, name)
      const around = middleware({ name: node.name, operator: node.operator })
      if (around === undefined) return step
      return told(name, (record) => pendingOf(around(record, step)))
    },
  }
}

/** Of an operator that calls out: around each attempt. */
function aroundCall(middleware: Middleware, node: CallNode): CallNode {
  const { name, operator, call } = node
  const around = middleware({ name, operator })
  if (around === undefined) return node
  return {
    ...node,
    call: {
      ...call,
      run: async (record, context) => {
        let given: { readonly value: unknown } | undefined
        await around(record, async (passed) => {
          given = { value: await call.run(passed, context) }
        })
        if (given !== undefined) return (given as { readonly value: unknown }).value
        throw new DruseError(
          'OPERATOR_FAILED',
          `The middleware of '${name}' has not called next, or not waited`,
        )
      },
    },
  }
}
