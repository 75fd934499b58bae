/** The test driver for users: records in and out, regions, time. */
import { describe, expect, test } from 'vitest'
import {
  avro,
  bytes,
  json,
  localRegistry,
  memoryDisk,
  string,
  Topology,
  timeWindowed,
  Windowed,
} from '../../src/index.ts'
import { partitionFor } from '../../src/kafka/partitioner.ts'
import { TestDriver } from '../../src/testing/index.ts'
import { entriesOf, figures, strings, sums, words } from './topologies.ts'

describe('what is piped in', () => {
  test('is processed and committed when pipeInput resolves', async () => {
    const { topology, counts } = words()
    await using driver = await TestDriver.create(topology)
    const lines = driver.createInputTopic('lines', strings)
    const out = driver.createOutputTopic('word-counts', figures)
    await lines.pipeInput(null, 'to be or not to be')
    expect(await out.readKeyValue()).toEqual(['to', 1])
    expect(await out.readKeyValuesToMap()).toEqual(new Map(Object.entries({ to: 2, be: 2, or: 1, not: 1 })))
    expect(await out.isEmpty()).toBe(true)
    expect(await out.readKeyValue()).toBe(undefined)
    expect(await driver.region(counts).get('to')).toBe(2)
  })

  test('comes with its timestamp, its headers and its partition', async () => {
    const topology = new Topology('copy')
    topology
      .stream('in', strings)
      .to('out', { partitioner: (_value, _key, { partitions }) => partitions - 1 })
    await using driver = await TestDriver.create(topology, { partitions: 3 })
    const input = driver.createInputTopic('in', strings)
    const headers = [{ key: 'h', value: Buffer.from('x') }]
    await input.pipeInput('a', 'b', { timestamp: 7, headers, partition: 2 })
    await input.pipeRecordList([{ key: null, value: null, timestamp: 8, partition: 0 }])
    const copies = driver.createOutputTopic('in', strings)
    expect(await copies.readRecordsToList()).toMatchObject([
      { key: null, value: null, timestamp: 8, partition: 0, offset: 0 },
      { key: 'a', value: 'b', timestamp: 7, partition: 2, offset: 0, headers },
    ])
    const out = driver.createOutputTopic('out', strings)
    expect((await out.readRecordsToList()).map(({ partition }) => partition)).toEqual([2, 2])
  })

  test('goes where Kafka would put it', async () => {
    const topology = new Topology('copy')
    topology.stream('in', strings).to('out')
    await using driver = await TestDriver.create(topology, { partitions: 4 })
    const input = driver.createInputTopic('in', strings)
    await input.pipeKeyValueList([
      ['1', 'a'],
      ['2', 'b'],
      ['1', 'c'],
    ])
    const keyed = await driver.createOutputTopic('in', strings).readRecordsToList()
    expect(keyed.map(({ value, partition }) => [value, partition])).toEqual([
      ['b', partitionFor(Buffer.from('2'), 4)],
      ['a', partitionFor(Buffer.from('1'), 4)],
      ['c', partitionFor(Buffer.from('1'), 4)],
    ])
    await input.pipeKeyValueList(Array.from({ length: 8 }, (_, i) => [null, String(i)]))
    const all = await driver.createOutputTopic('in', strings).readRecordsToList()
    const inTurn = all.filter(({ key }) => key === null)
    expect(inTurn.map(({ value, partition }) => Number(value) % 4 === partition)).toEqual(Array(8).fill(true))
  })

  test('under a windowed key goes where the key goes', async () => {
    const windowed = { key: timeWindowed(string, { sizeMs: 10 }), value: string }
    const topology = new Topology('copy')
    topology.stream('in', windowed).to('out')
    await using driver = await TestDriver.create(topology, { partitions: 7 })
    const input = driver.createInputTopic('in', windowed)
    for (const start of [0, 10, 20, 30]) await input.pipeInput(new Windowed('a', start, start + 10), 'x')
    for (const topic of ['in', 'out']) {
      const records = await driver.createOutputTopic(topic, windowed).readRecordsToList()
      expect(records.map(({ partition }) => partition)).toEqual(
        Array(4).fill(partitionFor(Buffer.from('a'), 7)),
      )
    }
  })

  test('has the time of the wall clock, or that of its topic', async () => {
    const topology = new Topology('copy')
    topology.stream('in', strings).to('out')
    await using driver = await TestDriver.create(topology, { startTimeMs: 5_000_000 })
    const out = driver.createOutputTopic('out', strings)
    const next = async () => (await out.readRecord())?.timestamp
    const clock = driver.createInputTopic('in', strings)
    const before = driver.nowMs
    expect(before).toBeGreaterThanOrEqual(5_000_000)
    expect(before).toBeLessThan(5_060_000)
    await clock.pipeInput('k', 'v')
    expect(await next()).toBe(before)
    await driver.advanceWallClockTime(3_600_000)
    expect(driver.nowMs).toBeGreaterThanOrEqual(before + 3_600_000)
    await clock.pipeInput('k', 'v')
    expect(await next()).toBeGreaterThanOrEqual(before + 3_600_000)

    const own = driver.createInputTopic('in', { ...strings, startTimestamp: 100, autoAdvanceMs: 10 })
    await own.pipeKeyValueList([
      ['k', '1'],
      ['k', '2'],
    ])
    await own.pipeInput('k', '3', { timestamp: 1 })
    own.advanceTime(1_000)
    await own.pipeInput('k', '4')
    expect((await out.readRecordsToList()).map(({ timestamp }) => timestamp)).toEqual([100, 110, 1, 1_120])
  })

  test('is not written at all when a record of it cannot be', async () => {
    const topology = new Topology('copy')
    topology.stream('in', figures).to('out')
    await using driver = await TestDriver.create(topology)
    const input = driver.createInputTopic('in', figures)
    const bad = input.pipeKeyValueList([
      ['a', 1],
      ['b', 0.5],
    ])
    await expect(bad).rejects.toMatchObject({ code: 'ENCODE_FAILED' })
    await expect(input.pipeInput('a', 1, { partition: 1 })).rejects.toMatchObject({
      code: 'PARTITION_INVALID',
    })
    expect(await driver.createOutputTopic('in', figures).getQueueSize()).toBe(0)
  })

  test('waits in its topic, when it is wanted so', async () => {
    const { topology } = sums()
    await using driver = await TestDriver.create(topology)
    const numbers = driver.createInputTopic('numbers', { ...figures, waitForIdle: false })
    await numbers.pipeInput('a', 1)
    await numbers.pipeInput('a', 2)
    expect(driver.producedTopicNames()).toEqual(new Set())
    await driver.untilIdle()
    expect(driver.producedTopicNames()).toEqual(new Set(['sums', 'sums-totals-changelog']))
  })
})

