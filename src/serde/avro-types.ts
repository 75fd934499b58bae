/**
 * avsc's types where it trusts its input too far. avsc reads ahead of its buffer without a word and looks once, at
 * the end, whether it has passed it; that is fast, and right for all but what stands here:
 *
 * - a block count in an array or map is a loop, so a few bytes may claim 2⁵³ items, or infinitely many;
 * - a negative block size moves a skipping reader backwards, for ever;
 * - a long below -2⁵² is written and read as another number, even as a positive one, since avsc doubles it in a
 *   double; a long that is read as float or double likewise;
 * - an `int` may be read that is none; a string's bytes need not be UTF-8, nor will they be when half a surrogate
 *   pair is written; an enum takes the name of any property of an object; a map loses the key `__proto__`.
 *
 * The methods that begin with `_` are avsc's own way of composing types. They are not in its documentation: the
 * tests of this folder pin their behaviour, and package.json pins the version.
 */
import avsc, { type Type } from 'avsc'
import { decodeUtf8 } from './utf8.ts'

/** Items that take no bytes (`null`, records without fields) are not bounded by the size of a value; by this they are. */
const EMPTY_ITEMS_MAX = 10_000

/** The scale of the tenth byte, above the 28 bits of the first four. */
const LONG_HIGH_MAX = 128 ** 5

/** avsc's cursor over a buffer. */
interface Tap {
  /** avsc's marks by a position beyond the end that it has passed it; bytes there read as undefined. */
  readonly buf: Buffer
  pos: number
  /** Items without bytes read so far in this value; set by `assertProgress` when there are any. */
  emptyItems?: number
  readLong(): number
  skipLong(): void
  writeLong(value: number): void
  readInt(): number
  readString(): string | undefined
  skipString(): void
}

/** What a type is to the types that contain it; avsc's resolvers have `_read` as well. */
interface Composable {
  _read(tap: Tap): unknown
  _skip(tap: Tap): void
  _write(tap: Tap, value: unknown): void
  /** Sets how a resolver reads what `writer` wrote, if it can. */
  _update(resolver: { _read: unknown }, writer: Type, options: unknown): void
}

/** In avsc, `this` of `_read` is the type itself, or a resolver with the same members. */
interface WithItems {
  readonly itemsType: unknown
}
interface WithValues {
  readonly valuesType: unknown
}

const composable = (type: unknown): Composable => type as Composable

class BoundedArray extends avsc.types.ArrayType {
  _read(this: WithItems, tap: Tap): unknown[] {
    const items = composable(this.itemsType)
    const values: unknown[] = []
    for (let count = readBlockCount(tap); count > 0; count = readBlockCount(tap)) {
      while (count-- > 0) {
        const start = tap.pos
        values.push(items._read(tap))
        assertProgress(tap, start)
      }
    }
    return values
  }

  _skip(this: WithItems, tap: Tap): void {
    const items = composable(this.itemsType)
    skipBlocks(tap, () => items._skip(tap))
  }
}

class BoundedMap extends avsc.types.MapType {
  _read(this: WithValues, tap: Tap): Record<string, unknown> {
    const values = composable(this.valuesType)
    const result: Record<string, unknown> = {}
    for (let count = readBlockCount(tap); count > 0; count = readBlockCount(tap)) {
      while (count-- > 0) {
        const start = tap.pos
        const key = readText(tap) ?? ''
        const value = values._read(tap)
        if (key === '__proto__') {
          Object.defineProperty(result, key, { value, enumerable: true, configurable: true, writable: true })
        } else {
          result[key] = value
        }
        assertProgress(tap, start)
      }
    }
    return result
  }

  _skip(this: WithValues, tap: Tap): void {
    const values = composable(this.valuesType)
    skipBlocks(tap, () => {
      tap.skipString()
      values._skip(tap)
    })
  }

  _write(tap: Tap, value: unknown): void {
    if (typeof value === 'object' && value !== null)
      for (const key of Object.keys(value)) assertWellFormed(key)
    composable(avsc.types.MapType.prototype)._write.call(this, tap, value)
  }
}

class StrictString extends avsc.types.StringType {
  _read(tap: Tap): string | undefined {
    return readText(tap)
  }

