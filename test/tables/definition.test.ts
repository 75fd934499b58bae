/** Topologies with tables: what they become, and what is refused before anything runs. */
import { describe, expect, test } from 'vitest'
import { DruseError, int64, json, string, Topology } from '../../src/index.ts'
import { TestDriver } from '../../src/testing/index.ts'

const strings = { key: string, value: string }

function refusal(make: () => unknown): string {
  try {
    make()
  } catch (error) {
    if (!DruseError.is(error, 'TOPOLOGY_INVALID')) throw error
    return error.message.replace(/ \[TOPOLOGY_INVALID\]$/, '')
  }
  throw new Error('nothing was refused')
}

const joiner = (left: unknown, right: unknown): string => `${left}|${right}`

describe('described', () => {
  test('a table is kept where it has to be, under its topic’s name', () => {
    const t = new Topology('plain')
    t.table('in', strings).toStream().to('out')
    expect(t.describe()).not.toContain('Region')
    const joined = new Topology('joined')
    joined
      .table('left', strings)
      .filter((value) => value !== '')
      .join(joined.table('right', { ...strings, name: 'names', store: 'memory' }), joiner)
      .toStream()
      .to('out', strings)
    expect(joined.describe()).toMatchInlineSnapshot(`
      "Topology joined
        Sub-topology 0
          Source from-left-0 (topics: left; key: string, value: string)
            --> table-left-1
          Source from-right-3 (topics: right; key: string, value: string)
            --> names
          Operator table-left-1: table (regions: left)
            --> table-filter-2
          Operator table-filter-2: filter
            --> join-left-5
          Operator names: table (regions: names)
            --> join-right-6
          Operator join-left-5: join (regions: names)
            --> joined-7
          Operator join-right-6: join (regions: left)
            --> joined-7
          Operator joined-7: joined
            --> to-out-8
          Sink to-out-8 (topic: out; key: string, value: string)
          Region names (changelog: joined-names-changelog, memory; key: string, value: string)
          Region left (changelog: joined-left-changelog, persistent; key: string, value: string)
      "
    `)
  })

  test('groups go through a topic, with old values and new ones', () => {
    const t = new Topology('groups')
    t.table('in', strings)
      .groupBy('by-value', (value, key) => [value, key.length], { key: string, value: int64 })
      .count('counts')
      .toStream()
      .to('out')
    expect(t.describe()).toMatchInlineSnapshot(`
      "Topology groups
        Sub-topology 0
          Source from-in-0 (topics: in; key: string, value: string)
            --> table-in-1
          Operator table-in-1: table (regions: in)
            --> group-by-value-2
          Operator group-by-value-2: groupBy
            --> by-value
          Sink by-value (topic: groups-by-value-repartition; key: string, value: change:int64)
          Region in (changelog: groups-in-changelog, persistent; key: string, value: string)
        Sub-topology 1
          Source by-value (topics: groups-by-value-repartition; key: string, value: change:int64)
            --> counts
          Operator counts: aggregate (regions: counts)
            --> to-out-5
          Sink to-out-5 (topic: out; key: string, value: int64)
          Region counts (changelog: groups-counts-changelog, persistent; key: string, value: int64)
      "
    `)
  })

  test('a foreign-key join', () => {
    const t = new Topology('shop')
    t.table('orders', strings)
      .joinOnForeignKey('joined', t.table('customers', strings), {
        foreignKey: (order) => order,
        joiner,
        value: string,
      })
      .toStream()
      .to('out')
    expect(t.describe()).toMatchInlineSnapshot(`
      "Topology shop
        Sub-topology 0
          Source from-orders-0 (topics: orders; key: string, value: string)
            --> table-orders-1
          Source joined-response (topics: shop-joined-response-repartition; key: string, value: response:string)
            --> joined-resolve
          Operator table-orders-1: table (regions: orders)
            --> joined-subscribe
          Operator joined-subscribe: foreignKeySubscribe (regions: joined-versions, joined)
            --> joined-subscription, joined-resolve
          Sink joined-subscription (topic: shop-joined-subscription-repartition; key: string, value: subscription:string)
          Operator joined-resolve: foreignKeyJoin (regions: joined-versions, orders)
            --> joined
          Operator joined: table (regions: joined)
            --> to-out-11
          Sink to-out-11 (topic: out; key: string, value: string)
          Region orders (changelog: shop-orders-changelog, persistent; key: string, value: string)
          Region joined-versions (changelog: shop-joined-versions-changelog, persistent; key: version:string, value: string)
          Region joined (changelog: shop-joined-changelog, persistent; key: string, value: string)
        Sub-topology 1
          Source from-customers-2 (topics: customers; key: string, value: string)
            --> table-customers-3
          Source joined-subscription (topics: shop-joined-subscription-repartition; key: string, value: subscription:string)
            --> joined-receive
          Operator table-customers-3: table (regions: customers)
            --> joined-change
          Operator joined-receive: foreignKeyReceive (regions: joined-subscriptions, customers)
            --> joined-response
          Operator joined-change: foreignKeyChange (regions: joined-subscriptions)
            --> joined-response
          Sink joined-response (topic: shop-joined-response-repartition, partitions: chosen per record; key: string, value: response:string)
          Region customers (changelog: shop-customers-changelog, persistent; key: string, value: string)
          Region joined-subscriptions (changelog: shop-joined-subscriptions-changelog, persistent; key: subscriber:string:string, value: json)
      "
    `)
  })

  test('streams with tables', () => {
    const t = new Topology('enriched')
    t.stream('in', strings)
      .leftJoin(t.table('local', { ...strings, name: 'names' }), joiner)
      .join(t.globalTable('everywhere', strings), (value) => value, joiner)
      .to('out', strings)
    expect(t.describe()).toMatchInlineSnapshot(`
      "Topology enriched
        Global region everywhere (topic: everywhere, key: string, value: string)
        Sub-topology 0
          Source from-in-0 (topics: in; key: string, value: string)
            --> leftJoin-3
          Source from-local-1 (topics: local; key: string, value: string)
            --> names
          Operator names: table (regions: names)
          Operator leftJoin-3: leftJoin (regions: names)
            --> join-everywhere-4
          Operator join-everywhere-4: join (regions: everywhere)
            --> to-out-5
          Sink to-out-5 (topic: out; key: string, value: string)
          Region names (changelog: enriched-names-changelog, persistent; key: string, value: string)
      "
    `)
  })
})

