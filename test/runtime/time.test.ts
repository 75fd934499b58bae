/** Time without records, before records, and the order of several inputs. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { int64, memoryDisk, type Region, string, type TimestampRule, Topology } from '../../src/index.ts'
import type { Fate, Instance } from './instance.ts'
import { batchOf, Stage, strings } from './stage.ts'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
})

afterEach(() => stage.close())

const at = (...timestamps: number[]) => timestamps.map((timestamp) => ({ key: 'k', value: 'v', timestamp }))
const bytes = (text: string): Buffer => Buffer.from(text, 'utf8')
const valuesOf = async (topic: string): Promise<string[]> =>
  (await stage.read(topic)).map(([, value]) => value)

describe('stream time', () => {
  /** Says each call's time, and how many records there were by then. */
  const ticking = (intervalMs: number) => (): Topology => {
    const t = new Topology('ticking')
    const seen = t.region('seen', { key: string, value: int64 })
    t.stream('in', strings)
      .process(
        'tick',
        { regions: [seen] },
        {
          get({ schedule, forward, seen }) {
            schedule(intervalMs, 'streamTime', (timestampMs) =>
              forward('tick', `${timestampMs}: ${seen.get('all') ?? 0}`),
            )
            return () => seen.put('all', (seen.get('all') ?? 0) + 1)
          },
        },
      )
      .to('out', strings)
    return t
  }

  test('calls punctuators behind the record that brings it, once however many intervals were missed', async () => {
    await stage.topics('in', 'out')
    await stage.send('in', at(12_000, 14_999, 15_000, 3_000, 19_999, 43_000, 44_999, 45_000), strings)
    await stage.run(ticking(5_000))
    await stage.drained(ticking(5_000))
    expect(await valuesOf('out')).toEqual(['12000: 1', '15000: 3', '43000: 6', '45000: 8'])
    const records = await stage.records('out')
    expect(records.map(({ timestamp }) => timestamp)).toEqual([12_000, 15_000, 43_000, 45_000])
  })

  test('goes on after a restart: nothing is called again for a time that is over', async () => {
    await stage.topics('in', 'out')
    await stage.send('in', at(12_000), strings)
    const disk = memoryDisk()
    const first = await stage.run(ticking(5_000), { disk })
    await stage.drained(ticking(5_000))
    await first.close()
    await stage.send('in', at(11_000, 14_999, 15_000), strings)
    await stage.run(ticking(5_000), { disk })
    await stage.drained(ticking(5_000))
    expect(await valuesOf('out')).toEqual(['12000: 1', '15000: 4'])
  })

  test('a punctuator that is cancelled, or made anew while records come', async () => {
    const topology = (): Topology => {
      const t = new Topology('ticking')
      t.stream('in', strings)
        .process(
          'tick',
          {},
          {
            get({ schedule, forward }) {
              let [left, calls] = [0, 0]
              const begin = (): void => {
                ;[left, calls] = [2, 0]
                const made = schedule(10, 'streamTime', (timestampMs) => {
                  forward('tick', `${timestampMs}: ${++calls}`)
                  left -= 1
                  if (left === 0) made.cancel()
                })
              }
              begin()
              return ({ value }) => {
                if (value === 'again' && left === 0) begin()
              }
            },
          },
        )
        .to('out', strings)
      return t
    }
    await stage.topics('in', 'out')
    const sent = at(5, 9, 12, 30, 31, 33, 40, 50)
    await stage.send(
      'in',
      sent.map((record) => (record.timestamp === 31 ? { ...record, value: 'again' } : record)),
      strings,
    )
    await stage.run(topology)
    await stage.drained(topology)
    expect(await valuesOf('out')).toEqual(['5: 1', '12: 2', '31: 1', '40: 2'])
  })

  test('a punctuator that fails stops its task, and nothing of the record is committed', async () => {
    const topology = (): Topology => {
      const t = new Topology('failing', { onFailure: 'skip' })
      t.stream('in', strings)
        .process(
          'tick',
          {},
          {
            get({ schedule, forward }) {
              schedule(10, 'streamTime', (timestampMs) => {
                if (timestampMs >= 20) throw new Error('no more')
              })
              return ({ value }) => forward('k', value)
            },
          },
        )
        .to('out', strings)
      return t
    }
    await stage.topics('in', 'out')
    await stage.send('in', at(1), strings)
    const { app } = await stage.run(topology)
    await stage.drained(topology)
    await stage.send('in', at(20), strings)
    await expect.poll(() => app.health.tasks[0]?.error?.code).toBe('PUNCTUATOR_FAILED')
    expect(app.health.tasks[0]?.error?.message).toContain("punctuator of operator 'tick'")
    expect(await valuesOf('out')).toEqual(['v'])
  })

  test('goes on by itself when the inputs are idle, if it is wanted', async () => {
    const topology = (idleAfterMs?: number) => (): Topology => {
      const t = new Topology('idle', idleAfterMs === undefined ? {} : { idleAfterMs })
      t.stream('in', strings)
        .process(
          'tick',
          {},
          {
            get(context) {
              context.schedule(200, 'streamTime', (timestampMs) => {
                if (context.streamTimeMs !== timestampMs) throw new Error('which?')
                context.forward('tick', String(timestampMs))
              })
              return () => {}
            },
          },
        )
        .to('out', strings)
      return t
    }
    await stage.topics('in', 'out')
    await stage.send('in', at(1_000), strings)
    const first = await stage.run(topology(40))
    await expect.poll(async () => (await valuesOf('out')).length).toBeGreaterThan(2)
    await first.close()
    const times = (await valuesOf('out')).map(Number)
    expect(times[0]).toBe(1_000)
    // Each interval once, and in order.
    const intervals = times.map((time) => Math.floor(time / 200))
    expect(intervals).toEqual([...new Set(intervals)].sort((a, b) => a - b))
  })

  test('does not go on while nobody can say whether there are records', async () => {
    const idleAfterMs = 1_000
    const topology = (): Topology => {
      const t = new Topology('idle', { idleAfterMs })
      t.stream('in', strings)
        .process('tell', {}, ({ value }, context) => {
          context.forward(value, String(context.streamTimeMs))
        })
        .to('out', strings)
      return t
    }
    await stage.topics('in', 'out')
    let isCut = false
    let lost = 0
    const one = await stage.run(topology, {
      fates: ({ api }) => {
        if (!isCut || api !== 'Fetch') return 'pass'
        lost += 1
        return 'loseAnswer'
      },
    })
    await stage.send('in', at(1_000), strings)
    await expect.poll(async () => (await valuesOf('out')).length).toBe(1)
    const fetches = (): number => one.requests.filter(({ api }) => api === 'Fetch').length
    const soFar = fetches()
    await expect.poll(fetches).toBeGreaterThan(soFar + 2)
    isCut = true
    // The one under way still brings what there is.
    await expect.poll(() => lost).toBeGreaterThan(0)
    const since = Date.now()
    await stage.send('in', at(1_100), strings)
    await expect.poll(() => Date.now() - since).toBeGreaterThan(idleAfterMs + 300)
    isCut = false
    await stage.drained(topology)
    expect(await valuesOf('out')).toEqual(['1000', '1100'])
    expect(one.app.health.healthy).toBe(true)
  })

  test('stands still when nobody wants that', async () => {
    await stage.topics('in', 'out')
    await stage.send('in', at(1_000), strings)
    await stage.run(ticking(1))
    await stage.drained(ticking(1))
    await stage.send('in', at(1_000), strings)
    await stage.drained(ticking(1))
    expect(await valuesOf('out')).toEqual(['1000: 1'])
  })
})

