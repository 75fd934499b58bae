/** What users' functions should not return is a failure of the record, which names the operator. */
import { describe, expect, expectTypeOf, test } from 'vitest'
import { int64, type Stream, string, Topology } from '../../src/index.ts'
import { TestDriver } from '../../src/testing/index.ts'

const strings = { key: string, value: string }

/** `build` is given a function that returns something wrong for the value `bad`. */
type Build = (stream: Stream<string, string>, wrong: <T>(right: T, value: unknown) => T) => void

const run = async (build: Build, wrongly: () => unknown) => {
  const topology = () => {
    const t = new Topology('wrong', { onFailure: { deadLetter: 'dead' } })
    build(t.stream('in', strings), (right, value) => (value === 'bad' ? (wrongly() as typeof right) : right))
    return t
  }
  await using driver = await TestDriver.create(topology)
  const input = driver.createInputTopic('in', strings)
  for (const value of ['a', 'bad', 'c']) await input.pipeInput('k', value)
  const letters = await driver.createOutputTopic('dead', strings).readRecordsToList()
  return letters.map(({ value, headers }) => ({
    value,
    ...Object.fromEntries(
      headers.map((header) => [
        header.key.replace('druse.error.', ''),
        Buffer.from(header.value ?? []).toString(),
      ]),
    ),
  }))
}

const operators: Record<string, Build> = {
  map: (s, wrong) => s.map((v, k) => wrong([k, v] as const, v)),
  flatMap: (s, wrong) => s.flatMap((v, k) => wrong([[k, v] as const], v)),
  flatMapValues: (s, wrong) => s.flatMapValues((v) => wrong([v], v)),
  'groupBy of a table': (s, wrong) =>
    s
      .toTable('rows')
      .groupBy('groups', (v, k) => wrong([k, v] as const, v), strings)
      .count('counts'),
  deduplicate: (s, wrong) => s.deduplicate('ids', { by: (v) => wrong<string | null>(null, v), withinMs: 1 }),
}

describe.each(Object.entries(operators))('%s', (_, build) => {
  test('given nothing', async () => {
    const letters = await run(build, () => undefined)
    expect(letters).toMatchObject([{ value: 'bad', code: 'OPERATOR_FAILED', cause: 'RESULT_INVALID' }])
    expect(letters[0]).toHaveProperty('operator')
  })
})

const all: Record<string, Build> = {
  ...operators,
  filter: (s, wrong) => s.filter((v) => wrong(true, v)),
  filterNot: (s, wrong) => s.filterNot((v) => wrong(true, v)),
  mapValues: (s, wrong) => s.mapValues((v) => wrong(v, v)),
  selectKey: (s, wrong) => s.selectKey((v, k) => wrong(k, v)),
  peek: (s, wrong) => s.peek((v) => wrong(undefined, v)),
  foreach: (s, wrong) => s.foreach((v) => wrong(undefined, v)),
  reduce: (s, wrong) => s.groupByKey().reduce('last', (_, v) => wrong(v, v)),
  aggregate: (s, wrong) =>
    s.groupByKey().aggregate(
      'count',
      () => 0,
      (count, v) => wrong(count + 1, v),
      { value: int64 },
    ),
}

test.each(Object.entries(all))('%s, given a promise', async (_, build) => {
  // It is nobody's, and would end the process if it were left alone.
  const letters = await run(build, () => Promise.reject(new Error('not waited for')))
  expect(letters).toMatchObject([
    {
      value: 'bad',
      code: 'OPERATOR_FAILED',
      cause: 'PROMISE_RETURNED',
      message: expect.stringMatching(/^Operator '.+' failed on record in\/0@1: .*mapAsync/),
    },
  ])
})

test('a result that the serde refuses names operator and record', async () => {
  const letters = await run(
    (s, wrong) =>
      s.groupByKey().aggregate(
        'count',
        () => 0,
        (count, v) => wrong(count + 1, v),
        { value: int64 },
      ),
    () => 'no number',
  )
  expect(letters).toMatchObject([
    {
      value: 'bad',
      code: 'OPERATOR_FAILED',
      cause: 'ENCODE_FAILED',
      operator: 'count',
      message: expect.stringContaining("Operator 'count' failed on record in/0@1: "),
    },
  ])
})

test('what a function that is not looked at returns is no matter, unless it is a promise', () => {
  const stream = new Topology('types').stream('in', strings)
  const seen: string[] = []
  const map = new Map<string, string>()
  stream.foreach((value) => seen.push(value))
  stream.peek((value, key) => map.set(key, value))
  stream.peek(() => {})
  stream.peek(console.log)
  // @ts-expect-error nobody waits for it
  stream.foreach(async () => {})
  // @ts-expect-error nobody waits for it
  stream.peek(async (value) => value)
  // @ts-expect-error nobody waits for it
  stream.filter(async () => true)
  expectTypeOf(stream.foreach).returns.toEqualTypeOf<void>()
})