  _write(tap: Tap, value: unknown): void {
    if (typeof value === 'string') assertWellFormed(value)
    composable(avsc.types.StringType.prototype)._write.call(this, tap, value)
  }
}

class StrictInt extends avsc.types.IntType {
  _read(tap: Tap): number {
    const value = tap.readInt()
    if (value !== (value | 0)) throw new Error(`${value} is no int`)
    return value
  }
}

class ExactLong extends avsc.types.LongType {
  _read(tap: Tap): number {
    const value = readZigzag(tap)
    if (!Number.isSafeInteger(value)) throw new Error(`the long ${value} is no safe integer`)
    return value
  }

  _write(tap: Tap, value: unknown): void {
    if (!Number.isSafeInteger(value)) throw new Error(`${String(value)} is no safe integer`)
    writeZigzag(tap, Number(value))
  }
}

const LONG_BYTES_MAX = 10

/** Every long there is, as bigint. */
const BIG_LONG = avsc.types.LongType.__with(
  {
    fromBuffer(bytes: Buffer): bigint {
      let zigzag = 0n
      for (let i = bytes.length - 1; i >= 0; i--) zigzag = (zigzag << 7n) | BigInt((bytes[i] ?? 0) & 0x7f)
      if (bytes.length > LONG_BYTES_MAX || zigzag >= 2n ** 64n)
        throw new Error('a long has more than 64 bits')
      return (zigzag >> 1n) ^ -(zigzag & 1n)
    },
    toBuffer(value: bigint): Buffer {
      const bytes: number[] = []
      let zigzag = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
      for (; zigzag > 0x7fn; zigzag >>= 7n) bytes.push(Number(zigzag & 0x7fn) | 0x80)
      bytes.push(Number(zigzag))
      return Buffer.from(bytes)
    },
    // A schema's defaults, and the ints that it reads as longs.
    fromJSON: (value: number | bigint): bigint => BigInt(value),
    toJSON: (value: bigint): bigint => value,
    isValid: (value: unknown): boolean => typeof value === 'bigint' && BigInt.asIntN(64, value) === value,
    compare: (one: bigint, other: bigint): number => (one < other ? -1 : one > other ? 1 : 0),
  },
  true,
)

class ExactDouble extends avsc.types.DoubleType {
  _update(resolver: { _read: unknown }, writer: Type, options: unknown): void {
    if (writer.typeName === 'long') resolver._read = readZigzag
    else composable(avsc.types.DoubleType.prototype)._update.call(this, resolver, writer, options)
  }
}

class ExactFloat extends avsc.types.FloatType {
  _update(resolver: { _read: unknown }, writer: Type, options: unknown): void {
    if (writer.typeName === 'long') resolver._read = readZigzag
    else composable(avsc.types.FloatType.prototype)._update.call(this, resolver, writer, options)
  }
}

class StrictEnum extends avsc.types.EnumType {
  _write(tap: Tap, value: unknown): void {
    if (typeof value !== 'string' || !this.symbols.includes(value)) {
      throw new Error(`"${String(value)}" is none of ${this.symbols.join(', ')}`)
    }
    composable(avsc.types.EnumType.prototype)._write.call(this, tap, value)
  }
}

const STRING = new StrictString()
const INT = new StrictInt()
const LONG = new ExactLong()
const DOUBLE = new ExactDouble()
const FLOAT = new ExactFloat()

/** For avsc's `typeHook`: as `strictType`, but longs are bigint. */
export function strictTypeOfBigLongs(schema: unknown, options: unknown): Type | undefined {
  const type = strictType(schema, options)
  return type === LONG ? BIG_LONG : type
}

/** For avsc's `typeHook`: the type to use instead of avsc's own for a schema, if there is one. */
export function strictType(schema: unknown, options: unknown): Type | undefined {
  const isObject = typeof schema === 'object' && schema !== null && 'type' in schema
  switch (isObject ? schema.type : schema) {
    case 'string':
      return STRING
    case 'int':
      return INT
    case 'long':
      return LONG
    case 'double':
      return DOUBLE
    case 'float':
      return FLOAT
  }
  if (!isObject) return undefined
  // avsc checks the schema itself, and says what is wrong with it.
  const checked = schema as ConstructorParameters<typeof avsc.types.ArrayType>[0]
  switch (schema.type) {
    case 'array':
      return new BoundedArray(checked, options)
    case 'map':
      return new BoundedMap(checked, options)
    case 'enum':
      return new StrictEnum(checked, options)
  }
  return undefined
}