test('operators that share a region are in one sub-topology', () => {
  const t = new Topology('app')
  const shared = t.region('shared', strings)
  t.stream('in', strings).process('write', { regions: [shared] }, () => {})
  t.table('rows', strings)
    .transformValues('transformed', { regions: [shared], value: string }, (value) => value)
    .toStream()
    .to('out')
  expect(t.describe()).toContain('Operator transformed: transformValues (regions: transformed, shared)')
  expect(t.describe()).not.toContain('Sub-topology 1')
})

describe('refused', () => {
  test('joined tables whose topics have different partition counts', async () => {
    const topology = (): Topology => {
      const t = new Topology('app')
      t.table('left', strings).join(t.table('right', strings), joiner).toStream().to('out', strings)
      return t
    }
    const topics = [
      { topic: 'left', partitions: 3 },
      { topic: 'right', partitions: 2 },
    ]
    await expect(TestDriver.create(topology, { topics })).rejects.toThrow(
      "Topics that feed region 'left' have different partition counts: left (3), right (2)",
    )
  })

  test('a stream and a table whose partitions are not chosen alike', () => {
    const t = new Topology('app')
    t.stream('in', strings)
      .repartition('spread', { partitioner: () => 0 })
      .join(t.table('names', strings), joiner)
      .to('out', strings)
    expect(refusal(() => t.build())).toMatch(
      /^Topics 'names' and 'app-spread-repartition' feed region 'names'/,
    )
  })

  test('a foreign table that is partitioned in a way of its own', () => {
    const t = new Topology('app')
    const customers = t
      .stream('c', strings)
      .repartition('spread', { partitioner: () => 0 })
      .toTable('customers')
    t.table('orders', strings).joinOnForeignKey('joined', customers, {
      foreignKey: (order) => order,
      joiner,
      value: string,
    })
    expect(refusal(() => t.build())).toMatch(/'app-joined-subscription-repartition' feed region 'customers'/)
  })

  test('unless the join is told the way', async () => {
    const byFirstLetter = (_: unknown, key: string, { partitions }: { partitions: number }): number =>
      key.charCodeAt(0) % partitions
    const topology = (): Topology => {
      const t = new Topology('app')
      const customers = t
        .stream('c', strings)
        .repartition('spread', { partitioner: byFirstLetter })
        .toTable('customers')
      t.table('orders', strings)
        .joinOnForeignKey('joined', customers, {
          foreignKey: (order) => order,
          otherPartitioner: byFirstLetter,
          joiner: (order, customer) => `${order} ${customer}`,
          value: string,
        })
        .toStream()
        .to('out')
      return t
    }
    await using driver = await TestDriver.create(topology, {
      topics: [
        { topic: 'c', partitions: 5 },
        { topic: 'orders', partitions: 3 },
      ],
    })
    const names = ['ann', 'ben', 'cem', 'dan', 'eva', 'fay']
    await driver
      .createInputTopic('c', strings)
      .pipeKeyValueList(names.map((name) => [name, name.toUpperCase()]))
    const orders = driver.createInputTopic('orders', strings)
    await orders.pipeKeyValueList(names.map((name, n) => [`order ${n}`, name]))
    expect((await driver.createOutputTopic('out', strings).readValuesToList()).sort()).toEqual(
      names.map((name) => `${name} ${name.toUpperCase()}`),
    )
  })

  test('a table that has to be kept, where its name is taken', () => {
    const t = new Topology('app')
    t.region('in', strings)
    const table = t.table('in', strings)
    table.filter(() => true).toStream()
    expect(refusal(() => table.groupBy('g', (value) => [value, 1], { key: string, value: int64 }))).toBe(
      "Two regions are named 'in'; give one another name",
    )
  })

  test('what is kept without a serde', () => {
    const t = new Topology('app')
    const lengths = t.table('in', strings).mapValues((value) => value.length)
    expect(refusal(() => lengths.filter((n) => n > 1, { name: 'long' }))).toBe(
      "'long' does not know the value serde: give { value: … }",
    )
    expect(
      refusal(() =>
        t.table('orders', strings).joinOnForeignKey('joined', lengths, {
          foreignKey: (order) => order,
          joiner,
          value: string,
        }),
      ),
    ).toBe(
      "Foreign-key join 'joined' does not know the value serde of a table: keep that table in a region, by { name, value: … }",
    )
  })

  test('keys of tables whose bytes change over time', () => {
    const t = new Topology('app')
    const table = t.table('in', { key: json<{ id: number }>(), value: string })
    expect(refusal(() => table.join(table, joiner))).toMatch(/^Region 'in' cannot have json keys/)
  })

  test('streams whose key may have changed', () => {
    const t = new Topology('app')
    const rekeyed = t.stream('in', strings).selectKey((value) => value) as never as ReturnType<
      typeof t.stream<string, string>
    >
    const table = t.table('table', strings)
    const advice = / needs records of one key in one task, but a key may have changed before it/
    expect(refusal(() => rekeyed.join(table, joiner))).toMatch(advice)
    expect(refusal(() => rekeyed.leftJoin(table, joiner))).toMatch(advice)
    expect(refusal(() => rekeyed.toTable('last'))).toMatch(advice)
  })
})
