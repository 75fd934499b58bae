/** Tables that are made of tables of windows: their windows close as those do. */
import { expect, test } from 'vitest'
import {
  int64,
  string,
  type Table,
  Topology,
  timeWindowed,
  tumblingWindows,
  untilWindowCloses,
  type Windowed,
} from '../../src/index.ts'
import { TestDriver } from '../../src/testing/index.ts'

const figures = { key: string, value: int64 }
const key = timeWindowed(string, { sizeMs: 10 })

type Sums = Table<string, Windowed<string>, number>

const sums = (t: Topology, topic: string, graceMs: number): Sums =>
  t
    .stream(topic, figures)
    .groupByKey()
    .windowedBy(tumblingWindows({ sizeMs: 10, graceMs }))
    .reduce(`sum-${topic}`, (sum, value) => sum + value)

const MADE: Readonly<
  Record<string, (left: Sums, right: Sums) => Table<string | undefined, Windowed<string>, number>>
> = {
  'a join': (left, right) => left.join(right, (a, b) => a + b),
  'a join that is kept': (left, right) =>
    left.outerJoin(right, (a, b) => (a ?? 0) + (b ?? 0), { name: 'both', value: int64 }),
  'transformed values': (left, right) =>
    left
      .join(right, (a, b) => a + b, { name: 'both', value: int64 })
      .transformValues('same', { value: int64 }, (value) => value),
  'a grouping by the same windows': (left, right) =>
    left
      .join(right, (a, b) => a + b, { name: 'both', value: int64 })
      .groupBy('again', (value, of) => [of, value], { key, value: int64 })
      .reduce(
        'grouped',
        (a, b) => a + b,
        (a, b) => a - b,
      ),
  'a stream of a table, aggregated by its windows': (left, right) =>
    left
      .join(right, (a, b) => a + b, { name: 'both', value: int64 })
      .toStream()
      .mapValues((value) => value ?? 0)
      .groupByKey()
      .reduce('last', (_, value) => value, { value: int64 }),
}

for (const [what, make] of Object.entries(MADE)) {
  test(`${what} is held back until the later of the windows closes`, async () => {
    const t = new Topology('windows')
    make(sums(t, 'left', 0), sums(t, 'right', 7))
      .suppress('final', untilWindowCloses(), { value: int64 })
      .toStream()
      .map((value, { key: of, windowStart }) => [of, [windowStart, value].join(': ')] as const)
      .to('out', { key: string, value: string })
    await using driver = await TestDriver.create(t)
    const left = driver.createInputTopic('left', figures)
    const right = driver.createInputTopic('right', figures)
    const out = driver.createOutputTopic('out', { key: string, value: string })
    await left.pipeInput('a', 1, { timestamp: 1 })
    await right.pipeInput('a', 10, { timestamp: 2 })
    await left.pipeInput('a', 2, { timestamp: 3 })
    // The next window, in which both are needed, moves the time of the join.
    await left.pipeInput('a', 5, { timestamp: 16 })
    await right.pipeInput('a', 5, { timestamp: 16 })
    expect(await out.readValuesToList()).toEqual([])
    await right.pipeInput('a', 5, { timestamp: 17 })
    expect(await out.readValuesToList()).toEqual(['0: 13'])
  })
}

test('a table of which one side has no windows that close is refused', () => {
  const t = new Topology('windows')
  const of = t.table('windows', { key, value: int64 })
  const joined = sums(t, 'left', 0).join(of, (a, b) => a + b)
  expect(() => joined.suppress('final', untilWindowCloses(), { value: int64 })).toThrow(
    "'final' waits until windows close, but its table does not come from an aggregation in windows",
  )
})
