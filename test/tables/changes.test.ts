/** Changes of tables on their way: old values where something behind needs them, tombstones where they are due. */
import { describe, expect, test } from 'vitest'
import { int64, string, type Table, Topology } from '../../src/index.ts'
import { Loom } from './loom.ts'

const strings = { key: string, value: string }
const joiner = (left: string | null, right: string | null): string => `${left}|${right}`

/** Counts a table's rows by value. */
async function counted(build: (t: Topology) => Table<undefined, string, string>): Promise<Loom> {
  const t = new Topology('app')
  build(t)
    .groupBy('by-value', (value) => [value, 1], { key: string, value: int64 })
    .count('counts')
    .toStream()
    .to('out')
  return Loom.of(t)
}

const counts = async (loom: Loom): Promise<Record<string, unknown>> => {
  await loom.pass('by-value')
  return Object.fromEntries(loom.out.map(([key, count]) => [key, count]))
}

describe('old values reach a grouping', () => {
  test('through a filter that nobody asked for them before', async () => {
    const loom = await counted((t) => t.table('in', strings).filter((value) => value !== 'x'))
    for (const value of ['a', 'b', 'x', 'b']) await loom.feed('in', 'k', value)
    expect(await counts(loom)).toEqual({ a: 0, b: 1 })
  })

  test('through mapValues, which is not asked for null', async () => {
    const loom = await counted((t) => t.table('in', strings).mapValues((value) => value.toUpperCase()))
    for (const value of ['a', 'b', null, 'c']) await loom.feed('in', 'k', value)
    expect(await counts(loom)).toEqual({ A: 0, B: 0, C: 1 })
  })

  test.each(['join', 'leftJoin', 'outerJoin'] as const)('through a %s that is not kept', async (kind) => {
    const loom = await counted((t) => {
      const left = t.table('left', strings)
      return (left[kind] as typeof left.outerJoin)(t.table('right', strings), joiner)
    })
    await loom.feed('left', 'k', 'a')
    await loom.feed('right', 'k', '1')
    await loom.feed('left', 'k', 'b')
    await loom.feed('right', 'k', '2')
    await loom.feed('left', 'k', null)
    const standing = Object.entries(await counts(loom)).filter(([, count]) => count !== 0)
    expect(standing).toEqual(kind === 'outerJoin' ? [['null|2', 1]] : [])
  })

  test('through a kept join of views of one region, which change together', async () => {
    const t = new Topology('app')
    const table = t.table('in', strings)
    const lengths = table.mapValues((value) => value.length)
    table
      .join(lengths, (value, length) => `${value}${length}`, { name: 'joined', value: string })
      .groupBy('by-value', (value) => [value, 1], { key: string, value: int64 })
      .count('counts')
      .toStream()
      .to('out')
    const loom = await Loom.of(t)
    for (const value of ['a', 'bb', 'cc', null, 'd']) await loom.feed('in', 'k', value)
    expect(await counts(loom)).toEqual({ a1: 0, bb2: 0, cc2: 0, d1: 1 })
  })

  test('not through one that is not kept, which is refused', () => {
    const t = new Topology('app')
    const table = t.table('in', strings)
    const joined = table.join(
      table.mapValues((value) => value.length),
      (value, length) => `${value}${length}`,
    )
    expect(() => joined.filter(() => true).toStream()).not.toThrow()
    expect(() => joined.groupBy('g', (value) => [value, 1], { key: string, value: int64 })).toThrow(
      /A join of two views of region 'in' cannot tell what its result was before a change/,
    )
  })
})

describe('a group', () => {
  const grouped = async () => {
    const t = new Topology('app')
    const subtracted: string[] = []
    t.table('in', strings)
      .groupBy('all', (value) => ['all', value], strings)
      .aggregate(
        'together',
        () => '',
        (all, value) => (value === 'end' ? null : `${all}+${value}`),
        (all, value) => {
          subtracted.push(value)
          return `${all}-${value}`
        },
        { value: string },
      )
      .toStream()
      .to('out')
    const loom = await Loom.of(t)
    const feed = async (key: string, value: string | null): Promise<unknown> => {
      await loom.feed('in', key, value)
      await loom.pass('all')
      return loom.out.at(-1)?.[1]
    }
    return { feed, subtracted }
  }

  test('that is gone has nothing to take an old value from', async () => {
    const { feed, subtracted } = await grouped()
    expect(await feed('1', 'a')).toBe('+a')
    expect(await feed('2', 'end')).toBe(null)
    expect(await feed('1', null)).toBe(null)
    expect(subtracted).toEqual([])
    expect(await feed('1', 'b')).toBe('+b')
  })

  test('within which a row changes has one update: old value out, then new value in', async () => {
    const { feed } = await grouped()
    await feed('1', 'a')
    expect(await feed('1', 'b')).toBe('+a-a+b')
  })
})

describe('a filter', () => {
  test('says nothing of what never was in its result, where that is known', async () => {
    const t = new Topology('app')
    t.table('in', { ...strings, name: 'kept' })
      .filter((value) => value !== 'x')
      .toStream()
      .to('out')
    const loom = await Loom.of(t)
    for (const value of ['x', 'a', 'x', null]) await loom.feed('in', 'k', value)
    expect(loom.out.map(([, value]) => value)).toEqual(['a', null])
  })

  test('says more than that where it is not', async () => {
    const t = new Topology('app')
    t.table('in', strings)
      .filter((value) => value !== 'x')
      .toStream()
      .to('out')
    const loom = await Loom.of(t)
    for (const value of ['x', 'a', 'x', null]) await loom.feed('in', 'k', value)
    expect(loom.out.map(([, value]) => value)).toEqual([null, 'a', null, null])
  })
})

test('transformValues keeps state, hears of deletions and sends old values', async () => {
  const t = new Topology('app')
  const changes = t.region('changes', { key: string, value: int64 })
  t.table('in', strings)
    .transformValues('numbered', { regions: [changes], value: string }, (value, key, context) => {
      const count = (context.changes.get(key) ?? 0) + 1
      context.changes.put(key, count)
      return value === null || value === 'x' ? null : `${value}${count}`
    })
    .groupBy('by-value', (value) => [value, 1], { key: string, value: int64 })
    .count('counts')
    .toStream()
    .to('out')
  const loom = await Loom.of(t)
  for (const value of ['a', 'a', null, 'b', 'x', 'c']) await loom.feed('in', 'k', value)
  expect(await counts(loom)).toEqual({ a1: 0, a2: 0, b4: 0, c6: 1 })
})

test('a join that is not kept has the newest time of its sides, also for whoever looks into it', async () => {
  const t = new Topology('app')
  t.table('left', strings)
    .join(t.table('right', strings), joiner)
    .join(t.table('third', strings), joiner)
    .toStream()
    .to('out', strings)
  const loom = await Loom.of(t)
  await loom.feed('left', 'k', 'a', 10)
  await loom.feed('right', 'k', 'b', 30)
  await loom.feed('third', 'k', 'c', 20)
  expect(loom.out).toEqual([['k', 'a|b|c', 30]])
})
