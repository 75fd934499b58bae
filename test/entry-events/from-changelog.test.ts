/** The events of a region of another application. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  avro,
  type EntryEvent,
  int64,
  json,
  localRegistry,
  memoryDisk,
  type Registry,
  resetApplication,
  sessionWindows,
  string,
  Topology,
  type TopologyOptions,
  tumblingWindows,
  Windowed,
} from '../../src/index.ts'
import { TestDriver } from '../../src/testing/index.ts'
import { Stage, strings } from '../runtime/stage.ts'

const told = { key: string, value: json<readonly unknown[]>() }
const textOf = ({ type, newValue, oldValue }: EntryEvent): readonly unknown[] => [type, newValue, oldValue]

/** Strings of `in` into the region `entries`. `by`: tells who has written it. */
const writtenBy = (by: string) => (): Topology => {
  const t = new Topology('writer')
  t.stream('in', strings)
    .mapValues((value) => (value === null ? null : value + by))
    .toRegion(t.region('entries', strings))
  return t
}
const writer = writtenBy('')

const reader =
  (policies: Pick<TopologyOptions, 'onFailure'> = {}) =>
  (): Topology => {
    const t = new Topology('reader')
    t.fromRegion({ application: 'writer', region: 'entries', ...strings, ...policies })
      .mapValues((event) => {
        if (event.newValue === 'bad') throw new Error('as it was told to')
        return textOf(event)
      })
      .to('events', told)
    return t
  }

