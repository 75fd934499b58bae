import { describe, expect, test } from 'vitest'
import { DruseError } from '../../src/errors.ts'
import { openBatch, visibleBatches } from '../../src/kafka/read-committed.ts'
import { BatchWriter, controlBatch, placeBatch } from '../../src/kafka/record-batch.ts'
import type { AbortedTransaction, Isolation } from '../../src/ports.ts'

const COORDINATOR = { producerEpoch: 0, coordinatorEpoch: 0, timestampMs: 0 }

/** A log: each entry is a batch. `plain` records have no producer. */
type Entry =
  | { at: number; values: string[]; producer?: bigint; transactional?: boolean; key?: Buffer }
  | { at: number; ends: 'commit' | 'abort'; producer: bigint }
  | { at: number; lastOffset: number; emptied: bigint }

function batch(entry: Entry): Buffer {
  if ('ends' in entry) {
    const bytes = controlBatch({ type: entry.ends, producerId: entry.producer, ...COORDINATOR })
    placeBatch(bytes, 0, entry.at, 0)
    return bytes
  }
  if ('emptied' in entry) return emptied(entry.at, entry.lastOffset)
  const { producer, transactional = producer !== undefined, key = null } = entry
  const writer = new BatchWriter()
  for (const value of entry.values) writer.add(0, key, Buffer.from(value))
  const bytes = writer.build({
    producerId: producer ?? -1n,
    producerEpoch: producer === undefined ? -1 : 0,
    baseSequence: producer === undefined ? -1 : 0,
    isTransactional: transactional,
  })
  placeBatch(bytes, 0, entry.at, 0)
  return bytes
}

/** As Kafka's compaction leaves it: see the fixture `emptied`, whose checksum this keeps. */
function emptied(baseOffset: number, lastOffset: number): Buffer {
  if (lastOffset - baseOffset !== 9) throw new Error('the fixture spans ten offsets')
  const bytes = Buffer.from(EMPTIED, 'hex')
  placeBatch(bytes, 0, baseOffset, 0)
  return bytes
}
const EMPTIED =
  '00000000000000640000003100000004024bf85539001000000009ffffffffffffffff0000018bcfe56800000000000000126700030000000a00000000'

const log = (...entries: Entry[]): Buffer => Buffer.concat(entries.map(batch))

interface Ask {
  from?: number
  aborted?: [producerId: bigint, firstOffset: number][] | null
  isolation?: Isolation
}

function ask(records: Uint8Array, { from = 0, aborted = [], isolation = 'read_committed' }: Ask) {
  const abortedTransactions: AbortedTransaction[] | null =
    aborted?.map(([producerId, firstOffset]) => ({ producerId, firstOffset })) ?? null
  return visibleBatches({ topic: 't', partition: 0, records, abortedTransactions }, from, isolation)
}

/** What a reader sees, as `offset:value`, and where it goes on. */
function see(records: Uint8Array, options: Ask = {}): string {
  const { batches, nextOffset } = ask(records, options)
  const seen: string[] = []
  for (const visible of batches) {
    const cursor = openBatch(visible)
    for (let record = cursor.next(); record !== undefined; record = cursor.next()) {
      seen.push(`${record.offset}:${record.value}`)
    }
  }
  return [...seen, `next ${nextOffset}`].join(' ')
}

describe('leaks that other clients have', () => {
  test('the list comes by last offset, transactions overlap', () => {
    const records = log(
      { at: 10, values: ['a'], producer: 1n },
      { at: 11, values: ['b'], producer: 1n },
      { at: 20, values: ['c'], producer: 2n },
      { at: 21, ends: 'abort', producer: 2n },
      { at: 22, values: ['d'], producer: 1n },
      { at: 23, ends: 'abort', producer: 1n },
      { at: 24, values: ['seen'], producer: 2n },
      { at: 25, ends: 'commit', producer: 2n },
    )
    const byLastOffset: Ask['aborted'] = [
      [2n, 20],
      [1n, 10],
    ]
    expect(see(records, { from: 10, aborted: byLastOffset })).toBe('24:seen next 26')
  })

  test('a data record with the bytes of an abort marker as its key ends nothing', () => {
    const records = log(
      { at: 0, values: ['a'], producer: 1n, key: Buffer.from([0, 0, 0, 0]) },
      { at: 1, values: ['b'], producer: 1n },
      { at: 2, ends: 'abort', producer: 1n },
      { at: 3, values: ['seen'], producer: 1n },
      { at: 4, ends: 'commit', producer: 1n },
    )
    expect(see(records, { aborted: [[1n, 0]] })).toBe('3:seen next 5')
  })

  test('a fetch that begins inside of two aborted transactions', () => {
    const records = log(
      { at: 16, values: ['a'], producer: 2n },
      { at: 17, values: ['b'], producer: 1n },
      { at: 18, ends: 'abort', producer: 1n },
      { at: 19, ends: 'abort', producer: 2n },
      { at: 20, values: ['seen'], producer: 1n },
      { at: 21, ends: 'commit', producer: 1n },
    )
    const aborted: Ask['aborted'] = [
      [1n, 10],
      [2n, 11],
    ]
    expect(see(records, { from: 16, aborted })).toBe('20:seen next 22')
  })

  test('one producer aborts twice in one fetch', () => {
    const records = log(
      { at: 0, values: ['a'], producer: 1n },
      { at: 1, ends: 'abort', producer: 1n },
      { at: 2, values: ['seen'], producer: 1n },
      { at: 3, ends: 'commit', producer: 1n },
      { at: 4, values: ['b'], producer: 1n },
      { at: 5, ends: 'abort', producer: 1n },
    )
    const aborted: Ask['aborted'] = [
      [1n, 0],
      [1n, 4],
    ]
    expect(see(records, { aborted })).toBe('2:seen next 6')
  })

  test('the marker of an aborted transaction lies beyond the fetched bytes', () => {
    const records = log(
      { at: 0, values: ['seen'], producer: 2n },
      { at: 1, values: ['a'], producer: 1n },
      { at: 2, values: ['b'], producer: 1n },
    )
    expect(see(records, { aborted: [[1n, 1]] })).toBe('0:seen next 3')
  })

  test('a transaction that begins inside of a batch of several records', () => {
    const records = log(
      { at: 0, values: ['a', 'b', 'c'], producer: 1n },
      { at: 3, ends: 'abort', producer: 1n },
    )
    // Not that Kafka begins one there: the rule is the batch's last offset.
    expect(see(records, { aborted: [[1n, 2]] })).toBe('next 4')
    expect(see(records, { aborted: [[1n, 3]] })).toBe('0:a 1:b 2:c next 4')
  })
})

