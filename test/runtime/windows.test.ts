/** Windows over restarts, partitions and failures: what no recording of Kafka Streams tells. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  hoppingWindows,
  int64,
  memoryDisk,
  readTopic,
  sessionWindowed,
  sessionWindows,
  slidingWindows,
  string,
  Topology,
  timeWindowed,
  tumblingWindows,
  untilTimeLimit,
  untilWindowCloses,
  Windowed,
} from '../../src/index.ts'
import { partitionFor } from '../../src/kafka/partitioner.ts'
import type { Instance } from './instance.ts'
import { type Sent, Stage } from './stage.ts'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
})

afterEach(async () => {
  await stage.close()
})

const serdes = { key: string, value: int64 }
const at = (timestamp: number, key = 'a', value = 1): Sent<string, number> => ({ key, value, timestamp })
const send = (...records: Sent<string, number>[]): Promise<void> => stage.send('in', records, serdes)

const tumbling10 = tumblingWindows({ sizeMs: 10, graceMs: 0 })
const windowKeys = timeWindowed(string, { sizeMs: 10 })

const results = async (key = windowKeys): Promise<string[]> =>
  (await stage.read<Windowed<string>, number>('out', { key, value: int64 })).map(
    ([{ key: of, windowStart, windowEnd }, value]) => `${of} ${windowStart}-${windowEnd}: ${value}`,
  )

const late = (instance: Instance): number =>
  instance.app.health.tasks.reduce((sum, task) => sum + task.late, 0)

/** How an instance ends, and what its successor finds. */
const ENDS = {
  closed: async (instance: Instance) => {
    await instance.close()
    return instance.disk
  },
  killed: async (instance: Instance) => {
    instance.crash()
    return instance.disk
  },
  'gone with its disk': async (instance: Instance) => {
    instance.crash()
    return memoryDisk()
  },
}

describe.each(Object.entries(ENDS))('an application that was %s', (_, end) => {
  const restart = async (instance: Instance, topology: () => Topology): Promise<Instance> =>
    stage.run(topology, { disk: await end(instance) })

  test('knows its stream time: what was late stays late', async () => {
    const topology = (): Topology => {
      const t = new Topology('job')
      t.stream('in', serdes).groupByKey().windowedBy(tumbling10).count('counts').toStream().to('out')
      return t
    }
    await stage.topics('in', 'out')
    const before = await stage.run(topology)
    await send(at(5), at(25), at(7))
    await stage.drained(topology)
    expect(late(before)).toBe(1)
    const after = await restart(before, topology)
    await send(at(5), at(26))
    await stage.drained(topology)
    expect(late(after)).toBe(1)
    expect(await results()).toEqual(['a 0-10: 1', 'a 20-30: 1', 'a 20-30: 2'])
  })

  test('passes on each window once when it closes, whatever stream time jumps over', async () => {
    const topology = (): Topology => {
      const t = new Topology('job')
      const windowed = t.stream('in', serdes).groupByKey().windowedBy(tumbling10)
      windowed.emitStrategy('onWindowClose').count('counts').toStream().to('out')
      return t
    }
    await stage.topics('in', 'out')
    const before = await stage.run(topology)
    await send(at(5, 'b'), at(6), at(7), at(12), at(13))
    await stage.drained(topology)
    const after = await restart(before, topology)
    await send(at(1_000), at(14), at(2_000))
    await stage.drained(topology)
    expect(await results()).toEqual(['a 0-10: 2', 'b 0-10: 1', 'a 10-20: 2', 'a 1000-1010: 1'])
    expect(late(after)).toBe(1)
  })

  test('passes on what a suppression held back', async () => {
    const topology = (): Topology => {
      const t = new Topology('job')
      t.stream('in', serdes)
        .groupByKey()
        .windowedBy(tumbling10)
        .count('counts')
        .suppress('final', untilWindowCloses({ maxRecords: 10 }))
        .toStream()
        .to('out')
      return t
    }
    await stage.topics('in', 'out')
    const before = await stage.run(topology)
    await send(at(5, 'b'), at(6), at(7))
    await stage.drained(topology)
    await restart(before, topology)
    await send(at(8), at(12), at(21, 'c'))
    await stage.drained(topology)
    expect(await results()).toEqual(['a 0-10: 3', 'b 0-10: 1', 'a 10-20: 1'])
  })

  test('reduces what comes behind sessions that have come to nothing as if it were the first', async () => {
    const given: unknown[] = []
    const topology = (): Topology => {
      const t = new Topology('job')
      t.stream('in', { key: string, value: string })
        .groupByKey()
        .windowedBy(sessionWindows({ inactivityGapMs: 10, graceMs: 50 }))
        .reduce('last', (aggregate, value) => {
          given.push(aggregate)
          return aggregate + value === 'xy' ? null : aggregate + value
        })
        .toStream()
        .to('out')
      return t
    }
    await stage.topics('in', 'out')
    await stage.run(topology)
    const records = [
      ['x', 0],
      ['y', 20],
      ['z', 10],
    ] as const
    await stage.send(
      'in',
      records.map(([value, timestamp]) => ({ key: 'a', value, timestamp })),
      { key: string, value: string },
    )
    await stage.drained(topology)
    const results = await stage.read('out', { key: sessionWindowed(string), value: string })
    expect(results.at(-1)).toEqual([expect.objectContaining({ windowStart: 0, windowEnd: 20 }), 'z'])
    expect(given).toEqual(['x'])
  })

  test('merges the sessions that it had', async () => {
    const topology = (): Topology => {
      const t = new Topology('job')
      const windowed = t
        .stream('in', serdes)
        .groupByKey()
        .windowedBy(sessionWindows({ inactivityGapMs: 10, graceMs: 50 }))
      windowed.count('counts').toStream().to('out')
      return t
    }
    await stage.topics('in', 'out')
    const before = await stage.run(topology)
    await send(at(10), at(30))
    await stage.drained(topology)
    await restart(before, topology)
    await send(at(20))
    await stage.drained(topology)
    expect(await results(sessionWindowed(string))).toEqual([
      'a 10-10: 1',
      'a 30-30: 1',
      'a 10-10: null',
      'a 30-30: null',
      'a 10-30: 3',
    ])
  })
})