describe('beside the other application', () => {
  let stage: Stage

  beforeEach(async () => {
    stage = await Stage.open()
  })
  afterEach(() => stage.close())

  const eventsOf = async (topic = 'events') =>
    (await stage.records(topic, told)).map(({ key, value, timestamp }) => [key, timestamp, ...(value ?? [])])
  const say = (...entries: (readonly [key: string | null, value: string | null, timestamp: number])[]) =>
    stage.send(
      'in',
      entries.map(([key, value, timestamp]) => ({ key, value, timestamp })),
      strings as never,
    )

  test('each committed change is an event, with what was before', async () => {
    await stage.topics('in', 'events')
    const other = await stage.run(writer)
    await say(['a', '1', 10], ['b', '1', 20])
    await stage.drained(writer)
    await stage.run(reader())
    await stage.drained(reader())
    expect(await eventsOf()).toEqual([
      ['a', 10, 'create', '1', null],
      ['b', 20, 'create', '1', null],
    ])
    for (const [key, value, timestamp] of [
      ['a', '2', 5],
      ['b', null, 30],
      ['b', null, 31],
      ['b', '3', 40],
    ] as const) {
      await say([key, value, timestamp])
      await stage.drained(writer)
    }
    await stage.drained(reader())
    expect((await eventsOf()).slice(2)).toEqual([
      ['a', 5, 'update', '2', '1'],
      ['b', 30, 'destroy', null, '1'],
      ['b', 40, 'create', '3', null],
    ])
    expect(other.app.health.healthy).toBe(true)
  })

  test('what a writer that was killed has not committed is never seen', async () => {
    await stage.topics('in', 'events')
    const disk = memoryDisk()
    const first = await stage.run(writtenBy(' by the first'), { disk })
    await say(['a', '1', 10])
    await stage.drained(writer)
    const app = await stage.run(reader())
    await stage.drained(reader())
    // Everything stands in the changelog, and the transaction is open.
    first.fates = ({ api }) => (api === 'EndTxn' ? 'crashBefore' : 'pass')
    await say(['a', '2', 20])
    await first.fell
    const at = { topic: 'writer-entries-changelog', partition: 0 }
    const ends = await stage.ask(at, {
      api: 'ListOffsets',
      isolation: 'read_uncommitted',
      partitions: [{ ...at, at: 'latest' }],
    })
    const end = ends.partitions[0]?.offset as number
    expect(end).toBeGreaterThan((await stage.committed('reader', at))?.offset as number)
    // It is aborted when its successor starts, which reads the record again.
    const second = await stage.run(writtenBy(' by the second'), { disk })
    await stage.drained(writer)
    await say(['a', '3', 30])
    await stage.drained(writer)
    await stage.drained(reader())
    expect(await eventsOf()).toEqual([
      ['a', 10, 'create', '1 by the first', null],
      ['a', 20, 'update', '2 by the second', '1 by the first'],
      ['a', 30, 'update', '3 by the second', '2 by the second'],
    ])
    second.crash()
    app.crash()
  })

  test('a reader that is killed goes on where it was: each event once', async () => {
    await stage.topics('in', 'events')
    await stage.run(writer)
    const expected: unknown[] = []
    let disk = memoryDisk()
    let app = await stage.run(writer).then(() => stage.run(reader(), { disk }))
    let kills = 0
    for (let i = 0; i < 12; i++) {
      const before = i < 2 ? null : String(i - 2)
      expected.push([`k${i % 2}`, i, before === null ? 'create' : 'update', String(i), before])
      const place = (['crashBefore', 'crashAfter', 'loseAnswer'] as const)[i % 3]
      if (i % 2 === 1 && place !== undefined) {
        app.fates = ({ api }) => (api === (i % 4 === 1 ? 'EndTxn' : 'TxnOffsetCommit') ? place : 'pass')
      }
      await say([`k${i % 2}`, String(i), i])
      await stage.drained(writer)
      if (i % 2 === 1) {
        if (place !== 'loseAnswer') {
          await app.fell
          kills += 1
          if (i % 3 === 0) disk = memoryDisk()
          app = await stage.run(reader(), { disk })
        }
        app.fates = () => 'pass'
      }
      await stage.drained(reader())
    }
    expect(kills).toBeGreaterThanOrEqual(4)
    expect(await eventsOf()).toEqual(expected)
  })

  test('windows and sessions: what says where the operators stand is no entry', async () => {
    const counting = () => {
      const t = new Topology('counting')
      const grouped = t.stream('in', strings).groupByKey()
      grouped.windowedBy(tumblingWindows({ sizeMs: 100, graceMs: 0 })).count('windows')
      grouped.windowedBy(sessionWindows({ inactivityGapMs: 50, graceMs: 0 })).count('sessions')
      return t
    }
    const following = () => {
      const t = new Topology('following')
      const count = { application: 'counting', key: string, value: int64 }
      const all = [
        t.fromRegion({ ...count, region: 'windows', windows: { sizeMs: 100, retentionMs: 100 } }),
        t.fromRegion({ ...count, region: 'sessions', sessions: { retentionMs: 50 } }),
      ]
      for (const [i, events] of all.entries()) {
        events
          .map((event, { key, windowStart, windowEnd }) => [
            `${key} ${windowStart}-${windowEnd}`,
            textOf(event),
          ])
          .to(['windows', 'sessions'][i] as string, told)
      }
      return t
    }
    await stage.topics('in', 'windows', 'sessions')
    await stage.run(counting)
    const app = await stage.run(following)
    for (const timestamp of [10, 20, 55, 400, 20, 1_000]) {
      await say(['a', 'x', timestamp])
      await stage.drained(counting)
    }
    await stage.drained(following)
    expect(await eventsOf('windows')).toEqual([
      ['a 0-100', 10, 'create', 1, null],
      ['a 0-100', 20, 'update', 2, 1],
      ['a 0-100', 55, 'update', 3, 2],
      ['a 400-500', 400, 'create', 1, null],
      ['a 1000-1100', 1000, 'create', 1, null],
    ])
    expect(await eventsOf('sessions')).toEqual([
      ['a 10-10', 10, 'create', 1, null],
      ['a 10-10', 20, 'destroy', null, 1],
      ['a 10-20', 20, 'create', 2, null],
      ['a 10-20', 55, 'destroy', null, 2],
      ['a 10-55', 55, 'create', 3, null],
      ['a 400-400', 400, 'create', 1, null],
      ['a 1000-1000', 1000, 'create', 1, null],
    ])
    expect(app.app.health.healthy).toBe(true)
  })

  test('of Avro: no registry is asked for what is no entry', async () => {
    const known = localRegistry(memoryDisk())
    const asked: number[] = []
    const registry: Registry = {
      idOf: (subject, schema) => known.idOf(subject, schema),
      schemaOf: (id) => {
        asked.push(id)
        return known.schemaOf(id)
      },
    }
    const value = avro<{ n: number }>({ type: 'record', name: 'Sum', fields: [{ name: 'n', type: 'int' }] })
    const summing = () => {
      const t = new Topology('summing')
      t.stream('in', strings)
        .groupByKey()
        .windowedBy(tumblingWindows({ sizeMs: 100, graceMs: 0 }))
        .aggregate(
          'sums',
          () => ({ n: 0 }),
          ({ n }, more) => ({ n: n + Number(more) }),
          { value },
        )
      return t
    }
    const following = () => {
      const t = new Topology('following')
      const windows = { sizeMs: 100, retentionMs: 100 }
      t.fromRegion({ application: 'summing', region: 'sums', key: string, value, windows })
        .map((event, { key }) => [key, textOf(event)])
        .to('events', told)
      return t
    }
    await stage.topics('in', 'events')
    await stage.run(summing, { registry })
    await stage.run(following, { registry })
    for (const [text, timestamp] of [
      ['1', 10],
      ['2', 20],
      ['3', 300],
    ] as const) {
      await say(['a', text, timestamp])
      await stage.drained(summing)
    }
    await stage.drained(following)
    expect(await eventsOf()).toEqual([
      ['a', 10, 'create', { n: 1 }, null],
      ['a', 20, 'update', { n: 3 }, { n: 1 }],
      ['a', 300, 'create', { n: 3 }, null],
    ])
    expect(asked.filter((id) => id < 1)).toEqual([])
  })

  test('windows that were deleted before they were read are told, not passed over', async () => {
    const counting = () => {
      const t = new Topology('counting')
      t.stream('in', strings)
        .groupByKey()
        .windowedBy(tumblingWindows({ sizeMs: 100, graceMs: 0 }))
        .count('windows')
      return t
    }
    const following = () => {
      const t = new Topology('following')
      const windows = { sizeMs: 100, retentionMs: 100 }
      t.fromRegion({ application: 'counting', region: 'windows', key: string, value: int64, windows })
        .map((event, { key }) => [key, textOf(event)])
        .to('events', told)
      return t
    }
    await stage.topics('in', 'events')
    await stage.run(counting)
    await say(['a', 'x', 10])
    await stage.drained(counting)
    const disk = memoryDisk()
    const first = await stage.run(following, { disk })
    await stage.drained(following)
    await first.close()
    await say(['a', 'x', 1_000])
    await stage.drained(counting)
    const at = { topic: 'counting-windows-changelog', partition: 0 }
    const { offset } = (await stage.committed('following', at)) as { offset: number }
    // As the other application does with what is over.
    const partitions = [{ ...at, offset: offset + 1 }]
    const { partitions: deleted } = await stage.ask(at, {
      api: 'DeleteRecords',
      timeoutMs: 1_000,
      partitions,
    })
    expect(deleted).toMatchObject([{ errorCode: 0, lowWatermark: offset + 1 }])
    const { app } = await stage.run(following, { disk })
    await expect.poll(() => app.health.tasks.map(({ status }) => status)).toEqual(['failed'])
    expect(app.health.tasks[0]?.error?.code).toBe('OFFSET_OUT_OF_RANGE')
    expect(await eventsOf()).toEqual([['a', 10, 'create', 1, null]])
  })

  test('a reset of the other application destroys nothing', async () => {
    await stage.topics('in', 'events')
    const other = await stage.run(writer)
    await say(['a', '1', 10], ['b', '1', 20])
    await stage.drained(writer)
    const app = await stage.run(reader(), { metadataMaxAgeMs: 50 })
    await stage.drained(reader())
    await other.close()
    await resetApplication(writer(), { wire: stage.wire })
    await expect.poll(() => app.app.state).toBe('ERROR')
    expect(app.app.health.error?.code).toBe('TOPIC_RECREATED')
    expect((await eventsOf()).map(([, , type]) => type)).toEqual(['create', 'create'])
  })
})

