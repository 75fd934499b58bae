/**
 * The codecs of record batches, as Kafka's own client writes them:
 *
 * - gzip, and zstd with or without its content's size: Node's zlib;
 * - snappy: xerial's framing (a magic, then blocks behind their length), or one block without it, as librdkafka has it;
 * - lz4: one frame of independent blocks. What its checksums cover, the checksum of the batch covers too: not looked at.
 *
 * Nobody's word is taken for a size: nothing beyond the given limit, and one block, is ever allocated.
 */
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import * as lz4 from 'lz4-napi'
import * as snappy from 'snappy'

/** `compression.type` of Kafka's producer. */
export type Compression = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'

/** By the number that stands in a batch. */
export const COMPRESSIONS: readonly Compression[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

/** Smaller blocks are what brokers and clients have buffers for at hand: Kafka's own producer writes them too. */
const BLOCK_BYTES = 64 * 1024

const XERIAL_MAGIC = Buffer.from('82534e4150505900', 'hex')
/** The magic, version 1, readable from version 1 on. */
const XERIAL_HEADER = Buffer.from('82534e41505059000000000100000001', 'hex')
/** A copy of 64 bytes takes three. */
const SNAPPY_RATIO_MAX = 22

const LZ4_MAGIC = 0x184d2204
/** The magic; version 1, independent blocks; blocks of 64 KiB; the checksum of these two. */
const LZ4_HEADER = Buffer.from('04224d18604082', 'hex')
const LZ4_RATIO_MAX = 255
const LZ4_STORED = 0x80000000

/** What was compressed does not fit into the limit. */
export class TooLarge extends Error {}

/** `data` in the form of the codec. */
export function compress(codec: Compression, data: Buffer): Buffer {
  switch (codec) {
    case 'none':
      return data
    case 'gzip':
      return gzipSync(data)
    case 'snappy':
      return compressSnappy(data)
    case 'lz4':
      return compressLz4(data)
    case 'zstd':
      return zstdCompressSync(data)
  }
}

/** Errors: TooLarge; any other Error when the bytes are not of this codec. */
export function decompress(codec: Compression, bytes: Buffer, limitBytes: number): Buffer {
  switch (codec) {
    case 'none':
      return bytes
    case 'gzip':
      return limited(() => gunzipSync(bytes, { maxOutputLength: limitBytes }))
    case 'snappy':
      return decompressSnappy(bytes, limitBytes)
    case 'lz4':
      return decompressLz4(bytes, limitBytes)
    case 'zstd':
      return limited(() => zstdDecompressSync(bytes, { maxOutputLength: limitBytes }))
  }
}

function limited(run: () => Buffer): Buffer {
  try {
    return run()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw new TooLarge()
    throw error
  }
}

function* blocksOf(data: Buffer): Generator<Buffer> {
  for (let at = 0; at < data.length; at += BLOCK_BYTES) yield data.subarray(at, at + BLOCK_BYTES)
}

// --- snappy ---------------------------------------------------------------------------------------------------

/** Memory that Node owns: several times faster than that of the library. */
const OWN_MEMORY = { copyOutputData: true }

function compressSnappy(data: Buffer): Buffer {
  const parts: Buffer[] = [XERIAL_HEADER]
  for (const block of blocksOf(data)) {
    const packed = snappy.compressSync(block, OWN_MEMORY)
    const length = Buffer.allocUnsafe(4)
    length.writeUInt32BE(packed.length)
    parts.push(length, packed)
  }
  return Buffer.concat(parts)
}

function decompressSnappy(bytes: Buffer, limitBytes: number): Buffer {
  if (!bytes.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) return snappyBlock(bytes, limitBytes)
  const parts: Buffer[] = []
  let size = 0
  for (let at = XERIAL_HEADER.length; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at)
    at += 4
    const part = snappyBlock(cut(bytes, at, length), limitBytes - size)
    parts.push(part)
    size += part.length
    at += length
  }
  return Buffer.concat(parts, size)
}

