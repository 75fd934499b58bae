/** count, reduce and aggregate: one value per key, each update passed on. */
import { Change } from './change.ts'
import type { NodeHost, Step } from './graph.ts'
import { fanOut, operatorFailed } from './steps.ts'

export interface AggregateOptions {
  /** Of the operator and of its region. */
  readonly name: string
  /** Left out: the first value stands for itself (reduce). */
  readonly initial: (() => unknown) | undefined
  readonly aggregator: (aggregate: unknown, value: unknown, key: unknown) => unknown
}

/**
 * Records without key or value are passed over; the result's time is the newest of the key's records; a null result
 * removes the key. All as in Kafka Streams 4.1.
 */
export function bindAggregate({ name, initial, aggregator }: AggregateOptions) {
  return (host: NodeHost, children: readonly Step[]): Step => {
    const region = host.region(name)
    const next = fanOut(children)
    return (record) => {
      const { key, value } = record
      if (key === null || value === null) return
      const old = region.entry(key)
      const timestamp = old === undefined ? record.timestamp : Math.max(old.timestamp, record.timestamp)
      let result: unknown
      try {
        if (old !== undefined) result = aggregator(old.value, value, key)
        else result = initial === undefined ? value : aggregator(initial(), value, key)
      } catch (error) {
        throw operatorFailed(name, record, error)
      }
      if (result === null || result === undefined) {
        region.delete(key)
        return next(record.with(key, new Change(null, old?.value ?? null), timestamp))
      }
      region.putAt(key, result, timestamp)
      return next(record.with(key, new Change(result, old?.value ?? null), timestamp))
    }
  }
}
