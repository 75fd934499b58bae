/**
 * The workload of the fault tests: numbers, keyed one way, are passed on as they are (sub-topology 0) and, keyed
 * another way through a repartition topic, counted and summed in two regions of one task (sub-topology 1). A prefix
 * of all names makes it one's own on a broker that others use too.
 */
import { int64, json, string, Topology } from '../../src/index.ts'

export interface Tally {
  readonly count: number
  readonly sum: number
}

const KEYS = 7
export const keyOf = (n: number): string => `k${n % KEYS}`

export const tally = (): Topology => tallyOf('')

export function tallyOf(prefix: string): Topology {
  const t = new Topology(`${prefix}tally`)
  const counts = t.region('counts', { key: string, value: int64 })
  const sums = t.region('sums', { key: string, value: int64 })
  const numbers = t.stream(`${prefix}numbers`, { key: string, value: int64 })
  numbers.to(`${prefix}copies`)
  numbers
    .groupBy('by-rest', (n) => keyOf(n))
    .process('tally', { regions: [counts, sums], value: json<Tally>() }, (record, context) => {
      const count = (context.counts.get(record.key) ?? 0) + 1
      const sum = (context.sums.get(record.key) ?? 0) + record.value
      context.counts.put(record.key, count)
      context.sums.put(record.key, sum)
      context.forward(record.key, { count, sum })
    })
    .to(`${prefix}tallies`)
  return t
}
