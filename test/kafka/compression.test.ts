/** The four codecs: what other clients wrote, what we write, what is damaged, and what is made to fill our memory. */
import { readFileSync } from 'node:fs'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { crc32c } from '@node-rs/crc32'
import fc from 'fast-check'
import * as lz4 from 'lz4-napi'
import * as snappy from 'snappy'
import { describe, expect, test } from 'vitest'
import { DruseError } from '../../src/errors.ts'
import {
  COMPRESSIONS,
  type Compression,
  compress,
  decompress,
  TooLarge,
} from '../../src/kafka/compression.ts'
import { recordsOf, visibleBatches } from '../../src/kafka/read-committed.ts'
import {
  BATCH_OVERHEAD_BYTES,
  type BatchOwner,
  BatchWriter,
  DECOMPRESSED_BYTES_MAX,
  readBatchHeader,
  verifyBatch,
  withRecords,
} from '../../src/kafka/record-batch.ts'
import { decodeRecords } from '../decode-records.ts'

const CODECS = COMPRESSIONS.filter((codec) => codec !== 'none')
const NO_OWNER: BatchOwner = { producerId: -1n, producerEpoch: -1, baseSequence: -1, isTransactional: false }
const LIMIT = 1 << 20

const fixture = (name: string) =>
  JSON.parse(readFileSync(new URL(`./fixtures/${name}.json`, import.meta.url), 'utf8'))

interface CompressedBatch {
  readonly client: string
  readonly codec: Compression
  readonly bytes: string
}
const batches: readonly CompressedBatch[] = fixture('compressed-batches').batches
const frames: readonly { readonly name: string; readonly bytes: string }[] = fixture('lz4-frames').frames

/** What ProduceCompressed.java says, and the other clients wrote too. */
const RECORDS = [
  ...Array.from({ length: 20 }, (_, i) => ({
    offset: i,
    timestamp: 1_700_000_000_000 + i,
    key: `key ${i}`,
    value: `value ${i} `.repeat(i),
    headers: [['n', `${i}`]],
  })),
  { offset: 20, timestamp: 1_700_000_000_020, key: 'gone', value: null, headers: [] },
  {
    offset: 21,
    timestamp: 1_700_000_000_021,
    key: 'large',
    value: '0123456789 '.repeat(15_000),
    headers: [],
  },
]

function read(bytes: Buffer) {
  const header = readBatchHeader(bytes, 0)
  if (header === undefined) throw new Error('cut off')
  verifyBatch(bytes, 0, header)
  const records = decodeRecords(bytes, 0, header).map(({ offset, timestamp, key, value, headers }) => ({
    offset,
    timestamp,
    key: key?.toString() ?? null,
    value: value?.toString() ?? null,
    headers: headers.map((each) => [each.key, each.value && Buffer.from(each.value).toString()]),
  }))
  return { header, records }
}

/** A batch with this payload in place of its records, whose checksum fits. */
function forged(codec: Compression, payload: Buffer, count = 1): Buffer {
  const writer = new BatchWriter()
  for (let i = 0; i < count; i++) writer.add(1, null, null)
  const head = writer.build(NO_OWNER).subarray(0, BATCH_OVERHEAD_BYTES)
  const batch = Buffer.concat([head, payload])
  batch.writeInt32BE(batch.length - 12, 8)
  batch.writeInt16BE(COMPRESSIONS.indexOf(codec), 21)
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17)
  return batch
}

function failureOf(action: () => unknown): unknown {
  try {
    action()
  } catch (error) {
    return error
  }
  return 'no error'
}

const codeOf = (action: () => unknown): unknown => {
  const failure = failureOf(action)
  return failure instanceof DruseError ? failure.code : failure
}

describe('other clients wrote it', () => {
  test.each(batches)('$client, $codec', ({ codec, bytes }) => {
    const { header, records } = read(Buffer.from(bytes, 'base64'))
    expect(COMPRESSIONS[header.compression]).toBe(codec)
    expect(records).toEqual(RECORDS)
  })

  test('all that could', () => {
    expect(batches.map(({ client, codec }) => `${client} ${codec}`)).toEqual([
      ...['java gzip', 'java snappy', 'java lz4', 'java zstd'],
      ...['librdkafka gzip', 'librdkafka snappy', 'librdkafka lz4', 'librdkafka zstd'],
      ...['kafkajs gzip', 'kafkajs snappy'],
    ])
  })

  test.each(frames.filter(({ name }) => name !== 'linked blocks'))('a frame of lz4: $name', ({ bytes }) => {
    expect(decompress('lz4', Buffer.from(bytes, 'base64'), LIMIT).toString()).toBe(
      '0123456789 '.repeat(8_000),
    )
  })

  test('linked blocks, which no broker takes, are told', () => {
    const { bytes } = frames.find(({ name }) => name === 'linked blocks') as { bytes: string }
    expect(() => decompress('lz4', Buffer.from(bytes, 'base64'), LIMIT)).toThrow('independent')
  })

  // Of zstd 1.5, with a checksum.
  test.each([
    ['with', '28b52ffda4c05701009d00005830313233343536373839200100b257ce8b173e2fdff2'],
    ['without', '28b52ffd04589d00005830313233343536373839200100b257ce8b173e2fdff2'],
  ])('zstd %s the size of its content', (_, hex) => {
    expect(decompress('zstd', Buffer.from(hex, 'hex'), LIMIT).toString()).toBe('0123456789 '.repeat(8_000))
  })
})