test('the wall clock calls without records, and what it does is committed', async () => {
  let calls: Region<'calls', string, number> | undefined
  const topology = (): Topology => {
    const t = new Topology('clock')
    const region = t.region('calls', { key: string, value: int64 })
    calls = region
    t.stream('in', strings).process(
      'tick',
      { regions: [region] },
      {
        get({ schedule, calls }) {
          schedule(30, 'wallClock', () => calls.put('all', (calls.get('all') ?? 0) + 1))
          return () => {}
        },
      },
    )
    return t
  }
  await stage.topics('in')
  const disk = memoryDisk()
  const before = Date.now()
  // Nothing else wakes anybody up.
  const settings = { disk, fetchMaxWaitMs: 60_000 }
  const called = async ({ app }: Instance): Promise<number> => {
    const region = calls as Region<'calls', string, number>
    return (await app.region(region).get('all')) ?? 0
  }
  const first = await stage.run(topology, settings)
  await expect.poll(() => called(first)).toBeGreaterThan(2)
  await first.close()
  const second = await stage.run(topology, settings)
  const soFar = await called(second)
  expect(soFar).toBeGreaterThan(2)
  await expect.poll(() => called(second)).toBeGreaterThan(soFar + 2)
  const changes = await stage.records('clock-calls-changelog', { key: string, value: int64 })
  const counts = changes.map(({ value }) => value)
  expect(counts).toEqual([...new Set(counts)].sort((a, b) => a - b))
  expect(changes[0]?.timestamp).toBeGreaterThanOrEqual(before + 30)
})

