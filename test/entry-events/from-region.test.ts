/** The events of a region's entries, in the same topology. */
import { describe, expect, test } from 'vitest'
import {
  type EntryEvent,
  json,
  type Region,
  sessionWindows,
  string,
  Topology,
  timeWindowed,
  tumblingWindows,
  type Windowed,
} from '../../src/index.ts'
import { TestDriver, type TestInstance } from '../../src/testing/index.ts'
import { SeededRandom } from '../../src/testing/seeded-random.ts'
import { entriesOf, figures, strings } from '../testing/topologies.ts'

const told = { key: string, value: json<readonly unknown[]>() }

const textOf = ({ type, newValue, oldValue }: EntryEvent): readonly unknown[] => [type, newValue, oldValue]

/** What stands in `events`: key, time, and what happened. */
async function eventsOf(driver: TestDriver, topic = 'events') {
  const records = await driver.createOutputTopic(topic, told).readRecordsToList()
  return records.map(({ key, value, timestamp }) => [key, timestamp, ...(value ?? [])])
}

function listened<K, V>(topology: Topology, region: Region<string, K, V>, topic = 'events') {
  topology
    .fromRegion(region)
    .map((event, key) => [String(key), textOf(event)])
    .to(topic, told)
}

/** Strings of `in`, into the region `entries`. */
function written(options: ConstructorParameters<typeof Topology>[1] = {}) {
  const topology = new Topology('writing', options)
  const entries = topology.region('entries', strings)
  const stream = topology.stream('in', strings)
  stream.toRegion(entries)
  return { topology, entries, stream }
}

