/**
 * What a consumer may see of a fetched partition. Kafka sends all batches up to the last stable offset, and a list
 * of the aborted transactions among them: leaving those out is the client's work. The rule, as the Java client's:
 *
 * 1. The list comes ordered by last offset. Order it by first offset.
 * 2. At each batch, every transaction of the list with first offset <= the batch's last offset begins; its
 *    producer is *aborting*.
 * 3. A control batch of type ABORT ends what its producer was aborting. Nothing else does: no data record is a
 *    marker, whatever its key.
 * 4. Transactional batches of aborting producers, and all control batches, are not visible.
 *
 * Batches that lie wholly below the fetch offset are not visible either, but rules 2 and 3 count them. The reported last stable
 * offset is no bound: the broker takes it before it reads the batches, so they may go further.
 */
import { DruseError } from '../errors.ts'
import type { AbortedTransaction, FetchedPartition, Isolation } from '../ports.ts'
import type { TopicPartition } from '../types.ts'
import {
  type BatchHeader,
  controlTypeOf,
  type RawRecord,
  RecordCursor,
  readBatchHeader,
  verifyBatch,
} from './record-batch.ts'

/** A batch to decode when its turn comes: see `openBatch`. */
export interface VisibleBatch {
  /** Where it was fetched. */
  readonly from: TopicPartition
  readonly bytes: Buffer
  readonly at: number
  readonly header: BatchHeader
  /** Records below this offset were not asked for. Only the first batch has any. */
  readonly fromOffset: number
}

export interface Visible {
  readonly batches: readonly VisibleBatch[]
  /**
   * Where to fetch next: behind the last whole batch, visible or not, so past control records, aborted and
   * emptied batches and gaps. The asked offset if there was no batch.
   */
  readonly nextOffset: number
}

/**
 * The batches with data that a reader at this isolation may see. Checksums are verified, records not yet decoded.
 * Errors: BATCH_CORRUPT, BATCH_UNSUPPORTED, BATCH_TOO_LARGE (of control records), with topic, partition and the cause.
 */
export function visibleBatches(
  fetched: Pick<FetchedPartition, 'topic' | 'partition' | 'abortedTransactions' | 'records'>,
  fetchOffset: number,
  isolation: Isolation,
): Visible {
  try {
    const aborted = isolation === 'read_committed' ? (fetched.abortedTransactions ?? []) : []
    const { topic, partition } = fetched
    return walk(asBuffer(fetched.records), fetchOffset, aborted, { topic, partition })
  } catch (error) {
    throw unreadable(error, fetched, fetchOffset)
  }
}

/** The records of a visible batch that were asked for. Errors: those of `RecordCursor`; see `unreadable`. */
export function openBatch(batch: VisibleBatch): RecordCursor {
  return new RecordCursor(batch.bytes, batch.at, batch.header, batch.fromOffset)
}

/**
 * The records of a delivery, in order.
 * Errors: BATCH_CORRUPT, BATCH_UNSUPPORTED, BATCH_TOO_LARGE, with topic, partition and the cause.
 */
export function* recordsOf(batches: readonly VisibleBatch[]): Generator<RawRecord> {
  for (const batch of batches) {
    const next = readerOf(batch)
    for (let record = next(); record !== undefined; record = next()) yield record
  }
}

function readerOf(batch: VisibleBatch): () => RawRecord | undefined {
  let cursor: RecordCursor | undefined
  return () => {
    try {
      cursor ??= openBatch(batch)
      return cursor.next()
    } catch (error) {
      throw unreadable(error, batch.from, batch.header.baseOffset)
    }
  }
}

/** The error of a batch, with where it was fetched. */
export function unreadable(error: unknown, { topic, partition }: TopicPartition, offset: number): unknown {
  if (!(error instanceof DruseError)) return error
  const message = `Cannot read ${topic}-${partition} at offset ${offset}: ${error.message}`
  return new DruseError(error.code, message, { cause: error, topic, partition, offset })
}

function walk(
  bytes: Buffer,
  fetchOffset: number,
  aborted: readonly AbortedTransaction[],
  from: TopicPartition,
): Visible {
  const beginning = [...aborted].sort((a, b) => a.firstOffset - b.firstOffset)
  let begun = 0
  const aborting = new Set<bigint>()
  const batches: VisibleBatch[] = []
  let nextOffset = fetchOffset
  let lastOffset = -1
  let at = 0

  for (;;) {
    const header = readBatchHeader(bytes, at)
    if (header === undefined) break
    verifyBatch(bytes, at, header)
    if (header.baseOffset <= lastOffset) {
      throw damaged(`a batch at offset ${header.baseOffset} follows one that ends at ${lastOffset}`)
    }
    lastOffset = header.lastOffset

    for (
      let next = beginning[begun];
      next !== undefined && next.firstOffset <= lastOffset;
      next = beginning[begun]
    ) {
      aborting.add(next.producerId)
      begun += 1
    }
    if (header.isControl) {
      if (aborting.has(header.producerId) && controlTypeOf(bytes, at, header) === 'abort') {
        aborting.delete(header.producerId)
      }
    } else if (
      lastOffset >= fetchOffset &&
      header.recordCount > 0 &&
      !(header.isTransactional && aborting.has(header.producerId))
    ) {
      batches.push({ from, bytes, at, header, fromOffset: fetchOffset })
    }
    nextOffset = Math.max(nextOffset, lastOffset + 1)
    at += header.sizeBytes
  }
  // Since Fetch v3 the first batch of a partition comes whole or not at all, so this would be asked for for ever.
  if (at === 0 && bytes.length > 0) throw damaged(`its ${bytes.length} bytes hold no whole batch`)
  return { batches, nextOffset }
}

function damaged(what: string): DruseError {
  return new DruseError('BATCH_CORRUPT', `The fetched records are damaged: ${what}`)
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
