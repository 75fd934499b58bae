/** Where in a log a point in time lies. */
import { RecordCursor, readBatchHeader } from '../kafka/record-batch.ts'
import type { BatchEntry } from './batch-entry.ts'
import type { PartitionLog } from './partition-log.ts'

/** Batches read at once. */
const CHUNK = 64

/**
 * The first record with at least this timestamp, markers and aborted records counted, as Kafka does; -1 when there is
 * none below `limit`. Looks through the log from its start: it has no index of times.
 */
export async function offsetAtTime(log: PartitionLog, timestampMs: number, limit: number): Promise<number> {
  const entries = log.entries.filter(({ baseOffset }) => baseOffset < limit)
  for (let from = 0; from < entries.length; from += CHUNK) {
    const chunk: readonly BatchEntry[] = entries.slice(from, from + CHUNK)
    for (const bytes of await log.read(chunk)) {
      if (bytes === undefined) continue
      const offset = offsetInBatch(bytes, timestampMs, log.start)
      if (offset !== undefined) return offset < limit ? offset : -1
    }
  }
  return -1
}

function offsetInBatch(bytes: Buffer, timestampMs: number, start: number): number | undefined {
  const header = readBatchHeader(bytes, 0)
  if (header === undefined || header.maxTimestamp < timestampMs) return undefined
  const records = new RecordCursor(bytes, 0, header, start)
  for (let record = records.next(); record !== undefined; record = records.next()) {
    if (record.timestamp >= timestampMs) return record.offset
  }
  return undefined
}
