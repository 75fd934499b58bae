import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DruseError } from '../../src/errors.ts'
import type { Codec, Registry } from '../../src/ports.ts'
import { avro } from '../../src/serde/avro.ts'
import { failing, fromHex, hex, memoryRegistry, opened } from './support.ts'

interface Flight {
  readonly origin: string
  readonly delayMinutes: number
}

const FLIGHT = {
  type: 'record',
  name: 'Flight',
  namespace: 'com.example',
  fields: [
    { name: 'origin', type: 'string' },
    { name: 'delayMinutes', type: 'int' },
  ],
}

const record = (...fields: object[]) => ({ ...FLIGHT, fields })
const ORIGIN = { name: 'origin', type: 'string' }
const DELAY = { name: 'delayMinutes', type: 'int' }

async function writtenBy(schema: object, value: unknown, registry: Registry): Promise<Uint8Array> {
  // Another topic: what is written is not to be compared with the reader's schema at registration.
  return (await opened(avro(schema), { topic: 'elsewhere', registry })).encode(value)
}

async function preparedDecode<T>(codec: Codec<T>, bytes: Uint8Array): Promise<T> {
  await codec.prepare?.(bytes)
  return codec.decode(bytes)
}

describe('bytes', () => {
  test('are Confluent’s framing around the specification’s own example', async () => {
    const schema = {
      type: 'record',
      name: 'test',
      fields: [
        { name: 'a', type: 'long' },
        { name: 'b', type: 'string' },
      ],
    }
    const codec = await opened(avro<{ a: number; b: string }>(schema), { registry: memoryRegistry() })
    expect(hex(codec.encode({ a: 27, b: 'foo' }))).toBe('00' + '00000001' + '3606666f6f')
    expect(codec.decode(fromHex('00000000013606666f6f'))).toEqual({ a: 27, b: 'foo' })
  })

  test('hold the id in four bytes, high first', async () => {
    const registry: Registry = { idOf: async () => 0x01020304, schemaOf: async () => '"long"' }
    const codec = await opened(avro<number>('long'), { registry })
    expect(hex(codec.encode(-1))).toBe('000102030401')
  })

  test('are registered under the topic and part, as the user wrote the schema', async () => {
    const asked: [string, string][] = []
    const registry: Registry = {
      async idOf(subject, schema) {
        asked.push([subject, schema])
        return 1
      },
      schemaOf: () => Promise.reject(new Error('not asked')),
    }
    const schema = { ...FLIGHT, doc: 'a flight', extra: { mine: true } }
    await opened(avro(schema), { registry, part: 'key' })
    await opened(avro(JSON.stringify(schema, null, 2)), { registry, topic: 'other' })
    await opened(avro('string'), { registry })
    expect(asked).toEqual([
      ['flights-key', JSON.stringify(schema)],
      ['other-value', JSON.stringify(schema)],
      ['flights-value', '"string"'],
    ])
  })

  const RICH = {
    type: 'record',
    name: 'Rich',
    fields: [
      { name: 'text', type: 'string' },
      { name: 'long', type: 'long' },
      { name: 'double', type: 'double' },
      { name: 'optional', type: ['null', 'string'], default: null },
      { name: 'list', type: { type: 'array', items: 'int' } },
      { name: 'map', type: { type: 'map', values: 'string' } },
      { name: 'color', type: { type: 'enum', name: 'Color', symbols: ['RED', 'constructor_'] } },
      { name: 'flag', type: 'boolean' },
      { name: 'next', type: ['null', 'Rich'], default: null },
    ],
  }
  const text = fc.string({ unit: 'binary' })
  const rich: fc.Arbitrary<object> = fc.letrec((tie) => ({
    rich: fc.record({
      text,
      long: fc.maxSafeInteger(),
      double: fc.double(),
      optional: fc.option(text),
      list: fc.array(fc.integer()),
      map: fc.dictionary(fc.oneof(text, fc.constant('__proto__')), text, { noNullPrototype: true }),
      color: fc.constantFrom('RED', 'constructor_'),
      flag: fc.boolean(),
      next: fc.option(tie('rich'), { depthSize: 'small' }),
    }),
  })).rich as fc.Arbitrary<object>

  test('come back as the value they were made of, and are the caller’s own', async () => {
    const codec = await opened(avro<object>(RICH), { registry: memoryRegistry() })
    let last: [Uint8Array, string] | undefined
    fc.assert(
      fc.property(rich, (value) => {
        const bytes = codec.encode(value)
        expect(codec.decode(bytes)).toEqual(value)
        if (last !== undefined) expect(hex(last[0])).toBe(last[1])
        last = [bytes, hex(bytes)]
      }),
    )
  })

  test.each([0, 1018, 1019, 1020, 5000, 262_139, 262_144, 1_000_000])(
    'a value of %i bytes is whole',
    async (size) => {
      const codec = await opened(avro<string>('string'), { registry: memoryRegistry() })
      const value = 'ä'.repeat(size / 2) + 'x'.repeat(size % 2)
      const bytes = codec.encode(value)
      const small = codec.encode('small')
      expect(codec.decode(bytes)).toBe(value)
      expect(codec.decode(small)).toBe('small')
      expect(Buffer.compare(codec.encode(value), bytes)).toBe(0)
    },
  )

  // By the specification's formula, in integers of any size.
  test.each([
    [0, '00'],
    [-1, '01'],
    [64, '8001'],
    [2 ** 30, '8080808008'],
    [-(2 ** 30) - 1, '8180808008'],
    [2 ** 52, '8080808080808010'],
    [-(2 ** 52) - 1, '8180808080808010'],
    [Number.MAX_SAFE_INTEGER, 'feffffffffffff1f'],
    [Number.MIN_SAFE_INTEGER, 'fdffffffffffff1f'],
  ])('the long %i is %s', async (value, expected) => {
    const codec = await opened(avro<number>('long'), { registry: memoryRegistry() })
    expect(hex(codec.encode(value)).slice(10)).toBe(expected)
    expect(codec.decode(codec.encode(value))).toBe(value)
  })

  describe('longs as bigint', () => {
    const big = { longs: 'bigint' } as const
    const bigCodec = async (schema: string | object) =>
      opened(avro<unknown>(schema, big), { registry: memoryRegistry() })

    test.each([
      [0n, '00'],
      [-1n, '01'],
      [63n, '7e'],
      [64n, '8001'],
      [2n ** 53n + 1n, '8280808080808020'],
      [-(2n ** 53n) - 1n, '8180808080808020'],
      [2n ** 63n - 1n, 'feffffffffffffffff01'],
      [-(2n ** 63n), 'ffffffffffffffffff01'],
    ])('%i is %s', async (value, expected) => {
      const codec = await bigCodec('long')
      expect(hex(codec.encode(value)).slice(10)).toBe(expected)
      expect(codec.decode(codec.encode(value))).toBe(value)
    })

    test('have the bytes of numbers', async () => {
      const registry = memoryRegistry()
      const numbers = await opened(avro<number>('long'), { registry })
      const bigints = await opened(avro<bigint>('long', big), { registry })
      fc.assert(
        fc.property(fc.maxSafeInteger(), (n) => {
          expect(hex(bigints.encode(BigInt(n)))).toBe(hex(numbers.encode(n)))
          expect(bigints.decode(numbers.encode(n))).toBe(BigInt(n))
        }),
      )
      fc.assert(
        fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (n) => {
          expect(bigints.decode(bigints.encode(n))).toBe(n)
        }),
      )
    })

    test.each([5, 2n ** 63n, -(2n ** 63n) - 1n, '5', null])('%s is none', async (value) => {
      const codec = await bigCodec('long')
      failing('ENCODE_FAILED', () => codec.encode(value))
    })

    test.each(['', '80', 'ffffffffffffffffff03', 'ffffffffffffffffffff01', 'ff'.repeat(40), '0000'])(
      'the bytes "%s" are none',
      async (bytes) => {
        const codec = await bigCodec('long')
        failing('DECODE_FAILED', () => codec.decode(fromHex(`0000000001${bytes}`)))
      },
    )

    test('everywhere: in unions, with defaults, with logical types, out of ints and other people’s longs', async () => {
      const registry = memoryRegistry()
      const fields = [
        { name: 'id', type: 'long' },
        { name: 'maybe', type: ['null', 'long', 'string'] },
        { name: 'at', type: { type: 'long', logicalType: 'timestamp-micros' } },
        { name: 'all', type: { type: 'array', items: 'long' } },
      ]
      const value = { id: 2n ** 60n, maybe: -(2n ** 60n), at: 1_700_000_000_000_000n, all: [1n, 2n ** 62n] }
      const writer = await opened(avro<object>({ type: 'record', name: 'R', fields }, big), { registry })
      expect(writer.decode(writer.encode(value))).toEqual(value)
      const added = { name: 'added', type: 'long', default: 7 }
      const readerSchema = { type: 'record', name: 'R', fields: [...fields, added] }
      const reader = await opened(avro<object>(readerSchema, big), { registry })
      const bytes = writer.encode(value)
      await reader.prepare?.(bytes)
      expect(reader.decode(bytes)).toEqual({ ...value, added: 7n })

      const ints = await opened(avro<number>('int'), { registry, topic: 'promoted' })
      const longs = await opened(avro<bigint>('long', big), { registry, topic: 'promoted' })
      await longs.prepare?.(ints.encode(-5))
      expect(longs.decode(ints.encode(-5))).toBe(-5n)
    })

    test('one that is not read may be any', async () => {
      const registry = memoryRegistry()
      const fields = [
        { name: 'id', type: 'long' },
        { name: 'n', type: 'long' },
      ]
      const writer = await opened(avro<object>({ type: 'record', name: 'R', fields }, big), { registry })
      const reader = await opened(avro<object>({ type: 'record', name: 'R', fields: [fields[1]] }), {
        registry,
      })
      const bytes = writer.encode({ id: 2n ** 63n - 1n, n: 5n })
      await reader.prepare?.(bytes)
      expect(reader.decode(bytes)).toEqual({ n: 5 })
    })
  })

  test('decoded bytes do not show the buffer they came in', async () => {
    const codec = await opened(avro<Buffer>('bytes'), { registry: memoryRegistry() })
    const bytes = codec.encode(Buffer.from([1, 2, 3]))
    const value = codec.decode(bytes)
    bytes.fill(0)
    expect([...value]).toEqual([1, 2, 3])
  })
})