/** 0 ends an array or a map. A negative count is followed by the block's size, for those who skip. */
function readBlockCount(tap: Tap): number {
  const count = readCount(tap)
  if (count >= 0) return count
  tap.skipLong()
  return -count
}

function skipBlocks(tap: Tap, skipItem: () => void): void {
  for (let count = readCount(tap); count !== 0; count = readCount(tap)) {
    if (count < 0) {
      const size = readCount(tap)
      if (size < 0) throw new Error(`a block has ${size} bytes`)
      tap.pos += size
      continue
    }
    while (count-- > 0) {
      const start = tap.pos
      skipItem()
      assertProgress(tap, start)
    }
  }
}

function readCount(tap: Tap): number {
  const count = tap.readLong()
  // avsc reads more than 10 bytes of a varint as Infinity or NaN.
  if (!Number.isSafeInteger(count)) throw new Error(`a count of ${count} is out of range`)
  return count
}

/** Each item brings the end of the buffer nearer, or draws on a budget: then time and memory are bounded. */
function assertProgress(tap: Tap, start: number): void {
  if (tap.pos > tap.buf.length) throw new Error('an array or a map passes the end')
  if (tap.pos > start) return
  tap.emptyItems = (tap.emptyItems ?? 0) + 1
  if (tap.emptyItems > EMPTY_ITEMS_MAX)
    throw new Error(`more than ${EMPTY_ITEMS_MAX} items without any bytes`)
}

/** A long in Avro's encoding (zigzag, 7 bits a byte, low first); rounded where a double must. */
function readZigzag(tap: Tap): number {
  const { buf } = tap
  let low = 0
  let byte = 0
  for (let shift = 0; shift < 28; shift += 7) {
    byte = buf[tap.pos++] ?? 0
    low |= (byte & 0x7f) << shift
    if ((byte & 0x80) === 0) return (low >>> 1) ^ -(low & 1)
  }
  let high = 0
  for (let scale = 1; (byte & 0x80) !== 0; scale *= 128) {
    if (scale > LONG_HIGH_MAX) throw new Error('a long has more than 64 bits')
    byte = buf[tap.pos++] ?? 0
    high += (byte & 0x7f) * scale
  }
  // The sign is the lowest bit: halved in two parts, nothing below it is lost to rounding.
  const magnitude = high * 2 ** 27 + (low >>> 1)
  return (low & 1) === 0 ? magnitude : -magnitude - 1
}

/** Of a safe integer. */
function writeZigzag(tap: Tap, value: number): void {
  if (value >= -(2 ** 30) && value < 2 ** 30) {
    tap.writeLong(value)
    return
  }
  const { buf } = tap
  const magnitude = value < 0 ? -value - 1 : value
  let low = (magnitude % 2 ** 27) * 2 + (value < 0 ? 1 : 0)
  let high = Math.floor(magnitude / 2 ** 27)
  for (let n = 0; n < 4; n++, low >>>= 7) buf[tap.pos++] = (low & 0x7f) | 0x80
  for (; high > 0x7f; high >>>= 7) buf[tap.pos++] = (high & 0x7f) | 0x80
  buf[tap.pos++] = high
}

/** Undefined beyond the end, where avsc notices by itself. */
function readText(tap: Tap): string | undefined {
  const start = tap.pos
  const text = tap.readString()
  if (text?.includes('\ufffd') !== true) return text
  const end = tap.pos
  tap.pos = start
  const size = tap.readLong()
  tap.pos = end
  if (decodeUtf8(tap.buf.subarray(end - size, end)) === undefined) throw new Error('a string is no UTF-8')
  return text
}

function assertWellFormed(text: string): void {
  if (!text.isWellFormed()) throw new Error('a string has half of a surrogate pair')
}
