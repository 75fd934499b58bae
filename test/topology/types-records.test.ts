/** Types of asynchronous operators, dead letters and what goes with them. Wrong uses do not compile. */
import { expect, expectTypeOf, test } from 'vitest'
import { int64, type Stream, string, Topology } from '../../src/index.ts'

const strings = { key: string, value: string }

test('asynchronous operators', () => {
  const t = new Topology('types')
  const counts = t.region('counts', { key: string, value: int64 })
  const stream = t.stream('in', strings)
  const lengths = stream.mapValuesAsync(
    'length',
    async (value, key, { counts, signal, attempt, record }) => {
      expectTypeOf(value).toEqualTypeOf<string>()
      expectTypeOf(key).toEqualTypeOf<string>()
      expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
      expectTypeOf(attempt).toEqualTypeOf<number>()
      expectTypeOf(record.timestamp).toEqualTypeOf<number>()
      expectTypeOf(counts.get(key)).toEqualTypeOf<number | undefined>()
      return value.length
    },
    { regions: [counts] },
  )
  expectTypeOf(lengths).toEqualTypeOf<Stream<string, number>>()
  const swapped = lengths.mapAsync('swap', async (value, key) => [value, key] as const)
  expectTypeOf(swapped).toEqualTypeOf<Stream<number, string, 'rekeyed'>>()
  // @ts-expect-error keys may have changed
  expect(() => swapped.groupByKey()).toThrow()
  // @ts-expect-error a serde of another type
  lengths.mapValuesAsync('wrong', async (value) => value, { value: string })
  // @ts-expect-error keyed state behind a change of keys
  expect(() => swapped.mapValuesAsync('keyed', async (v) => v, { regions: [counts] })).toThrow()
})

test('side outputs', () => {
  const t = new Topology('sides')
  const stream = t.stream('in', strings)
  const parsed = stream.process(
    'parse',
    { value: int64, outputs: { refused: {}, lengths: { key: int64 } } },
    ({ key, value }, { forward, outputs }) => {
      expectTypeOf(forward).parameter(1).toEqualTypeOf<number>()
      expectTypeOf(outputs.refused).parameter(1).toEqualTypeOf<string>()
      expectTypeOf(outputs.lengths).parameter(0).toEqualTypeOf<number>()
      forward(key, value.length)
      // @ts-expect-error there is no such output
      outputs.others
    },
  )
  expectTypeOf(parsed.outputs.refused).toEqualTypeOf<Stream<string, string, 'rekeyed'>>()
  expectTypeOf(parsed.outputs.lengths).toEqualTypeOf<Stream<number, string, 'rekeyed'>>()
  expectTypeOf(parsed.mapValues((value) => value)).toEqualTypeOf<Stream<string, number, 'rekeyed'>>()
  // @ts-expect-error there is no such output
  parsed.outputs.others
  const plain = stream.process('plain', {}, () => {})
  expectTypeOf(plain).toEqualTypeOf<Stream<string, string, 'rekeyed'>>()
  // @ts-expect-error there are none
  plain.outputs
})

test('deduplicate', () => {
  const stream = new Topology('once').stream('in', strings)
  const once = stream.deduplicate('ids', {
    by: (value, key, record) => {
      expectTypeOf(record.timestamp).toEqualTypeOf<number>()
      return value + key
    },
    withinMs: 1,
  })
  expectTypeOf(once).toEqualTypeOf<Stream<string, string>>()
  // @ts-expect-error ids are texts
  stream.deduplicate('numbers', { by: (value) => value.length, withinMs: 1 })
})