describe('a stream written into a region', () => {
  test('creates, updates and destroys entries, and each write is an event', async () => {
    const { topology, entries } = written()
    listened(topology, entries)
    await using driver = await TestDriver.create(topology)
    const input = driver.createInputTopic('in', strings)
    await input.pipeRecordList([
      { key: 'a', value: '1', timestamp: 10 },
      { key: 'a', value: '2', timestamp: 5 },
      { key: 'b', value: '1', timestamp: 20 },
      { key: 'a', value: null, timestamp: 30 },
      // Of what is not there.
      { key: 'a', value: null, timestamp: 31 },
      { key: null, value: 'x', timestamp: 32 },
      { key: 'a', value: '3', timestamp: 40 },
      { key: 'b', value: '1', timestamp: 41 },
    ])
    expect(await eventsOf(driver)).toEqual([
      ['a', 10, 'create', '1', null],
      ['a', 5, 'update', '2', '1'],
      ['b', 20, 'create', '1', null],
      ['a', 30, 'destroy', null, '2'],
      ['a', 40, 'create', '3', null],
      ['b', 41, 'update', '1', '1'],
    ])
    const region = driver.region(entries)
    expect(await entriesOf(region.range())).toEqual([
      ['a', '3'],
      ['b', '1'],
    ])
  })

  test('may be written by others of its task, too', async () => {
    const { topology, entries, stream } = written()
    const totals = topology.region('totals', figures)
    topology.stream('more', strings).toRegion(entries)
    stream.process('swap', { regions: [entries, totals] }, ({ key, value }, context) => {
      if (value === 'gone') context.entries.delete(key)
      if (value === 'twice') context.entries.putAll([[key, `${context.entries.get(key)}, once more`]])
      context.totals.putIfAbsent(key, 1)
      context.totals.putIfAbsent(key, 2)
    })
    listened(topology, entries)
    listened(topology, totals, 'totals')
    await using driver = await TestDriver.create(topology)
    const input = driver.createInputTopic('in', strings)
    await input.pipeInput('a', 'gone', { timestamp: 1 })
    await input.pipeInput('a', 'twice', { timestamp: 2 })
    await driver.createInputTopic('more', strings).pipeInput('a', 'more', { timestamp: 3 })
    expect(await eventsOf(driver)).toEqual([
      ['a', 1, 'create', 'gone', null],
      ['a', 1, 'destroy', null, 'gone'],
      ['a', 2, 'create', 'twice', null],
      ['a', 2, 'update', 'twice, once more', 'twice'],
      ['a', 3, 'update', 'more', 'twice, once more'],
    ])
    expect(await eventsOf(driver, 'totals')).toEqual([['a', 1, 'create', 1, null]])
  })

  test('is refused where it is not alone or not its own', () => {
    const { topology, stream } = written()
    const table = stream.toTable('table')
    const counts = stream.groupByKey().count('counts')
    const global = topology.globalRegion('global', { topic: 'g', ...strings })
    const reused = topology.table('reused', { ...strings, name: 'reused', reuseSourceTopic: true })
    const foreign = new Topology('other').region('entries', strings)
    const invalid = (message: RegExp) =>
      expect.objectContaining({ code: 'TOPOLOGY_INVALID', message: expect.stringMatching(message) })
    expect(() => stream.toRegion(table.region)).toThrow(invalid(/operator of that name/))
    expect(() => stream.mapValues(Number).toRegion(counts.region)).toThrow(invalid(/operator of that name/))
    expect(() => stream.toRegion(reused.region)).toThrow(invalid(/changelog of/))
    expect(() => stream.toRegion(foreign)).toThrow(invalid(/not of this topology/))
    // @ts-expect-error only partitioned regions can be written
    expect(() => stream.toRegion(global)).toThrow(invalid(/copy of a topic/))
    // @ts-expect-error nor do they have events
    expect(() => topology.fromRegion(global)).toThrow(invalid(/copy of a topic/))
    expect(() => topology.fromRegion(foreign)).toThrow(invalid(/not of this topology/))
  })

  test('is refused behind a change of keys', () => {
    const { topology, entries, stream } = written()
    const rekeyed = stream.selectKey((value) => value)
    // @ts-expect-error a key may have changed
    expect(() => rekeyed.toRegion(entries)).toThrow(expect.objectContaining({ code: 'TOPOLOGY_INVALID' }))
    rekeyed.repartition('by-value', strings).toRegion(entries)
    expect(topology.build().nodes.length).toBe(5)
  })

  test('shares its region with streams of as many partitions, by the same partitioner', async () => {
    const { topology, entries } = written()
    topology.stream('more', strings).toRegion(entries)
    await expect(
      TestDriver.create(topology, {
        topics: [
          { topic: 'in', partitions: 2 },
          { topic: 'more', partitions: 3 },
        ],
      }),
    ).rejects.toMatchObject({ code: 'TOPIC_PARTITIONS' })
    const other = written()
    other.topology
      .stream('more', strings)
      .repartition('placed', { partitioner: () => 0 })
      .toRegion(other.entries)
    expect(() => other.topology.build()).toThrow(expect.objectContaining({ code: 'TOPOLOGY_INVALID' }))
  })
})

