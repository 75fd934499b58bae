import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Serde } from '../../src/ports.ts'
import { bigint64 } from '../../src/serde/bigint64.ts'
import { bytes } from '../../src/serde/bytes.ts'
import { double } from '../../src/serde/double.ts'
import { int32 } from '../../src/serde/int32.ts'
import { int64 } from '../../src/serde/int64.ts'
import { json } from '../../src/serde/json.ts'
import { string } from '../../src/serde/string.ts'
import { failing, fromHex, hex, opened, wrong } from './support.ts'

const int64s = fc.maxSafeInteger()
const bigint64s = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
const texts = fc.string({ unit: 'binary' })

function roundTrips<T>(serde: Serde<T>, values: fc.Arbitrary<T>): void {
  test('what is encoded is decoded, from Buffers, other views and odd offsets', async () => {
    const codec = await opened(serde)
    fc.assert(
      fc.property(values, (value) => {
        const encoded = codec.encode(value)
        expect(codec.decode(encoded)).toEqual(value)
        const wide = new Uint8Array(encoded.length + 8)
        wide.set(encoded, 3)
        expect(codec.decode(wide.subarray(3, 3 + encoded.length))).toEqual(value)
      }),
    )
  })

  test('bytes once given are not touched by later calls', async () => {
    const codec = await opened(serde)
    fc.assert(
      fc.property(fc.array(values, { maxLength: 20 }), (list) => {
        const all = list.map((value) => codec.encode(value))
        const before = all.map(hex)
        for (const value of [...list].reverse()) codec.encode(value)
        expect(all.map(hex)).toEqual(before)
      }),
    )
  })
}

function vectors<T>(serde: Serde<T>, cases: readonly [T, string][]): void {
  test.each(cases)('the bytes of Kafka’s own serializer: %j is %s', async (value, expected) => {
    const codec = await opened(serde)
    expect(hex(codec.encode(value))).toBe(expected)
    expect(codec.decode(fromHex(expected))).toEqual(value)
  })
}

function refusesToEncode<T>(serde: Serde<T>, values: readonly unknown[]): void {
  test.each(values.map((value) => [inspect(value), value]))('refuses to encode %s', async (_, value) => {
    const codec = await opened(serde)
    const error = failing('ENCODE_FAILED', () => codec.encode(wrong(value)))
    expect(error.message).toContain('Cannot encode a value for topic "flights"')
    expect(error.details).toMatchObject({ topic: 'flights', part: 'value' })
  })
}

function refusesToDecode<T>(serde: Serde<T>, cases: readonly [string, string][]): void {
  test.each(cases)('refuses to decode %j: %s', async (found, what) => {
    const codec = await opened(serde, { part: 'key' })
    const error = failing('DECODE_FAILED', () => codec.decode(fromHex(found)))
    expect(error.message).toContain('Cannot decode a key of topic "flights"')
    expect(error.message).toContain(what)
    expect(error.details).toMatchObject({ topic: 'flights', part: 'key' })
  })
}

function ordersAs<T>(serde: Serde<T>, values: fc.Arbitrary<T>, compare: (a: T, b: T) => number): void {
  test('byte order is the values’ own', async () => {
    const codec = await opened(serde)
    const toOrdered = serde.ordered?.toOrdered ?? ((found: Uint8Array) => found)
    const fromOrdered = serde.ordered?.fromOrdered ?? ((found: Uint8Array) => found)
    fc.assert(
      fc.property(values, values, (a, b) => {
        const [encodedA, encodedB] = [codec.encode(a), codec.encode(b)]
        const [orderedA, orderedB] = [toOrdered(encodedA), toOrdered(encodedB)]
        expect(Math.sign(Buffer.compare(orderedA, orderedB))).toBe(Math.sign(compare(a, b)))
        expect(hex(fromOrdered(orderedA))).toBe(hex(encodedA))
        // The transform makes new bytes.
        expect(codec.decode(encodedA)).toEqual(a)
      }),
      { numRuns: 1000 },
    )
  })
}

const less = <T>(a: T, b: T): number => (a < b ? -1 : a > b ? 1 : 0)

describe('string', () => {
  roundTrips(string, texts)
  vectors(string, [
    ['', ''],
    ['JFK', '4a464b'],
    ['Zürich €𝄞', '5ac3bc7269636820e282acf09d849e'],
    ['\ufeffBOM', 'efbbbf424f4d'],
    ['\ufffd', 'efbfbd'],
    ['\ufeff\ufffd', 'efbbbfefbfbd'],
    ['a\0b', '610062'],
  ])
  refusesToEncode(string, [1, null, undefined, {}, new Uint8Array(1), '\ud800', 'a\udc00b'])
  refusesToDecode(string, [
    ['ff', 'no UTF-8'],
    ['61 c3', 'no UTF-8'],
    ['c0 80', 'no UTF-8'],
    ['ed a0 80', 'no UTF-8'],
    ['ef bf bd ff', 'no UTF-8'],
  ])
  const codePoints = (text: string) => [...text].map((character) => character.codePointAt(0) ?? 0)
  ordersAs(string, texts, (a, b) => {
    const [left, right] = [codePoints(a), codePoints(b)]
    for (let n = 0; n < Math.min(left.length, right.length); n++) {
      if (left[n] !== right[n]) return (left[n] ?? 0) - (right[n] ?? 0)
    }
    return left.length - right.length
  })
})

