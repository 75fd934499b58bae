/** Streams that are aggregated together in windows, one far ahead of the other. */
import { describe, expect, test } from 'vitest'
import { int64, sessionWindows, slidingWindows, string, Topology, tumblingWindows } from '../../src/index.ts'
import { TestDriver } from '../../src/testing/index.ts'

const serdes = { key: string, value: int64 }
const plus = (sum: number) => sum + 1

const cogrouped = (t: Topology) =>
  t.stream('slow', serdes).groupByKey().cogroup(plus).cogroup(t.stream('fast', serdes).groupByKey(), plus)

const kinds = {
  tumbling: (t: Topology, retentionMs: number) =>
    cogrouped(t)
      .windowedBy(tumblingWindows({ sizeMs: 10, graceMs: 5 }))
      .aggregate('sums', () => 0, { value: int64, retentionMs }),
  sliding: (t: Topology, retentionMs: number) =>
    cogrouped(t)
      .windowedBy(slidingWindows({ timeDifferenceMs: 10, graceMs: 5 }))
      .aggregate('sums', () => 0, { value: int64, retentionMs }),
  session: (t: Topology, retentionMs: number) =>
    cogrouped(t)
      .windowedBy(sessionWindows({ inactivityGapMs: 10, graceMs: 5 }))
      .aggregate(
        'sums',
        () => 0,
        (sum, other) => sum + other,
        { value: int64, retentionMs },
      ),
}

const run = async (kind: keyof typeof kinds, retentionMs: number) => {
  const topology = () => {
    const t = new Topology('sums', { onLate: { deadLetter: 'dead' } })
    kinds[kind](t, retentionMs)
      .toStream()
      .map((sum, { key }) => [key, sum ?? 0] as const)
      .to('out', serdes)
    return t
  }
  await using driver = await TestDriver.create(topology)
  const slow = driver.createInputTopic('slow', serdes)
  await slow.pipeInput('a', 1, { timestamp: 101 })
  await driver.createInputTopic('fast', serdes).pipeInput('b', 1, { timestamp: 400 })
  await slow.pipeInput('a', 1, { timestamp: 101 })
  return {
    results: await driver.createOutputTopic('out', serdes).readKeyValuesToList(),
    letters: (await driver.createOutputTopic('dead', serdes).readRecordsToList()).length,
    late: driver.instances[0].health.tasks.reduce((sum, task) => sum + task.late, 0),
  }
}

describe.each(Object.keys(kinds) as (keyof typeof kinds)[])('%s windows', (kind) => {
  test('are added to by a stream that was left behind, for as long as they are kept', async () => {
    expect(await run(kind, 1_000)).toEqual({
      results: [
        ['a', 1],
        ['b', 1],
        ['a', 2],
      ],
      letters: 0,
      late: 0,
    })
  })

  test('that are no longer kept do not begin anew: the record is late', async () => {
    expect(await run(kind, 100)).toEqual({
      results: [
        ['a', 1],
        ['b', 1],
      ],
      letters: 1,
      late: 1,
    })
  })
})