describe('the events of a region', () => {
  test('come from aggregations and tables', async () => {
    const topology = new Topology('counting')
    const stream = topology.stream('in', strings)
    listened(topology, stream.groupByKey().count('counts').region, 'counts')
    listened(topology, stream.toTable('last').region, 'last')
    await using driver = await TestDriver.create(topology)
    await driver.createInputTopic('in', { ...strings, startTimestamp: 1 }).pipeKeyValueList([
      ['a', 'x'],
      ['a', 'y'],
      ['a', null],
    ])
    expect(await eventsOf(driver, 'counts')).toEqual([
      ['a', 1, 'create', 1, null],
      ['a', 1, 'update', 2, 1],
    ])
    expect(await eventsOf(driver, 'last')).toEqual([
      ['a', 1, 'create', 'x', null],
      ['a', 1, 'update', 'y', 'x'],
      ['a', 1, 'destroy', null, 'y'],
    ])
  })

  test('of windows and sessions: what merges is destroyed, what is over is not', async () => {
    const topology = new Topology('windows')
    const grouped = topology.stream('in', strings).groupByKey()
    const windows = grouped
      .windowedBy(tumblingWindows({ sizeMs: 100, graceMs: 0 }))
      .count('windows', { retentionMs: 100 })
    const sessions = grouped
      .windowedBy(sessionWindows({ inactivityGapMs: 50, graceMs: 1_000 }))
      .count('sessions')
    for (const { region } of [windows, sessions]) {
      topology
        .fromRegion(region)
        .map((event, { key, windowStart, windowEnd }) => [
          `${key} ${windowStart}-${windowEnd}`,
          textOf(event),
        ])
        .to(region.name, told)
    }
    await using driver = await TestDriver.create(topology)
    const input = driver.createInputTopic('in', strings)
    for (const timestamp of [10, 100, 55, 400, 20]) await input.pipeInput('a', 'x', { timestamp })
    expect(await eventsOf(driver, 'windows')).toEqual([
      ['a 0-100', 10, 'create', 1, null],
      ['a 100-200', 100, 'create', 1, null],
      ['a 400-500', 400, 'create', 1, null],
    ])
    expect(await eventsOf(driver, 'sessions')).toEqual([
      ['a 10-10', 10, 'create', 1, null],
      ['a 100-100', 100, 'create', 1, null],
      ['a 10-10', 55, 'destroy', null, 1],
      ['a 100-100', 55, 'destroy', null, 1],
      ['a 10-100', 100, 'create', 3, null],
      ['a 400-400', 400, 'create', 1, null],
      ['a 10-100', 20, 'destroy', null, 3],
      ['a 10-100', 100, 'create', 4, null],
    ])
  })

  test('of windows have the keys that tables of windows have in topics', async () => {
    const topology = new Topology('windows')
    const hours = topology.windowRegion('hours', { ...strings, sizeMs: 100, retentionMs: 1_000 })
    const counts = topology
      .stream('in', strings)
      .groupByKey()
      .windowedBy(tumblingWindows({ sizeMs: 100, graceMs: 0 }))
      .count('counts')
    counts.toStream().mapValues(String).toRegion(hours)
    for (const region of [hours, counts.region]) {
      topology
        .fromRegion<Windowed<string>, unknown>(region)
        .mapValues(textOf)
        .to(region.name, { value: told.value })
    }
    await using driver = await TestDriver.create(topology)
    await driver.createInputTopic('in', strings).pipeInput('a', 'x', { timestamp: 110 })
    const keyed = { key: timeWindowed(string, { sizeMs: 100 }), value: told.value }
    for (const topic of ['hours', 'counts']) {
      expect(await driver.createOutputTopic(topic, keyed).readRecordsToList()).toMatchObject([
        { key: { key: 'a', windowStart: 100, windowEnd: 200 }, timestamp: 110 },
      ])
    }
  })

  test('come from timers and punctuators, which are their origin', async () => {
    const topology = new Topology('timers')
    const entries = topology.region('entries', strings)
    topology.stream('in', strings).process(
      'delayed',
      {
        regions: [entries],
        onTimer: ({ key, timestampMs }, context) => context.entries.put(key, `timer ${timestampMs}`),
      },
      {
        get: (context) => {
          context.schedule(100, 'streamTime', (ms) => context.entries.put('clock', `at ${ms}`))
          return (record, { timers }) => timers.register(record.timestamp + 50)
        },
      },
    )
    topology
      .fromRegion(entries)
      .mapValues((event, _, { offset }) => [...textOf(event), offset] as readonly unknown[])
      .to('events', told)
    await using driver = await TestDriver.create(topology)
    const input = driver.createInputTopic('in', strings)
    for (const timestamp of [10, 20, 120]) await input.pipeInput('a', 'x', { timestamp })
    expect(await eventsOf(driver)).toEqual([
      ['clock', 10, 'create', 'at 10', null, -1],
      ['a', 60, 'create', 'timer 60', null, -1],
      ['a', 70, 'update', 'timer 70', 'timer 60', -1],
      ['clock', 120, 'update', 'at 120', 'at 10', -1],
    ])
  })

  test('have the headers of the record that they come from, and what is in the region', async () => {
    const topology = new Topology('objects')
    const entries = topology.region('entries', { key: string, value: json<{ n: number }>() })
    topology.stream('in', strings).process('write', { regions: [entries] }, (record, context) => {
      const object = { n: 1 }
      context.entries.put(record.key, object)
      object.n = 2
    })
    topology.fromRegion(entries).mapValues(textOf).to('events', told)
    await using driver = await TestDriver.create(topology)
    const headers = [{ key: 'trace', value: Buffer.from('7') }]
    await driver.createInputTopic('in', strings).pipeInput('a', 'x', { headers })
    expect(await driver.createOutputTopic('events', told).readRecordsToList()).toMatchObject([
      { value: ['create', { n: 1 }, null], headers },
    ])
  })

  test('come behind the record that they belong to, one after the other', async () => {
    const topology = new Topology('order')
    const first = topology.region('first', strings)
    const second = topology.region('second', strings)
    const seen: string[] = []
    topology
      .stream('in', strings)
      .process('write', { regions: [first, second] }, async ({ key, value }, context) => {
        context.first.put(key, value)
        await Promise.resolve()
        context.second.put(key, value)
        context.first.put(key, `${value}!`)
        seen.push(`written ${value}`)
      })
    topology
      .fromRegion(first)
      .process('look', { regions: [second] }, async ({ value: { newValue }, key }, context) => {
        seen.push(`${newValue} begins`)
        await Promise.resolve()
        context.second.put(key, `by ${newValue}`)
        seen.push(`${newValue} ends`)
      })
    topology.fromRegion(second).foreach(({ newValue }) => void seen.push(`second ${newValue}`))
    await using driver = await TestDriver.create(topology)
    await driver.createInputTopic('in', strings).pipeKeyValueList([
      ['a', '1'],
      ['a', '2'],
    ])
    expect(seen).toEqual(
      ['1', '2'].flatMap((n) => [
        `written ${n}`,
        `${n} begins`,
        `${n} ends`,
        `second ${n}`,
        `${n}! begins`,
        `${n}! ends`,
        `second by ${n}`,
        `second by ${n}!`,
      ]),
    )
  })

  test('go on with the keys of the region: keyed operators may follow', async () => {
    const { topology, entries } = written()
    const changes = topology.fromRegion(entries).groupByKey().count('changes')
    await using driver = await TestDriver.create(topology, { partitions: 3 })
    const input = driver.createInputTopic('in', strings)
    for (const key of ['a', 'b', 'c', 'd', 'a', 'b']) await input.pipeInput(key, 'x')
    expect(await entriesOf(driver.region(changes.region).range())).toEqual([
      ['a', 2],
      ['b', 2],
      ['c', 1],
      ['d', 1],
    ])
    expect(topology.build().nodes.length).toBe(4)
  })

  test('bring the partitions of their region with them', () => {
    const { topology, entries } = written()
    const other = topology.region('other', strings)
    topology
      .fromRegion(entries)
      .mapValues(({ newValue }) => newValue)
      .toRegion(other)
    topology
      .stream('more', strings)
      .repartition('placed', { partitioner: () => 0 })
      .toRegion(other)
    expect(() => topology.build()).toThrow(
      expect.objectContaining({
        code: 'TOPOLOGY_INVALID',
        message: expect.stringMatching(/feed region 'other'/),
      }),
    )
  })

  test('go to all who listen, in the order in which they were written down', async () => {
    const { topology, entries } = written()
    const seen: string[] = []
    for (const who of ['first', 'second', 'third']) {
      topology.fromRegion(entries).foreach(({ newValue }) => void seen.push(`${who} ${newValue}`))
    }
    await using driver = await TestDriver.create(topology)
    await driver.createInputTopic('in', strings).pipeInput('a', '1')
    expect(seen).toEqual(['first 1', 'second 1', 'third 1'])
  })

  test('come when windows close because nothing comes any more', async () => {
    const topology = new Topology('idle', { idleAfterMs: 1_000 })
    const last = topology.region('last', figures)
    topology
      .stream('in', strings)
      .groupByKey()
      .windowedBy(tumblingWindows({ sizeMs: 100, graceMs: 0 }))
      .emitStrategy('onWindowClose')
      .count('windows')
      .toStream()
      .map((count, { key }) => [key, count])
      .repartition('by-key', figures)
      .toRegion(last)
    const direct = topology.windowRegion('direct', { ...figures, sizeMs: 100, retentionMs: 1_000 })
    topology
      .stream('again', strings)
      .groupByKey()
      .windowedBy(tumblingWindows({ sizeMs: 100, graceMs: 0 }))
      .emitStrategy('onWindowClose')
      .count('windows-again')
      .toStream()
      .toRegion(direct)
    listened(topology, last)
    topology
      .fromRegion(direct)
      .map((event, { key }) => [key, textOf(event)])
      .to('direct', told)
    await using driver = await TestDriver.create(topology)
    for (const topic of ['in', 'again']) {
      await driver.createInputTopic(topic, strings).pipeInput('a', 'x', { timestamp: 10 })
    }
    await driver.advanceWallClockTime(10_000)
    expect((await eventsOf(driver)).map(([, , ...event]) => event)).toEqual([['create', 1, null]])
    expect(await eventsOf(driver, 'direct')).toEqual([['a', 10, 'create', 1, null]])
  })

  test('are called for asynchronously, at their turn', async () => {
    const { topology, entries, stream } = written()
    stream
      .mapValuesAsync('call', async (value) => `${value} called`)
      .merge(
        topology
          .fromRegion(entries)
          .mapValuesAsync('ask', async ({ newValue, oldValue }) => `${oldValue} to ${newValue}`),
      )
      .to('out', { value: string })
    await using driver = await TestDriver.create(topology)
    await driver.createInputTopic('in', strings).pipeKeyValueList([
      ['a', '1'],
      ['a', '2'],
    ])
    expect(await driver.createOutputTopic('out', strings).readValuesToList()).toEqual([
      'null to 1',
      '1 called',
      '1 to 2',
      '2 called',
    ])
  })

  test('of what asynchronous calls have come to', async () => {
    const topology = new Topology('calls')
    const entries = topology.region('entries', strings)
    topology
      .stream('in', strings)
      .mapValuesAsync('call', async (value) => (value === 'bad' ? Promise.reject(new Error('told')) : value))
      .toRegion(entries)
    topology.stream('keyed', strings).mapValuesAsync(
      'put',
      async (value, key, context) => {
        context.entries.put(key, `put ${value}`)
      },
      { regions: [entries] },
    )
    listened(topology, entries)
    await using driver = await TestDriver.create(topology)
    await driver.createInputTopic('in', strings).pipeInput('a', '1', { timestamp: 1 })
    expect(await eventsOf(driver)).toEqual([['a', 1, 'create', '1', null]])
    await driver.createInputTopic('keyed', strings).pipeInput('a', '2', { timestamp: 2 })
    expect(await eventsOf(driver)).toEqual([
      ['a', 1, 'create', '1', null],
      ['a', 2, 'update', 'put 2', '1'],
    ])
  })
})

