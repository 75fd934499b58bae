import {
  hoppingWindows,
  int64,
  sessionWindows,
  string,
  tumblingWindows,
  untilTimeLimit,
  untilWindowCloses,
  type Windowed,
} from '../../../src/index.ts'
import type { Family } from '../build.ts'
import { int, ints, type Text, text, texts } from '../text.ts'

/** The recordings keep windows for a day. */
const retentionMs = 86_400_000

const tumbling5 = tumblingWindows({ sizeMs: 5_000, graceMs: 2_000 })

export const suppression: Family = {
  'suppress-window-close': (t) =>
    t
      .stream('in', ints)
      .groupByKey()
      .windowedBy(tumbling5)
      .count('counts', { retentionMs })
      .suppress('final', untilWindowCloses())
      .toStream()
      .to('out'),

  'suppress-window-close-hopping': (t) =>
    t
      .stream('in', ints)
      .groupByKey()
      .windowedBy(hoppingWindows({ sizeMs: 10_000, advanceMs: 4_000, graceMs: 1_000 }))
      .count('counts', { retentionMs })
      .suppress('final', untilWindowCloses())
      .toStream()
      .to('out'),

  'suppress-session-close': (t) =>
    t
      .stream('in', ints)
      .groupByKey()
      .windowedBy(sessionWindows({ inactivityGapMs: 3_000, graceMs: 2_000 }))
      .count('counts')
      .suppress('final', untilWindowCloses())
      .toStream()
      .to('out'),

  'suppress-time-limit': (t) =>
    t
      .stream('in', ints)
      .groupByKey()
      .count('counts')
      .suppress('slow', untilTimeLimit({ limitMs: 5_000 }))
      .toStream()
      .to('out'),

  'suppress-time-limit-max-records': (t) =>
    t
      .stream('in', ints)
      .groupByKey()
      .count('counts')
      .suppress('slow', untilTimeLimit({ limitMs: 20_000, maxRecords: 3 }))
      .toStream()
      .to('out'),

  'suppress-table-tombstones': (t) =>
    t
      .table('in', ints)
      .filter((value) => (value as number) % 2 === 0)
      .suppress('slow', untilTimeLimit({ limitMs: 3_000 }))
      .toStream()
      .to('out'),

  'suppress-windowed-time-limit': (t) =>
    t
      .stream('in', ints)
      .groupByKey()
      .windowedBy(tumbling5)
      .count('counts', { retentionMs })
      .suppress('slow', untilTimeLimit({ limitMs: 2_000 }))
      .toStream()
      .to('out'),

  'headers-suppress': (t) =>
    t
      .stream('in', ints)
      .groupByKey()
      .windowedBy(tumbling5)
      .count('counts', { retentionMs })
      .suppress('final', untilWindowCloses())
      .toStream()
      .to('out'),

  'chain-enrich-window': (t) =>
    t
      .stream('s', ints)
      .filter((value) => value !== null && value > 0)
      .join(t.table('t', texts), (value, region) => `${region}:${value}`)
      .groupBy('by-region', (value): Text => (value.split(':') as [string])[0], { key: text, value: string })
      .windowedBy(tumblingWindows({ sizeMs: 10_000, graceMs: 3_000 }))
      .aggregate(
        'sums',
        () => 0,
        (total, value) => total + Number(value.split(':')[1]),
        { value: int64 },
      )
      .suppress('final', untilWindowCloses())
      .toStream()
      .to('out'),

  'chain-windowed-regroup': (t) =>
    t
      .stream('in', ints)
      .groupByKey()
      .windowedBy(tumbling5)
      .count('counts', { retentionMs })
      .groupBy('by-window', (count, { windowStart }: Windowed<Text>) => [`w${windowStart}`, count] as const, {
        key: text,
        value: int,
      })
      .aggregate(
        'totals',
        () => 0,
        (total, count) => total + (count as number),
        (total, count) => total - (count as number),
        { value: int64 },
      )
      .toStream()
      .to('out'),
}
