/** What time brings about fails alone: neither the record that moved time nor those behind it are to blame. */
import { describe, expect, test } from 'vitest'
import {
  type ErrorPolicy,
  int64,
  joinWindows,
  json,
  string,
  Topology,
  type TopologyOptions,
  timeWindowed,
  tumblingWindows,
  untilTimeLimit,
  untilWindowCloses,
} from '../../src/index.ts'
import { TestDriver } from '../../src/testing/index.ts'

const strings = { key: string, value: string }
const counted = { key: timeWindowed(string, { sizeMs: 10 }), value: int64 }

type Said = readonly [key: string, value: string, timestamp: number]

const say = async (driver: TestDriver, topic: string, ...records: readonly Said[]): Promise<void> => {
  const input = driver.createInputTopic(topic, strings)
  for (const [key, value, timestamp] of records) await input.pipeInput(key, value, { timestamp })
}

const told = async (driver: TestDriver, topic: string) =>
  (await driver.createOutputTopic(topic, strings).readRecordsToList()).map(({ key, value, timestamp }) => [
    key,
    value,
    timestamp,
  ])

const lettersOf = async (driver: TestDriver, serdes: Parameters<TestDriver['createOutputTopic']>[1]) =>
  (await driver.createOutputTopic('dead', serdes).readRecordsToList()).map(({ headers, ...letter }) => ({
    ...letter,
    told: Object.fromEntries(
      headers.map(({ key, value }) => [
        key.replace('druse.error.', ''),
        value && Buffer.from(value).toString(),
      ]),
    ),
  }))

/** `bad` fails wherever it goes on. */
const noBad = (text: string): string => {
  if (text.includes('bad')) throw new Error('as it was told to')
  return text
}

const joining = (options: TopologyOptions) => () => {
  const t = new Topology('joining', options)
  t.stream('l', strings)
    .outerJoin(
      t.stream('r', strings),
      (left, right) => noBad(`${left}+${right}`),
      joinWindows({ timeDifferenceMs: 10, graceMs: 0 }),
      { name: 'pairs' },
    )
    .to('out', strings)
  return t
}

const closing = (options: TopologyOptions) => () => {
  const t = new Topology('closing', options)
  t.stream('in', strings)
    .groupByKey()
    .windowedBy(tumblingWindows({ sizeMs: 10, graceMs: 0 }))
    .emitStrategy('onWindowClose')
    .count('counts')
    .toStream()
    .map((count, { key, windowStart }) => [noBad(key), `${windowStart}: ${count}` as string] as const)
    .to('out', strings)
  return t
}

const suppressing = (options: TopologyOptions) => () => {
  const t = new Topology('suppressing', options)
  t.table('in', strings)
    .suppress('held', untilTimeLimit({ limitMs: 10 }))
    .toStream()
    .mapValues((value) => noBad(value ?? ''))
    .to('out', strings)
  return t
}

const ringing = (options: TopologyOptions) => () => {
  const t = new Topology('ringing', options)
  const rung = t.region('rung', { key: string, value: int64 })
  t.stream('in', strings)
    .process(
      'alarm',
      {
        regions: [rung],
        onTimer: ({ key, timestampMs }, { forward, rung }) => {
          const times = (rung.get('all') ?? 0) + 1
          rung.put('all', times)
          forward(key, `${times}`, { timestamp: timestampMs })
          noBad(key)
        },
      },
      ({ timestamp }, { timers }) => timers.register(timestamp + 10),
    )
    .to('out', strings)
  return t
}