describe('what is visible', () => {
  const mixed = log(
    { at: 0, values: ['plain'] },
    { at: 1, values: ['aborted'], producer: 1n },
    { at: 2, values: ['idempotent'], producer: 1n, transactional: false },
    { at: 3, values: ['committed'], producer: 2n },
    { at: 4, ends: 'abort', producer: 1n },
    { at: 5, ends: 'commit', producer: 2n },
  )

  test('only transactional batches of aborting producers are hidden', () => {
    expect(see(mixed, { aborted: [[1n, 1]] })).toBe('0:plain 2:idempotent 3:committed next 6')
  })

  test('read_uncommitted sees all data and no markers', () => {
    expect(see(mixed, { aborted: null, isolation: 'read_uncommitted' })).toBe(
      '0:plain 1:aborted 2:idempotent 3:committed next 6',
    )
  })

  test('a commit does not end an aborted range, whatever the list says', () => {
    const records = log(
      { at: 0, ends: 'commit', producer: 1n },
      { at: 1, values: ['a'], producer: 1n },
      { at: 2, ends: 'abort', producer: 1n },
    )
    expect(see(records, { aborted: [[1n, 0]] })).toBe('next 3')
  })

  test('an aborted list of null is an empty one', () => {
    expect(see(log({ at: 0, values: ['a'], producer: 1n }), { aborted: null })).toBe('0:a next 1')
  })

  test('an open transaction lies beyond the last stable offset: the broker sends nothing of it', () => {
    expect(see(Buffer.alloc(0), { from: 7, aborted: [] })).toBe('next 7')
  })
})

describe('positions', () => {
  test('nothing but markers and emptied batches still moves on', () => {
    const records = log(
      { at: 0, ends: 'abort', producer: 1n },
      { at: 100, lastOffset: 109, emptied: 1n },
      { at: 200, ends: 'commit', producer: 1n },
    )
    expect(see(records)).toBe('next 201')
    expect(ask(records, {}).batches).toEqual([])
  })

  test('records below the asked offset are not delivered', () => {
    const records = log({ at: 5, values: ['a', 'b', 'c', 'd'] }, { at: 9, values: ['e'] })
    expect(see(records, { from: 7 })).toBe('7:c 8:d 9:e next 10')
  })

  test('batches wholly below the asked offset begin and end aborted ranges', () => {
    const records = log(
      { at: 0, values: ['a'], producer: 1n },
      { at: 1, ends: 'abort', producer: 1n },
      { at: 2, values: ['seen'], producer: 1n },
      { at: 3, ends: 'commit', producer: 1n },
    )
    expect(see(records, { from: 2, aborted: [[1n, 0]] })).toBe('2:seen next 4')
    expect(ask(records, { from: 2, aborted: [] }).batches.map(({ header }) => header.baseOffset)).toEqual([2])
    expect(see(records.subarray(0, batch({ at: 0, values: ['a'], producer: 1n }).length), { from: 9 })).toBe(
      'next 9',
    )
  })

  test('a last batch that is cut off is asked for again', () => {
    const whole = log({ at: 0, values: ['a'] })
    const both = log({ at: 0, values: ['a'] }, { at: 1, values: ['b'] })
    for (let length = whole.length; length < both.length; length++) {
      expect(see(both.subarray(0, length))).toBe('0:a next 1')
    }
    expect(see(both)).toBe('0:a 1:b next 2')
  })

  test('bytes at an offset of a larger buffer', () => {
    const records = log({ at: 0, values: ['a'] })
    const larger = new Uint8Array(records.length + 20)
    larger.set(records, 7)
    expect(see(larger.subarray(7, 7 + records.length))).toBe('0:a next 1')
  })
})

describe('damage', () => {
  const codeOf = (records: Buffer): unknown => {
    try {
      ask(records, { from: 5 })
    } catch (error) {
      return error instanceof DruseError ? { code: error.code, ...error.details } : error
    }
    return undefined
  }

  test('a batch whose checksum does not fit', () => {
    const records = log({ at: 5, values: ['a'] }, { at: 6, values: ['b'] })
    records[records.length - 2] = 0xff
    expect(codeOf(records)).toMatchObject({ code: 'BATCH_CORRUPT', topic: 't', partition: 0, offset: 5 })
  })

  test('batches out of order', () => {
    const records = log({ at: 5, values: ['a', 'b'] }, { at: 6, values: ['b'] })
    expect(codeOf(records)).toMatchObject({ code: 'BATCH_CORRUPT' })
  })

  test('a first batch that is cut off would be asked for again for ever', () => {
    expect(codeOf(log({ at: 5, values: ['a'] }).subarray(0, 30))).toMatchObject({ code: 'BATCH_CORRUPT' })
  })
})