test('what is written at a time of stream time has that time', async () => {
  const topology = (): Topology => {
    const t = new Topology('timed')
    const times = t.region('times', { key: string, value: int64 })
    t.stream('in', strings).process(
      'tick',
      { regions: [times] },
      {
        get({ schedule, times }) {
          return ({ timestamp }) => {
            if (timestamp === 80)
              schedule(10, 'streamTime', (timestampMs) => times.put('newest', timestampMs))
          }
        },
      },
    )
    return t
  }
  await stage.topics('in')
  await stage.send('in', at(100, 80, 90), strings)
  await stage.run(topology)
  await stage.drained(topology)
  const changes = await stage.records('timed-times-changelog', { key: string, value: int64 })
  expect(changes.at(-1)).toMatchObject({ value: 100, timestamp: 100 })
})

describe('event time', () => {
  const own = (value: string): number => Number(value.slice(1))
  const topology = (timestamp: TimestampRule<string, string>) => (): Topology => {
    const t = new Topology('timed')
    t.stream('in', { ...strings, timestamp }).to('out')
    return t
  }
  const timesOf = async (): Promise<unknown[]> =>
    (await stage.records('out')).map(({ value, timestamp }) => [value, timestamp])

  test('is what a function says; what is negative leaves the record out; the partition’s time outlives a restart', async () => {
    const rule = topology((value, _key, _record, partitionTimeMs) =>
      value === 'none' ? -1 : value.startsWith('t') ? own(value) : partitionTimeMs,
    )
    const say = (...values: string[]) => stage.say('in', ...values.map((value) => ['k', value] as const))
    await stage.topics('in', 'out')
    await say('early', 't500', 'a', 't300', 'none', 'b')
    const disk = memoryDisk()
    const first = await stage.run(rule, { disk })
    await stage.drained(rule)
    await first.close()
    await say('c', 't700', 'd')
    const { app } = await stage.run(rule, { disk })
    await stage.drained(rule)
    expect(app.health.healthy).toBe(true)
    expect(await timesOf()).toEqual([
      ['t500', 500],
      ['a', 500],
      ['t300', 300],
      ['b', 500],
      ['c', 500],
      ['t700', 700],
      ['d', 700],
    ])
  })

  const produce = async (...timestamps: number[]): Promise<void> => {
    for (const timestamp of timestamps) {
      const record = { key: bytes('k'), value: bytes(String(timestamp)), timestamp }
      await stage.produce({ topic: 'in', partition: 0 }, [record])
    }
  }

  test('that is no time: the record is left out, if that is wanted', async () => {
    await stage.topics('in', 'out')
    await produce(5, -1, -7, 1.7e15, 6)
    await stage.run(topology('skipOnInvalid'))
    await stage.drained(topology('skipOnInvalid'))
    expect(await timesOf()).toEqual([
      ['5', 5],
      ['6', 6],
    ])
  })

  test('that is no time: the partition’s time in its place, if that is wanted', async () => {
    await stage.topics('in', 'out')
    await produce(5, -1, 3, -7)
    await stage.run(topology('partitionTimeOnInvalid'))
    await stage.drained(topology('partitionTimeOnInvalid'))
    expect(await timesOf()).toEqual([
      ['5', 5],
      ['-1', 5],
      ['3', 3],
      ['-7', 5],
    ])
  })

  test('that is no time, and the partition has none yet: no record to be passed over in silence', async () => {
    await stage.topics('in', 'out')
    await produce(-7)
    const { app } = await stage.run(topology('partitionTimeOnInvalid'))
    await expect.poll(() => app.health.tasks[0]?.error?.code).toBe('TIMESTAMP_INVALID')
  })

  test('may be the time of processing', async () => {
    await stage.topics('in', 'out')
    const before = Date.now()
    await produce(5)
    await stage.run(topology('wallClock'))
    await stage.drained(topology('wallClock'))
    const [record] = await stage.records('out')
    expect(record?.timestamp).toBeGreaterThanOrEqual(before)
    expect(record?.timestamp).toBeLessThanOrEqual(Date.now())
  })
})

