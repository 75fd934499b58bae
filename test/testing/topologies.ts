/** What the tests of the test driver run. */
import { int64, string, Topology } from '../../src/index.ts'

export const strings = { key: string, value: string }
export const figures = { key: string, value: int64 }

/** Words of lines, counted in a second sub-topology. */
export function words() {
  const topology = new Topology('word-count')
  const counts = topology
    .stream('lines', strings)
    .flatMapValues((line) => line.toLowerCase().split(' '))
    .groupBy('by-word', (word) => word, { value: string })
    .count('counts')
  counts.toStream().to('word-counts')
  return { topology, counts: counts.region }
}

/** Sums per key; `seen` is told each record, as a side effect that no transaction takes back. */
export function sums(seen: (value: number) => void = () => {}) {
  const topology = new Topology('sums')
  const totals = topology.region('totals', figures)
  topology
    .stream('numbers', figures)
    .process('add', { regions: [totals], value: int64 }, ({ key, value }, context) => {
      seen(value)
      const total = (context.totals.get(key) ?? 0) + value
      context.totals.put(key, total)
      context.forward(key, total)
    })
    .to('sums')
  return { topology, totals }
}

export async function entriesOf<K, V>(entries: AsyncIterable<readonly [K, V]>): Promise<(readonly [K, V])[]> {
  const all: (readonly [K, V])[] = []
  for await (const entry of entries) all.push(entry)
  return all
}
