/**
 * Record batches, format v2: https://kafka.apache.org/documentation/#recordbatch
 *
 *     0 base offset int64        8 length int32 (of all that follows)   12 leader epoch int32   16 magic int8 (2)
 *    17 crc32c uint32 (of all from 21 on)                               21 attributes int16
 *    23 last offset delta int32 27 base timestamp int64                 35 max timestamp int64
 *    43 producer id int64       51 producer epoch int16                 53 base sequence int32  57 record count int32
 *    61 the records, each: length, attributes int8, timestamp delta, offset delta, key, value, headers (varints);
 *       compressed all together
 *
 * Attributes: bits 0-2 compression, 3 timestamps are the broker's, 4 transactional, 5 control.
 *
 * Damaged bytes give BATCH_CORRUPT, whatever the damage: no other error, no endless loop, no allocation that
 * the bytes at hand do not account for.
 */
import { crc32c } from '@node-rs/crc32'
import { DruseError } from '../errors.ts'
import type { Header } from '../types.ts'
import {
  fieldBytes,
  readInt64,
  varintBytes,
  varlongBytes,
  writeField,
  writeInt64,
  writeText,
  writeVarint,
  writeVarlong,
} from './batch-fields.ts'
import { COMPRESSIONS, type Compression, compress, decompress, TooLarge } from './compression.ts'

/** What stands in front of the records of a batch. */
export interface BatchHeader {
  readonly baseOffset: number
  readonly lastOffset: number
  /** Of the whole batch, its first 12 bytes included. */
  readonly sizeBytes: number
  /** -1: not known, as in a batch that no broker has placed. */
  readonly leaderEpoch: number
  /** 0: none. */
  readonly compression: number
  /** `append`: the broker's time; every record of the batch has `maxTimestamp`. */
  readonly timestampType: 'create' | 'append'
  readonly isTransactional: boolean
  readonly isControl: boolean
  readonly baseTimestamp: number
  readonly maxTimestamp: number
  /** -1n: not of an idempotent producer. */
  readonly producerId: bigint
  readonly producerEpoch: number
  readonly baseSequence: number
  /** 0 in a batch emptied by compaction, which still moves the position. */
  readonly recordCount: number
}

/**
 * One record. Key, value and header values are views of the batch's bytes, decompressed if need be: they are not to
 * be written to, and they keep all these bytes, or those of their fetch, alive, so copy what is to be kept.
 */
export interface RawRecord {
  readonly offset: number
  /** Milliseconds since 1970. Rounded where a record carries more than 53 bits of it. */
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly Header[]
}

/** Whose batch it is. Outside of a producer id: `producerId` -1n, `producerEpoch` -1, `baseSequence` -1. */
export interface BatchOwner {
  readonly producerId: bigint
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly isTransactional: boolean
}

export interface ControlBatch {
  readonly type: 'commit' | 'abort'
  readonly producerId: bigint
  readonly producerEpoch: number
  readonly coordinatorEpoch: number
  readonly timestampMs: number
}

/** The bytes of a batch before its first record. */
export const BATCH_OVERHEAD_BYTES = 61

const AT = {
  length: 8,
  leaderEpoch: 12,
  magic: 16,
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  baseTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  producerEpoch: 51,
  baseSequence: 53,
  recordCount: 57,
} as const

const COMPRESSION_MASK = 0x07
const APPEND_TIME = 0x08
const TRANSACTIONAL = 0x10
const CONTROL = 0x20

/** `length` does not count itself and the base offset. */
const UNCOUNTED_BYTES = 12
/** The smallest message of formats 0 and 1, whose magic stands at the same place. */
const OLD_FORMAT_LENGTH_MIN = 14
/** Length 5, attributes 1, timestamp delta 10, offset delta 5, lengths of key and value 5 each, header count 5. */
const RECORD_OVERHEAD_BYTES_MAX = 36
const BATCH_BYTES_MAX = 0x7fffffff
const FIRST_CAPACITY_BYTES = 1024

/**
 * The most that a batch may be when decompressed. Producers collect a megabyte or so before they compress; a batch of
 * which a hundred times as much comes is made to fill the memory of its readers.
 */
