import { string } from '../../../src/index.ts'
import type { Family } from '../build.ts'
import { type Int, ints, type Text, text, texts } from '../text.ts'

const isEven = (value: Int): boolean => value !== null && value % 2 === 0

export const stateless: Family = {
  filter: (t) => t.stream('in', ints).filter(isEven).to('out'),

  'filter-not': (t) => t.stream('in', ints).filterNot(isEven).to('out'),

  map: (t) =>
    t
      .stream('in', ints)
      .map((value, key): [Text, string] =>
        value === null ? [null, 'none'] : [`${key}-${value}`, `${value * 2}`],
      )
      .to('out', { key: text, value: string }),

  'map-values': (t) =>
    t
      .stream('in', ints)
      .mapValues((value) => (value === null ? 'none' : `${value}!`))
      .mapValues((value, key) => `${key}:${value}`)
      .to('out', { key: text, value: string }),

  'flat-map': (t) =>
    t
      .stream('in', ints)
      .flatMap((value, key) =>
        Array.from(
          { length: value === null ? 0 : value % 4 },
          (_, i) => [`${key}${i}` as string, `${value}/${i}` as string] as const,
        ),
      )
      .to('out', { key: string, value: string }),

  'flat-map-values': (t) =>
    t
      .stream('in', texts)
      .flatMapValues((value) => (value === null ? [] : value.split(' ')))
      .to('out', { value: string }),

  'select-key': (t) =>
    t
      .stream('in', ints)
      .selectKey((value): Text => (value === null ? null : `k${value % 3}`))
      .to('out', { key: text }),

  'split-default': (t) => {
    const { small, even, rest } = t
      .stream('in', ints)
      .split()
      .branch('small', (value) => value !== null && value < 3)
      .branch('even', isEven)
      .defaultBranch('rest')
    small.to('small')
    even.to('even')
    rest.to('rest')
  },

  'split-no-default': (t) => {
    const { small, even } = t
      .stream('in', ints)
      .split()
      .branch('small', (value) => value !== null && value < 3)
      .branch('even', isEven)
      .noDefaultBranch()
    small.to('small')
    even.to('even')
  },

  merge: (t) =>
    t
      .stream('a', texts)
      .merge(t.stream('b', texts).mapValues((value) => (value === null ? null : value.toUpperCase())))
      .to('out', texts),

  'multi-topic-source': (t) =>
    t
      .stream(['a', 'b'], texts)
      .filter((value) => value !== null)
      .to('out'),

  'peek-foreach': (t, see) => {
    const even = t
      .stream('in', ints)
      .peek((value, key) => see('@peek', key, value))
      .filter(isEven)
    even.to('out')
    even.mapValues((value) => (value as number) + 1).foreach((value, key) => see('@foreach', key, value))
  },

  'to-dynamic': (t) => t.stream('in', ints).to((value) => (value === null ? 'out-2' : `out-${value % 3}`)),

  'through-topic': (t) => {
    t.stream('in', ints)
      .filter((value) => value !== null)
      .map((value): [Text, Int] => [`k${value % 3}`, value])
      .to('mid', ints)
    t.stream('mid', ints)
      .groupByKey()
      .reduce('sums', (sum, value) => (sum as number) + (value as number))
      .toStream()
      .to('out')
  },

  'repartition-explicit': (t) => {
    const keyed = t
      .stream('in', ints)
      .selectKey((value, key): Text => (key === null ? null : `${key}${value === null ? '' : value % 2}`))
      .repartition('keyed', { key: text, partitions: 1 })
    keyed.to('seen')
    keyed.groupByKey().count('counts').toStream().to('out')
  },

  'headers-stateless': (t) =>
    t
      .stream('in', ints)
      .filter((value) => value !== null)
      .mapValues((value) => `${value}!`)
      .selectKey((_, key) => `k${key}`)
      .flatMapValues((value) => [value, value])
      .to('out', { key: string, value: string }),
}
