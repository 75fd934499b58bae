/** Changelogs of windows: what retention hides is deleted from them, nothing else, and restores know it. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { int64, memoryDisk, string, Topology, timeWindowed, tumblingWindows } from '../../src/index.ts'
import { listOffsets } from '../../src/kafka/topics.ts'
import type { InstanceOptions } from './instance.ts'
import { type Sent, Stage } from './stage.ts'

const CHANGELOG = { topic: 'job-counts-changelog', partition: 0 }

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
})

afterEach(async () => {
  await stage.close()
})

const serdes = { key: string, value: int64 }

const topology = (): Topology => {
  const t = new Topology('job')
  t.stream('in', serdes)
    .groupByKey()
    .windowedBy(tumblingWindows({ sizeMs: 10, graceMs: 0 }))
    .count('counts', { retentionMs: 40 })
    .toStream()
    .to('out')
  return t
}

const run = (options: Partial<InstanceOptions> = {}) =>
  stage.run(topology, { repartitionPurgeIntervalMs: 5, ...options })

/** Each in a commit of its own. */
async function send(...times: number[]): Promise<void> {
  for (const timestamp of times) {
    const record: Sent<string, number> = { key: 'a', value: 1, timestamp }
    await stage.send('in', [record], serdes)
    await stage.drained(topology)
  }
}

const logStart = async (): Promise<number> =>
  (await listOffsets(stage.cluster, [CHANGELOG], 'earliest')).get('job-counts-changelog/0') as number

const lastResult = async (): Promise<readonly [number, number]> => {
  const key = timeWindowed(string, { sizeMs: 10 })
  const [windowed, count] = (await stage.read('out', { key, value: int64 })).at(-1) as never as [
    { windowStart: number },
    number,
  ]
  return [windowed.windowStart, count]
}

const TIMES = [5, 15, 25, 35, 45, 55, 65, 75, 85, 95, 100]

test('what is over is deleted, and a restore from what is left has all that counts', async () => {
  await stage.topics('in', 'out')
  const before = await run()
  await send(...TIMES)
  await expect.poll(logStart).toBeGreaterThan(0)
  before.crash()
  const after = await run({ disk: memoryDisk() })
  await send(30, 96, 101)
  expect(after.app.health.tasks[0]?.late).toBe(2)
  expect(await lastResult()).toEqual([100, 2])
})

test('a directory from before may begin where the changelog no longer reaches', async () => {
  await stage.topics('in', 'out')
  const first = await run()
  await send(5, 15)
  first.crash()
  const second = await run({ disk: memoryDisk() })
  await send(...TIMES.slice(2))
  await expect.poll(logStart).toBeGreaterThan(8)
  second.crash()
  const third = await run({ disk: first.disk })
  await send(102)
  expect(third.logged('moved aside')).toBe(false)
  expect(await lastResult()).toEqual([100, 2])
})

test('what somebody else has deleted is missed', async () => {
  await stage.topics('in', 'out')
  const before = await run({ repartitionPurgeIntervalMs: 1_000_000 })
  await send(...TIMES)
  before.crash()
  const end = (await listOffsets(stage.cluster, [CHANGELOG], 'latest')).get(
    'job-counts-changelog/0',
  ) as number
  const partitions = [{ ...CHANGELOG, offset: end - 4 }]
  await stage.ask(CHANGELOG, { api: 'DeleteRecords', partitions, timeoutMs: 1_000 })
  const { app } = await run({ disk: memoryDisk() })
  expect(app.health.tasks[0]?.error?.code).toBe('CHANGELOG_TRUNCATED')
})

test('deletion is never by age', async () => {
  const changelog = { topic: CHANGELOG.topic, configs: { 'cleanup.policy': 'compact,delete' } }
  await stage.topics('in', 'out', changelog)
  await expect(run()).rejects.toThrow(expect.objectContaining({ code: 'TOPIC_SETTINGS' }))
})

test('a changelog that is compacted alone will do', async () => {
  await stage.topics('in', 'out', { topic: CHANGELOG.topic, configs: { 'cleanup.policy': 'compact' } })
  const instance = await run()
  await send(...TIMES)
  await expect.poll(() => instance.logged('Kafka refuses to delete')).toBe(true)
  expect(await logStart()).toBe(0)
})
