import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DruseError } from '../../src/errors.ts'
import {
  type BatchOwner,
  BatchWriter,
  controlBatch,
  controlTypeOf,
  placeBatch,
  type RawRecord,
  readBatchHeader,
  recordBytesMax,
  verifyBatch,
} from '../../src/kafka/record-batch.ts'
import type { Header } from '../../src/types.ts'
import { decodeRecords } from '../decode-records.ts'

/** Written by Kafka's own encoder: see the `source` of the file. */
interface Fixture {
  name: string
  bytes: string
  baseOffset: number
  lastOffset: number
  leaderEpoch: number
  producerId: number
  producerEpoch: number
  baseSequence: number
  isTransactional: boolean
  isControl: boolean
  maxTimestamp: number
  timestampType: 'CreateTime' | 'LogAppendTime'
  records: {
    offset: number
    timestamp: number
    key: string | null
    value: string | null
    headers: [string, string | null][]
  }[]
}

const fixtures: Fixture[] = JSON.parse(
  readFileSync(new URL('./fixtures/record-batches.json', import.meta.url), 'utf8'),
).batches

const NO_OWNER: BatchOwner = { producerId: -1n, producerEpoch: -1, baseSequence: -1, isTransactional: false }

const fixture = (name: string): Fixture => {
  const found = fixtures.find((each) => each.name === name)
  if (found === undefined) throw new Error(`no fixture ${name}`)
  return found
}
const bytesOf = (name: string): Buffer => Buffer.from(fixture(name).bytes, 'hex')
const fromHex = (text: string | null): Buffer | null => (text === null ? null : Buffer.from(text, 'hex'))
const headersOf = (headers: [string, string | null][]): Header[] =>
  headers.map(([key, value]) => ({ key: Buffer.from(key, 'hex').toString(), value: fromHex(value) }))

function read(bytes: Buffer, at = 0): RawRecord[] {
  const header = readBatchHeader(bytes, at)
  if (header === undefined) throw new Error('cut off')
  verifyBatch(bytes, at, header)
  return decodeRecords(bytes, at, header)
}

/** The code of the error, or a way to see that there was none. */
function codeOf(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    if (error instanceof DruseError) return error.code
    throw error
  }
  return 'no error'
}

/** Changes a batch and makes its checksum fit again, to reach what stands behind it. */
function forge(bytes: Buffer, change: (bytes: Buffer) => void): Buffer {
  const forged = Buffer.from(bytes)
  change(forged)
  return forged
}

describe('Kafka wrote it', () => {
  test.each(fixtures)('$name: header and records', (expected) => {
    const bytes = Buffer.from(expected.bytes, 'hex')
    expect(readBatchHeader(bytes, 0)).toMatchObject({
      baseOffset: expected.baseOffset,
      lastOffset: expected.lastOffset,
      sizeBytes: bytes.length,
      leaderEpoch: expected.leaderEpoch,
      producerEpoch: expected.producerEpoch,
      baseSequence: expected.baseSequence,
      isTransactional: expected.isTransactional,
      isControl: expected.isControl,
      maxTimestamp: expected.maxTimestamp,
      timestampType: expected.timestampType === 'CreateTime' ? 'create' : 'append',
      compression: expected.name === 'compressed' ? 1 : 0,
      recordCount: expected.records.length,
    })
    expect(read(bytes)).toEqual(
      expected.records.map((record) => ({
        offset: record.offset,
        timestamp: record.timestamp,
        key: fromHex(record.key),
        value: fromHex(record.value),
        headers: headersOf(record.headers),
      })),
    )
  })

  const written = [
    'one record',
    'nulls and empties',
    'headers',
    'timestamps up and down',
    'no timestamp',
    'many records',
    'large value',
    'transactional',
    'idempotent',
  ]
  test.each(written)('%s: written again, the bytes are the same', (name) => {
    const expected = fixture(name)
    const writer = new BatchWriter()
    for (const record of expected.records) {
      writer.add(record.timestamp, fromHex(record.key), fromHex(record.value), headersOf(record.headers))
    }
    const { producerEpoch, baseSequence, isTransactional } = expected
    const producerId = bytesOf(name).readBigInt64BE(43)
    const owner = { producerId, producerEpoch, baseSequence, isTransactional }
    expect(writer.count).toBe(expected.records.length)
    expect(writer.sizeBytes).toBe(expected.bytes.length / 2)
    expect(writer.build(owner).toString('hex')).toBe(expected.bytes)
    expect(writer.build(owner).toString('hex')).toBe(expected.bytes)
  })

  test('producer ids are 64 bits', () => {
    expect(readBatchHeader(bytesOf('transactional'), 0)?.producerId).toBe(4611686018427387905n)
  })

  test.each(['commit', 'abort'] as const)('the marker of %s', (type) => {
    const marker = {
      producerId: 4711n,
      producerEpoch: 3,
      coordinatorEpoch: 12,
      timestampMs: 1_700_000_000_000,
    }
    expect(controlBatch({ type, ...marker }).toString('hex')).toBe(fixture(type).bytes)
  })

  test.each([
    ['commit', 'commit'],
    ['abort', 'abort'],
    ['leader change', 'other'],
    ['emptied', 'other'],
    ['one record', 'other'],
  ])('%s says %s', (name, type) => {
    const bytes = bytesOf(name)
    const header = readBatchHeader(bytes, 0)
    expect(header && controlTypeOf(bytes, 0, header)).toBe(type)
  })
})

