/** The type of a schema's values, and that values of this type are what the runtime takes and gives. */
import { expect, expectTypeOf, test } from 'vitest'
import type { Serde } from '../../src/ports.ts'
import { type AvroValue, avro } from '../../src/serde/index.ts'
import { memoryRegistry, opened } from './support.ts'

/** What is read of a written value. */
async function read<T>(serde: Serde<T>, value: T): Promise<T> {
  const codec = await opened(serde, { registry: memoryRegistry() })
  return codec.decode(codec.encode(value))
}

test('a record has its fields, those with a default too', async () => {
  const flight = avro({
    type: 'record',
    name: 'Flight',
    fields: [
      { name: 'origin', type: 'string' },
      { name: 'delay', type: 'int', default: 0 },
      { name: 'late', type: 'boolean', doc: 'more than a quarter of an hour' },
      { name: 'place', type: { type: 'record', name: 'Place', fields: [{ name: 'x', type: 'double' }] } },
    ],
  })
  const value = { origin: 'JFK', delay: 5, late: false, place: { x: 1.5 } }
  expectTypeOf(await read(flight, value)).toEqualTypeOf<{
    readonly origin: string
    readonly delay: number
    readonly late: boolean
    readonly place: { readonly x: number }
  }>()
  expect(await read(flight, value)).toEqual(value)
  // @ts-expect-error: a field with a default has to be written as well, since it is there when it is read.
  const incomplete: AvroOf<typeof flight> = { origin: 'JFK', late: false, place: { x: 1 } }
  expect(incomplete).not.toHaveProperty('delay')
})

type AvroOf<S> = S extends Serde<infer T> ? T : never

test('primitives, enums, arrays, maps, fixed and bytes', async () => {
  const serde = avro({
    type: 'record',
    name: 'R',
    namespace: 'com.example',
    fields: [
      { name: 'nothing', type: 'null' },
      { name: 'float', type: { type: 'float' } },
      { name: 'color', type: { type: 'enum', name: 'Color', symbols: ['RED', 'BLUE'] } },
      { name: 'again', type: 'Color' },
      { name: 'list', type: { type: 'array', items: { type: 'array', items: 'int' } } },
      { name: 'map', type: { type: 'map', values: 'Color' } },
      { name: 'hash', type: { type: 'fixed', name: 'Hash', size: 2 } },
      { name: 'other', type: 'com.example.Hash' },
      { name: 'blob', type: 'bytes' },
    ],
  })
  const value = {
    nothing: null,
    float: 1.5,
    color: 'RED',
    again: 'BLUE',
    list: [[1, 2], []],
    map: { a: 'RED' },
    hash: Buffer.from([1, 2]),
    other: Buffer.from([3, 4]),
    blob: Buffer.from('x'),
  } as const
  type Color = 'RED' | 'BLUE'
  expectTypeOf<AvroOf<typeof serde>>().toEqualTypeOf<{
    readonly nothing: null
    readonly float: number
    readonly color: Color
    readonly again: Color
    readonly list: readonly (readonly number[])[]
    readonly map: { readonly [key: string]: Color }
    readonly hash: Buffer
    readonly other: Buffer
    readonly blob: Buffer
  }>()
  expect(await read(serde, value)).toEqual(value)
})

test('longs are numbers, or bigints; logical types are what is below them', async () => {
  const long = avro('long')
  expectTypeOf(long).toEqualTypeOf<Serde<number>>()
  expect(await read(long, 5)).toBe(5)
  const big = avro({ type: 'long', logicalType: 'timestamp-millis' }, { longs: 'bigint' })
  expectTypeOf(big).toEqualTypeOf<Serde<bigint>>()
  expect(await read(big, 5n)).toBe(5n)
  const decimal = avro({ type: 'bytes', logicalType: 'decimal', precision: 4, scale: 2 })
  expectTypeOf(decimal).toEqualTypeOf<Serde<Buffer>>()
  expect(await read(decimal, Buffer.from([1]))).toEqual(Buffer.from([1]))
  const day = avro({ type: 'int', logicalType: 'date' })
  expectTypeOf(day).toEqualTypeOf<Serde<number>>()
  expect(await read(day, 19_000)).toBe(19_000)
})

