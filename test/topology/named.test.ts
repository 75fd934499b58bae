/** Names that users give: shown by describe, told by errors and dead letters. */
import { expect, test } from 'vitest'
import { type DruseError, joinWindows, string, Topology } from '../../src/index.ts'
import { TestDriver } from '../../src/testing/index.ts'

const strings = { key: string, value: string }

test('every operator without state can be named', () => {
  const t = new Topology('named')
  const names = t.globalTable('names', strings)
  const towns = t.table('towns', strings)
  const source = t.stream('in', { ...strings, name: 'source' })
  const big = source
    .filter(() => true, { name: 'filtered' })
    .filterNot(() => false, { name: 'filtered-not' })
    .mapValues((value) => value, { name: 'values' })
    .flatMapValues((value) => [value], { name: 'flat-values' })
    .peek(() => {}, { name: 'looked-at' })
  big
    .join(
      names,
      (value) => value,
      (value) => value,
      { name: 'with-name' },
    )
    .leftJoin(towns, (value) => value, { name: 'with-town' })
    .merge(big, { name: 'both' })
    .map((value, key) => [key, value] as const, { name: 'mapped' })
    .flatMap((value, key) => [[key, value] as const], { name: 'flat-mapped' })
    .selectKey((_, key) => key, { name: 'rekeyed' })
    .to('out', { ...strings, name: 'sink' })
  towns.toStream((_, key) => key, { name: 'town-updates' }).foreach(() => {}, { name: 'each' })
  const { some } = source
    .split({ name: 'kinds' })
    .branch('some', () => true)
    .noDefaultBranch()
  some.print({ name: 'printed', write: () => {} })
  const { subTopologies } = t.build() && (JSON.parse(t.describe('json')) as Described)
  const found = subTopologies.flatMap(({ sources, nodes }) => [...sources, ...nodes].map(({ name }) => name))
  const own = found.filter((name) => !/-\d+$/.test(name))
  expect(own).toEqual([
    'source',
    'filtered',
    'filtered-not',
    'values',
    'flat-values',
    'looked-at',
    'with-name',
    'with-town',
    'both',
    'mapped',
    'flat-mapped',
    'rekeyed',
    'sink',
    'town-updates',
    'each',
    'kinds',
    'kinds-some',
    'printed',
  ])
  // The topic of the table, and the table.
  expect(found.length - own.length).toBe(2)
})

interface Described {
  readonly subTopologies: readonly Record<'sources' | 'nodes', readonly { readonly name: string }[]>[]
}

test('a name is taken once', () => {
  const t = new Topology('named')
  const all = t.stream('in', strings).filter(() => true, { name: 'once' })
  expect(() => all.mapValues((value) => value, { name: 'once' })).toThrow(
    "Two operators are named 'once'; give one another name",
  )
})

const fails = (..._: unknown[]): never => {
  throw new Error('no')
}

/** What an application stops with when a record comes to each of the topics. */
async function failure(topology: Topology, topics: readonly string[]): Promise<DruseError> {
  const driver = await TestDriver.create(topology)
  try {
    for (const topic of topics) await driver.createInputTopic(topic, strings).pipeInput('a', 'b')
  } catch (error) {
    return error as DruseError
  } finally {
    await driver.close().catch(() => {})
  }
  throw new Error('nothing failed')
}

test('an error tells the name, also of an operator that is several nodes', async () => {
  const filtered = new Topology('t')
  filtered.stream('in', strings).filter(fails, { name: 'chosen' }).to('out')
  expect(await failure(filtered, ['in'])).toMatchObject({
    code: 'OPERATOR_FAILED',
    message: expect.stringMatching(/'chosen' failed on record in\/0@0/),
  })

  const joined = new Topology('t')
  joined
    .stream('left', strings)
    .join(
      joined.stream('right', strings),
      fails,
      joinWindows({ beforeMs: 9_000, afterMs: 9_000, graceMs: 0 }),
      {
        name: 'near',
      },
    )
    .foreach(() => {})
  expect(await failure(joined, ['left', 'right'])).toMatchObject({ details: { operator: 'near' } })

  const tables = new Topology('t')
  tables
    .table('left', strings)
    .join(tables.table('right', strings), fails, { name: 'together', value: string })
  expect(await failure(tables, ['left', 'right'])).toMatchObject({ details: { operator: 'together' } })

  const grouped = new Topology('t')
  grouped.table('left', strings).groupBy('by-town', fails, strings).count('counts')
  expect(await failure(grouped, ['left'])).toMatchObject({ details: { operator: 'by-town' } })

  const foreign = new Topology('t')
  foreign.table('left', strings).joinOnForeignKey('towns', foreign.table('right', strings), {
    foreignKey: fails,
    joiner: () => '',
    value: string,
  })
  expect(await failure(foreign, ['left'])).toMatchObject({ details: { operator: 'towns' } })

  const cogrouped = new Topology('t')
  const stream = (topic: string) => cogrouped.stream(topic, strings).groupByKey()
  stream('left')
    .cogroup((all: string) => all)
    .cogroup(stream('right'), fails)
    .aggregate('all', () => '', { value: string })
  expect(await failure(cogrouped, ['right'])).toMatchObject({ details: { operator: 'all' } })
})

test('print writes all of a value on one line', async () => {
  const lines: string[] = []
  const t = new Topology('printing')
  t.stream('in', strings)
    .mapValues(() => ({ a: { b: { c: { d: Array.from({ length: 120 }, (_, i) => i) } } } }))
    .print({ write: (line) => lines.push(line) })
  await using driver = await TestDriver.create(t)
  await driver.createInputTopic('in', strings).pipeInput('k', '')
  const numbers = Array.from({ length: 120 }, (_, i) => i).join(', ')
  expect(lines).toEqual([`[print-2]: k, { a: { b: { c: { d: [ ${numbers} ] } } } }`])
})

test('print writes a line for each record', async () => {
  const lines: string[] = []
  const write = (line: string): void => void lines.push(line)
  const t = new Topology('printing')
  const all = t.stream('in', strings)
  all.print({ name: 'all', write })
  all.mapValues((value) => ({ length: value.length })).print({ label: 'lengths', write })
  all.print({ label: 'short', text: (value) => value.slice(0, 1), write })
  await using driver = await TestDriver.create(t)
  await driver.createInputTopic('in', strings).pipeInput('a', 'bcd')
  expect(lines).toEqual(['[all]: a, bcd', '[lengths]: a, { length: 3 }', '[short]: b'])
})
