/** Foreign-key joins when the two sides hear late of one another: the result ends as what the tables say. */
import { describe, expect, test } from 'vitest'
import { int64, type Serde, string, Topology, timeWindowed, tumblingWindows } from '../../src/index.ts'
import { TestDriver } from '../../src/testing/index.ts'
import { Loom } from './loom.ts'

const strings = { key: string, value: string }
/** "customer:amount"; no customer is in front of the colon where a row names none. */
const customerOf = (order: string): string | null => order.split(':')[0] || null
const options = {
  foreignKey: customerOf,
  joiner: (order: string, customer: string | null) => `${order} ${customer}`,
  value: string,
}

async function shop(kind: 'joinOnForeignKey' | 'leftJoinOnForeignKey' = 'joinOnForeignKey') {
  const t = new Topology('shop')
  t.table('orders', strings)[kind]('j', t.table('customers', strings), options).toStream().to('out')
  const loom = await Loom.of(t)
  return {
    loom,
    order: (key: string, value: string | null) => loom.feed('orders', key, value),
    customer: (key: string, value: string | null) => loom.feed('customers', key, value),
    ask: (count?: number) => loom.pass('j-subscription', count),
    answer: (count?: number) => loom.pass('j-response', count),
    /** The last result. */
    get last() {
      return loom.out.at(-1)?.slice(0, 2)
    },
  }
}

describe('an answer that is overtaken', () => {
  test('by a change of the row is out of date', async () => {
    const s = await shop()
    await s.customer('c', 'Ann')
    await s.order('o', 'c:1')
    await s.ask()
    await s.order('o', 'c:2')
    await s.answer()
    expect(s.loom.out).toEqual([])
    await s.ask()
    await s.answer()
    expect(s.loom.out).toEqual([['o', 'c:2 Ann', 0]])
  })

  test('by a deletion of the row is out of date, and by its return too', async () => {
    const s = await shop()
    await s.customer('c', 'Ann')
    await s.order('o', 'c:1')
    await s.ask()
    await s.order('o', null)
    await s.answer()
    expect(s.loom.out).toEqual([])
    await s.order('o', 'c:1')
    await s.ask(1)
    // Of the deletion: that there is nothing.
    await s.answer()
    expect(s.loom.out).toEqual([])
    await s.ask()
    await s.answer()
    expect(s.loom.out).toEqual([['o', 'c:1 Ann', 0]])
  })

  test('of one of several changes in one record', async () => {
    const t = new Topology('shop')
    t.stream('lines', strings)
      .flatMapValues((line) => line.split(' '))
      .toTable('orders', { value: string })
      .joinOnForeignKey('j', t.table('customers', strings), options)
      .toStream()
      .to('out')
    const loom = await Loom.of(t)
    await loom.feed('customers', 'c', 'Ann')
    await loom.feed('customers', 'd', 'Ben')
    await loom.feed('lines', 'o', 'c:1 d:2')
    await loom.pass('j-subscription')
    await loom.pass('j-response')
    expect(loom.out).toEqual([['o', 'd:2 Ben', 0]])
  })
})

describe('a result does not stay behind', () => {
  test('when its customer went while the row changed', async () => {
    const s = await shop()
    await s.customer('c', 'Ann')
    await s.order('o', 'c:1')
    await s.ask()
    await s.answer()
    await s.order('o', 'c:2')
    // Goes to the old version of the row.
    await s.customer('c', null)
    await s.answer()
    expect(s.last).toEqual(['o', 'c:1 Ann'])
    await s.ask()
    await s.answer()
    expect(s.last).toEqual(['o', null])
  })

  test('when the row stopped naming a customer, and then changed', async () => {
    const s = await shop()
    await s.customer('c', 'Ann')
    await s.order('o', 'c:1')
    await s.ask()
    await s.answer()
    await s.order('o', ':2')
    await s.ask()
    await s.order('o', ':3')
    await s.answer()
    expect(s.loom.out.slice(1)).toEqual([['o', null, 0]])
  })

  test('when the row went after it had stopped naming a customer', async () => {
    const s = await shop()
    await s.customer('c', 'Ann')
    await s.order('o', 'c:1')
    await s.ask()
    await s.answer()
    await s.order('o', ':2')
    await s.ask()
    await s.order('o', null)
    await s.answer()
    expect(s.last).toEqual(['o', null])
  })

  test('when the row came back with a customer who is not there', async () => {
    const s = await shop()
    await s.customer('c', 'Ann')
    await s.order('o', 'c:1')
    await s.ask()
    await s.answer()
    await s.order('o', null)
    await s.order('o', 'd:2')
    await s.ask()
    await s.answer()
    expect(s.last).toEqual(['o', null])
  })
})