describe('bytes', () => {
  roundTrips(bytes, fc.uint8Array())
  refusesToEncode(bytes, ['abc', [1, 2], null, undefined, new ArrayBuffer(1)])
  test('are handed on, not copied', async () => {
    const codec = await opened(bytes)
    const value = fromHex('01ff')
    expect(codec.encode(value)).toBe(value)
    expect(codec.decode(value)).toBe(value)
  })
})

describe('json', () => {
  // -0 is 0 in JSON.
  const values = fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value)))
  roundTrips(json(), values)
  test('is the text that JSON.stringify gives', async () => {
    const codec = await opened(json<object>())
    expect(Buffer.from(codec.encode({ a: [1, 'ä', null], b: '\ud800' })).toString()).toBe(
      '{"a":[1,"ä",null],"b":"\\ud800"}',
    )
  })
  const circle: Record<string, unknown> = {}
  circle.self = circle
  refusesToEncode(json(), [undefined, () => 1, Symbol('x'), 1n, circle])
  refusesToDecode(json(), [
    ['', 'JSON'],
    ['7b', 'JSON'],
    ['22 ff 22', 'no UTF-8'],
    ['ef bb bf 31', 'JSON'],
  ])
})

describe('int32', () => {
  roundTrips(int32, fc.integer())
  vectors(int32, [
    [0, '00000000'],
    [1, '00000001'],
    [-1, 'ffffffff'],
    [2 ** 31 - 1, '7fffffff'],
    [-(2 ** 31), '80000000'],
  ])
  refusesToEncode(int32, [1.5, 2 ** 31, -(2 ** 31) - 1, Number.NaN, '1', null, undefined, 1n, true])
  refusesToDecode(int32, [
    ['', '4 bytes expected, 0 found'],
    ['00000000ff', '4 bytes expected, 5 found'],
  ])
  ordersAs(int32, fc.integer(), less)
})

describe('int64', () => {
  roundTrips(int64, int64s)
  vectors(int64, [
    [0, '0000000000000000'],
    [1, '0000000000000001'],
    [-1, 'ffffffffffffffff'],
    [2 ** 32, '0000000100000000'],
    [-(2 ** 32) - 1, 'fffffffeffffffff'],
    [Number.MAX_SAFE_INTEGER, '001fffffffffffff'],
    [Number.MIN_SAFE_INTEGER, 'ffe0000000000001'],
  ])
  refusesToEncode(int64, [2 ** 53, -(2 ** 53), 0.5, Number.NaN, Number.POSITIVE_INFINITY, 1n, '1', null])
  refusesToDecode(int64, [
    ['0000000005', '8 bytes expected, 5 found'],
    ['0020000000000000', '9007199254740992 is no safe integer; bigint64 takes all 64 bits'],
    ['ffe0000000000000', '-9007199254740992 is no safe integer'],
    ['7fffffffffffffff', '9223372036854775807 is no safe integer'],
  ])
  ordersAs(int64, int64s, less)
})

describe('bigint64', () => {
  roundTrips(bigint64, bigint64s)
  test('has the bytes of int64, and the same kind', async () => {
    const [number, bigint] = [await opened(int64), await opened(bigint64)]
    fc.assert(
      fc.property(int64s, (value) => {
        expect(hex(bigint.encode(BigInt(value)))).toBe(hex(number.encode(value)))
      }),
    )
    expect(bigint64.kind).toBe(int64.kind)
    expect(hex(bigint.encode(2n ** 63n - 1n))).toBe('7fffffffffffffff')
    expect(hex(bigint.encode(-(2n ** 63n)))).toBe('8000000000000000')
  })
  refusesToEncode(bigint64, [2n ** 63n, -(2n ** 63n) - 1n, 1, '1', null, undefined])
  refusesToDecode(bigint64, [['00', '8 bytes expected, 1 found']])
  ordersAs(bigint64, bigint64s, less)
})

describe('double', () => {
  roundTrips(double, fc.double())
  vectors(double, [
    [0, '0000000000000000'],
    [-0, '8000000000000000'],
    [1.5, '3ff8000000000000'],
    [-2, 'c000000000000000'],
    [Number.POSITIVE_INFINITY, '7ff0000000000000'],
    [Number.NaN, '7ff8000000000000'],
    [Number.MIN_VALUE, '0000000000000001'],
  ])
  test('every NaN has the same bytes', async () => {
    const codec = await opened(double)
    const odd = codec.decode(fromHex('fff8000000000123'))
    expect(odd).toBeNaN()
    expect(hex(codec.encode(odd))).toBe('7ff8000000000000')
  })
  refusesToEncode(double, ['1', null, undefined, 1n, {}])
  refusesToDecode(double, [['0000000000000000ff', '8 bytes expected, 9 found']])
  ordersAs(double, fc.double(), (a, b) => {
    if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b))
    if (a === 0 && b === 0) return less(1 / a, 1 / b)
    return less(a, b)
  })
})

test('kinds and stability, which are written into what outlives the code', () => {
  const serdes: Serde<never>[] = [string, bytes, json(), int32, int64, bigint64, double].map(wrong)
  expect(serdes.map((serde) => [serde.kind, serde.stableBytes, serde.ordered !== undefined])).toEqual([
    ['string', true, false],
    ['bytes', true, false],
    ['json', false, false],
    ['int32', true, true],
    ['int64', true, true],
    ['int64', true, true],
    ['double', true, true],
  ])
})