describe('definition', () => {
  test.each([
    [FLIGHT, 'avro:com.example.Flight'],
    ['{"type":"record","name":"Flight","fields":[]}', 'avro:Flight'],
    ['long', 'avro:long'],
    ['"long"', 'avro:long'],
    [['null', 'string'], 'avro:union'],
    [{ type: 'array', items: 'int' }, 'avro:array'],
  ])('the kind of %j is %s', (schema, kind) => {
    expect(avro(schema).kind).toBe(kind)
    expect(avro(schema).stableBytes).toBe(false)
    expect(avro(schema).ordered).toBeUndefined()
  })

  test.each([['{'], ['nonsense'], [{}], [{ type: 'record', name: 'X' }], [{ type: 'array' }], [[]], ['']])(
    'the schema %j is refused at once',
    (schema) => {
      const error = failing('SCHEMA_INVALID', () => avro(schema))
      expect(error.cause).toBeInstanceOf(Error)
    },
  )

  test('a missing registry is said when the serde is opened', async () => {
    const error = await Promise.resolve(opened(avro(FLIGHT))).catch((cause) => cause)
    expect(error).toMatchObject({ code: 'REGISTRY_MISSING' })
    expect(error.message).toContain('com.example.Flight')
  })

  test.each([
    [undefined, 'value', 'flights-value'],
    ['TopicNameStrategy', 'key', 'flights-key'],
    ['RecordNameStrategy', 'value', 'com.example.Flight'],
    ['RecordNameStrategy', 'key', 'com.example.Flight'],
    ['TopicRecordNameStrategy', 'value', 'flights-com.example.Flight'],
  ] as const)('%s: the %s is registered under %s', async (subjectNameStrategy, part, subject) => {
    const subjects: string[] = []
    const shared = memoryRegistry()
    const registry: Registry = {
      schemaOf: (id) => shared.schemaOf(id),
      idOf: (asked, schema) => {
        subjects.push(asked)
        return shared.idOf(asked, schema)
      },
    }
    const serde = avro(FLIGHT, subjectNameStrategy === undefined ? {} : { subjectNameStrategy })
    await opened(serde, { registry, topic: 'flights', part })
    await opened(serde, { registry, topic: 'flights', part, writes: false })
    expect(subjects).toEqual([subject])
  })

  test('subjects are named after records only', () => {
    for (const subjectNameStrategy of ['RecordNameStrategy', 'TopicRecordNameStrategy'] as const) {
      for (const schema of ['string', ['null', FLIGHT], { type: 'enum', name: 'E', symbols: ['A'] }]) {
        failing('SCHEMA_INVALID', () => avro(schema, { subjectNameStrategy }))
      }
    }
  })

  test('unions are wrapped only where they must be, or as told', async () => {
    const registry = memoryRegistry()
    const plain = await opened(avro<unknown>(['null', 'int']), { registry, topic: 'a' })
    expect(plain.decode(plain.encode(5))).toBe(5)
    const ambiguous = await opened(avro<unknown>(['null', 'int', 'long']), { registry, topic: 'b' })
    expect(ambiguous.decode(ambiguous.encode({ long: 5 }))).toEqual({ long: 5 })
    const wrapped = await opened(avro<unknown>(['null', 'int'], { wrapUnions: 'always' }), {
      registry,
      topic: 'a',
    })
    expect(wrapped.decode(plain.encode(5))).toEqual({ int: 5 })
    failing('SCHEMA_INVALID', () => avro(['int', 'long'], { wrapUnions: 'never' }))
  })

  test('a serde that is only read with registers nothing and writes nothing', async () => {
    const registry = memoryRegistry()
    const bytes = await writtenBy(FLIGHT, { origin: 'JFK', delayMinutes: 5 }, registry)
    const asked: string[] = []
    const watched: Registry = {
      idOf: (subject, schema) => {
        asked.push(subject)
        return registry.idOf(subject, schema)
      },
      schemaOf: (id) => registry.schemaOf(id),
    }
    const codec = await opened(avro<Flight>(FLIGHT), { registry: watched, writes: false })
    expect(asked).toEqual([])
    expect(await preparedDecode(codec, bytes)).toEqual({ origin: 'JFK', delayMinutes: 5 })
    expect(
      failing('ENCODE_FAILED', () => codec.encode({ origin: 'JFK', delayMinutes: 5 })).message,
    ).toContain('reading only')
  })
})

