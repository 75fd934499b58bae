import { string } from '../../../src/index.ts'
import type { Family } from '../build.ts'
import { type Int, ints, type Text, text, texts } from '../text.ts'

const sum = (total: Int, value: Int): number => (total as number) + (value as number)

export const aggregations: Family = {
  count: (t) => t.stream('in', texts).groupByKey().count('counts').toStream().to('out'),

  reduce: (t) =>
    t
      .stream('in', ints)
      .groupByKey()
      .reduce('sums', (total, value) => (sum(total, value) % 7 === 0 ? null : sum(total, value)))
      .toStream()
      .to('out'),

  aggregate: (t) =>
    t
      .stream('in', texts)
      .groupByKey()
      .aggregate(
        'agg',
        () => '' as Text,
        (list, value) => (value?.startsWith('del') ? null : `${list},${value}`.slice(-40)),
        { value: text },
      )
      .toStream()
      .to('out'),

  'group-by-count': (t) =>
    t
      .stream('in', ints)
      .groupBy('by-rest', (value): Text => (value === null ? null : `g${value % 3}`))
      .count('counts')
      .toStream()
      .to('out'),

  'count-two-consumers': (t) => {
    const counts = t.stream('in', ints).groupByKey().count('counts')
    counts
      .toStream()
      .filter((count) => (count as number) % 2 === 0)
      .to('even')
    counts
      .toStream((count): string => `n${count}`)
      .mapValues((count, key) => `${key}=${count}`)
      .to('keyed', { key: string, value: string })
  },

  'select-key-count': (t) =>
    t
      .stream('in', ints)
      .selectKey((value): Text => (value === null ? null : `k${value % 4}`))
      .repartition('keyed', { key: text })
      .groupByKey()
      .count('counts')
      .toStream()
      .to('out'),

  'headers-repartition-count': (t) =>
    t
      .stream('in', ints)
      .groupBy('by-rest', (value): Text => (value === null ? null : `g${value % 3}`))
      .count('counts')
      .toStream()
      .to('out'),
}