describe('a writer', () => {
  test('reset begins a new batch', () => {
    const writer = new BatchWriter()
    writer.add(5, Buffer.from('a'), Buffer.from('b'), [{ key: 'h', value: null }])
    writer.add(50, null, null)
    writer.reset()
    expect(writer.count).toBe(0)
    writer.add(1_700_000_000_000, Buffer.from('key'), Buffer.from('value'))
    expect(writer.build(NO_OWNER).toString('hex')).toBe(fixture('one record').bytes)
  })

  test('a batch placed in a log keeps its checksum', () => {
    const { records, producerEpoch, baseSequence, isTransactional, bytes } = fixture('placed')
    const writer = new BatchWriter()
    for (const { timestamp, key, value } of records) writer.add(timestamp, fromHex(key), fromHex(value))
    const batch = writer.build({ producerId: 5n, producerEpoch, baseSequence, isTransactional })
    placeBatch(batch, 0, 5_000_000_000, 42)
    expect(batch.toString('hex')).toBe(bytes)
    expect(() => placeBatch(batch, 0, Number.MAX_SAFE_INTEGER - 1, 0)).not.toThrow()
    expect(read(batch).map(({ offset }) => offset)).toEqual([
      Number.MAX_SAFE_INTEGER - 1,
      Number.MAX_SAFE_INTEGER,
    ])
  })

  test('refuses what no batch can hold, and stays as it was', () => {
    const writer = new BatchWriter()
    expect(codeOf(() => writer.build(NO_OWNER))).toBe('ENCODE_FAILED')
    for (const timestamp of [Number.NaN, 1.5, 2 ** 53, Number.POSITIVE_INFINITY]) {
      expect(codeOf(() => writer.add(timestamp, null, null))).toBe('ENCODE_FAILED')
    }
    writer.add(1_700_000_000_000, Buffer.from('key'), Buffer.from('value'))
    expect(codeOf(() => writer.add(Number.NaN, null, null))).toBe('ENCODE_FAILED')
    expect(writer.build(NO_OWNER).toString('hex')).toBe(fixture('one record').bytes)
  })

  test('the greatest timestamp is in the header, wherever it stands', () => {
    const writer = new BatchWriter()
    for (const timestamp of [10, 30, 20]) writer.add(timestamp, null, null)
    expect(readBatchHeader(writer.build(NO_OWNER), 0)).toMatchObject({ baseTimestamp: 10, maxTimestamp: 30 })
  })

  const bytes = fc.option(
    fc.oneof(fc.uint8Array({ maxLength: 5 }), fc.uint8Array({ minLength: 60, maxLength: 300 })),
  )
  const anyRecord = fc.record({
    timestamp: fc.oneof(
      fc.integer({ min: 0, max: 300 }),
      fc.integer({ min: -(2 ** 52), max: 2 ** 52 }),
      fc.integer({ min: 2 ** 31 - 70, max: 2 ** 31 + 70 }),
    ),
    key: bytes,
    value: bytes,
    headers: fc.array(fc.record({ key: fc.string({ unit: 'grapheme', maxLength: 70 }), value: bytes }), {
      maxLength: 4,
    }),
  })

  test('what is written is read', () => {
    fc.assert(
      fc.property(fc.array(anyRecord, { minLength: 1, maxLength: 200 }), fc.nat(1000), (records, before) => {
        const writer = new BatchWriter(0)
        let sizeMax = 61
        for (const { timestamp, key, value, headers } of records) {
          const sizeBytes = writer.sizeBytes
          writer.add(timestamp, key, value, headers)
          expect(writer.sizeBytes - sizeBytes).toBeLessThanOrEqual(recordBytesMax(key, value, headers))
          sizeMax += recordBytesMax(key, value, headers)
        }
        const batch = writer.build(NO_OWNER)
        expect(batch.length).toBe(writer.sizeBytes)
        expect(batch.length).toBeLessThanOrEqual(sizeMax)
        // Not at the start of the bytes, and with others behind it.
        const log = Buffer.concat([Buffer.alloc(before, 0xff), batch, batch])
        placeBatch(log, before, 1000, 1)
        const expected = records.map(({ timestamp, key, value, headers }, i) => ({
          offset: 1000 + i,
          timestamp,
          key: key && Buffer.from(key),
          value: value && Buffer.from(value),
          headers: headers.map((header) => ({ ...header, value: header.value && Buffer.from(header.value) })),
        }))
        expect(read(log, before)).toEqual(expected)
        expect(read(log, before + batch.length).length).toBe(records.length)
      }),
      { numRuns: 200 },
    )
  })
})

