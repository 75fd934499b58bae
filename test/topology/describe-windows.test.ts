/** Windows, cogroups and suppressions as text. */
import { expect, test } from 'vitest'
import {
  int64,
  sessionWindows,
  string,
  Topology,
  tumblingWindows,
  untilWindowCloses,
} from '../../src/index.ts'

const serdes = { key: string, value: int64 }

test('windows that are suppressed', () => {
  const t = new Topology('minutes')
  t.stream('in', serdes)
    .groupByKey()
    .windowedBy(tumblingWindows({ sizeMs: 60_000, graceMs: 0 }))
    .count('counts')
    .suppress('final', untilWindowCloses())
    .toStream()
    .to('out')
  expect(t.describe()).toMatchInlineSnapshot(`
    "Topology minutes
      Sub-topology 0
        Source from-in-0 (topics: in; key: string, value: int64)
          --> counts
        Operator counts: timeWindowAggregate (regions: counts)
          --> final
        Operator final: suppress (regions: final)
          --> to-out-3
        Sink to-out-3 (topic: out; key: windowed(string, 60000), value: int64)
        Region counts (changelog: minutes-counts-changelog, persistent; key: window(string, 60000), value: int64)
        Region final (changelog: minutes-final-changelog, persistent; key: buffered(windowed(string, 60000)), value: buffered(int64))
    "
  `)
})

test('several streams in sessions', () => {
  const t = new Topology('together')
  const add = (sum: number, value: number): number => sum + value
  t.stream('a', serdes)
    .groupByKey()
    .cogroup(add)
    .cogroup(t.stream('b', serdes).groupByKey(), add)
    .windowedBy(sessionWindows({ inactivityGapMs: 10, graceMs: 0 }))
    .aggregate('sums', () => 0, add, { value: int64 })
    .toStream()
    .to('out')
  expect(t.describe()).toMatchInlineSnapshot(`
    "Topology together
      Sub-topology 0
        Source from-a-0 (topics: a; key: string, value: int64)
          --> sums-input-2
        Source from-b-1 (topics: b; key: string, value: int64)
          --> sums-input-3
        Operator sums-input-2: sessionWindowAggregate (regions: sums)
          --> sums
        Operator sums-input-3: sessionWindowAggregate (regions: sums)
          --> sums
        Operator sums: cogroup
          --> to-out-5
        Sink to-out-5 (topic: out; key: session(string), value: int64)
        Region sums (changelog: together-sums-changelog, persistent; key: session(string), value: int64)
    "
  `)
})