describe('over several partitions', () => {
  test('results lie where their keys do', async () => {
    const topology = (): Topology => {
      const t = new Topology('job')
      t.stream('in', serdes).groupByKey().windowedBy(tumbling10).count('counts').toStream().to('out')
      return t
    }
    await stage.topics({ topic: 'in', partitions: 3 }, { topic: 'out', partitions: 3 })
    await stage.run(topology)
    const keys = ['a', 'b', 'c', 'd', 'e', 'f']
    await send(...keys.map((key) => at(5, key)))
    await stage.drained(topology)
    const records = await readTopic(stage.wire, 'out', { key: windowKeys, value: int64 })
    expect(records.length).toBe(keys.length)
    for (const { key, partition } of records) {
      expect(partition).toBe(partitionFor(Buffer.from(key.key), 3))
    }
  })

  test('each partition has a time of its own', async () => {
    const topology = (): Topology => {
      const t = new Topology('job')
      const windowed = t.stream('in', serdes).groupByKey().windowedBy(tumbling10)
      windowed.emitStrategy('onWindowClose').count('counts').toStream().to('out')
      return t
    }
    await stage.topics({ topic: 'in', partitions: 2 }, { topic: 'out', partitions: 1 })
    await stage.run(topology)
    const [one, other] = ['a', 'b', 'c', 'd', 'e'].toSorted(
      (a, b) => partitionFor(Buffer.from(a), 2) - partitionFor(Buffer.from(b), 2),
    ) as [string, string, string, string, string]
    const last = ['a', 'b', 'c', 'd', 'e'].find(
      (key) => partitionFor(Buffer.from(key), 2) !== partitionFor(Buffer.from(one), 2),
    ) as string
    expect(other).toBeDefined()
    await send(at(5, one), at(5, last), at(50, one), at(7, last))
    await stage.drained(topology)
    expect(await results()).toEqual([`${one} 0-10: 1`])
  })
})

