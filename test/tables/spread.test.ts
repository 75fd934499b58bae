/**
 * Tables over several partitions and instances that crash, freeze and come: whatever the order in which tasks hear of one
 * another, a table ends as what its definition says of the tables that it is made of.
 */
import { describe, expect, test } from 'vitest'
import { int64, type Region, string, Topology } from '../../src/index.ts'
import { TestDriver } from '../../src/testing/index.ts'
import { SeededRandom } from '../../src/testing/seeded-random.ts'

const SEEDS = Array.from({ length: 6 }, (_, i) => i + 1)
const RECORDS = 60
const strings = { key: string, value: string }

type Rows = ReadonlyMap<string, string>
type Feed = Readonly<Record<string, (random: SeededRandom) => readonly [key: string, value: string | null]>>

const pick = <T>(random: SeededRandom, from: readonly T[]): T =>
  from[Math.floor(random.next() * from.length)] as T

/** What stands in the topics in the end, while instances come and go. */
async function run(
  seed: number,
  topology: () => Topology,
  feed: Feed,
  partitions: Readonly<Record<string, number>>,
  look: (driver: TestDriver, rows: Readonly<Record<string, Rows>>) => Promise<void>,
): Promise<void> {
  const random = new SeededRandom(seed)
  const configs = { 'cleanup.policy': 'compact' }
  const topics = Object.entries(partitions).map(([topic, count]) => ({ topic, partitions: count, configs }))
  await using driver = await TestDriver.create(topology, { seed, instances: 2, topics })
  const rows: Record<string, Map<string, string>> = {}
  const inputs = Object.keys(feed).map((topic) => {
    rows[topic] = new Map()
    return driver.createInputTopic(topic, { ...strings, waitForIdle: false })
  })
  for (let n = 0; n < RECORDS; n++) {
    const input = pick(random, inputs)
    const [key, value] = (feed[input.topic] as Feed[string])(random)
    if (value === null) rows[input.topic]?.delete(key)
    else rows[input.topic]?.set(key, value)
    await input.pipeInput(key, value)
    // Mostly several records are on their way at once.
    if (random.next() < 0.3) await driver.advanceWallClockTime(Math.floor(random.next() * 300))
    if (random.next() < 0.06) await disturb(driver, random)
  }
  for (const instance of driver.instances) if (instance.state === 'stopped') await instance.restart()
  await driver.untilIdle()
  await look(driver, rows)
}

async function disturb(driver: TestDriver, random: SeededRandom): Promise<void> {
  const instance = pick(random, driver.instances)
  if (instance.state !== 'running') return instance.restart()
  if (random.next() < 0.2 && driver.instances.length < 4) {
    await driver.addInstance()
    return
  }
  instance.crash({ at: pick(random, ['now', 'beforeCommit', 'afterCommit'] as const) })
  if (random.next() < 0.5) await driver.advanceWallClockTime(Math.floor(random.next() * 60_000))
  await instance.restart({ emptyDirectory: random.next() < 0.5 })
}

async function entries<V>(driver: TestDriver, name: string, value: Region<string, string, V>['value']) {
  const region = { kind: 'partitioned', name, key: string, value, store: 'persistent' } as const
  const found: [string, V][] = []
  for await (const [key, entry] of driver.region(region).range()) found.push([key, entry])
  return found
}

/** The last record of each key, deletions left out. */
async function last<V>(driver: TestDriver, topic: string, value: Region<string, string, V>['value']) {
  const out = driver.createOutputTopic<string, V | null>(topic, { key: string, value: value as never })
  const all = [...(await out.readKeyValuesToMap())].filter(([, found]) => found !== null)
  return all.sort(([a], [b]) => (a < b ? -1 : 1))
}

const sorted = <V>(found: Iterable<readonly [string, V]>): (readonly [string, V])[] =>
  [...found].sort(([a], [b]) => (a < b ? -1 : 1))

const ORDERS = ['o1', 'o2', 'o3', 'o4', 'o5', 'o6']
const CUSTOMERS = ['c1', 'c2', 'c3', 'c4']
const shop: Feed = {
  orders: (random) => [
    pick(random, ORDERS),
    random.next() < 0.2 ? null : `${pick(random, [...CUSTOMERS, ''])}:${Math.floor(random.next() * 100)}`,
  ],
  customers: (random) => [
    pick(random, CUSTOMERS),
    random.next() < 0.25 ? null : `N${Math.floor(random.next() * 100)}`,
  ],
}
const customerOf = (order: string): string | null => order.split(':')[0] || null