describe('with a test driver', () => {
  const topic = 'writer-entries-changelog'

  test('the changelog is an input', async () => {
    await using driver = await TestDriver.create(reader({ onFailure: { deadLetter: 'refused' } }), {
      partitions: 2,
    })
    const input = driver.createInputTopic(topic, { ...strings, startTimestamp: 1 })
    await input.pipeKeyValueList([
      ['a', '1'],
      ['', 'a key of no bytes is an entry'],
      ['a', 'bad'],
      ['a', '2'],
      ['c', null],
    ])
    await input.pipeInput(null, 'no entry')
    const events = await driver.createOutputTopic('events', told).readKeyValuesToList()
    expect(events.toSorted()).toEqual([
      ['', ['create', 'a key of no bytes is an entry', null]],
      ['a', ['create', '1', null]],
      ['a', ['update', '2', '1']],
    ])
    expect(await driver.createOutputTopic('refused', strings).readKeyValuesToList()).toEqual([['a', 'bad']])
    const copied = await driver
      .createOutputTopic('reader-writer-entries-changelog', strings)
      .readKeyValuesToMap()
    expect([...copied.keys()].toSorted()).toEqual(['', 'a'])
  })

  test('what comes after the retention that was given is late', async () => {
    const topology = () => {
      const t = new Topology('reader', { onLate: { deadLetter: 'late' } })
      t.fromRegion({ application: 'w', region: 'r', ...strings, windows: { sizeMs: 10, retentionMs: 100 } })
        .map((event, { key, windowStart }) => [`${key} ${windowStart}`, textOf(event)])
        .to('events', told)
      return t
    }
    const t = new Topology('keys')
    const { key } = t.windowRegion('r', { ...strings, sizeMs: 10, retentionMs: 1_000 })
    await using driver = await TestDriver.create(topology)
    const input = driver.createInputTopic<Windowed<string>, string>('w-r-changelog', {
      key,
      value: string,
      startTimestamp: 1,
    })
    for (const at of [10, 200, 90]) await input.pipeInput(new Windowed('a', at, at + 10), 'x')
    await input.pipeInput(new Windowed('a', 10, 20), null as never)
    await input.pipeInput(new Windowed('a', 200, 210), null as never)
    expect(await driver.createOutputTopic('events', told).readKeyValuesToList()).toEqual([
      ['a 10', ['create', 'x', null]],
      ['a 200', ['create', 'x', null]],
      ['a 200', ['destroy', null, 'x']],
    ])
    expect(await driver.createOutputTopic('late', { key, value: string }).readRecordsToList()).toMatchObject([
      { key: { windowStart: 90 } },
    ])
  })

  test('its events can be grouped and counted', async () => {
    const topology = new Topology('reader')
    const { region } = topology
      .fromRegion({ application: 'writer', region: 'entries', ...strings })
      .groupByKey()
      .count('changes')
    await using driver = await TestDriver.create(topology, { partitions: 3 })
    await driver.createInputTopic(topic, strings).pipeKeyValueList([
      ['a', '1'],
      ['b', '1'],
      ['a', '2'],
    ])
    expect(await driver.region(region).get('a')).toBe(2)
    expect(await driver.region(region).get('b')).toBe(1)
  })
})