describe('against a plain model, with default retention', () => {
  /** Out of order, in bursts and with gaps. */
  function inputs(seed: number): Sent<string, number>[] {
    let state = seed
    const random = (below: number): number => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31
      return Math.floor((state / 2 ** 31) * below)
    }
    let time = 100
    return Array.from({ length: 150 }, () => {
      time += random(8) === 0 ? random(120) : random(6)
      return at(Math.max(0, time - random(30)), 'abc'[random(3)])
    })
  }

  const graceMs = 7

  /** What closes, by the definition of each kind of windows. */
  function closedWindows(
    records: readonly Sent<string, number>[],
    sizeMs: number,
    advanceMs: number,
  ): string[] {
    let now = -1
    const counts = new Map<string, number>()
    for (const { key, timestamp = 0 } of records) {
      now = Math.max(now, timestamp)
      for (let start = 0; start <= timestamp; start += advanceMs) {
        if (start + sizeMs <= timestamp || start + sizeMs + graceMs <= now) continue
        const window = `${key} ${start}-${start + sizeMs}`
        counts.set(window, (counts.get(window) ?? 0) + 1)
      }
    }
    return [...counts]
      .filter(([window]) => Number(window.split('-')[1]) + graceMs <= now)
      .map(([window, count]) => `${window}: ${count}`)
  }

  function closedSessions(records: readonly Sent<string, number>[], gapMs: number): string[] {
    let now = -1
    let open: { key: string; start: number; end: number; count: number }[] = []
    const closed: string[] = []
    for (const { key, timestamp = 0 } of records) {
      now = Math.max(now, timestamp)
      const mine = open.filter(
        (s) =>
          s.key === key &&
          s.start <= timestamp + gapMs &&
          s.end >= timestamp - gapMs &&
          s.end >= now - gapMs - graceMs,
      )
      const merged = {
        key,
        start: Math.min(timestamp, ...mine.map((s) => s.start)),
        end: Math.max(timestamp, ...mine.map((s) => s.end)),
        count: mine.reduce((sum, s) => sum + s.count, 1),
      }
      if (merged.end >= now - gapMs - graceMs) open = [...open.filter((s) => !mine.includes(s)), merged]
      for (const s of open) {
        if (s.end < now - gapMs - graceMs) closed.push(`${s.key} ${s.start}-${s.end}: ${s.count}`)
      }
      open = open.filter((s) => s.end >= now - gapMs - graceMs)
    }
    return closed
  }

  const KINDS = {
    tumbling: {
      windows: tumblingWindows({ sizeMs: 20, graceMs }),
      key: timeWindowed(string, { sizeMs: 20 }),
      model: (records: readonly Sent<string, number>[]) => closedWindows(records, 20, 20),
    },
    hopping: {
      windows: hoppingWindows({ sizeMs: 30, advanceMs: 10, graceMs }),
      key: timeWindowed(string, { sizeMs: 30 }),
      model: (records: readonly Sent<string, number>[]) => closedWindows(records, 30, 10),
    },
    sessions: {
      windows: sessionWindows({ inactivityGapMs: 9, graceMs }),
      key: sessionWindowed(string),
      model: (records: readonly Sent<string, number>[]) => closedSessions(records, 9),
    },
    // What was passed on is final, though it is still there.
    'sessions that are kept for longer': {
      windows: sessionWindows({ inactivityGapMs: 9, graceMs }),
      key: sessionWindowed(string),
      model: (records: readonly Sent<string, number>[]) => closedSessions(records, 9),
      retentionMs: 1_000,
    },
  }

  test.each(Object.entries(KINDS))(
    '%s: every result once, with restarts in between',
    async (_, { windows, key, model, ...options }) => {
      const topology = (): Topology => {
        const t = new Topology('job')
        const grouped = t.stream('in', serdes).groupByKey()
        const windowed =
          windows.kind === 'session' ? grouped.windowedBy(windows) : grouped.windowedBy(windows)
        windowed.emitStrategy('onWindowClose').count('counts', options).toStream().to('out')
        return t
      }
      await stage.topics('in', 'out')
      const records = inputs(7)
      let disk = memoryDisk()
      for (let from = 0; from < records.length; from += 50) {
        const instance = await stage.run(topology, { disk, commitRecords: 5 })
        await send(...records.slice(from, from + 50))
        await stage.drained(topology)
        instance.crash()
        disk = from === 0 ? instance.disk : memoryDisk()
      }
      const expected = model(records)
      expect(expected.length).toBeGreaterThan(20)
      expect((await results(key)).toSorted()).toEqual(expected.toSorted())
    },
  )
})

describe('records that fail', () => {
  test('move no time', async () => {
    const topology = (): Topology => {
      const t = new Topology('job', { onFailure: 'skip' })
      t.stream('in', serdes)
        .groupByKey()
        .windowedBy(tumbling10)
        .emitStrategy('onWindowClose')
        .aggregate(
          'sums',
          () => 0,
          (sum, value) => {
            if (value < 0) throw new Error('negative')
            return sum + value
          },
          { value: int64 },
        )
        .toStream()
        .to('out')
      return t
    }
    await stage.topics('in', 'out')
    const instance = await stage.run(topology)
    await send(at(5), at(500, 'a', -1), at(6), at(20))
    await stage.drained(topology)
    expect(late(instance)).toBe(0)
    expect(await results()).toEqual(['a 0-10: 2'])
  })

  test('are not those that bring it about that an update is passed on, which fails', async () => {
    const topology = (): Topology => {
      const t = new Topology('job', { onFailure: 'skip' })
      t.stream('in', serdes)
        .groupByKey()
        .count('counts')
        .suppress('slow', untilTimeLimit({ limitMs: 10 }))
        .toStream()
        .peek((count) => {
          if (count === 1) throw new Error('one')
        })
        .to('out')
      return t
    }
    await stage.topics('in', 'out')
    await stage.run(topology)
    // The record at 20 passes on a's count of 1, which fails: that update is left out, and the next one of a is not.
    await send(at(5), at(20, 'b'), at(6), at(19, 'b'), at(19, 'b'), at(30, 'c'))
    await stage.drained(topology)
    expect(await stage.read('out', serdes)).toEqual([
      ['a', 2],
      ['b', 3],
    ])
  })
})