describe.each(SEEDS)('seed %i', (seed) => {
  // Restored from the topics themselves, or from changelogs.
  const source = { ...strings, reuseSourceTopic: seed % 2 === 0 }

  test.each(['joinOnForeignKey', 'leftJoinOnForeignKey'] as const)('%s', async (kind) => {
    const topology = (): Topology => {
      const t = new Topology('shop')
      t.table('orders', source)
        [kind]('joined', t.table('customers', source), {
          foreignKey: customerOf,
          joiner: (order, customer) => `${order}|${customer}`,
          value: string,
        })
        .toStream()
        .to('out')
      return t
    }
    await run(seed, topology, shop, { orders: 3, customers: 2, out: 1 }, async (driver, rows) => {
      const { orders, customers } = rows as { orders: Rows; customers: Rows }
      const expected = [...orders].flatMap(([key, order]): [string, string][] => {
        const customer = customers.get(customerOf(order) ?? '')
        return customer === undefined && kind === 'joinOnForeignKey'
          ? []
          : [[key, `${order}|${customer ?? null}`]]
      })
      expect(await entries(driver, 'joined', string)).toEqual(sorted(expected))
      expect(await last(driver, 'out', string)).toEqual(sorted(expected))
    })
  })

  test('groupBy', async () => {
    const topology = (): Topology => {
      const t = new Topology('totals')
      const grouped = t.table('orders', source).groupBy(
        'by-customer',
        (order) => {
          const [customer, amount] = order.split(':')
          return [customer || null, Number(amount)]
        },
        { key: string, value: int64 },
      )
      grouped.aggregate(
        'sums',
        () => 0,
        (sum, amount) => sum + amount,
        (sum, amount) => sum - amount,
        { value: int64 },
      )
      grouped.count('counts').toStream().to('out')
      return t
    }
    await run(
      seed,
      topology,
      { orders: shop.orders as Feed[string] },
      { orders: 3, out: 2 },
      async (driver, rows) => {
        const groups = new Map<string, number[]>()
        for (const order of rows.orders?.values() ?? []) {
          const [customer, amount] = order.split(':') as [string, string]
          if (customer !== '') groups.set(customer, [...(groups.get(customer) ?? []), Number(amount)])
        }
        const found = new Map(await entries(driver, 'sums', int64))
        const counts = new Map(await entries(driver, 'counts', int64))
        for (const customer of new Set([...found.keys(), ...groups.keys()])) {
          const amounts = groups.get(customer) ?? []
          expect(found.get(customer)).toBe(amounts.reduce((sum, amount) => sum + amount, 0))
          expect(counts.get(customer)).toBe(amounts.length)
        }
        expect(await last(driver, 'out', int64)).toEqual(sorted(counts))
      },
    )
  })

  test.each(['join', 'leftJoin', 'outerJoin'] as const)('%s', async (kind) => {
    const joiner = (left: unknown, right: unknown): string => `${left}|${right}`
    const topology = (): Topology => {
      const t = new Topology('joins')
      const left = t.table('left', source).filter((value) => !value.endsWith('7'))
      const right = t.table('right', source).mapValues((value) => value.toLowerCase())
      const join = left[kind].bind(left) as typeof left.outerJoin
      join(right, joiner, { name: 'joined', value: string }).toStream().to('out')
      join(right, joiner)
        .groupBy('lengths', (value) => [`${value.length}`, 1], { key: string, value: int64 })
        .count('by-length')
      return t
    }
    const side = (random: SeededRandom): readonly [string, string | null] => [
      pick(random, ORDERS),
      random.next() < 0.3 ? null : `N${Math.floor(random.next() * 200)}`,
    ]
    await run(
      seed,
      topology,
      { left: side, right: side },
      { left: 3, right: 3, out: 1 },
      async (driver, rows) => {
        const left = new Map([...(rows.left as Rows)].filter(([, value]) => !value.endsWith('7')))
        const right = new Map([...(rows.right as Rows)].map(([key, value]) => [key, value.toLowerCase()]))
        const keys = new Set([...left.keys(), ...right.keys()])
        const expected = [...keys]
          .filter((key) => kind === 'outerJoin' || left.has(key))
          .filter((key) => kind !== 'join' || right.has(key))
          .map((key) => [key, joiner(left.get(key) ?? null, right.get(key) ?? null)] as const)
        expect(await entries(driver, 'joined', string)).toEqual(sorted(expected))
        expect(await last(driver, 'out', string)).toEqual(sorted(expected))
        const lengths = new Map<string, number>()
        for (const [, value] of expected) {
          lengths.set(`${value.length}`, (lengths.get(`${value.length}`) ?? 0) + 1)
        }
        const counted = (await entries(driver, 'by-length', int64)).filter(([, count]) => count > 0)
        expect(counted).toEqual(sorted(lengths))
      },
    )
  })
})