describe('what is compressed is decompressed', () => {
  /** From what compresses well to what does not, around the ends of blocks. */
  const anyData = fc
    .tuple(
      fc.constantFrom(0, 1, 17, 1000, 65_535, 65_536, 65_537, 200_000),
      fc.uint8Array({ minLength: 1, maxLength: 64 }),
      fc.constantFrom(0, 3, 4_001, 200_000),
    )
    .map(([size, pattern, noise]) => {
      const data = Buffer.alloc(size, pattern)
      let seed = pattern[0] as number
      for (let i = 0; i < Math.min(noise, size); i++) {
        seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
        data[i] = seed >>> 16
      }
      return data
    })

  test.each(COMPRESSIONS)('%s', (codec) => {
    fc.assert(
      fc.property(anyData, (data) => {
        const packed = compress(codec, data)
        expect(decompress(codec, packed, LIMIT).equals(data)).toBe(true)
        if (codec === 'none' || data.length < 2) return
        expect(decompress(codec, packed, data.length).equals(data)).toBe(true)
        expect(failureOf(() => decompress(codec, packed, data.length - 1))).toBeInstanceOf(TooLarge)
      }),
      { numRuns: 60 },
    )
  })
})

describe('a writer', () => {
  test.each(CODECS)('%s: smaller, and the same records', (codec) => {
    const writer = new BatchWriter()
    for (const { timestamp, key, value, headers } of RECORDS) {
      const bytes = headers.map(([name, text]) => ({
        key: name as string,
        value: Buffer.from(text as string),
      }))
      writer.add(timestamp, Buffer.from(key), value === null ? null : Buffer.from(value), bytes)
    }
    const owner = { producerId: 7n, producerEpoch: 3, baseSequence: 11, isTransactional: true }
    const plain = Buffer.from(writer.build(owner))
    const batch = writer.build(owner, codec)
    expect(batch.length).toBeLessThan(plain.length / 10)
    expect(writer.sizeBytes).toBe(plain.length)
    const { header, records } = read(batch)
    expect(records).toEqual(RECORDS)
    expect(header).toEqual({
      ...readBatchHeader(plain, 0),
      compression: COMPRESSIONS.indexOf(codec),
      sizeBytes: batch.length,
    })
    // What was given out uncompressed has not been touched, and a second attempt has the same bytes.
    expect(read(plain).records).toEqual(RECORDS)
    expect(writer.build(owner, codec)).toEqual(batch)
    expect(writer.build(owner)).toEqual(plain)
  })

  test.each(CODECS)('%s: a batch that would grow stays as it is', (codec) => {
    const writer = new BatchWriter()
    writer.add(1, null, Buffer.from('q'))
    const plain = Buffer.from(writer.build(NO_OWNER))
    expect(writer.build(NO_OWNER, codec)).toEqual(plain)
  })

  test.each(CODECS)('%s: with some of its records left, it is compressed again', (codec) => {
    const writer = new BatchWriter()
    for (let i = 0; i < 9; i++) writer.add(i, Buffer.from(`${i}`), Buffer.alloc(500, i))
    const batch = writer.build(NO_OWNER, codec)
    const header = readBatchHeader(batch, 0)
    if (header === undefined) throw new Error('cut off')
    const data = decompress(codec, batch.subarray(BATCH_OVERHEAD_BYTES), LIMIT)
    // Every record has the same length here.
    const records = [2, 5].map((i) => data.subarray((i * data.length) / 9, ((i + 1) * data.length) / 9))
    const left = read(withRecords(batch, header, records))
    expect(left.records.map(({ offset, key }) => [offset, key])).toEqual([
      [2, '2'],
      [5, '5'],
    ])
    expect(left.header).toMatchObject({ lastOffset: 8, recordCount: 2, compression: header.compression })
    expect(read(withRecords(batch, header, [])).header).toMatchObject({ recordCount: 0, compression: 0 })
  })
})

