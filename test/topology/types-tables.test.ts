/** What the types of tables and their joins allow and refuse. `tsc` checks this file. */
import { describe, expect, expectTypeOf, test } from 'vitest'
import {
  type GlobalRegion,
  type GlobalTable,
  type GroupedTable,
  int64,
  json,
  type Region,
  type Stream,
  string,
  type Table,
  Topology,
} from '../../src/index.ts'

interface Order {
  readonly customer: string
  readonly amount: number
}

const t = new Topology('types')
const keyed = { key: string, value: json<Order>() }
const orders = t.table('orders', keyed)
const kept = t.table('kept-orders', { ...keyed, name: 'kept' })
const names = t.table('names', { key: string, value: string })
const byNumber = t.table('by-number', { key: int64, value: string })
const stream = t.stream('events', { key: string, value: int64 })
const global = t.globalTable('countries', { key: int64, value: string, name: 'places' })

/** Only the types of its body are of interest. */
const onlyTyped = (_: () => unknown): void => expect(true).toBe(true)

describe('tables', () => {
  test('have a region where they have a name', () => {
    expectTypeOf(orders).toEqualTypeOf<Table<undefined, string, Order>>()
    expectTypeOf(kept.region).toEqualTypeOf<Region<'kept', string, Order>>()
    expectTypeOf(orders.region).toEqualTypeOf<undefined>()
    onlyTyped(() => {
      expectTypeOf(stream.toTable('last')).toEqualTypeOf<Table<'last', string, number>>()
      expectTypeOf(orders.filter((o) => o.amount > 0)).toEqualTypeOf<Table<undefined, string, Order>>()
      expectTypeOf(orders.filter((o) => o.amount > 0, { name: 'big' })).toEqualTypeOf<
        Table<'big', string, Order>
      >()
      expectTypeOf(orders.mapValues((o) => o.amount, { name: 'sums', value: int64 })).toEqualTypeOf<
        Table<'sums', string, number>
      >()
      // @ts-expect-error what is kept has a serde
      orders.mapValues((o) => o.amount, { name: 'sums' })
      // @ts-expect-error the right one
      orders.mapValues((o) => o.amount, { name: 'sums', value: string })
      // @ts-expect-error and a name
      orders.filter((o) => o.amount > 0, { value: json<Order>() })
      // @ts-expect-error a table of changed keys would be split over tasks
      stream.selectKey((n) => `${n}`).toTable('last')
    })
  })

  test('follow keys and values', () => {
    onlyTyped(() => {
      expectTypeOf(orders.toStream()).toEqualTypeOf<Stream<string, Order | null, 'keyed'>>()
      expectTypeOf(orders.toStream((o) => o?.amount ?? 0)).toEqualTypeOf<
        Stream<number, Order | null, 'rekeyed'>
      >()
      expectTypeOf(orders.toStream().toTable('again')).toEqualTypeOf<Table<'again', string, Order>>()
      expectTypeOf(orders.mapValues((o, key) => (key === '' ? null : o.amount))).toEqualTypeOf<
        Table<undefined, string, number>
      >()
      const some = t.table('some', { key: string, value: json<Order | string>() })
      expectTypeOf(some.filter((v) => typeof v === 'string')).toEqualTypeOf<
        Table<undefined, string, string>
      >()
    })
  })

  test('transform values with regions of their own', () => {
    const seen = t.region('seen', { key: string, value: int64 })
    onlyTyped(() => {
      const transformed = orders.transformValues(
        'transformed',
        { regions: [seen], value: int64 },
        (order, key, context) => {
          expectTypeOf(order).toEqualTypeOf<Order | null>()
          expectTypeOf(key).toEqualTypeOf<string>()
          expectTypeOf(context.seen.get('k')).toEqualTypeOf<number | undefined>()
          // @ts-expect-error it has not named this one
          context.delays
          return order === null ? null : order.amount
        },
      )
      expectTypeOf(transformed).toEqualTypeOf<Table<'transformed', string, number>>()
      // @ts-expect-error what is kept has a serde
      orders.transformValues('transformed', {}, () => 1)
    })
  })

  test('group by another key', () => {
    onlyTyped(() => {
      const grouped = orders.groupBy('by-customer', (o) => [o.customer, o.amount], {
        key: string,
        value: int64,
      })
      expectTypeOf(grouped).toEqualTypeOf<GroupedTable<string, number>>()
      expectTypeOf(grouped.count('n')).toEqualTypeOf<Table<'n', string, number>>()
      expectTypeOf(
        grouped.reduce(
          'sum',
          (a, b) => a + b,
          (a, b) => a - b,
        ),
      ).toEqualTypeOf<Table<'sum', string, number>>()
      // @ts-expect-error what is added has to be taken out again
      grouped.reduce('sum', (a, b) => a + b)
      // @ts-expect-error the serdes of the group are needed
      orders.groupBy('by-customer', (o) => [o.customer, o.amount])
      // @ts-expect-error and have to fit
      orders.groupBy('by-amount', (o) => [o.amount, o.amount], { key: string, value: int64 })
    })
  })
})