describe('rows that no record has brought', () => {
  const keys = ['o1', 'o2', 'o3', 'o4', 'o5', 'o6']

  test('but timers, have their answers come back', async () => {
    await using driver = await TestDriver.create(
      () => {
        const t = new Topology('shop')
        t.stream('orders', strings)
          .processValues(
            'later',
            { onTimer: ({ timestampMs }, { forward }) => forward(`c:${timestampMs}`) },
            ({ timestamp }, { timers }) => timers.register(timestamp + 10),
          )
          .toTable('rows')
          .joinOnForeignKey('j', t.table('customers', strings), options)
          .toStream()
          .to('out', strings)
        return t
      },
      { partitions: 3 },
    )
    await driver.createInputTopic('customers', strings).pipeInput('c', 'Ann', { timestamp: 0 })
    const input = driver.createInputTopic('orders', strings)
    for (const timestamp of [1, 50, 100]) {
      for (const key of keys) await input.pipeInput(key, '', { timestamp })
    }
    const results = await driver.createOutputTopic('out', strings).readKeyValuesToMap()
    expect(results).toEqual(new Map(keys.map((key) => [key, 'c:60 Ann'])))
  })

  test.each([
    ['a record', undefined],
    ['idle time', 10_000],
  ])('but windows that %s has closed, too', async (_, idleAfterMs) => {
    const key = timeWindowed(string, { sizeMs: 10 })
    await using driver = await TestDriver.create(
      () => {
        const t = new Topology('shop', idleAfterMs === undefined ? {} : { idleAfterMs })
        t.stream('orders', strings)
          .groupByKey()
          .windowedBy(tumblingWindows({ sizeMs: 10, graceMs: 0 }))
          .emitStrategy('onWindowClose')
          .reduce('last', (_, value) => value, { retentionMs: 10_000 })
          .joinOnForeignKey('j', t.table('customers', strings), { ...options, key })
          .toStream()
          .to('out', { key, value: string })
        return t
      },
      { partitions: 3 },
    )
    await driver.createInputTopic('customers', strings).pipeInput('c', 'Ann', { timestamp: 0 })
    const input = driver.createInputTopic('orders', strings)
    for (const order of keys) await input.pipeInput(order, 'c:1', { timestamp: 1 })
    if (idleAfterMs === undefined) {
      for (const order of keys) await input.pipeInput(order, 'd:1', { timestamp: 10 })
    } else await driver.advanceWallClockTime(60_000)
    const results = await driver.createOutputTopic('out', { key, value: string }).readKeyValuesToList()
    expect(results.map(([{ key: order }, value]) => [order, value]).sort()).toEqual(
      keys.map((order) => [order, 'c:1 Ann']),
    )
  })
})

test('of a left join a row that names nobody asks nobody', async () => {
  const s = await shop('leftJoinOnForeignKey')
  await s.order('o', ':1')
  expect(s.loom.waiting['j-subscription'] ?? []).toEqual([])
  expect(s.loom.out).toEqual([['o', ':1 null', 0]])
})

test('subscribers are told in the order of their keys as values, other customers’ not at all', async () => {
  const t = new Topology('shop')
  const numbered = { key: int64, value: string as Serde<string> }
  t.table('orders', numbered)
    .joinOnForeignKey('j', t.table('customers', strings), { ...options, key: int64 })
    .toStream()
    .to('out')
  const loom = await Loom.of(t)
  for (const [key, value] of [
    [300, 'c:'],
    [-1, 'c:'],
    [2, 'c:'],
    [-500, 'cc:'],
    [0, ':'],
  ] as const) {
    await loom.feed('orders', key, value)
  }
  await loom.pass('j-subscription')
  await loom.feed('customers', 'c', 'Ann')
  await loom.pass('j-response')
  expect(loom.out.map(([key]) => key)).toEqual([-1, 2, 300])
})