describe('is refused', () => {
  const elsewhere = { application: 'writer', region: 'entries', ...strings }
  const invalid = expect.objectContaining({ code: 'TOPOLOGY_INVALID' })

  test('for a region of the same application, twice, or of both kinds', () => {
    const t = new Topology('reader')
    expect(() => t.fromRegion({ ...elsewhere, application: 'reader' })).toThrow(invalid)
    t.fromRegion(elsewhere)
    expect(() => t.fromRegion(elsewhere)).toThrow(invalid)
    const windows = { sizeMs: 1, retentionMs: 1 }
    expect(() =>
      t.fromRegion({ ...elsewhere, region: 'both', windows, sessions: { retentionMs: 1 } }),
    ).toThrow(invalid)
    expect(() =>
      t.fromRegion({ ...elsewhere, region: 'none', windows: { sizeMs: 1, retentionMs: 0 } }),
    ).toThrow()
  })

  test('as long as there is no such changelog', async () => {
    const stage = await Stage.open()
    try {
      await stage.topics('events')
      await expect(stage.run(reader())).rejects.toMatchObject({
        code: 'TOPIC_MISSING',
        message: expect.stringMatching(/application 'writer': start that first/),
      })
    } finally {
      await stage.close()
    }
  })
})

test('is shown with its copy', () => {
  expect(reader()().describe()).toBe(`Topology reader
  Sub-topology 0
    Source from-writer-entries-changelog-0 (topics: writer-entries-changelog; key: string, value: string)
      --> from-region-writer-entries-1
    Operator from-region-writer-entries-1: fromChangelog (regions: writer-entries)
      --> mapValues-2
    Operator mapValues-2: mapValues
      --> to-events-3
    Sink to-events-3 (topic: events; key: string, value: json)
    Region writer-entries (changelog: reader-writer-entries-changelog, persistent; key: string, value: string)
`)
})
