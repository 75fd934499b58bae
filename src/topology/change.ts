import type { Step } from './graph.ts'
import type { StreamRecord } from './record.ts'
import { fanOut } from './steps.ts'

/** An update of a table. What operators of tables get and forward; streams get the new value alone. */
export class Change<V = unknown> {
  /** Null: nothing stands under the key any more. */
  readonly newValue: V | null
  /** Null: nothing stood there, or it is not known (see `TableOrigin.sendOldValues`). */
  readonly oldValue: V | null

  constructor(newValue: V | null, oldValue: V | null) {
    this.newValue = newValue
    this.oldValue = oldValue
  }
}

/** Steps that take new values alone, by those that take changes in their place. */
const plain = new WeakMap<Step, Step>()

/** What a stream sees of a table's changes. */
export function ofNewValues(step: Step): Step {
  const ofChanges: Step = (record) => step(record.with(record.key, (record.value as Change).newValue))
  plain.set(ofChanges, step)
  return ofChanges
}

/** Passes a change of the record's key on, as children take it: where none takes changes, none is made. */
export function forwardChange(
  children: readonly Step[],
): (record: StreamRecord, newValue: unknown, oldValue: unknown, timestamp: number) => void | Promise<void> {
  const plainOnes = children.flatMap((step) => plain.get(step) ?? [])
  if (plainOnes.length === children.length) {
    const next = fanOut(plainOnes)
    return (record, newValue, _, timestamp) => next(record.with(record.key, newValue, timestamp))
  }
  const next = fanOut(children)
  return (record, newValue, oldValue, timestamp) =>
    next(record.with(record.key, new Change(newValue, oldValue), timestamp))
}
