/** count, reduce and aggregate: one value per key, each update passed on. */
import { forwardChange } from './change.ts'
import { type Fold, folding } from './fold.ts'
import type { NodeHost, Step } from './graph.ts'

export interface AggregateOptions {
  readonly region: string
  readonly fold: Fold
}

/**
 * Records without key or value are passed over; the result's time is the newest of the key's records; a null result
 * removes the key. All as in Kafka Streams 4.1.
 */
export function bindAggregate({ region: regionName, fold }: AggregateOptions) {
  return (host: NodeHost, children: readonly Step[], name: string): Step => {
    const region = host.region(regionName)
    const forward = forwardChange(children)
    const folded = folding(name, fold)
    return (record) => {
      const { key, value } = record
      if (key === null || value === null) return host.dropped(name, record, key === null ? 'key' : 'value')
      const old = region.entry(key)
      const timestamp = old === undefined ? record.timestamp : Math.max(old.timestamp, record.timestamp)
      const result = folded(record, old?.value)
      if (result === null) region.delete(key)
      else region.putAt(key, result, timestamp)
      return forward(record, result, old?.value ?? null, timestamp)
    }
  }
}
