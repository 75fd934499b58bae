import { type BatchHeader, type RawRecord, RecordCursor } from '../src/kafka/record-batch.ts'

/** All records of a batch. Errors: as `RecordCursor`. */
export function decodeRecords(bytes: Buffer, at: number, header: BatchHeader): RawRecord[] {
  const cursor = new RecordCursor(bytes, at, header)
  const records: RawRecord[] = []
  for (let record = cursor.next(); record !== undefined; record = cursor.next()) records.push(record)
  return records
}