describe.each<[string, ErrorPolicy]>([
  ['skip', 'skip'],
  ['dead letters', { deadLetter: 'dead' }],
])('with %s', (_, onFailure) => {
  const isBuried = onFailure !== 'skip'

  test('a joiner that fails on a record without a match costs that record alone', async () => {
    await using driver = await TestDriver.create(joining({ onFailure }))
    await say(driver, 'l', ['a', 'x', 1], ['b', 'bad', 2], ['c', 'y', 3])
    await say(driver, 'r', ['z', 'one', 50], ['z', 'two', 51], ['z', 'end', 100])
    expect(await told(driver, 'out')).toEqual([
      ['a', 'x+null', 1],
      ['c', 'y+null', 3],
      ['z', 'null+one', 50],
      ['z', 'null+two', 51],
    ])
    if (!isBuried) return
    expect(await lettersOf(driver, strings)).toMatchObject([
      {
        key: 'b',
        value: 'bad',
        timestamp: 2,
        told: {
          code: 'EMISSION_FAILED',
          message: expect.stringContaining(`Operator 'pairs' could not pass on what it held of key "b"`),
          cause: 'OPERATOR_FAILED',
          operator: 'pairs',
          partition: '0',
          timestamp: '2',
          windowEnd: '12',
        },
      },
    ])
  })

  test('a function behind a window that closes costs that window alone', async () => {
    await using driver = await TestDriver.create(closing({ onFailure }))
    await say(driver, 'in', ['a', '', 1], ['bad', '', 2], ['c', '', 3], ['c', '', 12], ['d', '', 13])
    await say(driver, 'in', ['e', '', 30])
    expect(await told(driver, 'out')).toEqual([
      ['a', '0: 1', 1],
      ['c', '0: 1', 3],
      ['c', '10: 1', 12],
      ['d', '10: 1', 13],
    ])
    if (!isBuried) return
    const letters = await lettersOf(driver, counted)
    expect(letters).toMatchObject([
      {
        key: { key: 'bad', windowStart: 0, windowEnd: 10 },
        value: 1,
        timestamp: 2,
        told: { code: 'EMISSION_FAILED', operator: 'counts', windowStart: '0', windowEnd: '10' },
      },
    ])
    expect(letters[0]?.told).not.toHaveProperty('topic')
    expect(letters[0]?.told).not.toHaveProperty('offset')
  })

  test('a function behind suppress costs the update that was held back', async () => {
    await using driver = await TestDriver.create(suppressing({ onFailure }))
    await say(driver, 'in', ['a', 'x', 1], ['b', 'bad', 2], ['c', 'y', 3], ['d', 'z', 50], ['d', 'z2', 51])
    await say(driver, 'in', ['e', '', 100])
    expect(await told(driver, 'out')).toEqual([
      ['a', 'x', 1],
      ['c', 'y', 3],
      ['d', 'z2', 51],
    ])
    if (!isBuried) return
    expect(await lettersOf(driver, strings)).toMatchObject([
      { key: 'b', value: 'bad', timestamp: 2, told: { code: 'EMISSION_FAILED', operator: 'held' } },
    ])
  })

  test('a timer that fails is gone with all that it did', async () => {
    await using driver = await TestDriver.create(ringing({ onFailure }))
    await say(driver, 'in', ['a', '', 1], ['bad', '', 2], ['c', '', 3], ['d', '', 50], ['e', '', 100])
    expect(await told(driver, 'out')).toEqual([
      ['a', '1', 11],
      ['c', '2', 13],
      ['d', '3', 60],
    ])
    if (!isBuried) return
    expect(await lettersOf(driver, strings)).toMatchObject([
      { key: 'bad', value: null, timestamp: 12, told: { code: 'TIMER_FAILED', operator: 'alarm' } },
    ])
  })

  test('without a record that moves time it is no different', async () => {
    await using driver = await TestDriver.create(joining({ onFailure, idleAfterMs: 20 }))
    await say(driver, 'l', ['a', 'x', 1], ['b', 'bad', 2], ['c', 'y', 3])
    await driver.advanceWallClockTime(500)
    expect(await told(driver, 'out')).toEqual([
      ['a', 'x+null', 1],
      ['c', 'y+null', 3],
    ])
    if (isBuried) expect(await lettersOf(driver, strings)).toMatchObject([{ key: 'b', value: 'bad' }])
  })
})

test('a dead letter has what was held, whatever was made of it before the failure', async () => {
  interface Order {
    total: number
  }
  const orders = { key: string, value: json<Order>() }
  const t = new Topology('changed', { onFailure: { deadLetter: 'dead' } })
  t.table('in', orders)
    .suppress('held', untilTimeLimit({ limitMs: 10 }))
    .toStream()
    .foreach((order) => {
      if (order === null || order.total === 0) return
      order.total = 0
      throw new Error('as it was told to')
    })
  await using driver = await TestDriver.create(t)
  const input = driver.createInputTopic('in', orders)
  await input.pipeInput('a', { total: 7 }, { timestamp: 1 })
  await input.pipeInput('b', { total: 0 }, { timestamp: 20 })
  expect(await lettersOf(driver, orders)).toMatchObject([{ key: 'a', value: { total: 7 } }])
})

test('a dead letter that its topic does not take stops the task, and is charged to no other record', async () => {
  await using driver = await TestDriver.create(suppressing({ onFailure: { deadLetter: 'dead' } }), {
    topics: [{ topic: 'dead', configs: { 'max.message.bytes': '1000' } }],
  })
  await say(driver, 'in', ['a', `bad${'x'.repeat(900)}`, 1])
  await expect(say(driver, 'in', ['b', 'y', 20])).rejects.toMatchObject({ code: 'RECORD_TOO_LARGE' })
  expect(await told(driver, 'out')).toEqual([])
  expect(await lettersOf(driver, strings)).toEqual([])
})