describe('encoding what does not fit', () => {
  const NESTED = record(ORIGIN, {
    name: 'legs',
    type: { type: 'array', items: { type: 'record', name: 'Leg', fields: [{ name: 'delay', type: 'int' }] } },
  })
  test.each<[unknown, string]>([
    [{ origin: 1, legs: [] }, 'origin: 1 is no string'],
    [{ legs: [] }, 'origin: undefined is no string'],
    [{ origin: 'a', legs: [{ delay: 1 }, { delay: 'late' }] }, "legs.1.delay: 'late' is no int"],
    [{ origin: 'a', legs: [{ delay: 2 ** 31 }] }, 'legs.0.delay: 2147483648 is no int'],
    [{ origin: '\ud800', legs: [] }, 'surrogate'],
    [undefined, 'undefined is no com.example.Flight'],
    [null, 'null is no com.example.Flight'],
    ['text', "'text' is no com.example.Flight"],
  ])('%j: %s', async (value, what) => {
    const codec = await opened(avro<unknown>(NESTED), { registry: memoryRegistry() })
    const error = failing('ENCODE_FAILED', () => codec.encode(value))
    expect(error.message).toContain('Cannot encode a value for topic "flights" as avro:com.example.Flight')
    expect(error.message).toContain(what)
    // The failure leaves nothing behind.
    expect(codec.decode(codec.encode({ origin: 'b', legs: [] }))).toEqual({ origin: 'b', legs: [] })
  })

  test.each<[string | object, unknown]>([
    ['long', 2 ** 53],
    ['long', 0.5],
    ['long', 1n],
    ['bytes', new Uint8Array(1)],
    [{ type: 'enum', name: 'E', symbols: ['A'] }, 'B'],
    [{ type: 'enum', name: 'E', symbols: ['A'] }, 'constructor'],
    [{ type: 'map', values: 'int' }, { '\ud800': 1 }],
    [{ type: 'map', values: 'int' }, []],
    [['null', 'string'], 5],
    [{ type: 'fixed', name: 'F', size: 2 }, Buffer.alloc(3)],
  ])('%j, given a value it has no place for (%#)', async (schema, value) => {
    const codec = await opened(avro<unknown>(schema), { registry: memoryRegistry() })
    failing('ENCODE_FAILED', () => codec.encode(value))
  })
})

