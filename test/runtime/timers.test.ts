/** Timers of keys: durable, once each, in the order of time. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { int64, memoryDisk, type Stream, string, Topology } from '../../src/index.ts'
import { Stage, strings } from './stage.ts'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
})

afterEach(() => stage.close())

type Said = readonly [key: string, value: string, timestamp: number]

const say = (...records: readonly Said[]) =>
  stage.send(
    'in',
    records.map(([key, value, timestamp]) => ({ key, value, timestamp })),
    strings,
  )

/** `+n`: a timer in n ms of the record's time; `-t`: none at t any more; `!`: fails; else it is counted. */
const topology = (): Topology => {
  const t = new Topology('timed', { onFailure: 'skip' })
  const seen = t.region('seen', { key: string, value: int64 })
  t.stream('in', strings)
    .process(
      'alarm',
      {
        regions: [seen],
        onTimer: ({ key, timestampMs }, { forward, seen, timers }) => {
          forward(key, `${timestampMs}: ${seen.get(key) ?? 0}`)
          if (seen.get(key) === 7) timers.register(timestampMs + 1)
          seen.delete(key)
        },
      },
      ({ key, value, timestamp }, { seen, timers }) => {
        if (value.startsWith('+')) timers.register(timestamp + Number(value.slice(1).replace('!', '')))
        else if (value.startsWith('-')) timers.cancel(Number(value.slice(1)))
        else seen.put(key, (seen.get(key) ?? 0) + Number(value))
        if (value.endsWith('!')) throw new Error('as it was told to')
      },
    )
    .to('out', strings)
  return t
}

const out = async () =>
  (await stage.records('out')).map(({ key, value, timestamp }) => [key, value, timestamp])

test('come behind the record that brings their time, in the order of times and keys, with their own time', async () => {
  await stage.topics('in', 'out')
  await say(
    ['b', '+50', 100],
    ['a', '+50', 100],
    ['c', '+20', 100],
    ['a', '1', 101],
    ['a', '1', 102],
    ['z', '1', 149],
  )
  await stage.run(topology)
  await stage.drained(topology)
  expect(await out()).toEqual([['c', '120: 0', 120]])
  await say(['z', '1', 150])
  await stage.drained(topology)
  expect(await out()).toEqual([
    ['c', '120: 0', 120],
    ['a', '150: 2', 150],
    ['b', '150: 0', 150],
  ])
})

test('are one for a key and a time, and can be cancelled', async () => {
  await stage.topics('in', 'out')
  await say(
    ['a', '+10', 100],
    ['a', '+10', 100],
    ['b', '+10', 100],
    ['b', '-110', 101],
    ['b', '-999', 101],
    ['z', '1', 200],
  )
  await stage.run(topology)
  await stage.drained(topology)
  expect(await out()).toEqual([['a', '110: 0', 110]])
})

test('whose time is over come at once; those that a timer makes, too', async () => {
  await stage.topics('in', 'out')
  await say(['z', '1', 500], ['a', '7', 100], ['a', '+10', 100], ['b', '+0', 600])
  await stage.run(topology)
  await stage.drained(topology)
  expect(await out()).toEqual([
    ['a', '110: 7', 110],
    ['a', '111: 0', 111],
    ['b', '600: 0', 600],
  ])
})

test('of a record that fails are taken back with it', async () => {
  await stage.topics('in', 'out')
  await say(['a', '+10!', 100], ['b', '+20', 100], ['z', '1', 200])
  await stage.run(topology)
  await stage.drained(topology)
  expect(await out()).toEqual([['b', '120: 0', 120]])
})

test('outlive their process, with its directory and without', async () => {
  await stage.topics('in', 'out')
  const disk = memoryDisk()
  await say(['a', '+10', 100], ['b', '+20', 100], ['c', '+900', 100])
  const first = await stage.run(topology, { disk })
  await stage.drained(topology)
  first.crash()
  await say(['z', '1', 110])
  const second = await stage.run(topology, { disk })
  await stage.drained(topology)
  second.crash()
  await say(['z', '1', 500])
  await stage.run(topology)
  await stage.drained(topology)
  expect(await out()).toEqual([
    ['a', '110: 0', 110],
    ['b', '120: 0', 120],
  ])
})

test('of the wall clock come without records, and those that are overdue when the task starts again', async () => {
  const later = 150
  const clocked = (): Topology => {
    const t = new Topology('clocked')
    t.stream('in', strings)
      .process(
        'alarm',
        { onTimer: ({ key, type }, { forward }) => forward(key, type) },
        ({ value }, { timers, wallClockMs }) => timers.register(wallClockMs + Number(value), 'wallClock'),
      )
      .to('out', strings)
    return t
  }
  await stage.topics('in', 'out')
  await stage.say('in', ['a', '0'], ['b', String(later)], ['c', '86400000'])
  const disk = memoryDisk()
  const settings = { disk, fetchMaxWaitMs: 60_000 }
  const first = await stage.run(clocked, settings)
  await expect.poll(() => stage.read('out')).toEqual([['a', 'wallClock']])
  await first.close()
  const due = Date.now() + later
  await expect.poll(() => Date.now()).toBeGreaterThan(due)
  await stage.run(clocked, settings)
  await expect
    .poll(() => stage.read('out'))
    .toEqual([
      ['a', 'wallClock'],
      ['b', 'wallClock'],
    ])
})

describe('asked for in vain', () => {
  const failing = async (use: (t: Topology) => void): Promise<string | undefined> => {
    const wrong = (): Topology => {
      const t = new Topology('wrong')
      use(t)
      return t
    }
    await stage.topics('in', 'out')
    await stage.say('in', [null, 'v'])
    const { app } = await stage.run(wrong)
    const failed = () => app.health.tasks.find(({ error }) => error !== undefined)
    await expect.poll(() => failed()?.error?.cause).toBeDefined()
    return (failed()?.error?.cause as { code?: string } | undefined)?.code
  }
  const onTimer = (): void => {}

  test('by an operator without onTimer', async () => {
    const code = await failing((t) =>
      t.stream('in', strings).process('p', {}, (_, { timers }) => timers.register(1)),
    )
    expect(code).toBe('OPTION_INVALID')
  })

  test('for a record without a key', async () => {
    const code = await failing((t) =>
      t.stream('in', strings).process('p', { onTimer }, (_, { timers }) => timers.register(1)),
    )
    expect(code).toBe('TIMER_WITHOUT_KEY')
  })

  test('at no time', async () => {
    const code = await failing((t) =>
      t
        .stream('in', strings)
        .map((value) => ['k', value])
        .repartition('again', strings)
        .process('p', { onTimer }, (_, { timers }) => timers.register(0.5)),
    )
    expect(code).toBe('TIMESTAMP_INVALID')
  })

  test('behind a change of key', () => {
    const t = new Topology('wrong')
    const rekeyed = t.stream('in', strings).selectKey((value) => value)
    expect(() => (rekeyed as never as Stream<string, string>).process('p', { onTimer }, () => {})).toThrow(
      expect.objectContaining({ code: 'TOPOLOGY_INVALID' }),
    )
  })
})