export const DECOMPRESSED_BYTES_MAX = 128 * 1024 * 1024

const NO_HEADERS: readonly Header[] = Object.freeze([])

// --- Reading --------------------------------------------------------------------------------------------------

/**
 * The header of the batch that begins at `at`; undefined when the batch is cut off by the end of the bytes.
 * The checksum is not looked at: see `verifyBatch`.
 * Errors: BATCH_UNSUPPORTED (another format than v2), BATCH_CORRUPT.
 */
export function readBatchHeader(bytes: Buffer, at: number): BatchHeader | undefined {
  const left = bytes.length - at
  if (left < UNCOUNTED_BYTES) return undefined
  const length = bytes.readInt32BE(at + AT.length)
  if (length < OLD_FORMAT_LENGTH_MIN) throw corrupt(`it claims a length of ${length} bytes`, bytes, at)
  if (left <= AT.magic) return undefined
  const magic = bytes[at + AT.magic] as number
  if (magic !== 2) throw unsupported(`has format ${magic}, only format 2 (Kafka 0.11 and later) is read`)
  const sizeBytes = UNCOUNTED_BYTES + length
  if (sizeBytes < BATCH_OVERHEAD_BYTES) throw corrupt(`it claims a length of ${length} bytes`, bytes, at)
  if (left < sizeBytes) return undefined

  const baseOffset = readInt64(bytes, at)
  const lastOffsetDelta = bytes.readInt32BE(at + AT.lastOffsetDelta)
  const lastOffset = baseOffset + lastOffsetDelta
  if (baseOffset < 0 || lastOffsetDelta < 0 || !Number.isSafeInteger(lastOffset)) {
    throw corrupt(`it claims the offsets ${baseOffset} to ${lastOffset}`, bytes, at)
  }
  const attributes = bytes.readInt16BE(at + AT.attributes)
  const recordCount = bytes.readInt32BE(at + AT.recordCount)
  if (recordCount < 0 || recordCount > lastOffsetDelta + 1) {
    throw corrupt(`it claims ${recordCount} records`, bytes, at)
  }
  return {
    baseOffset,
    lastOffset,
    sizeBytes,
    leaderEpoch: bytes.readInt32BE(at + AT.leaderEpoch),
    compression: attributes & COMPRESSION_MASK,
    timestampType: (attributes & APPEND_TIME) === 0 ? 'create' : 'append',
    isTransactional: (attributes & TRANSACTIONAL) !== 0,
    isControl: (attributes & CONTROL) !== 0,
    baseTimestamp: readInt64(bytes, at + AT.baseTimestamp),
    maxTimestamp: readInt64(bytes, at + AT.maxTimestamp),
    producerId: bytes.readBigInt64BE(at + AT.producerId),
    producerEpoch: bytes.readInt16BE(at + AT.producerEpoch),
    baseSequence: bytes.readInt32BE(at + AT.baseSequence),
    recordCount,
  }
}

/** Compares the checksum, which covers all but base offset, length and leader epoch. Errors: BATCH_CORRUPT. */
export function verifyBatch(bytes: Buffer, at: number, header: BatchHeader): void {
  const stored = bytes.readUInt32BE(at + AT.crc)
  const computed = crc32c(bytes.subarray(at + AT.attributes, at + header.sizeBytes))
  if (stored !== computed) throw corrupt(`its checksum is ${stored}, its bytes give ${computed}`, bytes, at)
}

/**
 * The bytes of a batch's records, as they are uncompressed.
 * Errors: BATCH_CORRUPT, BATCH_TOO_LARGE, BATCH_UNSUPPORTED (a codec that Kafka does not have).
 */