test.each(['topic', 'region'] as const)('a read of a %s lets the application work first', async (what) => {
  const { topology, totals } = sums()
  await using driver = await TestDriver.create(topology)
  await driver.createInputTopic('numbers', { ...figures, waitForIdle: false }).pipeInput('a', 1)
  const out = driver.createOutputTopic('sums', figures)
  expect(await (what === 'topic' ? out.readValue() : driver.region(totals).get('a'))).toBe(1)
})

describe('output topics', () => {
  test('can be read in every way, each by itself', async () => {
    const { topology } = sums()
    await using driver = await TestDriver.create(topology)
    await driver.createInputTopic('numbers', figures).pipeKeyValueList([
      ['a', 1],
      ['b', 5],
      ['a', 2],
      ['a', 3],
    ])
    const one = driver.createOutputTopic('sums', figures)
    expect(await one.getQueueSize()).toBe(4)
    expect(await one.readValue()).toBe(1)
    expect(await one.readRecord()).toMatchObject({ key: 'b', value: 5, topic: 'sums', partition: 0 })
    expect(await one.readKeyValuesToList()).toEqual([
      ['a', 3],
      ['a', 6],
    ])
    expect(await one.isEmpty()).toBe(true)
    expect(await one.readValue()).toBe(undefined)
    expect(await driver.createOutputTopic('sums', figures).readValuesToList()).toEqual([1, 5, 3, 6])
    expect(await driver.createOutputTopic('sums', figures).readKeyValuesToMap()).toEqual(
      new Map([
        ['a', 6],
        ['b', 5],
      ]),
    )
  })

  test('keep a record that cannot be decoded', async () => {
    const { topology } = sums()
    await using driver = await TestDriver.create(topology)
    await driver.createInputTopic('numbers', figures).pipeInput('a', 1)
    const wrong = driver.createOutputTopic('sums', { key: string, value: json<string>() })
    await expect(wrong.readValue()).rejects.toMatchObject({ code: 'DECODE_FAILED' })
    expect(await wrong.getQueueSize()).toBe(1)
  })

  test('may be internal ones, also when they have been purged', async () => {
    const { topology } = words()
    await using driver = await TestDriver.create(topology)
    const lines = driver.createInputTopic('lines', strings)
    const repartitioned = driver.createOutputTopic('word-count-by-word-repartition', strings)
    await lines.pipeInput(null, 'a b')
    expect(await repartitioned.readKeyValuesToList()).toEqual([
      ['a', 'a'],
      ['b', 'b'],
    ])
    await driver.advanceWallClockTime(120_000)
    await lines.pipeInput(null, 'c')
    const late = driver.createOutputTopic('word-count-by-word-repartition', strings)
    expect(await late.readKeyValuesToList()).toEqual([['c', 'c']])
    expect(await repartitioned.readKeyValuesToList()).toEqual([['c', 'c']])
  })
})

