/** `maxOutOfOrdernessMs`: all time is so much behind the newest timestamp. */
import { expect, test } from 'vitest'
import {
  bytes,
  hoppingWindows,
  int64,
  joinWindows,
  type Stream,
  sessionWindows,
  slidingWindows,
  string,
  Topology,
  tumblingWindows,
  untilWindowCloses,
} from '../../src/index.ts'
import { TestDriver } from '../../src/testing/index.ts'
import { SeededRandom } from '../../src/testing/seeded-random.ts'
import { strings } from './stage.ts'

const LAG = 30
const GRACE = 5

/** What comes out, record by record. `graceMs` is the operator's. */
type Build = (stream: Stream<string, string>, topology: Topology, graceMs: number) => void

const counts = (stream: Stream<string, string>) => stream.groupByKey()
const bySize = { sizeMs: 20 }

const OPERATORS: Readonly<Record<string, Build>> = {
  'tumbling windows': (stream, _, graceMs) =>
    counts(stream)
      .windowedBy(tumblingWindows({ ...bySize, graceMs }))
      .count('c')
      .toStream()
      .to('out'),
  'tumbling windows, on close': (stream, _, graceMs) =>
    counts(stream)
      .windowedBy(tumblingWindows({ ...bySize, graceMs }))
      .emitStrategy('onWindowClose')
      .count('c')
      .toStream()
      .to('out'),
  'hopping windows': (stream, _, graceMs) =>
    counts(stream)
      .windowedBy(hoppingWindows({ ...bySize, advanceMs: 7, graceMs }))
      .count('c')
      .toStream()
      .to('out'),
  'sliding windows': (stream, _, graceMs) =>
    counts(stream)
      .windowedBy(slidingWindows({ timeDifferenceMs: 20, graceMs }))
      .count('c')
      .toStream()
      .to('out'),
  'sliding windows, on close': (stream, _, graceMs) =>
    counts(stream)
      .windowedBy(slidingWindows({ timeDifferenceMs: 20, graceMs }))
      .emitStrategy('onWindowClose')
      .count('c')
      .toStream()
      .to('out'),
  sessions: (stream, _, graceMs) =>
    counts(stream)
      .windowedBy(sessionWindows({ inactivityGapMs: 4, graceMs }))
      .count('c')
      .toStream()
      .to('out'),
  'sessions, on close': (stream, _, graceMs) =>
    counts(stream)
      .windowedBy(sessionWindows({ inactivityGapMs: 4, graceMs }))
      .emitStrategy('onWindowClose')
      .count('c')
      .toStream()
      .to('out'),
  suppress: (stream, _, graceMs) =>
    counts(stream)
      .windowedBy(tumblingWindows({ ...bySize, graceMs }))
      .count('c')
      .suppress('final', untilWindowCloses())
      .toStream()
      .to('out'),
  'outer join': (stream, topology, graceMs) =>
    stream
      .outerJoin(
        topology.stream('other', strings),
        (left, right) => `${left}+${right}`,
        joinWindows({ timeDifferenceMs: 10, graceMs }),
        { name: 'j' },
      )
      .to('out', strings),
  deduplicate: (stream, _, graceMs) =>
    stream.deduplicate('d', { by: (value) => value.slice(0, 1), withinMs: 10, graceMs }).to('out', strings),
}

/** Of a stream that goes back by up to 60 ms. */
async function outputs(build: Build, maxOutOfOrdernessMs: number, graceMs: number): Promise<string[]> {
  const t = new Topology('lagging', { maxOutOfOrdernessMs })
  build(t.stream('in', strings), t, graceMs)
  await using driver = await TestDriver.create(t, { topics: [{ topic: 'other' }] })
  const inputs = ['in', 'other'].map((topic) =>
    driver.createInputTopic(topic, { ...strings, waitForIdle: false }),
  )
  const random = new SeededRandom(7)
  for (let n = 0; n < 150; n++) {
    const value = `${String.fromCharCode(97 + random.below(3))}${n}`
    const timestamp = 1_000 + n * 3 - random.below(60)
    await inputs[random.below(2)]?.pipeInput(`k${random.below(3)}`, value, { timestamp })
  }
  const records = await driver.createOutputTopic('out', { key: bytes, value: bytes }).readRecordsToList()
  return records.map(
    ({ key, value, timestamp }) =>
      `${Buffer.from(key).toString('hex')} ${Buffer.from(value ?? '').toString('hex')} ${timestamp}`,
  )
}

test.each(Object.entries(OPERATORS))('%s: waits as with so much more grace', async (_, build) => {
  const lagging = await outputs(build, LAG, GRACE)
  expect(lagging).toEqual(await outputs(build, 0, GRACE + LAG))
  expect(lagging).not.toEqual(await outputs(build, 0, GRACE))
})

test('timers and punctuation wait too', async () => {
  const t = new Topology('lagging', { maxOutOfOrdernessMs: LAG })
  t.stream('in', strings)
    .process(
      'alarm',
      { value: int64, onTimer: ({ key, timestampMs }, { forward }) => forward(key, timestampMs) },
      ({ key, timestamp, value }, { timers, streamTimeMs, forward }) => {
        if (value === 'set') timers.register(timestamp + 10)
        else forward(key, streamTimeMs)
      },
    )
    .to('out', { key: string, value: int64 })
  await using driver = await TestDriver.create(t)
  const input = driver.createInputTopic('in', strings)
  const output = driver.createOutputTopic('out', { key: string, value: int64 })
  await input.pipeInput('a', 'set', { timestamp: 100 })
  await input.pipeInput('a', 'ask', { timestamp: 139 })
  expect(await output.readValuesToList()).toEqual([109])
  await input.pipeInput('a', 'ask', { timestamp: 140 })
  expect(await output.readValuesToList()).toEqual([110, 110])
})

test('has to be a time', () => {
  expect(() => new Topology('lagging', { maxOutOfOrdernessMs: -1 })).toThrow(
    expect.objectContaining({ code: 'OPTION_INVALID' }),
  )
})
