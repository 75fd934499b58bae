/** What aggregations do with a value, in windows and without. */
import type { StreamRecord } from './record.ts'
import { operatorFailed, settled } from './steps.ts'

export interface Fold {
  /** Left out: the first value stands for itself (reduce). */
  readonly initial: (() => unknown) | undefined
  readonly aggregator: (aggregate: unknown, value: unknown, key: unknown) => unknown
}

/** The new aggregate from the old one, undefined where there is none. Null: there is none any more. */
export function folding(operator: string, { initial, aggregator }: Fold) {
  return (record: StreamRecord, old: unknown): unknown => {
    const { key, value } = record
    try {
      if (old !== undefined) return settled(aggregator(old, value, key)) ?? null
      return (initial === undefined ? value : settled(aggregator(settled(initial()), value, key))) ?? null
    } catch (error) {
      throw operatorFailed(operator, record, error)
    }
  }
}
