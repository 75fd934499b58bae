/**
 * Record batches, format v2: https://kafka.apache.org/documentation/#recordbatch
 *
 *     0 base offset int64        8 length int32 (of all that follows)   12 leader epoch int32   16 magic int8 (2)
 *    17 crc32c uint32 (of all from 21 on)                               21 attributes int16
 *    23 last offset delta int32 27 base timestamp int64                 35 max timestamp int64
 *    43 producer id int64       51 producer epoch int16                 53 base sequence int32  57 record count int32
 *    61 the records, each: length, attributes int8, timestamp delta, offset delta, key, value, headers (varints)
 *
 * Attributes: bits 0-2 compression, 3 timestamps are the broker's, 4 transactional, 5 control.
 *
 * Damaged bytes give BATCH_CORRUPT, whatever the damage: no other error, no endless loop, no allocation that
 * the bytes at hand do not account for.
 */
import { crc32c } from '@node-rs/crc32'
import { DruseError } from '../errors.ts'
import type { Header } from '../types.ts'

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
 * One record. Key, value and header values are views of the batch's bytes: they are not to be written to, and
 * they keep all the bytes of their fetch alive, so copy what is to be kept.
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

const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
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
 * The records of a batch from an offset on, one at a time, so that a queue can hold batches and decode at its head.
 * Errors, of the constructor and of `next`: BATCH_CORRUPT, BATCH_UNSUPPORTED (compressed).
 */
export class RecordCursor {
  readonly #bytes: Buffer
  readonly #batchAt: number
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
    const { compression, sizeBytes, recordCount } = header
    // The seam for codecs: from here on the records may as well stand in another buffer than the batch.
    if (compression !== 0) {
      throw unsupported(
        `is compressed (${CODECS[compression] ?? compression}), which is not read yet`,
        header,
      )
    }
    this.#bytes = bytes
    this.#batchAt = at
    this.#header = header
    this.#appendTime = header.timestampType === 'append' ? header.maxTimestamp : undefined
    this.#at = at + BATCH_OVERHEAD_BYTES
    this.#end = at + sizeBytes
    this.#limit = this.#end
    this.#left = recordCount
    if (recordCount === 0) this.#finish()
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
    return corrupt(why, this.#bytes, this.#batchAt)
  }
}

// --- Writing --------------------------------------------------------------------------------------------------

/**
 * Fills one batch, uncompressed, with the records' own timestamps. The bytes stand in one growing buffer, and
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

  /** Of the batch as it stands, exactly. */
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
   * the same bytes again. Errors: ENCODE_FAILED (no records).
   */
  build(owner: BatchOwner): Buffer {
    if (this.#count === 0) throw new DruseError('ENCODE_FAILED', 'A record batch needs a record')
    const batch = this.#bytes.subarray(0, this.#at)
    sealBatch(batch, owner, owner.isTransactional ? TRANSACTIONAL : 0, {
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
 * Errors: BATCH_CORRUPT, BATCH_UNSUPPORTED.
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

// --- Numbers and fields ---------------------------------------------------------------------------------------

function readInt64(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * 0x100000000 + bytes.readUInt32BE(at + 4)
}

function writeInt64(bytes: Buffer, at: number, value: number): void {
  bytes.writeInt32BE(Math.floor(value / 0x100000000), at)
  bytes.writeUInt32BE(value >>> 0, at + 4)
}

/** Of a number in 32 bits. */
function varintBytes(value: number): number {
  const bits = (value << 1) ^ (value >> 31)
  return ((38 - Math.clz32(bits | 1)) / 7) | 0
}

function varlongBytes(value: number): number {
  if (value === (value | 0)) return varintBytes(value)
  let bytes = 1
  // Magnitudes, as zigzag orders them: -n stands just below n.
  for (let rest = value < 0 ? -(value + 1) : value, limit = 64; rest >= limit; limit *= 128) bytes += 1
  return bytes
}

function writeVarint(bytes: Buffer, at: number, value: number): number {
  let next = at
  let bits = ((value << 1) ^ (value >> 31)) >>> 0
  while (bits > 0x7f) {
    bytes[next++] = (bits & 0x7f) | 0x80
    bits >>>= 7
  }
  bytes[next++] = bits
  return next
}

function writeVarlong(bytes: Buffer, at: number, value: number): number {
  if (value === (value | 0)) return writeVarint(bytes, at, value)
  let next = at
  // Zigzag doubles, which would pass 53 bits: six bits and the sign go first, the rest is then as it is.
  const magnitude = value < 0 ? -(value + 1) : value
  bytes[next++] = ((magnitude % 64) << 1) | (value < 0 ? 1 : 0) | 0x80
  let rest = Math.floor(magnitude / 64)
  while (rest > 0x7f) {
    bytes[next++] = (rest % 128) | 0x80
    rest = Math.floor(rest / 128)
  }
  bytes[next++] = rest
  return next
}

function fieldBytes(field: Uint8Array | null): number {
  return field === null ? 1 : varintBytes(field.length) + field.length
}

function writeField(bytes: Buffer, at: number, field: Uint8Array | null): number {
  if (field === null) return writeVarint(bytes, at, -1)
  const next = writeVarint(bytes, at, field.length)
  bytes.set(field, next)
  return next + field.length
}

function writeText(bytes: Buffer, at: number, text: string): number {
  const length = Buffer.byteLength(text)
  let next = writeVarint(bytes, at, length)
  if (length !== text.length) return next + bytes.write(text, next)
  for (let i = 0; i < length; i++) bytes[next++] = text.charCodeAt(i)
  return next
}

function corrupt(why: string, bytes: Buffer, at: number): DruseError {
  // The base offset is the first thing to look for in the log, even if it is itself the damage.
  const baseOffset = bytes.length - at < 8 ? undefined : readInt64(bytes, at)
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
