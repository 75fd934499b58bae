import {
  hoppingWindows,
  type Stream,
  sessionWindows,
  slidingWindows,
  tumblingWindows,
} from '../../../src/index.ts'
import type { Family } from '../build.ts'
import { type Int, int, ints, type Text, text, texts } from '../text.ts'

/** The recordings keep windows for a day, but sessions no longer than needed. */
const retentionMs = 86_400_000

export const add = (total: Int, value: Int): number => (total as number) + (value as number)
export const last30 = (list: string): string => list.slice(-30)

const isThere = (value: Int): boolean => value !== null

const tumbling5 = tumblingWindows({ sizeMs: 5_000, graceMs: 2_000 })

const onlyThere = (stream: Stream<Text, Int>): Stream<Text, Int> => stream.filter(isThere)

export const windows: Family = {
  'tumbling-count-grace': (t) =>
    t
      .stream('in', ints)
      .groupByKey()
      .windowedBy(tumbling5)
      .count('counts', { retentionMs })
      .toStream()
      .to('out'),

  'tumbling-count-no-grace': (t) =>
    t
      .stream('in', ints)
      .groupByKey()
      .windowedBy(tumblingWindows({ sizeMs: 5_000, graceMs: 0 }))
      .count('counts', { retentionMs })
      .toStream()
      .to('out'),

  'tumbling-aggregate': (t) =>
    t
      .stream('in', texts)
      .filter((value) => value !== null)
      .groupByKey()
      .windowedBy(tumblingWindows({ sizeMs: 10_000, graceMs: 3_000 }))
      .aggregate(
        'agg',
        () => '',
        (list, value) => last30(`${list},${value}`),
        { value: text, retentionMs },
      )
      .toStream()
      .to('out'),

  'tumbling-reduce': (t) =>
    onlyThere(t.stream('in', ints))
      .groupByKey()
      .windowedBy(tumblingWindows({ sizeMs: 10_000, graceMs: 3_000 }))
      .reduce('sums', (total, value) => (add(total, value) % 5 === 0 ? null : add(total, value)), {
        retentionMs,
      })
      .toStream()
      .to('out'),

  'hopping-count-grace': (t) =>
    t
      .stream('in', ints)
      .groupByKey()
      .windowedBy(hoppingWindows({ sizeMs: 10_000, advanceMs: 4_000, graceMs: 2_000 }))
      .count('counts', { retentionMs })
      .toStream()
      .to('out'),

  'hopping-aggregate': (t) =>
    onlyThere(t.stream('in', ints))
      .groupBy('parity', (value): Text => ((value as number) % 2 === 0 ? 'even' : 'odd'))
      .windowedBy(hoppingWindows({ sizeMs: 6_000, advanceMs: 2_000, graceMs: 1_000 }))
      .aggregate('sums', () => 0 as Int, add, { value: int, retentionMs })
      .toStream()
      .to('out'),

  'sliding-count': (t) =>
    t
      .stream('in', ints)
      .groupByKey()
      .windowedBy(slidingWindows({ timeDifferenceMs: 4_000, graceMs: 2_000 }))
      .count('counts', { retentionMs })
      .toStream()
      .to('out'),

  'sliding-aggregate': (t) =>
    t
      .stream('in', texts)
      .groupByKey()
      .windowedBy(slidingWindows({ timeDifferenceMs: 3_000, graceMs: 5_000 }))
      .aggregate(
        'agg',
        () => '',
        (list, value) => last30(`${list},${value}`),
        { value: text, retentionMs },
      )
      .toStream()
      .to('out'),

  'session-count': (t) =>
    t
      .stream('in', ints)
      .groupByKey()
      .windowedBy(sessionWindows({ inactivityGapMs: 3_000, graceMs: 2_000 }))
      .count('counts')
      .toStream()
      .to('out'),

  'session-aggregate': (t) =>
    t
      .stream('in', texts)
      .filter((value) => value !== null)
      .groupByKey()
      .windowedBy(sessionWindows({ inactivityGapMs: 2_000, graceMs: 4_000 }))
      .aggregate(
        'agg',
        () => '',
        (list, value) => last30(`${list},${value}`),
        (list, other) => last30(`${list}+${other}`),
        { value: text },
      )
      .toStream()
      .to('out'),

  'session-reduce': (t) =>
    onlyThere(t.stream('in', ints))
      .groupByKey()
      .windowedBy(sessionWindows({ inactivityGapMs: 2_000, graceMs: 0 }))
      .reduce('sums', add)
      .toStream()
      .to('out'),

  'merge-then-window': (t) =>
    onlyThere(t.stream('a', ints).merge(t.stream('b', ints)))
      .groupByKey()
      .windowedBy(tumbling5)
      .aggregate('sums', () => 0 as Int, add, { value: int, retentionMs })
      .toStream()
      .to('out'),

  'tumbling-emit-final': (t) =>
    t
      .stream('in', ints)
      .groupByKey()
      .windowedBy(tumbling5)
      .emitStrategy('onWindowClose')
      .count('counts', { retentionMs })
      .toStream()
      .to('out'),

  'hopping-emit-final': (t) =>
    onlyThere(t.stream('in', ints))
      .groupByKey()
      .windowedBy(hoppingWindows({ sizeMs: 10_000, advanceMs: 4_000, graceMs: 2_000 }))
      .emitStrategy('onWindowClose')
      .aggregate('sums', () => 0 as Int, add, { value: int, retentionMs })
      .toStream()
      .to('out'),

  'sliding-emit-final': (t) =>
    t
      .stream('in', ints)
      .groupByKey()
      .windowedBy(slidingWindows({ timeDifferenceMs: 4_000, graceMs: 2_000 }))
      .emitStrategy('onWindowClose')
      .count('counts', { retentionMs })
      .toStream()
      .to('out'),

  'session-emit-final': (t) =>
    t
      .stream('in', ints)
      .groupByKey()
      .windowedBy(sessionWindows({ inactivityGapMs: 3_000, graceMs: 2_000 }))
      .emitStrategy('onWindowClose')
      .count('counts', { retentionMs })
      .toStream()
      .to('out'),
}