describe('what listens', () => {
  const failing = (asynchronous: boolean) => () => {
    const { topology, entries, stream } = written({ onFailure: { deadLetter: 'refused' } })
    stream.process('more', { regions: [entries] }, ({ key, value }, context) => {
      context.entries.put(key, `${value} again`)
      context.entries.put(key, `${value} at last`)
      if (value === 'bad writer') throw new Error('as it was told to')
    })
    topology
      .fromRegion(entries)
      .process('pick', {}, (record, context) => {
        const fail = (): void => {
          if (record.value.newValue === 'bad listener again') throw new Error('as it was told to')
        }
        context.forward(record.key, record.value)
        if (asynchronous) return Promise.resolve().then(fail)
        fail()
      })
      .mapValues(textOf)
      .to('events', told)
    return topology
  }

  test.each([false, true])(
    'fails the record that has written: nothing of it stays (async: %s)',
    async (asynchronous) => {
      await using driver = await TestDriver.create(failing(asynchronous))
      const input = driver.createInputTopic('in', { ...strings, startTimestamp: 1 })
      await input.pipeKeyValueList([
        ['a', 'good'],
        ['a', 'bad writer'],
        ['a', 'bad listener'],
        ['a', 'better'],
      ])
      expect(await eventsOf(driver)).toEqual([
        ['a', 1, 'create', 'good', null],
        ['a', 1, 'update', 'good again', 'good'],
        ['a', 1, 'update', 'good at last', 'good again'],
        ['a', 1, 'update', 'better', 'good at last'],
        ['a', 1, 'update', 'better again', 'better'],
        ['a', 1, 'update', 'better at last', 'better again'],
      ])
      expect(await driver.createOutputTopic('refused', strings).readValuesToList()).toEqual([
        'bad writer',
        'bad listener',
      ])
    },
  )

  test('cannot write the region again', async () => {
    const direct = written()
    direct.topology
      .fromRegion(direct.entries)
      .mapValues(({ newValue }) => newValue)
      .toRegion(direct.entries)
    const cycle = expect.objectContaining({
      code: 'TOPOLOGY_INVALID',
      message: expect.stringMatching(/for ever/),
    })
    expect(() => direct.topology.build()).toThrow(cycle)

    const around = written()
    const second = around.topology.region('second', strings)
    around.topology
      .fromRegion(second)
      .mapValues(({ newValue }) => newValue)
      .repartition('back', strings)
      .toRegion(around.entries)
    expect(() => around.topology.build()).toThrow(
      expect.objectContaining({ message: expect.stringMatching(/no stream reaches/) }),
    )
    around.topology
      .fromRegion(around.entries)
      .mapValues(({ newValue }) => newValue)
      .toRegion(second)
    expect(() => around.topology.build()).toThrow(cycle)
  })

  test('may lead to other regions, and is stopped when it comes back', async () => {
    const { topology, entries } = written({ onFailure: 'skip' })
    const second = topology.region('second', strings)
    const third = topology.region('third', strings)
    topology
      .fromRegion(entries)
      .mapValues(({ newValue }) => newValue)
      .toRegion(second)
    topology
      .fromRegion(entries)
      .mapValues(({ newValue }) => newValue)
      .toRegion(third)
    topology.fromRegion(second).process('turn', { regions: [third, entries] }, ({ key, value }, context) => {
      context.third.put(key, `${value.newValue} turned`)
      if (value.newValue === 'back') context.entries.put(key, 'again')
    })
    listened(topology, third)
    await using driver = await TestDriver.create(topology)
    await driver.createInputTopic('in', strings).pipeRecordList([
      { key: 'a', value: '1', timestamp: 1 },
      { key: 'a', value: 'back', timestamp: 2 },
      { key: 'a', value: null, timestamp: 3 },
    ])
    expect(await eventsOf(driver)).toEqual([
      ['a', 1, 'create', '1', null],
      ['a', 1, 'update', '1 turned', '1'],
      ['a', 3, 'destroy', null, '1 turned'],
      ['a', 3, 'create', 'null turned', null],
    ])
    expect(await driver.region(entries).get('a')).toBe(undefined)
  })

  test('is told of a cycle by its code', async () => {
    const { topology, entries } = written()
    topology.fromRegion(entries).process('back', { regions: [entries] }, ({ key }, context) => {
      context.entries.delete(key)
    })
    await using driver = await TestDriver.create(topology)
    await expect(driver.createInputTopic('in', strings).pipeInput('a', '1')).rejects.toMatchObject({
      code: 'OPERATOR_FAILED',
      cause: { cause: { code: 'REGION_CYCLE', details: { region: 'entries' } } },
    })
  })
})