describe('suppression', () => {
  test('a buffer that is full stops the task where nothing may be passed on early', async () => {
    const topology = (): Topology => {
      const t = new Topology('job', { onFailure: 'skip' })
      t.stream('in', serdes)
        .groupByKey()
        .windowedBy(tumbling10)
        .count('counts')
        .suppress('final', untilWindowCloses({ maxRecords: 2 }))
        .toStream()
        .to('out')
      return t
    }
    await stage.topics('in', 'out')
    const { app } = await stage.run(topology)
    await send(at(5), at(5, 'b'), at(5, 'c'))
    await expect.poll(() => app.health.tasks[0]?.error?.code).toBe('BUFFER_FULL')
  })

  test('bytes are a bound, too: the oldest is passed on early', async () => {
    const topology = (): Topology => {
      const t = new Topology('job')
      t.stream('in', serdes)
        .groupByKey()
        .reduce('newest', (_, value) => value)
        .suppress('slow', untilTimeLimit({ limitMs: 1_000, maxBytes: 100 }))
        .toStream()
        .to('out')
      return t
    }
    await stage.topics('in', 'out')
    await stage.run(topology)
    await send(at(5, 'a'), at(6, 'b'), at(7, 'c'), at(8, 'd'))
    await stage.drained(topology)
    // An entry has 28 bytes: tag and key, time, two lengths, value, number of headers. Three fit.
    expect(await stage.read('out', serdes)).toEqual([['a', 1]])
  })

  test('the old value of what is passed on is what was passed on before', async () => {
    const topology = (): Topology => {
      const t = new Topology('job')
      t.stream('in', serdes)
        .groupByKey()
        .reduce('newest', (_, value) => value)
        .suppress('slow', untilTimeLimit({ limitMs: 10 }))
        .groupBy('all', (value) => ['all', value] as const, { key: string, value: int64 })
        .aggregate(
          'total',
          () => 0,
          (sum, value) => sum + value,
          (sum, value) => sum - value,
          { value: int64 },
        )
        .toStream()
        .to('out')
      return t
    }
    await stage.topics('in', 'out')
    await stage.run(topology)
    await send(at(0, 'a', 1), at(1, 'a', 5), at(10, 'b', 2), at(12, 'a', 7), at(13, 'a', 9), at(30, 'c', 4))
    await stage.drained(topology)
    // a: 5, then b: 2 and a: 9 instead of 5.
    expect((await stage.read('out', serdes)).map(([, total]) => total)).toEqual([5, 7, 11])
  })

  test('needs windows where it waits for their end', () => {
    const t = new Topology('job')
    const stream = t.stream('in', { key: windowKeys, value: int64 })
    expect(() => stream.groupByKey().count('counts').suppress('final', untilWindowCloses())).toThrow(
      expect.objectContaining({ code: 'TOPOLOGY_INVALID' }),
    )
  })
})

