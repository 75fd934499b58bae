/** Joins of streams beyond what was recorded: restarts, idle time, failures, refusals. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  type JoinWindows,
  joinWindows,
  memoryDisk,
  type Stream,
  string,
  Topology,
  type TopologyOptions,
} from '../../src/index.ts'
import { Stage, strings } from '../runtime/stage.ts'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
})

afterEach(() => stage.close())

const WINDOWS = joinWindows({ timeDifferenceMs: 1_000, graceMs: 500 })

const joined =
  (windows: JoinWindows = WINDOWS, options: TopologyOptions = {}) =>
  (): Topology => {
    const t = new Topology('joining', options)
    t.stream('l', strings)
      .outerJoin(
        t.stream('r', strings),
        (left, right) => {
          if (left === 'bad' || right === 'bad') throw new Error('as it was told to')
          return `${left}+${right}`
        },
        windows,
        { name: 'pairs' },
      )
      .to('out', { value: string })
    return t
  }

const say = async (topic: string, ...records: (readonly [value: string, timestamp: number])[]) => {
  const sent = records.map(([value, timestamp]) => ({ key: 'k', value, timestamp }))
  await stage.send(topic, sent, strings)
}
const out = async () => (await stage.records('out')).map(({ value, timestamp }) => [value, timestamp])

test('what waits for a match outlives its process, and so does stream time', async () => {
  await stage.topics('l', 'r', 'out')
  const disk = memoryDisk()
  await say('l', ['a', 1_000], ['b', 4_000])
  const first = await stage.run(joined(), { disk })
  await stage.drained(joined())
  expect(await out()).toEqual([['a+null', 1_000]])
  first.crash()
  // On time for b, late for everything else: it is joined with what is there, and has its result at once.
  await say('r', ['x', 4_500], ['y', 2_000])
  const second = await stage.run(joined(), { disk })
  await stage.drained(joined())
  second.crash()
  await say('l', ['c', 9_000], ['d', 12_000])
  await stage.run(joined())
  await stage.drained(joined())
  expect(await out()).toEqual([
    ['a+null', 1_000],
    ['b+x', 4_500],
    ['null+y', 2_000],
    ['c+null', 9_000],
  ])
})

test('a record that is late within grace waits, and gives one result', async () => {
  // Kafka Streams gives null at once, and the match as well.
  await stage.topics('l', 'r', 'out')
  await stage.run(joined())
  for (const [topic, value, timestamp] of [
    ['r', 'now', 5_000],
    ['l', 'late', 3_900],
    ['r', 'later', 4_000],
    ['l', 'on', 9_000],
  ] as const) {
    await say(topic, [value, timestamp])
    await stage.drained(joined())
  }
  expect(await out()).toEqual([
    ['late+later', 4_000],
    ['null+now', 5_000],
  ])
})

test('windows close without records where the topology lets time go on', async () => {
  await stage.topics('l', 'r', 'out')
  await say('l', ['a', 1_000])
  await stage.run(joined(joinWindows({ timeDifferenceMs: 100, graceMs: 50 }), { idleAfterMs: 20 }))
  await expect.poll(out).toEqual([['a+null', 1_000]])
})

test('a joiner that fails takes back what its record has done', async () => {
  await stage.topics('l', 'r', 'out')
  const topology = joined(WINDOWS, { onFailure: 'skip' })
  await stage.run(topology)
  for (const [topic, value, timestamp] of [
    ['l', 'a', 1_000],
    ['r', 'bad', 1_100],
    ['r', 'x', 1_200],
    ['l', 'b', 1_300],
  ] as const) {
    await say(topic, [value, timestamp])
    await stage.drained(topology)
  }
  // Neither is it there to be joined with, nor has it ended the wait of the other.
  expect(await out()).toEqual([
    ['a+x', 1_200],
    ['b+x', 1_300],
  ])
})

test('both sides in memory', async () => {
  const topology = (): Topology => {
    const t = new Topology('joining')
    t.stream('l', strings)
      .join(t.stream('r', strings), (left, right) => left + right, WINDOWS, {
        name: 'pairs',
        store: 'memory',
      })
      .to('out', { value: string })
    return t
  }
  await stage.topics('l', 'r', 'out')
  await say('l', ['a', 1_000])
  const first = await stage.run(topology)
  await stage.drained(topology)
  await first.close()
  await say('r', ['x', 1_500])
  await stage.run(topology)
  await stage.drained(topology)
  expect(await out()).toEqual([['ax', 1_500]])
})

describe('refused', () => {
  const t = (): Topology => new Topology('refused')

  test.each([
    [{ timeDifferenceMs: -1, graceMs: 0 }],
    [{ timeDifferenceMs: 1, graceMs: 0.5 }],
    [{ beforeMs: Number.NaN, afterMs: 1, graceMs: 0 }],
  ])('windows %j', (options) => {
    expect(() => joinWindows(options)).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
  })

  test('a stream whose keys may have changed', () => {
    const topology = t()
    const left = topology.stream('l', strings)
    const right = topology.stream('r', strings).selectKey((value) => value) as never as Stream<string, string>
    expect(() => left.join(right, (a) => a, WINDOWS, { name: 'pairs' })).toThrow(
      /join 'pairs' needs records of one key in one task/,
    )
  })

  test('a value whose serde is not known', () => {
    const topology = t()
    const left = topology.stream('l', strings).mapValues((value) => value.length)
    expect(() => left.join(topology.stream('r', strings), (a) => a, WINDOWS, { name: 'pairs' })).toThrow(
      /join 'pairs' does not know the value serde/,
    )
  })

  test('topics with different counts of partitions', async () => {
    await stage.topics({ topic: 'l', partitions: 2 }, { topic: 'r', partitions: 3 }, 'out')
    await expect(stage.instance(joined()).start()).rejects.toMatchObject({ code: 'TOPIC_PARTITIONS' })
  })
})