test('of a record that fails itself, all is taken back, and what it brought about comes with the next one', async () => {
  const topology = () => {
    const t = new Topology('both', { onFailure: { deadLetter: 'dead' } })
    const input = t.stream('in', strings)
    input
      .toTable('rows')
      .suppress('held', untilTimeLimit({ limitMs: 10 }))
      .toStream()
      .mapValues((value) => noBad(value ?? ''))
      .to('out', strings)
    input
      .mapValues((value) => {
        if (value === 'poison') throw new Error('as it was told to')
        return value
      })
      .to('passed', strings)
    return t
  }
  await using driver = await TestDriver.create(topology)
  await say(driver, 'in', ['a', 'x', 1], ['b', 'bad', 2], ['p', 'poison', 50])
  expect(await told(driver, 'out')).toEqual([])
  expect((await lettersOf(driver, strings)).map(({ key }) => key)).toEqual(['p'])
  await say(driver, 'in', ['c', 'y', 51])
  expect(await told(driver, 'out')).toEqual([['a', 'x', 1]])
  expect((await lettersOf(driver, strings)).map(({ key }) => key)).toEqual(['p', 'b'])
})

test('what was left out was never passed on: the next update takes the place of what stood before', async () => {
  const topology = () => {
    const t = new Topology('sums', { onFailure: { deadLetter: 'dead' } })
    t.table('in', { key: string, value: int64 })
      .suppress('held', untilTimeLimit({ limitMs: 10, maxRecords: 2, onFull: 'fail' }))
      .groupBy(
        'by-sum',
        (value, key) => {
          if (value === 13) throw new Error('as it was told to')
          return ['sum', key === 'clock' ? 0 : value] as const
        },
        { key: string, value: int64 },
      )
      .reduce(
        'sums',
        (sum, value) => sum + value,
        (sum, value) => sum - value,
      )
      .toStream()
      .to('out', { key: string, value: int64 })
    return t
  }
  await using driver = await TestDriver.create(topology)
  const input = driver.createInputTopic('in', { key: string, value: int64 })
  const output = driver.createOutputTopic('out', { key: string, value: int64 })
  const sumOf = async (key: string, value: number, timestamp: number): Promise<number | undefined> => {
    await input.pipeInput(key, value, { timestamp })
    await input.pipeInput('clock', 0, { timestamp: timestamp + 20 })
    return (await output.readValuesToList()).at(-1)
  }
  const sumAfter = (value: number, timestamp: number) => sumOf('k', value, timestamp)
  expect(await sumAfter(3, 100)).toBe(3)
  await sumAfter(13, 200)
  await driver.instances[0].crash()
  await driver.instances[0].restart()
  expect(await sumAfter(5, 300)).toBe(5)
  await sumAfter(13, 400)
  for (const key of ['a', 'b', 'c', 'd']) await sumOf(key, 1, 500)
  expect(await sumOf('a', 1, 600)).toBe(9)
  // More of them than the buffer may hold.
  for (const key of ['a', 'b', 'c', 'd']) await sumOf(key, 13, 700)
  expect(await sumOf('k', 1, 800)).toBe(5)
  for (const key of ['a', 'b', 'c', 'd']) await sumOf(key, 2, 900)
  expect(await sumOf('k', 2, 1_000)).toBe(10)
  const letters = await lettersOf(driver, { key: string, value: int64 })
  expect(letters.map(({ key }) => key).join(' ')).toBe('k k a b c d')
  // What comes for them then is held back as any other.
  for (const key of ['a', 'b', 'c']) await sumOf(key, 13, 1_100)
  for (const key of ['a', 'b']) await input.pipeInput(key, 3, { timestamp: 1_200 })
  await expect(input.pipeInput('c', 3, { timestamp: 1_200 })).rejects.toMatchObject({ code: 'BUFFER_FULL' })
})

test('an emission that brings about another one: each is answered for alone', async () => {
  const topology = () => {
    const t = new Topology('nested', { onFailure: { deadLetter: 'dead' } })
    t.stream('in', strings)
      .groupByKey()
      .windowedBy(tumblingWindows({ sizeMs: 10, graceMs: 0 }))
      .emitStrategy('onWindowClose')
      .reduce('last', (_, value) => value)
      .suppress('held', untilTimeLimit({ limitMs: 15 }))
      .toStream()
      .map((value, { key }) => [key, noBad(value ?? '')] as const)
      .to('out', strings)
    return t
  }
  await using driver = await TestDriver.create(topology)
  await say(driver, 'in', ['a', 'x', 1], ['b', 'bad', 2], ['c', 'y', 15], ['d', 'z', 45], ['e', '', 90])
  await say(driver, 'in', ['f', '', 190])
  expect(await told(driver, 'out')).toEqual([
    ['a', 'x', 1],
    ['c', 'y', 15],
    ['d', 'z', 45],
  ])
  expect(await lettersOf(driver, { key: counted.key, value: string })).toMatchObject([
    { key: { key: 'b' }, value: 'bad', told: { operator: 'held', windowStart: '0', windowEnd: '10' } },
  ])
})

