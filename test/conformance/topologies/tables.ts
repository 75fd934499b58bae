import { string } from '../../../src/index.ts'
import type { Family } from '../build.ts'
import { type Int, int, ints, joiner, type Text, text, texts } from '../text.ts'

const isEven = (value: Int): boolean => (value as number) % 2 === 0

/** Of "group:amount". */
const amountOf = (value: Text): number => Number(value?.split(':')[1])
const byGroup = (value: Text): [Text, Int] => [value?.split(':')[0] as string, amountOf(value)]
const plus = (total: Int, amount: Int): Int => (total as number) + (amount as number)
const minus = (total: Int, amount: Int): Int => (total as number) - (amount as number)

const customerOf = (order: Text): Text => (order?.includes(':') ? (order.split(':')[0] as string) : null)
/** Of "ref:x" or ":x". */
const refOf = (value: Text, key: Text): Text => (value === null ? key : value.split(':')[0] || null)

export const tables: Family = {
  'to-table': (t) =>
    t
      .stream('in', ints)
      .filter((_, key) => key !== 'd')
      .toTable('tab')
      .toStream()
      .to('out'),

  'table-source': (t) =>
    t
      .table('in', { ...ints, name: 'tab' })
      .toStream()
      .to('out'),

  'table-source-unmaterialized': (t) => t.table('in', ints).toStream().to('out'),

  'table-filter': (t) => t.table('in', ints).filter(isEven).toStream().to('out'),

  'table-filter-materialized': (t) =>
    t
      .table('in', { ...ints, name: 'tab' })
      .filter(isEven, { name: 'evens' })
      .toStream()
      .to('out'),

  'table-filter-not': (t) =>
    t
      .table('in', { ...ints, name: 'tab' })
      .filterNot(isEven, { name: 'odds' })
      .toStream()
      .to('out'),

  'table-map-values': (t) =>
    t
      .table('in', ints)
      .mapValues((value, key) => `${key}:${value}`)
      .toStream()
      .to('out', { value: string }),

  'table-map-values-materialized': (t) =>
    t
      .table('in', ints)
      .mapValues((value): Text => ((value as number) % 5 === 0 ? null : `m${value}`), {
        name: 'mapped',
        value: string,
      })
      .toStream()
      .to('out'),

  'table-group-aggregate': (t) =>
    t
      .table('in', { ...texts, name: 'tab' })
      .groupBy('by-group', byGroup, ints)
      .aggregate('sums', () => 0 as Int, plus, minus, { value: int })
      .toStream()
      .to('out'),

  'table-group-aggregate-order': (t) =>
    t
      .table('in', texts)
      .groupBy('by-group', byGroup, ints)
      .aggregate(
        'story',
        () => '',
        (story, amount) => `${story}+${amount}`.slice(-30),
        (story, amount) => `${story}-${amount}`.slice(-30),
        { value: string },
      )
      .toStream()
      .to('out'),

  'table-group-reduce': (t) =>
    t.table('in', texts).groupBy('by-group', byGroup, ints).reduce('sums', plus, minus).toStream().to('out'),

  'table-group-count': (t) =>
    t
      .table('in', texts)
      .filter((value) => amountOf(value) !== 0)
      .groupBy(
        'by-group',
        (value): [Text, Int] => {
          const [group, amount] = byGroup(value)
          return [group === 'g0' ? null : group, amount]
        },
        ints,
      )
      .count('counts')
      .toStream()
      .to('out'),

  'chain-table-pipeline': (t) =>
    t
      .table('in', texts)
      .filter((value) => amountOf(value) !== 0)
      .groupBy('by-group', byGroup, ints)
      .aggregate('sums', () => 0 as Int, plus, minus, { value: int })
      .filter((sum) => (sum as number) > 5)
      .leftJoin(t.table('names', texts), (sum, name) => `${sum}|${name}`, { name: 'res', value: string })
      .toStream()
      .to('out'),

  'table-table-inner': (t) =>
    t
      .table('l', texts)
      .join(t.table('r', texts), joiner, { name: 'joined', value: string })
      .toStream()
      .to('out'),

  'table-table-left': (t) =>
    t
      .table('l', texts)
      .leftJoin(t.table('r', texts), joiner, { name: 'joined', value: string })
      .toStream()
      .to('out'),

  'table-table-outer': (t) =>
    t
      .table('l', texts)
      .outerJoin(t.table('r', texts), joiner, { name: 'joined', value: string })
      .toStream()
      .to('out'),

  'table-table-left-unmaterialized': (t) =>
    t.table('l', texts).leftJoin(t.table('r', texts), joiner).toStream().to('out', { value: string }),

  'table-table-filter-join': (t) =>
    t
      .table('l', ints)
      .filter(isEven)
      .join(
        t.table('r', ints).filterNot((value) => value === null || isEven(value)),
        (left, right) => `${left}|${right}`,
      )
      .mapValues((value) => `<${value}>`)
      .toStream()
      .to('out', { value: string }),

  'table-table-join-aggregated': (t) =>
    t
      .stream('l', texts)
      .groupByKey()
      .count('left')
      .outerJoin(t.stream('r', texts).groupByKey().count('right'), (left, right) => `${left}|${right}`)
      .toStream()
      .to('out', { value: string }),

  'fk-join-inner': (t) =>
    t
      .table('orders', texts)
      .joinOnForeignKey('joined', t.table('customers', texts), {
        foreignKey: customerOf,
        joiner,
        value: string,
      })
      .toStream()
      .to('out'),

  'fk-join-left': (t) =>
    t
      .table('orders', texts)
      .leftJoinOnForeignKey('joined', t.table('customers', texts), {
        foreignKey: customerOf,
        joiner,
        value: string,
      })
      .toStream()
      .to('out'),

  'stream-table-inner': (t) =>
    t
      .stream('s', texts)
      .join(t.table('t', { ...texts, name: 'tab' }), joiner)
      .to('out', { value: string }),

  'stream-table-left': (t) =>
    t
      .stream('s', texts)
      .leftJoin(t.table('t', { ...texts, name: 'tab' }), joiner)
      .to('out', { value: string }),

  'stream-table-left-rekeyed': (t) =>
    t
      .stream('s', texts)
      .selectKey((value): Text => (value === null || value.startsWith('z') ? null : (value[0] as string)))
      .repartition('keyed', { key: text })
      .leftJoin(t.table('t', texts), joiner)
      .to('out', { value: string }),

  'stream-global-inner': (t) =>
    t
      .stream('s', texts)
      .join(t.globalTable('g', { ...texts, name: 'glob' }), refOf, joiner)
      .to('out', { value: string }),

  'stream-global-left': (t) =>
    t
      .stream('s', texts)
      .leftJoin(t.globalTable('g', { ...texts, name: 'glob' }), refOf, joiner)
      .to('out', { value: string }),
}