describe('looking into windows', () => {
  test('by key and window, by key and time, over everything; what retention hides is gone', async () => {
    let counts: { region: ReturnType<typeof make>['region'] } | undefined
    const make = (t: Topology) =>
      t.stream('in', serdes).groupByKey().windowedBy(tumbling10).count('counts', { retentionMs: 30 })
    const topology = (): Topology => {
      const t = new Topology('job')
      counts = make(t)
      return t
    }
    await stage.topics({ topic: 'in', partitions: 2 })
    const { app } = await stage.run(topology)
    await send(at(5, 'b'), at(5), at(12), at(13), at(29), at(26, 'b'))
    await stage.drained(topology)
    const region = app.region((counts as NonNullable<typeof counts>).region)
    const entries = async <T>(found: AsyncIterable<T>): Promise<T[]> => {
      const all: T[] = []
      for await (const entry of found) all.push(entry)
      return all
    }
    expect(await region.get({ key: 'a', windowStart: 10, windowEnd: 20 })).toBe(2)
    expect(await region.get({ key: 'a', windowStart: 30, windowEnd: 40 })).toBeUndefined()
    expect(await entries(region.fetch('a', 0, 10))).toEqual([
      [new Windowed('a', 0, 10), 1],
      [new Windowed('a', 10, 20), 2],
    ])
    expect((await entries(region.range())).map(([{ key, windowStart }]) => `${key}${windowStart}`)).toEqual([
      'a0',
      'a10',
      'a20',
      'b0',
      'b20',
    ])
    await send(at(45))
    await stage.drained(topology)
    expect(await entries(region.fetch('a', 0, 100))).toEqual([
      [new Windowed('a', 20, 30), 1],
      [new Windowed('a', 40, 50), 1],
    ])
    expect(await region.get({ key: 'a', windowStart: 10, windowEnd: 20 })).toBeUndefined()
  })

  test('sessions that have any of a stretch of time', async () => {
    let counts: { region: ReturnType<typeof make>['region'] } | undefined
    const make = (t: Topology) =>
      t
        .stream('in', serdes)
        .groupByKey()
        .windowedBy(sessionWindows({ inactivityGapMs: 5, graceMs: 100 }))
        .count('counts')
    const topology = (): Topology => {
      const t = new Topology('job')
      counts = make(t)
      return t
    }
    await stage.topics('in')
    const { app } = await stage.run(topology)
    await send(at(10), at(14), at(30), at(34), at(60))
    await stage.drained(topology)
    const found: string[] = []
    const region = app.region((counts as NonNullable<typeof counts>).region)
    for await (const [{ windowStart, windowEnd }, count] of region.fetch('a', 14, 32)) {
      found.push(`${windowStart}-${windowEnd}: ${count}`)
    }
    expect(found).toEqual(['10-14: 2', '30-34: 2'])
  })

  test("operators' own regions of windows: too late for retention is too late", async () => {
    const topology = (): Topology => {
      const t = new Topology('job')
      const seen = t.windowRegion('seen', { key: string, value: int64, sizeMs: 1, retentionMs: 10 })
      t.stream('in', serdes)
        .process('look', { regions: [seen], value: int64 }, async ({ key, value, timestamp }, context) => {
          context.seen.put({ key, windowStart: timestamp, windowEnd: timestamp + 1 }, value)
          let n = 0
          for await (const _ of context.seen.fetch(key, 0, 1_000)) n += 1
          context.forward(key, n)
        })
        .to('out')
      return t
    }
    await stage.topics('in', 'out')
    await stage.run(topology)
    await send(at(5), at(8), at(15), at(5), at(6), at(18))
    await stage.drained(topology)
    // At 15 that of 5 is gone, and comes no more; at 18 that of 8 and of 6.
    expect((await stage.read('out', serdes)).map(([, n]) => n)).toEqual([1, 2, 2, 2, 3, 2])
  })
})

test('windows close without new input when the topology says so', async () => {
  const topology = (): Topology => {
    const t = new Topology('job', { idleAfterMs: 20 })
    const windowed = t.stream('in', serdes).groupByKey().windowedBy(tumbling10)
    windowed.emitStrategy('onWindowClose').count('counts').toStream().to('out')
    return t
  }
  await stage.topics('in', 'out')
  await stage.run(topology)
  await send(at(5), at(7))
  await expect.poll(() => results()).toEqual(['a 0-10: 2'])
})

test('what can be wrong with windows is found when they are made', () => {
  const grouped = new Topology('job').stream('in', serdes).groupByKey()
  const wrong = [
    () => tumblingWindows({ sizeMs: 0, graceMs: 0 }),
    () => tumblingWindows({ sizeMs: 1.5, graceMs: 0 }),
    () => tumblingWindows({ sizeMs: 10, graceMs: -1 }),
    () => hoppingWindows({ sizeMs: 10, advanceMs: 11, graceMs: 0 }),
    () => slidingWindows({ timeDifferenceMs: -1, graceMs: 0 }),
    () => sessionWindows({ inactivityGapMs: 0, graceMs: 0 }),
    () => untilTimeLimit({ limitMs: -1 }),
    () => untilWindowCloses({ maxRecords: 0 }),
  ]
  for (const make of wrong) expect(make).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
  expect(() => grouped.windowedBy(tumbling10).count('counts', { retentionMs: 9 })).toThrow(
    expect.objectContaining({ code: 'TOPOLOGY_INVALID' }),
  )
})