test('events are those of a run without crashes', async () => {
  const topology = () => {
    const { topology, entries, stream } = written()
    stream.process('chop', { regions: [entries] }, ({ key, value }, context) => {
      if (value.length > 2) context.entries.delete(key)
    })
    listened(topology, entries)
    return topology
  }
  const inputs = Array.from({ length: 24 }, (_, i) => [`k${i % 3}`, 'x'.repeat(i % 4)] as const)
  const outcome = async (disturb: (driver: TestDriver, i: number) => Promise<void>) => {
    await using driver = await TestDriver.create(topology, { seed: 3 })
    const input = driver.createInputTopic('in', { ...strings, startTimestamp: 1, autoAdvanceMs: 1 })
    for (const [i, [key, value]] of inputs.entries()) {
      await disturb(driver, i)
      await input.pipeInput(key, value)
      await disturb(driver, i)
    }
    return eventsOf(driver)
  }
  const expected = await outcome(async () => {})
  expect(expected.length).toBeGreaterThan(24)
  const places = ['beforeCommit', 'afterCommit', 'now'] as const
  let crashes = 0
  const crashed = await outcome(async (driver, i) => {
    const [app] = driver.instances
    if (app.state === 'stopped') await app.restart({ emptyDirectory: i % 2 === 0 })
    else if (i % 3 === 0) {
      app.crash({ at: places[crashes++ % places.length] ?? 'now' })
    }
  })
  expect(crashes).toBeGreaterThan(4)
  expect(crashed).toEqual(expected)
})