describe('evolution', () => {
  test.each<[string, object, object, object, object]>([
    [
      'a field added with a default',
      record(ORIGIN),
      record(ORIGIN, { ...DELAY, default: -1 }),
      { origin: 'JFK' },
      { origin: 'JFK', delayMinutes: -1 },
    ],
    [
      'a field removed',
      record(
        DELAY,
        { name: 'gone', type: { type: 'array', items: { type: 'map', values: 'string' } } },
        ORIGIN,
      ),
      record(ORIGIN),
      { origin: 'JFK', delayMinutes: 5, gone: [{ a: 'b' }, {}] },
      { origin: 'JFK' },
    ],
    [
      'int promoted to long',
      record(DELAY),
      record({ ...DELAY, type: 'long' }),
      { delayMinutes: -5 },
      { delayMinutes: -5 },
    ],
    [
      'a large negative long promoted to double',
      record({ ...DELAY, type: 'long' }),
      record({ ...DELAY, type: 'double' }),
      { delayMinutes: -(2 ** 52) - 1 },
      { delayMinutes: -(2 ** 52) - 1 },
    ],
    [
      'a large negative long promoted to float',
      record({ ...DELAY, type: 'long' }),
      record({ ...DELAY, type: 'float' }),
      { delayMinutes: Number.MIN_SAFE_INTEGER },
      { delayMinutes: Number.MIN_SAFE_INTEGER },
    ],
    [
      'string read as bytes',
      record(ORIGIN),
      record({ ...ORIGIN, type: 'bytes' }),
      { origin: 'ä' },
      { origin: Buffer.from('ä') },
    ],
    [
      'a field renamed with an alias',
      record({ ...ORIGIN, name: 'from' }),
      record({ ...ORIGIN, aliases: ['from'] }),
      { from: 'JFK' },
      { origin: 'JFK' },
    ],
    [
      'the record renamed with an alias',
      record(ORIGIN),
      { ...record(ORIGIN), name: 'Trip', aliases: ['Flight'] },
      { origin: 'JFK' },
      { origin: 'JFK' },
    ],
    [
      'a field made optional',
      record(ORIGIN),
      record({ ...ORIGIN, type: ['null', 'string'], default: null }),
      { origin: 'JFK' },
      { origin: 'JFK' },
    ],
    [
      'fields in another order',
      record(ORIGIN, DELAY),
      record(DELAY, ORIGIN),
      { origin: 'JFK', delayMinutes: 5 },
      { origin: 'JFK', delayMinutes: 5 },
    ],
    [
      'items of an array grown',
      record({ name: 'legs', type: { type: 'array', items: record(ORIGIN) } }),
      record({ name: 'legs', type: { type: 'array', items: record(ORIGIN, { ...DELAY, default: 0 }) } }),
      { legs: [{ origin: 'a' }, { origin: 'b' }] },
      {
        legs: [
          { origin: 'a', delayMinutes: 0 },
          { origin: 'b', delayMinutes: 0 },
        ],
      },
    ],
  ])('%s', async (_, writer, reader, written, read) => {
    // Two records of one name in a schema are not allowed: the inner one of the last case gets its own.
    const named = (schema: object) =>
      JSON.parse(
        JSON.stringify(schema).replace(
          '"items":{"type":"record","name":"Flight"',
          '"items":{"type":"record","name":"Leg"',
        ),
      )
    const registry = memoryRegistry()
    const bytes = await writtenBy(named(writer), written, registry)
    const codec = await opened(avro<object>(named(reader)), { registry })
    expect(await preparedDecode(codec, bytes)).toEqual(read)
    // And as the next version of one subject.
    expect(await registry.idOf('elsewhere-value', JSON.stringify(named(reader)))).toBeGreaterThan(0)
  })

  test.each<[string, object, string]>([
    ['a field without default that the writer has not', record(ORIGIN, DELAY), 'delayMinutes'],
    ['another type', record({ ...ORIGIN, type: 'int' }), 'int'],
    ['another record', { ...record(ORIGIN), name: 'Hotel' }, 'com.example.Hotel'],
  ])('cannot read %s: every such record is refused, with both names', async (_, reader, what) => {
    const registry = memoryRegistry()
    const bytes = await writtenBy(record(ORIGIN), { origin: 'JFK' }, registry)
    const codec = await opened(avro<object>(reader), { registry })
    await codec.prepare?.(bytes)
    const error = failing('DECODE_FAILED', () => codec.decode(bytes))
    expect(error.message).toContain('cannot read what com.example.Flight wrote')
    expect(error.message).toContain(what)
    expect(error.cause).toMatchObject({ code: 'SCHEMA_INVALID' })
    // Schemas do not change, so nobody is asked again.
    expect(codec.prepare?.(bytes)).toBeUndefined()
  })
})