describe('joins', () => {
  test('of tables know which side may be missing', () => {
    onlyTyped(() => {
      const joined = orders.join(names, (order, name, key) => {
        expectTypeOf(order).toEqualTypeOf<Order>()
        expectTypeOf(name).toEqualTypeOf<string>()
        expectTypeOf(key).toEqualTypeOf<string>()
        return name.length
      })
      expectTypeOf(joined).toEqualTypeOf<Table<undefined, string, number>>()
      orders.leftJoin(names, (order, name) => {
        expectTypeOf(order).toEqualTypeOf<Order>()
        expectTypeOf(name).toEqualTypeOf<string | null>()
        return 1
      })
      orders.outerJoin(names, (order, name) => {
        expectTypeOf(order).toEqualTypeOf<Order | null>()
        expectTypeOf(name).toEqualTypeOf<string | null>()
        return 1
      })
      const named = orders.join(names, (o, n) => `${o.amount} ${n}`, { name: 'both', value: string })
      expectTypeOf(named).toEqualTypeOf<Table<'both', string, string>>()
      // @ts-expect-error keys of another type
      orders.join(byNumber, () => 1)
      // @ts-expect-error what is kept has a serde
      orders.join(names, () => 1, { name: 'both' })
      // @ts-expect-error a stream is no table
      orders.join(stream, () => 1)
    })
  })

  test('over foreign keys have the key of the left table', () => {
    onlyTyped(() => {
      const joined = orders.joinOnForeignKey('joined', names, {
        foreignKey: (order) => order.customer,
        joiner: (order, name) => {
          expectTypeOf(name).toEqualTypeOf<string>()
          return order.amount
        },
        value: int64,
      })
      expectTypeOf(joined).toEqualTypeOf<Table<'joined', string, number>>()
      orders.leftJoinOnForeignKey('joined', names, {
        foreignKey: (order) => (order.customer === '' ? null : order.customer),
        joiner: (_, name) => {
          expectTypeOf(name).toEqualTypeOf<string | null>()
          return 1
        },
        value: int64,
      })
      orders.joinOnForeignKey('joined', byNumber, {
        // @ts-expect-error the foreign table has numbers for keys
        foreignKey: (order) => order.customer,
        joiner: () => 1,
        value: int64,
      })
      // @ts-expect-error results are kept, so they have a serde
      orders.joinOnForeignKey('joined', names, { foreignKey: (o) => o.customer, joiner: () => 1 })
    })
  })

  test('of a stream with a table', () => {
    onlyTyped(() => {
      const joined = stream.join(orders, (n, order, key) => {
        expectTypeOf(order).toEqualTypeOf<Order>()
        return [key, n] as const
      })
      expectTypeOf(joined).toEqualTypeOf<Stream<string, readonly [string, number], 'keyed'>>()
      stream.leftJoin(kept, (_, order) => {
        expectTypeOf(order).toEqualTypeOf<Order | null>()
        return 1
      })
      // @ts-expect-error keys of another type
      stream.join(byNumber, () => 1)
      // @ts-expect-error the key may have changed
      stream.selectKey((n) => `${n}`).join(orders, () => 1)
    })
  })

  test('of a stream with a replicated table need no repartitioning', () => {
    expectTypeOf(global).toEqualTypeOf<GlobalTable<'places', number, string>>()
    expectTypeOf(global.region).toEqualTypeOf<GlobalRegion<'places', number, string>>()
    onlyTyped(() => {
      expectTypeOf(t.globalTable('plain', { key: string, value: string }).region).toEqualTypeOf<
        GlobalRegion<'plain', string, string>
      >()
      const rekeyed = stream.selectKey((n) => `${n}`)
      const joined = rekeyed.leftJoin(
        global,
        (n) => n,
        (n, name) => {
          expectTypeOf(name).toEqualTypeOf<string | null>()
          return n
        },
      )
      expectTypeOf(joined).toEqualTypeOf<Stream<string, number, 'rekeyed'>>()
      rekeyed.join(
        global,
        // @ts-expect-error the table has numbers for keys
        (n) => `${n}`,
        (n) => n,
      )
      // @ts-expect-error the key to look up has to be said
      stream.join(global, (n) => n)
    })
  })
})