export function recordBytes(bytes: Buffer, at: number, header: BatchHeader): Buffer {
  const stored = bytes.subarray(at + BATCH_OVERHEAD_BYTES, at + header.sizeBytes)
  // A batch that compaction has emptied has nothing to decompress, whatever its attributes say.
  if (header.compression === 0 || header.recordCount === 0) return stored
  const codec = COMPRESSIONS[header.compression]
  if (codec === undefined) {
    throw unsupported(`is compressed with codec ${header.compression}, which is not known`, header)
  }
  try {
    return decompress(codec, stored, DECOMPRESSED_BYTES_MAX)
  } catch (cause) {
    const { baseOffset } = header
    if (cause instanceof TooLarge) {
      throw new DruseError(
        'BATCH_TOO_LARGE',
        `The record batch at offset ${baseOffset} has ${stored.length} bytes of ${codec} that become more than ${DECOMPRESSED_BYTES_MAX}. Find out who produced it; nobody can read on in this partition while it is there`,
        { baseOffset, limitBytes: DECOMPRESSED_BYTES_MAX },
      )
    }
    throw corrupt(`it cannot be decompressed (${codec}): ${(cause as Error).message}`, bytes, at)
  }
}

/**
 * The records of a batch from an offset on, one at a time, so that a queue can hold batches and decode at its head.
 * Errors of the constructor: those of `recordBytes`; of `next`: BATCH_CORRUPT.
 */
export class RecordCursor {
  /** The records'. */
  readonly #bytes: Buffer
  readonly #header: BatchHeader
  readonly #appendTime: number | undefined
  readonly #fromOffset: number
  /** The end of the records. */
  readonly #end: number
  /** The end of the record being read: nothing of it may lie beyond. */
  #limit: number
  #at: number
  #left: number
  #lastDelta = -1

  constructor(bytes: Buffer, at: number, header: BatchHeader, fromOffset = 0) {
    this.#bytes = recordBytes(bytes, at, header)
    this.#header = header
    this.#appendTime = header.timestampType === 'append' ? header.maxTimestamp : undefined
    this.#at = 0
    this.#end = this.#bytes.length
    this.#limit = this.#end
    this.#left = header.recordCount
    if (header.recordCount === 0) this.#finish()
    this.#fromOffset = fromOffset
  }