describe('schemas of other writers', () => {
  const setUp = async () => {
    const shared = memoryRegistry()
    const bytes = await writtenBy(record(ORIGIN), { origin: 'JFK' }, shared)
    const asked: number[] = []
    const answers: ((() => Promise<string>) | undefined)[] = []
    const registry: Registry = {
      idOf: (subject, schema) => shared.idOf(subject, schema),
      schemaOf: (id) => {
        asked.push(id)
        return answers.shift()?.() ?? shared.schemaOf(id)
      },
    }
    const codec = await opened(avro<Flight>(record(ORIGIN, { ...DELAY, default: 0 })), { registry })
    return { codec, bytes, asked, answers }
  }

  test('are asked for once, by all who wait', async () => {
    const { codec, bytes, asked } = await setUp()
    expect(failing('DECODE_FAILED', () => codec.decode(bytes)).message).toContain(
      'schema id 1 was not prepared',
    )
    const first = codec.prepare?.(bytes)
    expect(first).toBeInstanceOf(Promise)
    expect(codec.prepare?.(bytes)).toBe(first)
    await first
    expect(asked).toEqual([1])
    expect(codec.prepare?.(bytes)).toBeUndefined()
    expect(codec.decode(bytes)).toEqual({ origin: 'JFK', delayMinutes: 0 })
  })

  test('need no preparation when it is our own', async () => {
    const { codec, asked } = await setUp()
    const bytes = codec.encode({ origin: 'JFK', delayMinutes: 5 })
    expect(codec.prepare?.(bytes)).toBeUndefined()
    expect(codec.decode(bytes)).toEqual({ origin: 'JFK', delayMinutes: 5 })
    expect(asked).toEqual([])
  })

  test.each([
    ['rejects', () => Promise.reject(new DruseError('REGISTRY_UNAVAILABLE', 'away'))],
    [
      'throws',
      () => {
        throw new DruseError('REGISTRY_UNAVAILABLE', 'away')
      },
    ],
  ])('are asked for again after a registry that %s', async (_, answer) => {
    const { codec, bytes, asked, answers } = await setUp()
    answers.push(answer)
    await expect(codec.prepare?.(bytes)).rejects.toMatchObject({ code: 'REGISTRY_UNAVAILABLE' })
    failing('DECODE_FAILED', () => codec.decode(bytes))
    await codec.prepare?.(bytes)
    expect(codec.decode(bytes)).toMatchObject({ origin: 'JFK' })
    expect(asked).toEqual([1, 1])
  })

  test('that nobody knows reject with SCHEMA_UNKNOWN', async () => {
    const { codec } = await setUp()
    await expect(codec.prepare?.(fromHex('00 0000ffff 00'))).rejects.toMatchObject({ code: 'SCHEMA_UNKNOWN' })
  })

  test('that are no schemas refuse the record', async () => {
    const { codec, bytes, answers } = await setUp()
    answers.push(async () => '{"type":"nonsense"}')
    await codec.prepare?.(bytes)
    expect(failing('DECODE_FAILED', () => codec.decode(bytes)).message).toContain('nonsense')
  })
})