function snappyBlock(bytes: Buffer, limitBytes: number): Buffer {
  // A block begins with the length of its content.
  let length = 0
  for (let at = 0, scale = 1; ; at++, scale *= 128) {
    const byte = bytes[at]
    if (byte === undefined || at > 4) throw new Error('a block has no length')
    length += (byte & 0x7f) * scale
    if (byte < 0x80) break
  }
  if (length > bytes.length * SNAPPY_RATIO_MAX) throw new Error(`a block claims ${length} bytes`)
  if (length > limitBytes) throw new TooLarge()
  return snappy.uncompressSync(bytes, OWN_MEMORY) as Buffer
}

// --- lz4 ------------------------------------------------------------------------------------------------------

function compressLz4(data: Buffer): Buffer {
  const parts: Buffer[] = [LZ4_HEADER]
  for (const block of blocksOf(data)) {
    // The library puts the size of the content in front, in the four bytes where a frame has that of the block.
    const packed = lz4.compressSync(block)
    const length = packed.length - 4
    if (length < block.length) {
      packed.writeUInt32LE(length)
      parts.push(packed)
    } else {
      const stored = Buffer.allocUnsafe(4)
      stored.writeUInt32LE(LZ4_STORED + block.length)
      parts.push(stored, block)
    }
  }
  parts.push(Buffer.alloc(4))
  return Buffer.concat(parts)
}

function decompressLz4(bytes: Buffer, limitBytes: number): Buffer {
  if (bytes.readUInt32LE(0) !== LZ4_MAGIC) throw new Error('it is no frame')
  const flags = bytes.readUInt8(4)
  if (flags >> 6 !== 1) throw new Error(`its frame has version ${flags >> 6}`)
  if ((flags & 0x20) === 0) throw new Error('its blocks are not independent, which Kafka does not allow')
  const hasBlockChecksum = (flags & 0x10) !== 0
  const hasContentSize = (flags & 0x08) !== 0
  const hasDictionary = (flags & 0x01) !== 0
  if (hasDictionary) throw new Error('its frame needs a dictionary')
  // 4 to 7: 64 KiB, 256 KiB, 1 MiB, 4 MiB.
  const sizeCode = (bytes.readUInt8(5) >> 4) & 0x07
  if (sizeCode < 4) throw new Error(`its frame has blocks of size ${sizeCode}`)
  const blockBytesMax = 1 << (2 * sizeCode + 8)

  const parts: Buffer[] = []
  let size = 0
  // Magic, flags, block size, content size, checksum of the header.
  let at = 6 + (hasContentSize ? 8 : 0) + 1
  for (;;) {
    const head = bytes.readUInt32LE(at)
    at += 4
    if (head === 0) return Buffer.concat(parts, size)
    const length = head % LZ4_STORED
    const block = cut(bytes, at, length)
    const part = head >= LZ4_STORED ? block : lz4Block(block, blockBytesMax)
    size += part.length
    if (part.length > blockBytesMax) throw new Error(`a block has ${part.length} bytes`)
    if (size > limitBytes) throw new TooLarge()
    parts.push(part)
    at += length + (hasBlockChecksum ? 4 : 0)
  }
}

function lz4Block(block: Buffer, blockBytesMax: number): Buffer {
  // The library wants the size of the content in front, and takes it as the most that it may have.
  const sized = Buffer.allocUnsafe(4 + block.length)
  sized.writeUInt32LE(Math.min(blockBytesMax, block.length * LZ4_RATIO_MAX))
  sized.set(block, 4)
  return lz4.uncompressSync(sized)
}

function cut(bytes: Buffer, at: number, length: number): Buffer {
  if (length > bytes.length - at) throw new Error(`a block claims ${length} bytes`)
  return bytes.subarray(at, at + length)
}