describe('several inputs', () => {
  const merging = (): Topology => {
    const t = new Topology('merging')
    t.stream('a', strings)
      .merge(t.stream('b', strings))
      .groupByKey()
      .reduce('last', (_, value) => value)
      .toStream()
      .to('out')
    return t
  }
  const say = (topic: string, ...timestamps: number[]) =>
    stage.send(
      topic,
      timestamps.map((timestamp) => ({ key: 'k', value: `${topic}${timestamp}`, timestamp })),
      strings,
    )

  test('are taken in the order of time, although one of them is fetched later', async () => {
    await stage.topics('a', 'b', 'out')
    const early = batchOf(
      [1, 3, 5].map((timestamp) => ({ key: bytes('k'), value: bytes(`a${timestamp}`), timestamp })),
    )
    await stage.produceBatch({ topic: 'a', partition: 0 }, early)
    await say('b', 2, 4, 6)
    let isFirst = true
    const instance = stage.instance(merging, {
      fates: (request): Fate => {
        if (request.api !== 'Fetch' || !isFirst) return 'pass'
        isFirst = false
        // Of b it is only said that there is something.
        const partitions = request.partitions.map((at) => ({
          ...at,
          errorCode: 0,
          highWatermark: 3,
          lastStableOffset: 3,
          logStartOffset: 0,
          abortedTransactions: [],
          records: at.topic === 'a' ? early : new Uint8Array(),
        }))
        return { answer: { errorCode: 0, partitions } }
      },
    })
    await instance.start()
    await stage.drained(merging)
    expect(await valuesOf('out')).toEqual(['a1', 'b2', 'a3', 'b4', 'a5', 'b6'])
  })

  test('that have nothing are waited for as long as it is wanted', async () => {
    await stage.topics('a', 'b', 'out')
    await say('a', 5)
    await stage.run(merging, { maxTaskIdleMs: 60_000 })
    await say('b', 4)
    await expect.poll(() => valuesOf('out')).toEqual(['b4'])
    await say('b', 6)
    await expect.poll(() => valuesOf('out')).toEqual(['b4', 'a5'])
  })

  test('and no longer', async () => {
    await stage.topics('a', 'b', 'out')
    await say('a', 5, 7)
    await stage.run(merging, { maxTaskIdleMs: 50 })
    await expect.poll(() => valuesOf('out')).toEqual(['a5', 'a7'])
  })
})
