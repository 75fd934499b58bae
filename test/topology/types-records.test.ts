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