  /** The next record; undefined after the last. */
  next(): RawRecord | undefined {
    while (this.#left > 0) {
      const record = this.#read()
      if (record.offset >= this.#fromOffset) return record
    }
    return undefined
  }

  #read(): RawRecord {
    this.#limit = this.#end
    const length = this.#varint()
    if (length < 0 || length > this.#end - this.#at) throw this.#corrupt(`a record has ${length} bytes`)
    this.#limit = this.#at + length
    this.#at += 1 // attributes, of which none is in use
    const timestampDelta = this.#varlong()
    const offsetDelta = this.#varint()
    const offset = this.#header.baseOffset + offsetDelta
    if (offsetDelta <= this.#lastDelta || offset > this.#header.lastOffset) {
      throw this.#corrupt(`a record stands out of order, at ${offset}`)
    }
    this.#lastDelta = offsetDelta
    const key = this.#view()
    const value = this.#view()
    const headers = this.#headers()
    if (this.#at !== this.#limit) throw this.#corrupt(`the record ${offset} has bytes left over`)
    this.#left -= 1
    if (this.#left === 0) this.#finish()
    const timestamp = this.#appendTime ?? this.#header.baseTimestamp + timestampDelta
    return { offset, timestamp, key, value, headers }
  }

  #finish(): void {
    if (this.#at !== this.#end) throw this.#corrupt('it has bytes after its last record')
  }

  #headers(): readonly Header[] {
    const count = this.#varint()
    if (count === 0) return NO_HEADERS
    // A header takes two bytes at least.
    if (count < 0 || count * 2 > this.#limit - this.#at) throw this.#corrupt(`a record has ${count} headers`)
    const headers: Header[] = []
    for (let i = 0; i < count; i++) {
      const key = this.#view()
      if (key === null) throw this.#corrupt('a header has no key')
      headers.push({ key: key.toString('utf8'), value: this.#view() })
    }
    return headers
  }

  /** Bytes behind their length; -1 is null. */
  #view(): Buffer | null {
    const length = this.#varint()
    if (length < -1 || length > this.#limit - this.#at) throw this.#corrupt(`a field has ${length} bytes`)
    if (length === -1) return null
    const from = this.#at
    this.#at += length
    return this.#bytes.subarray(from, this.#at)
  }

  #varint(): number {
    let byte = this.#byte()
    if (byte < 0x80) return (byte >>> 1) ^ -(byte & 1)
    let bits = byte & 0x7f
    for (let shift = 7; shift <= 28; shift += 7) {
      byte = this.#byte()
      bits |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        if (shift === 28 && byte > 0x0f) break
        return (bits >>> 1) ^ -(bits & 1)
      }
    }
    throw this.#corrupt('a number is too long')
  }

  /** 64 bits, rounded to what a number holds. */
  #varlong(): number {
    let byte = this.#byte()
    // The first 28 bits are kept apart from the rest: zigzag works on each without overflow.
    let low = byte & 0x7f
    for (let shift = 7; byte >= 0x80 && shift <= 21; shift += 7) {
      byte = this.#byte()
      low |= (byte & 0x7f) << shift
    }
    if (byte < 0x80) return (low >>> 1) ^ -(low & 1)
    let high = 0
    let scale = 1
    for (let count = 0; byte >= 0x80; count++) {
      byte = this.#byte()
      if (count === 5 && byte > 1) throw this.#corrupt('a number is too long')
      high += (byte & 0x7f) * scale
      scale *= 128
    }
    const half = high * 0x8000000 + (low >>> 1)
    return (low & 1) === 0 ? half : -half - 1
  }

  #byte(): number {
    if (this.#at >= this.#limit) throw this.#corrupt('a record ends too early')
    return this.#bytes[this.#at++] as number
  }

  #corrupt(why: string): DruseError {
    return corruptAt(this.#header.baseOffset, why)
  }
}

// --- Writing --------------------------------------------------------------------------------------------------

/**
 * Fills one batch with the records' own timestamps. The bytes stand in one growing buffer, and
 * `build` gives out a view of it: it holds until the next `add`, `build` or `reset`. Take a writer per batch, or
 * `reset` one whose batch is over and done with, which saves the growing.
 */
export class BatchWriter {
  #bytes: Buffer
  #at = BATCH_OVERHEAD_BYTES
  #count = 0
  #baseTimestamp = 0
  #maxTimestamp = 0

  constructor(capacityBytes: number = FIRST_CAPACITY_BYTES) {
    this.#bytes = Buffer.allocUnsafeSlow(Math.max(capacityBytes, BATCH_OVERHEAD_BYTES))
  }

  get count(): number {
    return this.#count
  }

  /** Of the batch as it stands, uncompressed, exactly. What `build` gives is never larger. */
  get sizeBytes(): number {
    return this.#at
  }

  /**
   * Appends a record, copying its bytes.
   * Errors: ENCODE_FAILED (a timestamp that is no safe integer, a batch of more than 2 GiB); the batch is unchanged then.
   */
  add(
    timestamp: number,
    key: Uint8Array | null,
    value: Uint8Array | null,
    headers: readonly Header[] = NO_HEADERS,
  ): void {
    const baseTimestamp = this.#count === 0 ? timestamp : this.#baseTimestamp
    const delta = timestamp - baseTimestamp
    if (!Number.isSafeInteger(timestamp) || !Number.isSafeInteger(delta)) {
      throw new DruseError('ENCODE_FAILED', `A record's timestamp is ${timestamp}: no time in milliseconds`, {
        timestamp,
      })
    }
    let size = 1 + varlongBytes(delta) + varintBytes(this.#count) + fieldBytes(key) + fieldBytes(value)
    size += varintBytes(headers.length)
    for (const header of headers) {
      const keyBytes = Buffer.byteLength(header.key)
      size += varintBytes(keyBytes) + keyBytes + fieldBytes(header.value)
    }
    this.#reserve(varintBytes(size) + size)

    const bytes = this.#bytes
    let at = writeVarint(bytes, this.#at, size)
    bytes[at++] = 0
    at = writeVarlong(bytes, at, delta)
    at = writeVarint(bytes, at, this.#count)
    at = writeField(bytes, at, key)
    at = writeField(bytes, at, value)
    at = writeVarint(bytes, at, headers.length)
    for (const header of headers) {
      at = writeText(bytes, at, header.key)
      at = writeField(bytes, at, header.value)
    }
    this.#at = at
    this.#maxTimestamp = this.#count === 0 ? timestamp : Math.max(this.#maxTimestamp, timestamp)
    this.#baseTimestamp = baseTimestamp
    this.#count += 1
  }

  /**
   * The finished batch, with base offset 0 and no leader epoch, as a view: see the class. The same owner gives
   * the same bytes again. What compression would not make smaller stays uncompressed.
   * Errors: ENCODE_FAILED (no records).
   */
  build(owner: BatchOwner, compression: Compression = 'none'): Buffer {
    if (this.#count === 0) throw new DruseError('ENCODE_FAILED', 'A record batch needs a record')
    const plain = this.#bytes.subarray(0, this.#at)
    const { batch, attributes } = packed(plain, compression)
    sealBatch(batch, owner, attributes | (owner.isTransactional ? TRANSACTIONAL : 0), {
      count: this.#count,
      baseTimestamp: this.#baseTimestamp,
      maxTimestamp: this.#maxTimestamp,
    })
    return batch
  }

  /** Empties the batch and keeps the buffer: what `build` gave out is overwritten from now on. */
  reset(): void {
    this.#at = BATCH_OVERHEAD_BYTES
    this.#count = 0
  }

  #reserve(more: number): void {
    const needed = this.#at + more
    if (needed <= this.#bytes.length) return
    if (needed > BATCH_BYTES_MAX) {
      throw new DruseError('ENCODE_FAILED', `A record batch would have ${needed} bytes`, {
        sizeBytes: needed,
      })
    }
    const grown = Buffer.allocUnsafeSlow(Math.min(BATCH_BYTES_MAX, Math.max(needed, this.#bytes.length * 2)))
    this.#bytes.copy(grown, 0, 0, this.#at)
    this.#bytes = grown
  }
}

/** A batch with its records compressed, the rest of its header still to be written; or as it is, if that is no larger. */
function packed(plain: Buffer, compression: Compression): { batch: Buffer; attributes: number } {
  const records = plain.subarray(BATCH_OVERHEAD_BYTES)
  const smaller = compression === 'none' ? records : compress(compression, records)
  if (smaller.length >= records.length) return { batch: plain, attributes: 0 }
  const batch = Buffer.concat([plain.subarray(0, BATCH_OVERHEAD_BYTES), smaller])
  return { batch, attributes: COMPRESSIONS.indexOf(compression) }
}

/** A batch with only these of its records, at their old offsets, compressed as it was. For compaction. */
export function withRecords(bytes: Buffer, header: BatchHeader, records: readonly Buffer[]): Buffer {
  const plain = Buffer.concat([bytes.subarray(0, BATCH_OVERHEAD_BYTES), ...records])
  const { batch, attributes } = packed(plain, COMPRESSIONS[header.compression] ?? 'none')
  batch.writeInt16BE((batch.readInt16BE(AT.attributes) & ~COMPRESSION_MASK) | attributes, AT.attributes)
  batch.writeInt32BE(batch.length - UNCOUNTED_BYTES, AT.length)
  batch.writeInt32BE(records.length, AT.recordCount)
  batch.writeUInt32BE(crc32c(batch.subarray(AT.attributes)), AT.crc)
  return batch
}

/** The most bytes that a record adds to a batch, to tell beforehand whether it may pass a limit. */
export function recordBytesMax(
  key: Uint8Array | null,
  value: Uint8Array | null,
  headers: readonly Header[] = NO_HEADERS,
): number {
  let size = RECORD_OVERHEAD_BYTES_MAX + (key?.length ?? 0) + (value?.length ?? 0)
  for (const header of headers) size += 10 + Buffer.byteLength(header.key) + (header.value?.length ?? 0)
  return size
}

/** The batch of one control record that ends a producer's transaction in a partition, as a coordinator writes it. */
export function controlBatch(control: ControlBatch): Buffer {
  const batch = Buffer.alloc(BATCH_OVERHEAD_BYTES + 17)
  let at = BATCH_OVERHEAD_BYTES
  at = writeVarint(batch, at, 16)
  at += 3 // attributes, timestamp delta and offset delta are 0
  at = writeVarint(batch, at, 4)
  at = batch.writeInt16BE(0, at) // version of the key
  at = batch.writeInt16BE(control.type === 'commit' ? 1 : 0, at)
  at = writeVarint(batch, at, 6)
  at = batch.writeInt16BE(0, at) // version of the value
  batch.writeInt32BE(control.coordinatorEpoch, at)
  const { producerId, producerEpoch, timestampMs } = control
  const owner = { producerId, producerEpoch, baseSequence: -1 }
  sealBatch(batch, owner, TRANSACTIONAL | CONTROL, {
    count: 1,
    baseTimestamp: timestampMs,
    maxTimestamp: timestampMs,
  })
  return batch
}

/**
 * What a control batch says. `other`: not about a transaction, or emptied by compaction.
 * Errors: BATCH_CORRUPT, BATCH_TOO_LARGE, BATCH_UNSUPPORTED.
 */
export function controlTypeOf(bytes: Buffer, at: number, header: BatchHeader): 'commit' | 'abort' | 'other' {
  if (!header.isControl) return 'other'
  const record = new RecordCursor(bytes, at, header).next()
  if (record === undefined) return 'other'
  const { key } = record
  if (key === null || key.length < 4) throw corrupt('its control record has no type', bytes, at)
  const type = key.readInt16BE(2)
  if (type === 0) return 'abort'
  return type === 1 ? 'commit' : 'other'
}

/** Gives a batch its place in a log, in place. The checksum does not cover it. */
export function placeBatch(bytes: Buffer, at: number, baseOffset: number, leaderEpoch: number): void {
  writeInt64(bytes, at, baseOffset)
  bytes.writeInt32BE(leaderEpoch, at + AT.leaderEpoch)
}

interface Contents {
  readonly count: number
  readonly baseTimestamp: number
  readonly maxTimestamp: number
}

function sealBatch(
  batch: Buffer,
  owner: Omit<BatchOwner, 'isTransactional'>,
  attributes: number,
  contents: Contents,
): void {
  batch.fill(0, 0, AT.length) // base offset
  batch.writeInt32BE(batch.length - UNCOUNTED_BYTES, AT.length)
  batch.writeInt32BE(-1, AT.leaderEpoch)
  batch[AT.magic] = 2
  batch.writeInt16BE(attributes, AT.attributes)
  batch.writeInt32BE(contents.count - 1, AT.lastOffsetDelta)
  writeInt64(batch, AT.baseTimestamp, contents.baseTimestamp)
  writeInt64(batch, AT.maxTimestamp, contents.maxTimestamp)
  batch.writeBigInt64BE(owner.producerId, AT.producerId)
  batch.writeInt16BE(owner.producerEpoch, AT.producerEpoch)
  batch.writeInt32BE(owner.baseSequence, AT.baseSequence)
  batch.writeInt32BE(contents.count, AT.recordCount)
  batch.writeUInt32BE(crc32c(batch.subarray(AT.attributes)), AT.crc)
}

function corrupt(why: string, bytes: Buffer, at: number): DruseError {
  // The base offset is the first thing to look for in the log, even if it is itself the damage.
  return corruptAt(bytes.length - at < 8 ? undefined : readInt64(bytes, at), why)
}

function corruptAt(baseOffset: number | undefined, why: string): DruseError {
  return new DruseError(
    'BATCH_CORRUPT',
    `The record batch at offset ${baseOffset} is damaged: ${why}. Check the broker's disk and the network`,
    { baseOffset },
  )
}

function unsupported(why: string, header?: BatchHeader): DruseError {
  const baseOffset = header?.baseOffset
  const which = baseOffset === undefined ? 'A record batch' : `The record batch at offset ${baseOffset}`
  return new DruseError('BATCH_UNSUPPORTED', `${which} ${why}`, { baseOffset })
}
