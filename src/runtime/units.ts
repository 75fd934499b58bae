/** Whose policy applies to what time brings about in a task, and what is told when it fails. */
import { DruseError, type ErrorCode } from '../errors.ts'
import { Windowed } from '../serde/windowed.ts'
import type { NodeId, RepartitionNode, SourceNode } from '../topology/graph.ts'
import type { SubTopology } from '../topology/subtopologies.ts'
import type { TimeUnit } from '../topology/unit.ts'
import type { ErrorPolicy, LatePolicy } from '../types.ts'
import { blameOf } from './blame.ts'

export interface Policies {
  readonly onFailure: ErrorPolicy
  readonly onLate: LatePolicy
}

/**
 * By operator. Nobody knows any more from which source it came what an operator has kept: of the sources that lead to it,
 * the strictest policy applies, 'fail' before a dead letter topic before 'skip'.
 */
export function policiesOf(sub: SubTopology): ReadonlyMap<string, Policies> {
  const sources = new Map<NodeId, ReadonlySet<SourceNode | RepartitionNode>>()
  for (const source of sub.sources) sources.set(source.id, new Set([source]))
  const policies = new Map<string, Policies>()
  for (const node of sub.nodes) {
    if (node.kind !== 'operator') continue
    const { id, name, parents, listensTo } = node
    // Whoever listens to a region may hear of every record.
    const above = new Set(
      listensTo === undefined ? parents.flatMap((parent) => [...(sources.get(parent) ?? [])]) : sub.sources,
    )
    sources.set(id, above)
    const all = [...above]
    const isLetter = (policy: ErrorPolicy | LatePolicy) => typeof policy === 'object'
    const onFailure = all.map((source) => source.onFailure)
    const onLate = all.map((source) => source.onLate)
    policies.set(name, {
      onFailure: onFailure.includes('fail') ? 'fail' : (onFailure.find(isLetter) ?? 'skip'),
      onLate: onLate.find(isLetter) ?? 'drop',
    })
  }
  return policies
}

const CODES: Readonly<Record<TimeUnit['kind'], ErrorCode>> = {
  emission: 'EMISSION_FAILED',
  timer: 'TIMER_FAILED',
  punctuation: 'PUNCTUATOR_FAILED',
}

/** Where the unit is to blame, it is named; other errors stay what they are. */
export function unitFailed(unit: TimeUnit, cause: unknown): unknown {
  if (blameOf(cause) !== 'record') return cause
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new DruseError(CODES[unit.kind], `${whatFailed(unit)}: ${reason}`, { ...detailsOf(unit), cause })
}

export function detailsOf(unit: TimeUnit) {
  const { operator, timestamp } = unit
  if (unit.kind === 'punctuation') return { operator, timestamp }
  const { key } = unit
  if (key instanceof Windowed) {
    const { windowStart, windowEnd } = key
    return { operator, key: key.key as unknown, windowStart, windowEnd, timestamp }
  }
  if (unit.kind === 'timer' || unit.windowEnd === undefined) return { operator, key, timestamp }
  return { operator, key, windowEnd: unit.windowEnd, timestamp }
}

function whatFailed(unit: TimeUnit): string {
  const { operator, timestamp } = unit
  if (unit.kind === 'punctuation') return `A punctuator of operator '${operator}' failed`
  if (unit.kind === 'timer') {
    return `The timer of key ${textOf(unit.key)} at ${timestamp} of operator '${operator}' failed`
  }
  const { key } = unit
  const held =
    key instanceof Windowed
      ? `key ${textOf(key.key)} in window ${key.windowStart} to ${key.windowEnd}`
      : `key ${textOf(key)} since ${timestamp}`
  const until = unit.windowEnd === undefined ? '' : `, in a window that ended at ${unit.windowEnd}`
  return `Operator '${operator}' could not pass on what it held of ${held}${until}`
}

const TEXT_MAX = 200

function textOf(key: unknown): string {
  if (key instanceof Uint8Array) return `0x${Buffer.from(key).toString('hex')}`.slice(0, TEXT_MAX)
  if (typeof key !== 'object' && typeof key !== 'string') return String(key)
  const text = JSON.stringify(key, (_, value) => (typeof value === 'bigint' ? String(value) : value))
  return text.slice(0, TEXT_MAX)
}