describe('damage', () => {
  test.each(CODECS)('%s: whatever the bytes, there is one error for it', (codec) => {
    const writer = new BatchWriter()
    for (let i = 0; i < 40; i++)
      writer.add(i, Buffer.from(`key ${i}`), Buffer.from(`value ${i % 7} `.repeat(i)))
    const sound = writer.build(NO_OWNER, codec).subarray(BATCH_OVERHEAD_BYTES)
    const changes = fc.array(
      fc.tuple(fc.nat(), fc.oneof(fc.nat(255), fc.constantFrom(0, 0x7f, 0x80, 0xff))),
      { minLength: 1, maxLength: 4 },
    )
    const payloads = fc.oneof(
      changes.map((each) => {
        const payload = Buffer.from(sound)
        for (const [at, value] of each) payload[at % payload.length] = value
        return payload
      }),
      fc.nat(sound.length - 1).map((length) => sound.subarray(0, length)),
      fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
      fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.concat([sound.subarray(0, 20), bytes])),
    )
    fc.assert(
      fc.property(payloads, (payload) => {
        expect(['BATCH_CORRUPT', 'no error']).toContain(codeOf(() => read(forged(codec, payload, 40))))
      }),
      { numRuns: 3_000 },
    )
  })

  test.each(CODECS)('%s: sound bytes that are no records', (codec) => {
    const batch = forged(codec, compress(codec, Buffer.from('nothing like a record, for sure')))
    expect(codeOf(() => read(batch))).toBe('BATCH_CORRUPT')
  })

  test('a codec that Kafka does not have', () => {
    const batch = forged('none', Buffer.from('whatever'))
    batch.writeInt16BE(5, 21)
    batch.writeUInt32BE(crc32c(batch.subarray(21)), 17)
    expect(codeOf(() => read(batch))).toBe('BATCH_UNSUPPORTED')
  })

  test('a batch emptied by compaction has nothing to decompress', () => {
    const batch = forged('gzip', Buffer.alloc(0))
    batch.writeInt32BE(0, 57)
    batch.writeUInt32BE(crc32c(batch.subarray(21)), 17)
    expect(read(batch).records).toEqual([])
  })

  test.each([
    ['a snappy block that claims what its bytes cannot hold', 'snappy', 'ffffff3f00'],
    ['a snappy length of six bytes', 'snappy', 'ffffffffff0100'],
    ['a snappy block longer than the batch', 'snappy', `82534e4150505900${'00000001'.repeat(2)}7fffffff00`],
    ['an lz4 block longer than the batch', 'lz4', '04224d18604082ffffff7f00'],
    ['an lz4 frame without an end', 'lz4', '04224d18604082'],
    ['an lz4 frame of another version', 'lz4', '04224d18a0408200000000'],
    ['an lz4 frame with a dictionary', 'lz4', '04224d1861408200000000'],
    ['an lz4 frame with blocks of no size', 'lz4', '04224d1860308200000000'],
  ] as const)('%s', (_, codec, hex) => {
    expect(codeOf(() => read(forged(codec, Buffer.from(hex, 'hex'))))).toBe('BATCH_CORRUPT')
  })

  test('a snappy block with more bytes than there are, its content whole', () => {
    const packed = compress('snappy', Buffer.from('whole'))
    packed.writeUInt32BE(packed.readUInt32BE(16) + 1, 16)
    expect(() => decompress('snappy', packed, LIMIT)).toThrow('claims')
  })

  test('an lz4 block larger than its frame says', () => {
    const block = Buffer.alloc(70_000)
    const stored = Buffer.alloc(4)
    stored.writeUInt32LE(0x80000000 + block.length)
    const frame = (body: Buffer) =>
      Buffer.concat([Buffer.from('04224d18604082', 'hex'), body, Buffer.alloc(4)])
    expect(() => decompress('lz4', frame(Buffer.concat([stored, block])), LIMIT)).toThrow()
    const packed = Buffer.from(lz4.compressSync(block))
    packed.writeUInt32LE(packed.length - 4)
    expect(() => decompress('lz4', frame(packed), LIMIT)).toThrow()
  })
})

describe('bombs', () => {
  const size = DECOMPRESSED_BYTES_MAX + 1
  const bombs: Readonly<Record<Exclude<Compression, 'none'>, () => Buffer>> = {
    gzip: () => gzipSync(Buffer.alloc(size)),
    zstd: () => zstdCompressSync(Buffer.alloc(size)),
    snappy: () => snappy.compressSync(Buffer.alloc(size)),
    lz4: () => lz4.compressFrameSync(Buffer.alloc(size)),
  }

  test.each(CODECS)('%s: refused with its place, by name', (codec) => {
    const records = forged(codec, bombs[codec as keyof typeof bombs]())
    const fetched = { topic: 't', partition: 3, abortedTransactions: [], records }
    const { batches } = visibleBatches(fetched, 0, 'read_committed')
    const before = process.memoryUsage().arrayBuffers
    const failure = failureOf(() => [...recordsOf(batches)])
    expect(failure).toMatchObject({
      code: 'BATCH_TOO_LARGE',
      details: { topic: 't', partition: 3, offset: 0 },
    })
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 * DECOMPRESSED_BYTES_MAX)
  })

  test('snappy in many blocks', () => {
    const block = snappy.compressSync(Buffer.alloc(1 << 20))
    const length = Buffer.alloc(4)
    length.writeUInt32BE(block.length)
    const header = Buffer.from('82534e41505059000000000100000001', 'hex')
    const blocks = Array.from({ length: 129 }, () => [length, block]).flat()
    expect(codeOf(() => read(forged('snappy', Buffer.concat([header, ...blocks]))))).toBe('BATCH_TOO_LARGE')
  })
})
