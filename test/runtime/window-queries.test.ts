/** Reads of windows and sessions by time, and backwards, from outside and in operators: of all kinds of regions. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  int64,
  sessionWindowed,
  sessionWindows,
  string,
  Topology,
  timeWindowed,
  tumblingWindows,
  Windowed,
} from '../../src/index.ts'
import type { Committed } from '../../src/runtime/query.ts'
import { TestDriver } from '../../src/testing/index.ts'
import { Stage, strings } from './stage.ts'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
})
afterEach(() => stage.close())

const keyedSessions = { key: sessionWindowed(string), value: int64 }
const keyed = { key: timeWindowed(string, { sizeMs: 10 }), value: string }

function built() {
  const t = new Topology('app')
  const stream = t.stream('in', strings)
  const windows = stream
    .groupByKey()
    .windowedBy(tumblingWindows({ sizeMs: 10, graceMs: 1_000 }))
    .count('windows', { retentionMs: 10_000 }).region
  const sessions = stream
    .groupByKey()
    .windowedBy(sessionWindows({ inactivityGapMs: 5, graceMs: 1_000 }))
    .count('sessions', { retentionMs: 10_000 }).region
  const last = t.region('last', strings)
  stream.toRegion(last)
  // Regions whose keys are windows, without time of their own.
  const plain = t.region('plain', keyed)
  t.stream('keyed', keyed).toRegion(plain)
  const global = t.globalRegion('global', { topic: 'keyed-global', ...keyed })
  const plainSessions = t.region('plain-sessions', keyedSessions)
  t.stream('keyed-sessions', keyedSessions).toRegion(plainSessions)
  return { t, windows, sessions, last, plain, global, plainSessions }
}

async function shown(entries: AsyncIterable<readonly [Windowed, unknown]>): Promise<string[]> {
  const all: string[] = []
  for await (const [{ key, windowStart, windowEnd }, value] of entries) {
    all.push(`${key} ${windowStart}-${windowEnd} ${value}`)
  }
  return all
}

const TOPICS = ['in', 'keyed', 'keyed-sessions', 'keyed-global']
const TIMES = [1, 12, 14, 33, 35, 51]

test('windows are read by time, for one key and for all, forwards and backwards', async () => {
  const { t, windows, sessions, last, plain, global, plainSessions } = built()
  for (const topic of TOPICS) {
    await stage.topics({ topic, partitions: 3, configs: { 'cleanup.policy': 'compact' } })
  }
  // One key is the beginning of the other. All windows of a key are in its partition, whoever writes them.
  const records = ['a', 'a\0'].flatMap((key) => TIMES.map((timestamp) => ({ key, value: 'x', timestamp })))
  const placed = records.map(({ key, timestamp }) => ({
    key: new Windowed(key, Math.floor(timestamp / 10) * 10, Math.floor(timestamp / 10) * 10 + 10),
    value: `${timestamp}`,
    timestamp,
  }))
  await stage.send('in', records, strings)
  for (const topic of ['keyed', 'keyed-global']) await stage.send(topic, placed, keyed)
  await stage.send(
    'keyed-sessions',
    [{ key: new Windowed('a', 10, 90), value: 1, timestamp: 90 }],
    keyedSessions,
  )
  const { app } = await stage.run(() => t)
  await stage.drained(() => t)

  const counts = ['a 0-10 1', 'a 10-20 2', 'a 30-40 2', 'a 50-60 1']
  const values = ['a 0-10 1', 'a 10-20 14', 'a 30-40 35', 'a 50-60 51']
  const other = (shown: readonly string[]): string[] => shown.map((text) => text.replace('a', 'a\0'))
  const check = async (region: Committed<typeof windows> | Committed<typeof plain>, all: string[]) => {
    expect(await shown(region.fetch('a', 10, 30))).toEqual(all.slice(1, 3))
    expect(await shown(region.fetch('a', 11, 29))).toEqual([])
    expect(await shown(region.fetch('a\0', 0, 1_000, { reverse: true }))).toEqual(other(all).reverse())
    const some = await shown(region.fetchAll(1, 30))
    expect(some.toSorted()).toEqual([...other(all).slice(1, 3), ...all.slice(1, 3)].toSorted())
    expect(some).toEqual((await shown(region.fetchAll(1, 30, { reverse: true }))).reverse())
    const last = await shown(region.fetchAll(31, 60, { reverse: true }))
    expect(last.toSorted()).toEqual([other(all)[3], all[3]].toSorted())
  }
  // What is committed is published a moment later.
  const there = async (of: AsyncIterable<readonly unknown[]>): Promise<number> => {
    let count = 0
    for await (const _ of of) count += 1
    return count
  }
  for (const region of [windows, sessions, plain]) {
    await expect.poll(() => there(app.region(region).range())).toBe(8)
  }
  await expect.poll(() => there(app.region(last).range())).toBe(2)
  await expect.poll(() => there(app.region(plainSessions).range())).toBe(1)
  await check(app.region(windows), counts)
  await check(app.region(plain), values)
  await check(app.region(global), values)

  const all = ['a 1-1 1', 'a 12-14 2', 'a 33-35 2', 'a 51-51 1']
  const found = app.region(sessions)
  expect(await shown(found.fetch('a', 14, 33))).toEqual(all.slice(1, 3))
  expect(await shown(found.fetch('a', 15, 32))).toEqual([])
  expect(await shown(found.fetch('a', 34, 34, { reverse: true }))).toEqual(all.slice(2, 3))
  expect(await shown(found.fetchAll(13, 13))).toEqual([...all.slice(1, 2), ...other(all).slice(1, 2)])
  expect(await shown(found.fetchAll(34, 100, { reverse: true }))).toEqual(
    [...all.slice(2), ...other(all).slice(2)].reverse(),
  )

  expect(await shown(app.region(plainSessions).fetch('a', 10, 20))).toEqual(['a 10-90 1'])
  expect(await shown(app.region(plainSessions).fetch('a', 11, 100))).toEqual([])

  const keys = async (of: AsyncIterable<readonly [string, string]>) => {
    const list: string[] = []
    for await (const [key] of of) list.push(key)
    return list
  }
  expect(await keys(app.region(last).prefix('a'))).toEqual(['a', 'a\0'])
  expect(await keys(app.region(last).prefix('a', { reverse: true }))).toEqual(['a\0', 'a'])
  expect(await keys(app.region(last).prefix('a', { reverse: true, limit: 1 }))).toEqual(['a\0'])
})

test('nothing that is not committed is read', async () => {
  const { t, windows, last } = built()
  for (const topic of TOPICS) {
    await stage.topics({ topic, configs: { 'cleanup.policy': 'compact' } })
  }
  const instance = await stage.run(() => t)
  await stage.send('in', [{ key: 'a', value: 'first', timestamp: 1 }], strings)
  await stage.drained(() => t)
  const region = instance.app.region(last)
  await expect.poll(() => region.get('a')).toBe('first')
  const held = Promise.withResolvers<void>()
  let isHeld = false
  instance.fates = ({ api }) => {
    if (api !== 'EndTxn') return 'pass'
    isHeld = true
    return { after: held.promise }
  }
  await stage.send('in', [{ key: 'a', value: 'second', timestamp: 2 }], strings)
  await expect.poll(() => isHeld).toBe(true)
  expect(await region.get('a')).toBe('first')
  expect(await shown(instance.app.region(windows).fetchAll(0, 100))).toEqual(['a 0-10 1'])
  expect(await shown(instance.app.region(windows).fetch('a', 0, 100))).toEqual(['a 0-10 1'])
  held.resolve()
  await expect.poll(() => region.get('a')).toBe('second')
  expect(await shown(instance.app.region(windows).fetchAll(0, 100))).toEqual(['a 0-10 2'])
})

test('operators and the test driver read the same', async () => {
  const topology = new Topology('app')
  const seen = topology.windowRegion('seen', { ...strings, sizeMs: 10, retentionMs: 1_000 })
  const read: string[][] = []
  topology.stream('in', strings).process('look', { regions: [seen] }, async ({ key, timestamp }, context) => {
    context.seen.put(new Windowed(key, timestamp, timestamp + 10), 'x')
    read.push(await shown(context.seen.fetchAll(0, 100, { reverse: true })))
  })
  topology.fromRegion(seen).mapValuesAsync(
    'ask',
    async (_, __, context) => {
      read.push(await shown(context.seen.fetchAll(0, 100)))
      return 0
    },
    { regions: [seen] },
  )
  await using driver = await TestDriver.create(topology)
  const input = driver.createInputTopic('in', strings)
  await input.pipeInput('b', 'x', { timestamp: 1 })
  await input.pipeInput('a', 'x', { timestamp: 2 })
  const all = ['a 2-12 x', 'b 1-11 x']
  expect(read).toEqual([['b 1-11 x'], ['b 1-11 x'], all.toReversed(), all])
  expect(await shown(driver.region(seen).fetchAll(0, 1))).toEqual(['b 1-11 x'])
  expect(await shown(driver.region(seen).fetch('a', 0, 5, { reverse: true }))).toEqual(['a 2-12 x'])
})