describe('bad bytes', () => {
  test.each([
    ['', '5 bytes of framing expected, 0 found'],
    ['00000001', '5 bytes of framing expected, 4 found'],
    ['0100000001', "byte 0 expected first, as Confluent's framing has it, 1 found"],
    ['0000000001', 'its 5 bytes end in the middle of the value'],
    ['0000000001 06 4a46', 'end in the middle'],
    ['0000000001 06 4a464b 0a ff', '1 bytes are left after the value'],
    ['0000000001 01 0a', 'end in the middle'],
    ['0000000001 06 4aff4b 0a', 'a string is no UTF-8'],
    ['0000000001 00 8080808010', '2147483648 is no int'],
    ['0000000001 feffffffffffffff7f 4a', 'end in the middle'],
  ])('%j: %s', async (found, what) => {
    const codec = await opened(avro<Flight>(FLIGHT), { registry: memoryRegistry() })
    expect(codec.prepare?.(fromHex(found))).toBeUndefined()
    const error = failing('DECODE_FAILED', () => codec.decode(fromHex(found)))
    expect(error.message).toContain(what)
    expect(error.details).toMatchObject({ topic: 'flights', part: 'value', kind: 'avro:com.example.Flight' })
  })

  test('U+FFFD that was written is text', async () => {
    const codec = await opened(avro<string>('string'), { registry: memoryRegistry() })
    const value = `a\ufffdb${'\ufffd'.repeat(100)}`
    expect(codec.decode(codec.encode(value))).toBe(value)
  })

  test('a long beyond the safe integers is refused', async () => {
    const codec = await opened(avro<number>('long'), { registry: memoryRegistry() })
    failing('DECODE_FAILED', () => codec.decode(fromHex('0000000001 feffffffffffffffff01')))
  })

  const TREE = {
    type: 'record',
    name: 'Tree',
    fields: [
      { name: 'nothings', type: { type: 'array', items: 'null' } },
      { name: 'pairs', type: { type: 'map', values: ['null', 'string'] } },
      { name: 'children', type: { type: 'array', items: 'Tree' } },
      { name: 'next', type: ['Tree', 'null'] },
      { name: 'color', type: { type: 'enum', name: 'Color', symbols: ['RED', 'BLUE'] } },
      { name: 'hash', type: { type: 'fixed', name: 'Hash', size: 3 } },
      { name: 'raw', type: 'bytes' },
      { name: 'numbers', type: { type: 'array', items: 'double' } },
    ],
  }
  const COUNTS = [
    ['2^31', '8080808020'],
    ['2^53 - 2', 'fcffffffffffff1f'],
    ['beyond 2^53', 'feffffffffffffffff01'],
    ['-2^31, with a size', 'ffffffff1f 00'],
    ['without end', 'ff'.repeat(200)],
  ]
  const ITEMS = ['null', 'int', 'string', 'double', { type: 'array', items: 'null' }, record(), record(DELAY)]
  const BOMBS = COUNTS.flatMap(([name, count]) => [
    ...ITEMS.map((items): [string, object, string] => [
      `array of ${name}`,
      { type: 'array', items },
      count ?? '',
    ]),
    ...ITEMS.map((values): [string, object, string] => [
      `map of ${name}`,
      { type: 'map', values },
      count ?? '',
    ]),
  ])

  test.each(BOMBS)('%s %j is refused in no time, read or skipped', async (_, schema, count) => {
    for (const skipped of [false, true]) {
      const registry = memoryRegistry()
      const writer = {
        type: 'record',
        name: 'Outer',
        fields: [
          { name: 'bomb', type: schema },
          { name: 'rest', type: 'string' },
        ],
      }
      await registry.idOf('elsewhere-value', JSON.stringify(writer))
      const fields = skipped ? writer.fields.slice(1) : writer.fields
      const codec = await opened(avro<object>({ ...writer, fields }), { registry })
      const bytes = fromHex(`00 00000001 ${count}`)
      await codec.prepare?.(bytes)
      failing('DECODE_FAILED', () => codec.decode(bytes))
    }
  })

  test('a block size that leads a skipping reader backwards is refused', async () => {
    const registry = memoryRegistry()
    const list = { type: 'array', items: 'int' }
    const writer = record({ name: 'skipped', type: list }, DELAY)
    await registry.idOf('elsewhere-value', JSON.stringify(writer))
    const codec = await opened(avro<object>(record(DELAY)), { registry })
    // Count -1, size -2: back to the count.
    for (const body of ['01 03 00 00', '01 7f 00 00', '01 ffffffffffffffffff01 00 00']) {
      const bytes = fromHex(`00 00000001 ${body}`)
      await codec.prepare?.(bytes)
      failing('DECODE_FAILED', () => codec.decode(bytes))
    }
    // A count of -1 with the right size, which other writers use.
    expect(codec.decode(fromHex('00 00000001 01 02 0c 00 0e'))).toEqual({ delayMinutes: 7 })
  })

  test('blocks as other writers make them are read', async () => {
    const registry = memoryRegistry()
    const numbers = await opened(avro<number[]>({ type: 'array', items: 'int' }), { registry, topic: 'a' })
    expect(numbers.decode(fromHex('00 00000001 04 02 04 01 02 06 00'))).toEqual([1, 2, 3])
    const map = await opened(avro<object>({ type: 'map', values: 'int' }), { registry, topic: 'b' })
    expect(map.decode(fromHex('00 00000002 02 02 61 02 01 06 02 62 04 00'))).toEqual({ a: 1, b: 2 })
    const nulls = await opened(avro<null[]>({ type: 'array', items: 'null' }), { registry, topic: 'c' })
    expect(nulls.decode(nulls.encode(new Array(1000).fill(null)))).toHaveLength(1000)
  })

  test('counts within counts do not multiply', async () => {
    // Each level claims as many items as bytes are left, each item begins the next level.
    const codec = await opened(avro<unknown>(TREE), { registry: memoryRegistry() })
    const level = Buffer.from(fromHex('00 00 fe ff 1f'))
    const bytes = Buffer.concat([fromHex('0000000001'), ...Array.from({ length: 20_000 }, () => level)])
    failing('DECODE_FAILED', () => codec.decode(bytes))
    const shallow = Buffer.concat([
      fromHex('0000000001'),
      ...Array.from({ length: 500 }, () => level),
      Buffer.alloc(100_000, 1),
    ])
    failing('DECODE_FAILED', () => codec.decode(shallow))
    // Arrays of nothing, many of them: the budget is the value's.
    const lists = await opened(avro<unknown>({ type: 'array', items: { type: 'array', items: 'null' } }), {
      registry: memoryRegistry(),
    })
    const inner = fromHex('f09c01 00')
    const many = Buffer.concat([
      fromHex('0000000001 c09a0c'),
      ...Array.from({ length: 100_000 }, () => inner),
    ])
    expect(failing('DECODE_FAILED', () => lists.decode(many)).message).toContain('items without any bytes')
  })

  test('nothing but DruseError comes of any bytes, and it comes', async () => {
    const registry = memoryRegistry()
    await registry.idOf('elsewhere-value', JSON.stringify(TREE))
    const own = await opened(avro<unknown>(TREE), { registry })
    const reader = { ...TREE, fields: TREE.fields.filter((field) => ['color', 'raw'].includes(field.name)) }
    const other = await opened(avro<unknown>(reader), { registry, topic: 'reader' })
    await other.prepare?.(fromHex('0000000001'))
    const leaf = {
      nothings: [],
      pairs: {},
      children: [],
      next: null,
      color: 'RED',
      hash: Buffer.alloc(3),
      raw: Buffer.alloc(2),
      numbers: [],
    }
    const valid = own.encode({
      ...leaf,
      nothings: [null],
      pairs: { a: 'b', c: null },
      children: [leaf, leaf],
      next: leaf,
      numbers: [1, 2],
    })
    const attempt = (bytes: Uint8Array) => {
      for (const codec of [own, other]) {
        try {
          codec.decode(bytes)
        } catch (error) {
          if (!(error instanceof DruseError)) throw error
          expect(error.code).toBe('DECODE_FAILED')
        }
      }
    }
    const framed = (body: Uint8Array) => Buffer.concat([fromHex('0000000001'), body])
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (body) => attempt(framed(body))),
      { numRuns: 2000 },
    )
    const edits = fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(edits, fc.nat(valid.length), (changes, end) => {
        const bytes = Buffer.from(valid)
        for (const [at, value] of changes) bytes[at] = value
        attempt(bytes)
        attempt(bytes.subarray(0, end))
      }),
      { numRuns: 2000 },
    )
    fc.assert(fc.property(fc.uint8Array(), attempt))
  })
})