test('what an asynchronous processor writes beside is not taken back with an emission', async () => {
  const region = (t: Topology) => t.region('seen', { key: string, value: int64 })
  const topology = () => {
    const t = new Topology('beside', { onFailure: 'skip' })
    const seen = region(t)
    t.stream('in', strings)
      .processValues('note', { regions: [seen] }, async ({ key, value }, { seen, forward }) => {
        forward(value)
        for (let turn = 0; turn < 40; turn++) {
          await undefined
          seen.put(`${key}${turn}`, 1)
        }
      })
      .toTable('rows')
      .suppress('held', untilTimeLimit({ limitMs: 10 }))
      .toStream()
      .process('slow', {}, async ({ value }) => {
        for (let turn = 0; turn < 10; turn++) await undefined
        noBad(value ?? '')
      })
    return t
  }
  await using driver = await TestDriver.create(topology)
  await say(driver, 'in', ['a', 'bad', 1], ['b', 'bad', 2], ['c', 'x', 50])
  const seen: string[] = []
  for await (const [key] of driver.region(region(new Topology('beside'))).range()) seen.push(key)
  expect(seen.length).toBe(120)
})

describe('with fail the task stops, and the error names', () => {
  const stopped = async (topology: () => Topology, topic: string, ...records: readonly Said[]) => {
    const driver = await TestDriver.create(topology)
    try {
      return await say(driver, topic, ...records).then(
        () => undefined,
        (error: unknown) => (error as Error).cause,
      )
    } finally {
      await driver.close().catch(() => {})
    }
  }

  test('operator, key and window of an emission', async () => {
    expect(await stopped(closing({ onFailure: 'fail' }), 'in', ['bad', '', 2], ['c', '', 12])).toMatchObject({
      code: 'EMISSION_FAILED',
      message: expect.stringContaining(
        `Operator 'counts' could not pass on what it held of key "bad" in window 0 to 10: Operator 'map-`,
      ),
      details: { operator: 'counts', key: 'bad', windowStart: 0, windowEnd: 10, timestamp: 2 },
    })
  })

  test('operator, key and time of a timer', async () => {
    expect(await stopped(ringing({ onFailure: 'fail' }), 'in', ['bad', '', 2], ['c', '', 12])).toMatchObject({
      code: 'TIMER_FAILED',
      message: expect.stringContaining(`The timer of key "bad" at 12 of operator 'alarm' failed: `),
      details: { operator: 'alarm', key: 'bad', timestamp: 12 },
    })
  })

  test('the operator of a punctuator, under every policy', async () => {
    const topology = () => {
      const t = new Topology('ticking', { onFailure: 'skip' })
      t.stream('in', strings)
        .process(
          'tick',
          {},
          {
            get({ schedule, forward }) {
              schedule(10, 'streamTime', () => forward('bad', 'bad'))
              return () => {}
            },
          },
        )
        .mapValues(noBad)
        .to('out', strings)
      return t
    }
    expect(await stopped(topology, 'in', ['a', '', 2])).toMatchObject({
      code: 'PUNCTUATOR_FAILED',
      message: expect.stringContaining(`A punctuator of operator 'tick' failed: Operator 'mapValues-`),
    })
  })
})

test('the strictest policy of the sources that lead to an operator applies to what it holds', async () => {
  const topology = () => {
    const t = new Topology('mixed', { onFailure: 'skip' })
    t.stream('l', { ...strings, onFailure: 'fail' })
      .outerJoin(
        t.stream('r', strings),
        (left, right) => noBad(`${left}+${right}`),
        joinWindows({ timeDifferenceMs: 10, graceMs: 0 }),
        { name: 'pairs' },
      )
      .to('out', strings)
    return t
  }
  const driver = await TestDriver.create(topology)
  await say(driver, 'r', ['a', 'bad', 1])
  await expect(say(driver, 'r', ['b', 'x', 50])).rejects.toMatchObject({ code: 'EMISSION_FAILED' })
  await driver.close().catch(() => {})
})

