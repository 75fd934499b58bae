/**
 * One batch of a log, as the index knows it. The bytes are in memory while the cache holds them, else in the store.
 *
 * In the store an entry is
 *
 *     0 last offset delta uint32   4 size uint32   8 producer id int64   16 producer epoch int16   18 base sequence int32
 *    22 flags uint8                23 max timestamp float64               31 delete horizon float64
 *
 * Flags: bit 0 transactional, 1 control, 2 abort.
 */
import type { BatchHeader } from '../kafka/record-batch.ts'

export interface BatchEntry {
  readonly baseOffset: number
  readonly lastOffset: number
  readonly sizeBytes: number
  /** Since when the tombstones and markers in it may go: milliseconds of the wall clock, -1 as long as none were seen. */
  readonly deleteHorizonMs: number
  /** Undefined: only in the store. */
  bytes: Buffer | undefined
  /** The journal's sequence when it was put. */
  readonly sequence: number
}

export type ControlType = 'commit' | 'abort'

/** What the index keeps of a batch besides its place, so that producer states can be told from it alone. */
export interface BatchOrigin {
  readonly producerId: bigint
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly isTransactional: boolean
  readonly control: ControlType | undefined
  readonly maxTimestamp: number
}

const ENTRY_BYTES = 39
const TRANSACTIONAL = 1
const CONTROL = 2
const ABORT = 4

export function originOf(header: BatchHeader, control: ControlType | undefined): BatchOrigin {
  const { producerId, producerEpoch, baseSequence, isTransactional, maxTimestamp } = header
  return { producerId, producerEpoch, baseSequence, isTransactional, maxTimestamp, control }
}

export function encodeEntry(entry: BatchEntry, origin: BatchOrigin): Buffer {
  const bytes = Buffer.allocUnsafe(ENTRY_BYTES)
  bytes.writeUInt32BE(entry.lastOffset - entry.baseOffset, 0)
  bytes.writeUInt32BE(entry.sizeBytes, 4)
  bytes.writeBigInt64BE(origin.producerId, 8)
  bytes.writeInt16BE(origin.producerEpoch, 16)
  bytes.writeInt32BE(origin.baseSequence, 18)
  let flags = origin.isTransactional ? TRANSACTIONAL : 0
  if (origin.control !== undefined) flags |= CONTROL
  if (origin.control === 'abort') flags |= ABORT
  bytes.writeUInt8(flags, 22)
  bytes.writeDoubleBE(origin.maxTimestamp, 23)
  bytes.writeDoubleBE(entry.deleteHorizonMs, 31)
  return bytes
}

export function decodeEntry(
  baseOffset: number,
  value: Uint8Array,
): { entry: BatchEntry; origin: BatchOrigin } {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  const flags = bytes.readUInt8(22)
  return {
    entry: {
      baseOffset,
      lastOffset: baseOffset + bytes.readUInt32BE(0),
      sizeBytes: bytes.readUInt32BE(4),
      deleteHorizonMs: bytes.readDoubleBE(31),
      bytes: undefined,
      sequence: 0,
    },
    origin: {
      producerId: bytes.readBigInt64BE(8),
      producerEpoch: bytes.readInt16BE(16),
      baseSequence: bytes.readInt32BE(18),
      isTransactional: (flags & TRANSACTIONAL) !== 0,
      control: (flags & CONTROL) === 0 ? undefined : (flags & ABORT) === 0 ? 'commit' : 'abort',
      maxTimestamp: bytes.readDoubleBE(23),
    },
  }
}
