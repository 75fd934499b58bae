/** A stream's records looked up in a table: the table as it stands when a record comes. Its updates trigger nothing. */
import type { NodeHost, Step } from './graph.ts'
import type { StreamRecord } from './record.ts'
import { fanOut, guarded } from './steps.ts'

export interface StreamTableJoinOptions {
  /** Whether records without an entry in the table have a result, too. */
  readonly isLeft: boolean
  /** `tableValue` is null where there is no entry. */
  readonly joiner: (value: unknown, tableValue: unknown, key: unknown) => unknown
  /** The key under which a record is looked up; null for none. */
  readonly keyOf: (value: unknown, key: unknown, record: StreamRecord) => unknown
  readonly open: (host: NodeHost) => (key: unknown) => unknown
}

/**
 * As in Kafka Streams 4.1: a record without value is dropped; one without a key to look up is, too, unless the join is a
 * left one, which joins it with null.
 */
export function bindStreamTableJoin({ isLeft, joiner, keyOf, open }: StreamTableJoinOptions) {
  return (host: NodeHost, children: readonly Step[], operator: string): Step => {
    const next = fanOut(children)
    const keyIn = guarded(operator, keyOf)
    const find = guarded(operator, open(host))
    const join = guarded(operator, joiner)
    return (record) => {
      const { key, value } = record
      if (value === null) return host.dropped(operator, record, 'value')
      const wanted = keyIn(record, value, key, record) ?? null
      if (wanted === null && !isLeft) return host.dropped(operator, record, 'key')
      const found = wanted === null ? null : (find(record, wanted) ?? null)
      if (found === null && !isLeft) return
      return next(record.with(key, join(record, value, found, key)))
    }
  }
}
