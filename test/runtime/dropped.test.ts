/** Records that are left out are counted, each once by each operator that has no use for it. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  joinWindows,
  type Stream,
  sessionWindows,
  slidingWindows,
  string,
  Topology,
  tumblingWindows,
} from '../../src/index.ts'
import { Stage, strings } from './stage.ts'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
})

afterEach(() => stage.close())

interface Case {
  readonly build: (stream: Stream<string, string>, topology: Topology) => unknown
  /** Of one record without key, one without value, and a whole one. */
  readonly dropped: number
}

const joiner = (left: string | null, right: string | null): string => `${left}${right}`
const pair = joinWindows({ timeDifferenceMs: 10, graceMs: 0 })
const other = (t: Topology): Stream<string, string> => t.stream('other', strings)

const CASES: Readonly<Record<string, Case>> = {
  count: { build: (stream) => stream.groupByKey().count('c'), dropped: 2 },
  'tumbling windows': {
    build: (stream) =>
      stream
        .groupByKey()
        .windowedBy(tumblingWindows({ sizeMs: 10, graceMs: 0 }))
        .count('c'),
    dropped: 1,
  },
  'sliding windows': {
    build: (stream) =>
      stream
        .groupByKey()
        .windowedBy(slidingWindows({ timeDifferenceMs: 10, graceMs: 0 }))
        .count('c'),
    dropped: 2,
  },
  sessions: {
    build: (stream) =>
      stream
        .groupByKey()
        .windowedBy(sessionWindows({ inactivityGapMs: 10, graceMs: 0 }))
        .count('c'),
    dropped: 1,
  },
  table: { build: (_, t) => t.table('rows', { ...strings, name: 'r' }), dropped: 1 },
  toRegion: { build: (stream, t) => stream.toRegion(t.region('own', strings)), dropped: 1 },
  repartition: { build: (stream) => stream.repartition('anew').foreach(() => {}), dropped: 1 },
  'join of streams': { build: (stream, t) => stream.join(other(t), joiner, pair, { name: 'j' }), dropped: 2 },
  'left join of streams': {
    build: (stream, t) => stream.leftJoin(other(t), joiner, pair, { name: 'j' }),
    dropped: 1,
  },
  'join with a table': {
    build: (stream, t) => stream.join(t.table('other', { ...strings, name: 'o' }), joiner),
    dropped: 2,
  },
  'left join with a table': {
    build: (stream, t) => stream.leftJoin(t.table('other', { ...strings, name: 'o' }), joiner),
    dropped: 1,
  },
  'a failure that is skipped': {
    build: (stream) =>
      stream.foreach((value) => {
        if (value === 'v') throw new Error('as it was told to')
      }),
    dropped: 1,
  },
  'a time that says so': {
    build: (_, t) => t.stream('rows', { ...strings, timestamp: (value) => (value === 'v' ? -1 : 1) }),
    dropped: 1,
  },
  'a repartition in front of a left join': {
    build: (stream, t) =>
      stream.repartition('anew').leftJoin(t.table('other', { ...strings, name: 'o' }), joiner),
    dropped: 1,
  },
  nobody: { build: (stream) => stream.mapValues((value) => value), dropped: 0 },
}

test.each(Object.entries(CASES))('by %s', async (_, { build, dropped }) => {
  const topology = (): Topology => {
    const t = new Topology('dropping', { onFailure: 'skip' })
    build(t.stream('in', strings), t)
    return t
  }
  await stage.topics('in', 'rows', 'other')
  const { app } = await stage.run(topology)
  for (const topic of ['in', 'rows']) {
    await stage.send(
      topic,
      [
        { key: null, value: 'a', timestamp: 1 },
        { key: 'k', value: null, timestamp: 1 },
        { key: 'k', value: 'v', timestamp: 1 },
      ],
      { key: string, value: string },
    )
  }
  await stage.drained(topology)
  const { tasks } = app.health
  expect(tasks.reduce((sum, task) => sum + task.dropped, 0)).toBe(dropped)
  expect(tasks.reduce((sum, task) => sum + task.late, 0)).toBe(0)
})