describe('regions', () => {
  test('are read as committed: entries, ranges and prefixes, over all parts', async () => {
    const { topology, totals } = sums()
    await using driver = await TestDriver.create(topology, { partitions: 3, instances: 2 })
    const numbers = driver.createInputTopic('numbers', figures)
    await numbers.pipeKeyValueList(['b1', 'a', 'b2', 'c', 'b'].map((key, i) => [key, i] as const))
    const region = driver.region(totals)
    expect(await region.get('b2')).toBe(2)
    expect(await region.get('nobody')).toBe(undefined)
    expect(await entriesOf(region.range())).toEqual([
      ['a', 1],
      ['b', 4],
      ['b1', 0],
      ['b2', 2],
      ['c', 3],
    ])
    expect(await entriesOf(region.range({ gt: 'a', lte: 'b2', reverse: true, limit: 2 }))).toEqual([
      ['b2', 2],
      ['b1', 0],
    ])
    expect((await entriesOf(region.prefix('b'))).map(([key]) => key)).toEqual(['b', 'b1', 'b2'])
    await expect(entriesOf(region.range({ gt: 'a', gte: 'a' }))).rejects.toMatchObject({
      code: 'OPTION_INVALID',
    })
  })

  test('forget what is deleted', async () => {
    const topology = new Topology('latest')
    const latest = topology.region('latest', strings)
    topology.stream('in', strings).process('keep', { regions: [latest] }, ({ key, value }, context) => {
      if (value === null) context.latest.delete(key)
      else context.latest.put(key, value)
    })
    await using driver = await TestDriver.create(topology)
    const input = driver.createInputTopic('in', strings)
    await input.pipeInput('a', '1')
    expect(await driver.region(latest).get('a')).toBe('1')
    await input.pipeInput('a', null)
    expect(await driver.region(latest).get('a')).toBe(undefined)
  })

  test('that are replicated are up to date when what was piped into their topic is', async () => {
    const topology = new Topology('names')
    const names = topology.globalRegion('names', { topic: 'customers', ...strings })
    topology
      .stream('in', strings)
      .process('look-up', { regions: [names], value: string }, ({ key }, context) =>
        context.forward(key, context.names.get(key) ?? 'nobody'),
      )
      .to('out')
    for (let seed = 1; seed <= 10; seed++) {
      await using driver = await TestDriver.create(topology, { seed, partitions: 2, instances: 2 })
      const customers = driver.createInputTopic('customers', strings)
      const input = driver.createInputTopic('in', strings)
      await input.pipeInput('1', '')
      await customers.pipeInput('1', 'Ada')
      await customers.pipeInput('2', 'Grace')
      await input.pipeKeyValueList([
        ['1', ''],
        ['2', ''],
        ['3', ''],
      ])
      const out = driver.createOutputTopic('out', strings)
      expect(
        (await out.readKeyValuesToList()).toSorted(([a, b], [c, d]) => (a + b < c + d ? -1 : 1)),
      ).toEqual([
        ['1', 'Ada'],
        ['1', 'nobody'],
        ['2', 'Grace'],
        ['3', 'nobody'],
      ])
      expect(await entriesOf(driver.region(names).range())).toEqual([
        ['1', 'Ada'],
        ['2', 'Grace'],
      ])
    }
  })

  test('of another topology are refused', async () => {
    await using driver = await TestDriver.create(sums().topology)
    expect(() => driver.region(words().counts)).toThrow(expect.objectContaining({ code: 'TOPOLOGY_INVALID' }))
  })
})