test('unions are their branches, wrapped where these could not be told apart', async () => {
  const optional = avro(['null', 'string'])
  expectTypeOf(optional).toEqualTypeOf<Serde<string | null>>()
  expect(await read(optional, null)).toBe(null)
  expect(await read(optional, 'x')).toBe('x')

  const numbers = avro(['null', 'int', 'long', { type: 'array', items: 'int' }])
  expectTypeOf(numbers).toEqualTypeOf<
    Serde<null | { readonly int: number } | { readonly long: number } | { readonly array: readonly number[] }>
  >()
  expect(await read(numbers, null)).toBe(null)
  expect(await read(numbers, { long: 7 })).toEqual({ long: 7 })

  // A bigint is no number: the branches can be told apart.
  const mixed = avro(['int', 'long'], { longs: 'bigint' })
  expectTypeOf(mixed).toEqualTypeOf<Serde<number | bigint>>()
  expect(await read(mixed, 7n)).toBe(7n)

  const always = avro(['null', 'int'], { wrapUnions: 'always' })
  expectTypeOf(always).toEqualTypeOf<Serde<null | { readonly int: number }>>()
  expect(await read(always, { int: 7 })).toEqual({ int: 7 })
})

test('branches that are records are wrapped under their full names', async () => {
  const shape = avro({
    type: 'record',
    name: 'com.shapes.Drawing',
    fields: [
      {
        name: 'shape',
        type: [
          { type: 'record', name: 'Circle', fields: [{ name: 'r', type: 'int' }] },
          { type: 'record', name: 'Square', namespace: 'other', fields: [{ name: 'a', type: 'int' }] },
        ],
      },
      { name: 'background', type: ['Circle', 'other.Square'] },
    ],
  })
  type Shape =
    | { readonly 'com.shapes.Circle': { readonly r: number } }
    | { readonly 'other.Square': { readonly a: number } }
  expectTypeOf<AvroOf<typeof shape>>().toEqualTypeOf<{ readonly shape: Shape; readonly background: Shape }>()
  const value = { shape: { 'com.shapes.Circle': { r: 1 } }, background: { 'other.Square': { a: 2 } } }
  expect(await read(shape, value)).toEqual(value)
})

test('a type may hold itself', async () => {
  const tree = avro({
    type: 'record',
    name: 'Tree',
    fields: [
      { name: 'value', type: 'int' },
      { name: 'next', type: ['null', 'Tree'], default: null },
      { name: 'children', type: { type: 'array', items: 'Tree' } },
    ],
  })
  interface Tree {
    readonly value: number
    readonly next: Tree | null
    readonly children: readonly Tree[]
  }
  const value: Tree = { value: 1, next: { value: 2, next: null, children: [] }, children: [] }
  const back: Tree = await read(tree, value)
  expect(back).toEqual(value)
  // @ts-expect-error: the next one's next is a tree
  const wrong: AvroOf<typeof tree> = { ...value, next: { value: 2, next: 5, children: [] } }
  expect(wrong.next?.next).toBe(5)
})

test('a schema that is kept in a variable is known when it is `as const`', () => {
  const LITERAL = { type: 'record', name: 'A', fields: [{ name: 'a', type: 'string' }] } as const
  expectTypeOf(avro(LITERAL)).toEqualTypeOf<Serde<{ readonly a: string }>>()
  expectTypeOf<AvroValue<typeof LITERAL>>().toEqualTypeOf<{ readonly a: string }>()
  const wide = { type: 'record', name: 'A', fields: [{ name: 'a', type: 'string' }] }
  expectTypeOf(avro(wide)).toEqualTypeOf<Serde<unknown>>()
  expectTypeOf(avro<{ a: string }>(wide)).toEqualTypeOf<Serde<{ a: string }>>()
  // What is not written out is not known; the rest is.
  expectTypeOf(avro({ type: 'record', name: 'A', fields: wide.fields })).toEqualTypeOf<Serde<unknown>>()
  const text: string = JSON.stringify(wide)
  expectTypeOf(avro(text)).toEqualTypeOf<Serde<unknown>>()
  const named = { name: 'a', type: 'Elsewhere' } as const
  expectTypeOf<AvroValue<{ type: 'record'; name: 'A'; fields: readonly [typeof named] }>>().toEqualTypeOf<{
    readonly a: unknown
  }>()
})

test('a type that is given is believed, also of a schema that is written out', () => {
  interface Flight {
    readonly origin: 'JFK'
  }
  const fields = [{ name: 'origin', type: 'string' }] as const
  expectTypeOf(avro<Flight>({ type: 'record', name: 'Flight', fields })).toEqualTypeOf<Serde<Flight>>()
  expectTypeOf(avro<1 | 2>('int')).toEqualTypeOf<Serde<1 | 2>>()
  expectTypeOf(avro<readonly Flight[]>({ type: 'array', items: 'string' })).toEqualTypeOf<
    Serde<readonly Flight[]>
  >()
  expectTypeOf(avro<'a' | 'b'>('string')).toEqualTypeOf<Serde<'a' | 'b'>>()
  expectTypeOf(avro<unknown>('string')).toEqualTypeOf<Serde<unknown>>()
})