describe('damage', () => {
  const sound = ['headers', 'timestamps up and down', 'many records', 'transactional', 'commit', 'compacted']

  test.each(sound)('%s: every flipped bit is found by header or checksum', (name) => {
    const bytes = bytesOf(name)
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const at = bit >> 3
      // Base offset, length and leader epoch lie outside of the checksum.
      if (at < 8 || (at >= 12 && at < 16)) continue
      const damaged = forge(bytes, (copy) => {
        copy[at] = (copy[at] as number) ^ (1 << (bit & 7))
      })
      const found = codeOf(() => {
        const header = readBatchHeader(damaged, 0)
        // A length that grew looks like a batch cut off.
        if (header === undefined) throw new DruseError('BATCH_CORRUPT', 'cut off')
        verifyBatch(damaged, 0, header)
      })
      expect(found, `bit ${bit}`).toMatch(/^BATCH_/)
    }
  })

  test.each(sound)('%s: cut off anywhere, there is no batch', (name) => {
    const bytes = bytesOf(name)
    for (let length = 0; length < bytes.length; length++) {
      expect(readBatchHeader(bytes.subarray(0, length), 0)).toBeUndefined()
    }
  })

  test('behind a checksum that fits, damage is still BATCH_CORRUPT and nothing else', () => {
    const damages = fc.array(
      fc.tuple(fc.nat(), fc.oneof(fc.nat(255), fc.constantFrom(0, 0x7f, 0x80, 0xff))),
      { minLength: 1, maxLength: 4 },
    )
    fc.assert(
      fc.property(fc.constantFrom(...sound), damages, (name, changes) => {
        const damaged = forge(bytesOf(name), (copy) => {
          for (const [at, value] of changes) copy[at % copy.length] = value
        })
        const found = codeOf(() => {
          const header = readBatchHeader(damaged, 0)
          if (header === undefined) return
          const records = decodeRecords(damaged, 0, header)
          expect(records.length).toBe(header.recordCount)
          controlTypeOf(damaged, 0, header)
        })
        expect(['no error', 'BATCH_CORRUPT', 'BATCH_UNSUPPORTED']).toContain(found)
      }),
      { numRuns: 5000 },
    )
  })

  const headerDamage: [string, (bytes: Buffer) => void][] = [
    ['a negative length', (bytes) => bytes.writeInt32BE(-1, 8)],
    ['a length below the header', (bytes) => bytes.writeInt32BE(48, 8)],
    ['a negative record count', (bytes) => bytes.writeInt32BE(-1, 57)],
    ['more records than offsets', (bytes) => bytes.writeInt32BE(3, 57)],
    ['a negative base offset', (bytes) => bytes.writeBigInt64BE(-1n, 0)],
    ['an offset beyond 53 bits', (bytes) => bytes.writeBigInt64BE(2n ** 53n - 1n, 0)],
    ['a negative last offset delta', (bytes) => bytes.writeInt32BE(-1, 23)],
  ]
  test.each(headerDamage)('%s', (_, damage) => {
    expect(codeOf(() => readBatchHeader(forge(bytesOf('transactional'), damage), 0))).toBe('BATCH_CORRUPT')
  })

  test('another format is named as such', () => {
    const old = forge(bytesOf('one record'), (bytes) => {
      bytes[16] = 1
    })
    expect(codeOf(() => readBatchHeader(old, 0))).toBe('BATCH_UNSUPPORTED')
  })

  // One record: 61 length, 62 attributes, 63 and 64 deltas, 65 length of 'key', 69 of 'value', 75 header count.
  const recordDamage: [string, number, number][] = [
    ['a record longer than the batch', 61, 0x7e],
    ['a record shorter than its fields', 61, 0x10],
    ['a negative record length', 61, 0x01],
    ['a key longer than the record', 65, 0x7e],
    ['a length below -1', 65, 0x03],
    ['a negative header count', 75, 0x01],
    ['more headers than bytes', 75, 0x7e],
    ['an offset delta beyond the last', 64, 0x02],
    ['a negative offset delta', 64, 0x01],
  ]
  test.each(recordDamage)('%s', (_, at, value) => {
    const damaged = forge(bytesOf('one record'), (bytes) => {
      bytes[at] = value
    })
    const header = readBatchHeader(damaged, 0)
    expect(codeOf(() => header && decodeRecords(damaged, 0, header))).toBe('BATCH_CORRUPT')
  })

  // A record of nothing but numbers, which may be written longer than need be, but not longer than they can be.
  const numbers: [string, string, string][] = [
    ['shortest', '000000010100', 'no error'],
    ['a timestamp delta of ten bytes', '0080808080808080808000000101'.concat('00'), 'no error'],
    ['a timestamp delta of 65 bits', '00808080808080808080020001'.concat('0100'), 'BATCH_CORRUPT'],
    ['a timestamp delta of eleven bytes', '0080808080808080808080000001'.concat('0100'), 'BATCH_CORRUPT'],
    ['an offset delta of five bytes', '00008080808000010100', 'no error'],
    ['an offset delta of 33 bits', '00008080808010010100', 'BATCH_CORRUPT'],
    ['an offset delta of six bytes', '0000808080808000010100', 'BATCH_CORRUPT'],
    ['bytes behind the headers', '00000001010000', 'BATCH_CORRUPT'],
    ['no headers, not even their count', '0000000101', 'BATCH_CORRUPT'],
    ['a header without a key', '000000010102010100', 'BATCH_CORRUPT'],
  ]
  test.each(numbers)('%s', (_, hex, expected) => {
    const record = Buffer.from(hex, 'hex')
    const batch = forge(
      Buffer.concat([bytesOf('one record').subarray(0, 61), Buffer.from([record.length * 2]), record]),
      (bytes) => bytes.writeInt32BE(bytes.length - 12, 8),
    )
    const header = readBatchHeader(batch, 0)
    expect(codeOf(() => header && decodeRecords(batch, 0, header))).toBe(expected)
  })

  test('a count that the bytes do not account for', () => {
    const damaged = forge(bytesOf('one record'), (bytes) => {
      bytes.writeInt32BE(0x7ffffffe, 23)
      bytes.writeInt32BE(0x7fffffff, 57)
    })
    const header = readBatchHeader(damaged, 0)
    expect(codeOf(() => header && decodeRecords(damaged, 0, header))).toBe('BATCH_CORRUPT')
  })

  test('a record that claims the bytes of the next', () => {
    const damaged = forge(bytesOf('transactional'), (bytes) => {
      bytes[61] = (bytes.length - 62) * 2
    })
    const header = readBatchHeader(damaged, 0)
    expect(header?.recordCount).toBe(2)
    expect(codeOf(() => header && decodeRecords(damaged, 0, header))).toBe('BATCH_CORRUPT')
  })

  test('bytes behind the last record', () => {
    const damaged = forge(bytesOf('many records'), (bytes) => bytes.writeInt32BE(139, 57))
    const header = readBatchHeader(damaged, 0)
    expect(codeOf(() => header && decodeRecords(damaged, 0, header))).toBe('BATCH_CORRUPT')
  })
})