describe('serdes', () => {
  test('of Avro have their ids from a registry in memory, or from a given one', async () => {
    const reading = avro<{ degrees: number }>({
      type: 'record',
      name: 'Reading',
      fields: [{ name: 'degrees', type: 'int' }],
    })
    const topology = new Topology('readings')
    const highest = topology.region('highest', { key: string, value: reading })
    topology
      .stream('readings', { key: string, value: reading })
      .process('keep', { regions: [highest], value: reading }, ({ key, value }, context) => {
        if (value.degrees <= (context.highest.get(key)?.degrees ?? -300)) return
        context.highest.put(key, value)
        context.forward(key, value)
      })
      .to('records')
    const registry = localRegistry(memoryDisk())
    for (const options of [{}, { registry }]) {
      await using driver = await TestDriver.create(topology, options)
      const readings = driver.createInputTopic('readings', { key: string, value: reading })
      await readings.pipeKeyValueList([4, 9, 7].map((degrees) => ['roof', { degrees }] as const))
      const records = driver.createOutputTopic('records', { key: string, value: reading })
      expect((await records.readValuesToList()).map(({ degrees }) => degrees)).toEqual([4, 9])
      expect(await driver.region(highest).get('roof')).toMatchObject({ degrees: 9 })
      driver.instances[0].crash()
      await driver.instances[0].restart({ emptyDirectory: true })
      await readings.pipeInput('roof', { degrees: 8 })
      expect(await records.isEmpty()).toBe(true)
    }
    expect(await registry.schemaOf(1)).toContain('Reading')
  })
})

describe('topics', () => {
  test('that operators choose are given, with partitions and settings of their own', async () => {
    const topology = new Topology('orders')
    topology.stream('orders', strings).to((region) => `orders-${region}`)
    await using driver = await TestDriver.create(topology, {
      partitions: 2,
      topics: [{ topic: 'orders-eu', partitions: 3 }, { topic: 'orders-us' }],
    })
    await driver.createInputTopic('orders', strings).pipeKeyValueList([
      ['1', 'eu'],
      ['2', 'us'],
    ])
    expect(await driver.createOutputTopic('orders-eu', strings).readKeyValue()).toEqual(['1', 'eu'])
    expect(await driver.createOutputTopic('orders-us', strings).readKeyValue()).toEqual(['2', 'us'])
    const wide = driver.createInputTopic('orders-eu', strings)
    await wide.pipeInput('1', 'x', { partition: 2 })
    const narrow = driver.createInputTopic('orders-us', strings)
    await expect(narrow.pipeInput('1', 'x', { partition: 2 })).rejects.toMatchObject({
      code: 'PARTITION_INVALID',
    })
  })

  test('take records as their settings say', async () => {
    const topology = new Topology('copy')
    topology.stream('in', { key: string, value: bytes }).to('out')
    const topics = [{ topic: 'in', configs: { 'max.message.bytes': '2000' } }]
    await using driver = await TestDriver.create(topology, { topics })
    const input = driver.createInputTopic('in', { key: string, value: bytes })
    await expect(input.pipeInput('a', Buffer.alloc(3_000))).rejects.toMatchObject({ code: 'KAFKA_REFUSED' })
  })

  test('that are missing are told', async () => {
    await using driver = await TestDriver.create(sums().topology)
    const missing = driver.createInputTopic('nowhere', strings).pipeInput('a', 'b')
    await expect(missing).rejects.toMatchObject({ code: 'TOPIC_MISSING' })
    const read = driver.createOutputTopic('nowhere', strings).readValue()
    await expect(read).rejects.toMatchObject({ code: 'TOPIC_MISSING' })
  })
})