test('what is passed on and comes too late for the next window has a dead letter of its own', async () => {
  const places: unknown[] = []
  const topology = () => {
    const t = new Topology('late', { onLate: { deadLetter: 'dead' } })
    t.stream('in', strings)
      .groupByKey()
      .windowedBy(tumblingWindows({ sizeMs: 100, graceMs: 0 }))
      .emitStrategy('onWindowClose')
      .reduce('first', (_, value) => value)
      .toStream()
      .peek((_value, _key, { topic, partition, offset }) => {
        places.push([topic, partition, offset])
      })
      .groupByKey()
      .windowedBy(tumblingWindows({ sizeMs: 10, graceMs: 0 }))
      .count('second')
    return t
  }
  await using driver = await TestDriver.create(topology)
  await say(driver, 'in', ['a', 'x', 99], ['b', 'y', 5], ['c', 'z', 100], ['d', '', 300])
  const letters = await lettersOf(driver, { key: timeWindowed(string, { sizeMs: 100 }), value: string })
  expect(letters).toMatchObject([
    {
      key: { key: 'b', windowStart: 0, windowEnd: 100 },
      value: 'y',
      timestamp: 5,
      told: { code: 'LATE', operator: 'second', windowEnd: '10', streamTime: '99', windowStart: '0' },
    },
  ])
  expect(letters[0]?.told).not.toHaveProperty('topic')
  expect(driver.instances[0].health.tasks[0]?.late).toBe(1)
  // It is not the record that has moved time.
  expect(places).toEqual(Array.from({ length: 3 }, () => ['', -1, -1]))
})

test('a failure that no policy lets through stops the task, whatever is made of it on the way', async () => {
  const topology = () => {
    const t = new Topology('hidden', {
      middleware: () => (record, next) => {
        try {
          return Promise.resolve(next(record)).catch(() => {})
        } catch {
          return undefined
        }
      },
    })
    t.table('in', strings)
      .suppress('held', untilTimeLimit({ limitMs: 10 }))
      .toStream()
      .to('out', {
        key: string,
        value: { ...string, open: () => ({ encode: noBad, decode: String }) } as never,
      })
    return t
  }
  const driver = await TestDriver.create(topology)
  await say(driver, 'in', ['a', 'bad', 1])
  await expect(say(driver, 'in', ['b', 'x', 50])).rejects.toMatchObject({ code: 'EMISSION_FAILED' })
  await driver.close().catch(() => {})
})

test('events of a region go on with the unit that has written to it, and not if that fails', async () => {
  const topology = () => {
    const t = new Topology('told', { onFailure: 'skip' })
    const notes = t.region('notes', strings)
    const input = t.stream('in', strings)
    input.process('write', { regions: [notes] }, ({ key, value }, { notes }) => notes.put(key, value))
    input
      .toTable('rows')
      .suppress('held', untilTimeLimit({ limitMs: 10 }))
      .toStream()
      .process('note', { regions: [notes] }, ({ key, value }, { notes }) => {
        notes.put(`${key} passed`, value ?? '')
        noBad(value ?? '')
      })
    t.fromRegion(notes)
      .mapValues(({ newValue }) => String(newValue))
      .to('out', strings)
    return t
  }
  await using driver = await TestDriver.create(topology)
  await say(driver, 'in', ['a', 'x', 1], ['b', 'bad', 2], ['c', 'y', 3], ['d', 'z', 50])
  const events = await driver.createOutputTopic('out', strings).readKeyValuesToList()
  expect(events).toEqual([
    ['a', 'x'],
    ['b', 'bad'],
    ['c', 'y'],
    ['a passed', 'x'],
    ['c passed', 'y'],
    ['d', 'z'],
  ])
})

test('windows that are held back until they close, too', async () => {
  const topology = () => {
    const t = new Topology('held', { onFailure: { deadLetter: 'dead' } })
    t.stream('in', strings)
      .groupByKey()
      .windowedBy(tumblingWindows({ sizeMs: 10, graceMs: 0 }))
      .count('counts')
      .suppress('held', untilWindowCloses())
      .toStream()
      .map((count, { key }) => [noBad(key), String(count)] as const)
      .to('out', strings)
    return t
  }
  await using driver = await TestDriver.create(topology)
  await say(driver, 'in', ['a', '', 1], ['bad', '', 2], ['c', '', 3], ['c', '', 12], ['d', '', 13])
  expect(await told(driver, 'out')).toEqual([
    ['a', '1', 1],
    ['c', '1', 3],
  ])
  expect(await lettersOf(driver, counted)).toMatchObject([
    { key: { key: 'bad' }, value: 1, told: { operator: 'held', windowStart: '0', windowEnd: '10' } },
  ])
})