/** Entries written by a stream, a processor and a timer; what listens counts the events in a region of its own. */
function busy() {
  const { topology, entries, stream } = written()
  stream.process(
    'chop',
    { regions: [entries], onTimer: ({ key }, context) => context.entries.put(key, 'by a timer') },
    ({ key, value, timestamp }, context) => {
      if (value.length > 2) context.entries.delete(key)
      if (value.length === 1) context.timers.register(timestamp + 5)
    },
  )
  const counts = topology.region('counts', figures)
  topology
    .fromRegion(entries)
    .process('count', { regions: [counts] }, (record, context) => {
      const count = (context.counts.get(record.key) ?? 0) + 1
      context.counts.put(record.key, count)
      context.forward(record.key, record.value)
    })
    .map((event, key) => [key, textOf(event)])
    .to('events', told)
  listened(topology, counts, 'counted')
  return { topology, counts }
}

test.each([1, 2, 3, 4, 5, 6])(
  'two instances, crashes, freezes and rebalances: each event once (seed %i)',
  async (seed) => {
    const inputs = Array.from({ length: 40 }, (_, i) => [`k${i % 5}`, 'x'.repeat((i * 7) % 4)] as const)
    const outcome = async (disturb: (driver: TestDriver) => Promise<void>) => {
      await using driver = await TestDriver.create(() => busy().topology, { seed, partitions: 2 })
      const input = driver.createInputTopic('in', { ...strings, startTimestamp: 1, autoAdvanceMs: 1 })
      for (const [key, value] of inputs) {
        await disturb(driver)
        await input.pipeInput(key, value)
      }
      for (const app of driver.instances) {
        if (app.state === 'stopped') await app.restart()
        else if (app.state === 'frozen') app.thaw()
      }
      await driver.untilIdle()
      const found: Record<string, unknown[]> = {}
      for (const topic of ['events', 'counted']) {
        for (const [key, ...event] of await eventsOf(driver, topic)) {
          const of = `${topic} ${key}`
          found[of] = [...(found[of] ?? []), event]
        }
      }
      return found
    }
    const random = new SeededRandom(seed)
    const done: string[] = []
    const disturbed = outcome(async (driver) => {
      if (driver.instances.length < 2) await driver.addInstance()
      const app = driver.instances[random.below(2)] as TestInstance
      if (app.state === 'stopped') {
        await app.restart({ emptyDirectory: random.below(2) === 0 })
      } else if (app.state === 'frozen') app.thaw()
      else if (random.below(3) === 0) {
        const what = random.below(4)
        done.push(String(what))
        if (what === 0) app.freeze()
        else app.crash({ at: (['now', 'beforeCommit', 'afterCommit'] as const)[what - 1] ?? 'now' })
        // Somebody has to be there.
        const isUp = ({ state }: TestInstance): boolean => state === 'running'
        if (driver.instances.some(isUp)) return
        if (what === 0) app.thaw()
        else await app.restart()
      }
    })
    const expected = await outcome(async () => {})
    expect(Object.keys(expected).length).toBe(10)
    expect(await disturbed).toEqual(expected)
    expect(new Set(done).size).toBeGreaterThan(1)
  },
)