describe('settings', () => {
  test('are those of production', async () => {
    const { topology } = sums()
    const settings = { commitIntervalMs: 4_000, processingGuarantee: 'at_least_once' } as const
    await using driver = await TestDriver.create(topology, settings)
    const numbers = driver.createInputTopic('numbers', { ...figures, waitForIdle: false })
    await numbers.pipeInput('a', 1)
    await driver.advanceWallClockTime(3_900)
    expect(driver.producedTopicNames()).toEqual(new Set())
    await driver.advanceWallClockTime(200)
    expect(driver.producedTopicNames()).toContain('sums')
    expect(await driver.createOutputTopic('sums', figures).readValue()).toBe(1)
  })

  test.each([
    { seed: 0.5 },
    { seed: -1 },
    { instances: 0 },
    { partitions: 0 },
    { startTimeMs: -1 },
    { commitIntervalMs: 0 },
  ])('of no use are refused: %o', async (options) => {
    await expect(TestDriver.create(sums().topology, options)).rejects.toMatchObject({
      code: 'OPTION_INVALID',
    })
  })
})

describe('a run', () => {
  const traceOf = async (seed: number): Promise<string[]> => {
    const lines: string[] = []
    const { topology } = words()
    const driver = await TestDriver.create(topology, {
      seed,
      instances: 2,
      partitions: 2,
      trace: (line) => lines.push(line),
    })
    await driver.createInputTopic('lines', strings).pipeInput(null, 'a rose is a rose')
    driver.instances[1]?.crash()
    await driver.createInputTopic('lines', strings).pipeInput(null, 'is a rose')
    await driver.close()
    return lines
  }

  test('is a function of its seed', async () => {
    const [one, again, other] = [await traceOf(3), await traceOf(3), await traceOf(4)]
    expect(one.length).toBeGreaterThan(500)
    expect(again).toEqual(one)
    expect(other).not.toEqual(one)
  })

  test('may be cut off: calls that are not waited for have their turn one after the other', async () => {
    const { topology } = sums()
    const driver = await TestDriver.create(topology)
    const numbers = driver.createInputTopic('numbers', figures)
    const out = driver.createOutputTopic('sums', figures)
    const [, , sum] = await Promise.all([
      numbers.pipeInput('a', 1),
      numbers.pipeInput('a', 2),
      out.readValuesToList(),
    ])
    expect(sum).toEqual([1, 3])
    await driver.close()
    await driver.close()
    await expect(numbers.pipeInput('a', 3)).rejects.toMatchObject({ code: 'APPLICATION_STATE' })
  })
})

test('what a function gives that is no promise is not waited for', async () => {
  const seen: string[] = []
  const see = (text: string) => seen.push(text)
  const t = new Topology('expressions', {
    middleware: () => (record, next) => {
      next(record)
      return see('around') as never
    },
  })
  const twice = t.stream('in', strings).flatMapValues((value) => [value, value])
  twice.foreach(see)
  twice.print({ label: 'line', write: see })
  twice.process('see', {}, ({ value }) => see(value) as never)
  await using driver = await TestDriver.create(t)
  await driver.createInputTopic('in', strings).pipeInput('k', 'v')
  expect(seen.filter((text) => text === 'v')).toHaveLength(4)
  expect(seen.filter((text) => text === '[line]: k, v')).toHaveLength(2)
})
