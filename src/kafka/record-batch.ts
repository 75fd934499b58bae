/**
 * Record batches, format v2: https://kafka.apache.org/documentation/#recordbatch
 */
import type { Header } from '../types.ts'

/** What stands in front of the records of a batch. */
export interface BatchHeader {
  readonly baseOffset: number
  readonly lastOffset: number
  /** Of the whole batch, its first 12 bytes included. */
  readonly sizeBytes: number
  readonly leaderEpoch: number
  readonly compression: number
  readonly timestampType: 'create' | 'append'
  readonly isTransactional: boolean
  readonly isControl: boolean
  readonly baseTimestamp: number
  readonly maxTimestamp: number
  readonly producerId: bigint
  readonly producerEpoch: number
  readonly baseSequence: number
  /** 0 in a batch emptied by compaction, which still moves the position. */
  readonly recordCount: number
}

export interface RawRecord {
  readonly offset: number
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly Header[]
}
