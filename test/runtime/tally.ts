/** Feeding the topology of the fault tests, and what has to come out of it. */
import { isDeepStrictEqual } from 'node:util'
import { expect } from 'vitest'
import {
  ensureTopics,
  int64,
  json,
  readTopic,
  string,
  TransactionalProducer,
  type Wire,
} from '../../src/index.ts'
import { Cluster } from '../../src/kafka/cluster.ts'
import { listOffsets } from '../../src/kafka/topics.ts'
import type { Isolation } from '../../src/ports.ts'
import { silentLogger, systemClock } from '../../src/system.ts'
import { keyOf, type Tally } from './tally-topology.ts'

export { keyOf, type Tally, tally, tallyOf } from './tally-topology.ts'

export const INPUTS = 400

export async function makeTopics(wire: Wire, prefix = ''): Promise<void> {
  await ensureTopics(
    wire,
    // Records have times of long ago, for which Kafka would delete them.
    ['numbers', 'copies', 'tallies'].map((topic) => ({
      topic: `${prefix}${topic}`,
      partitions: 3,
      configs: { 'retention.ms': '-1' },
    })),
  )
}

export async function feed(wire: Wire, from = 0, to = INPUTS, prefix = ''): Promise<void> {
  const producer = await TransactionalProducer.open({ wire, transactionalId: `${prefix}feeder` })
  const numbers = await producer.topic(`${prefix}numbers`, { key: string, value: int64 })
  await producer.transact({ topic: `${prefix}numbers`, partition: 0 }, to, (transaction) => {
    for (let n = from; n < to; n++)
      transaction.send(numbers, { key: `n${n}`, value: n, timestamp: 1_000 + n })
  })
  producer.close()
}

const tallies = (wire: Wire, prefix: string) =>
  readTopic(wire, `${prefix}tallies`, { key: string, value: json<Tally>() })

/** Waits until every input has come out, or more, and no transaction is open in what is verified. */
export async function drained(wire: Wire, inputs = INPUTS, prefix = ''): Promise<void> {
  const options = { timeout: 40_000, interval: 20 }
  await expect.poll(async () => (await tallies(wire, prefix)).length, options).toBeGreaterThanOrEqual(inputs)
  // Kafka writes markers one by one, after a commit was answered.
  const cluster = new Cluster({ wire, clock: systemClock, log: silentLogger })
  const places = ['copies', 'tallies', 'tally-counts-changelog', 'tally-sums-changelog'].flatMap((topic) =>
    [0, 1, 2].map((partition) => ({ topic: `${prefix}${topic}`, partition })),
  )
  const ends = async (isolation: Isolation) =>
    [...(await listOffsets(cluster, places, 'latest', isolation))].sort()
  await expect
    .poll(async () => [await ends('read_committed'), await ends('read_uncommitted')], options)
    .toSatisfy(([committed, all]) => isDeepStrictEqual(committed, all))
  cluster.close()
}

/** Each input once in each sink; per key the counts 1..n and the sums that belong to them, in order; changelogs the same. */
export async function verify(wire: Wire, inputs = INPUTS, prefix = ''): Promise<void> {
  const copies = await readTopic(wire, `${prefix}copies`, { key: string, value: int64 })
  const numbers = Array.from({ length: inputs }, (_, n) => n)
  expect(copies.map(({ value }) => value).sort((a, b) => a - b)).toEqual(numbers)

  const seen = new Map<string, Tally[]>()
  for (const { key, value } of await tallies(wire, prefix)) seen.set(key, [...(seen.get(key) ?? []), value])
  const expected = new Map<string, Tally>()
  for (const n of numbers) {
    const { count, sum } = expected.get(keyOf(n)) ?? { count: 0, sum: 0 }
    expected.set(keyOf(n), { count: count + 1, sum: sum + n })
  }
  expect([...seen.keys()].sort()).toEqual([...expected.keys()].sort())
  for (const [key, list] of seen) {
    expect(list.map(({ count }) => count)).toEqual(Array.from(list, (_, i) => i + 1))
    expect(list.at(-1)).toEqual(expected.get(key))
  }
  for (const [region, part] of [
    ['counts', 'count'],
    ['sums', 'sum'],
  ] as const) {
    const topic = `${prefix}tally-${region}-changelog`
    const changelog = await readTopic(wire, topic, { key: string, value: int64 })
    const folded = new Map(changelog.map(({ key, value }) => [key, value]))
    expect(folded).toEqual(new Map(Array.from(expected, ([key, value]) => [key, value[part]])))
  }
}
