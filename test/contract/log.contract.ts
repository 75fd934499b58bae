/** Produce, Fetch, ListOffsets, DeleteRecords, compaction. */
import { crc32c } from '@node-rs/crc32'
import { describe, expect, test } from 'vitest'
import { CODE } from '../../src/kafka/error-codes.ts'
import { BatchWriter, controlBatch, placeBatch } from '../../src/kafka/record-batch.ts'
import type { Requests } from '../../src/ports.ts'
import type { TopicPartition } from '../../src/types.ts'
import { batch, batches, COMPACTED, NO_OWNER, only, type Pair, seen, type Traits } from './fixture.ts'
import type { GetSession } from './wire.contract.ts'

const A: readonly Pair[] = [['a', '1']]
const AB: readonly Pair[] = [
  ['a', '1'],
  ['b', '2'],
]

export function logContract(session: GetSession, traits: Traits): void {
  describe('Produce', () => {
    test('without a producer id: offsets from 0 on', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      expect(await s.produce(place, batch(AB))).toEqual({ errorCode: CODE.NONE, baseOffset: 0 })
      expect(await s.produce(place, batch(A))).toEqual({ errorCode: CODE.NONE, baseOffset: 2 })
    })

    test('to an unknown topic: 3', async () => {
      const s = session()
      const place = { topic: s.name('never'), partition: 0 }
      expect((await s.produce(place, batch(A))).errorCode).toBe(CODE.UNKNOWN_TOPIC_OR_PARTITION)
    })

    test('to a partition that is not there: 3, the others are appended', async () => {
      const s = session()
      const topic = await s.topic()
      const { partitions } = await s.send('Produce', {
        transactionalId: null,
        acks: -1,
        timeoutMs: 30_000,
        partitions: [
          { topic, partition: 7, records: batch(A) },
          { topic, partition: 0, records: batch(A) },
        ],
      })
      const codes = new Map(partitions.map(({ partition, errorCode }) => [partition, errorCode]))
      expect(codes.get(7)).toBe(CODE.UNKNOWN_TOPIC_OR_PARTITION)
      expect(codes.get(0)).toBe(CODE.NONE)
    })

    test('a batch whose bytes were damaged: 2', async () => {
      const s = session()
      const damaged = batch(A)
      damaged[damaged.length - 2] = (damaged[damaged.length - 2] as number) ^ 0xff
      const place = { topic: await s.topic(), partition: 0 }
      expect((await s.produce(place, damaged)).errorCode).toBe(CODE.CORRUPT_MESSAGE)
    })

    test('two batches for one partition: 87', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      const two = Buffer.concat([batch(A), batch(A)])
      expect((await s.produce(place, two)).errorCode).toBe(CODE.INVALID_RECORD)
    })

    test('no batch: 87', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      expect((await s.produce(place, Buffer.alloc(0))).errorCode).toBe(CODE.INVALID_RECORD)
    })

    test('a batch that claims another base offset than 0: 87', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      const placed = batch(A)
      placeBatch(placed, 0, 5, 0)
      expect((await s.produce(place, placed)).errorCode).toBe(CODE.INVALID_RECORD)
    })

    test('a batch whose records are not as many as its offsets: 87', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      const gapped = batch(AB)
      gapped.writeInt32BE(4, 23) // last offset delta
      gapped.writeUInt32BE(crc32c(gapped.subarray(21)), 17)
      expect((await s.produce(place, gapped)).errorCode).toBe(CODE.INVALID_RECORD)
    })

    test('a control batch: 87', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      const marker = controlBatch({
        type: 'commit',
        producerId: 1n,
        producerEpoch: 0,
        coordinatorEpoch: 0,
        timestampMs: 0,
      })
      const transactionalId = (await s.producer()).transactionalId
      // Transactional batches ask for a transaction first, so it may fail at that.
      const { errorCode } = await s.produce(place, marker, transactionalId)
      expect([CODE.INVALID_RECORD, CODE.INVALID_PRODUCER_ID_MAPPING]).toContain(errorCode)
      const plain = Buffer.from(marker)
      plain.writeInt16BE(0x20, 21) // control, not transactional
      plain.writeBigInt64BE(-1n, 43) // no producer id
      plain.writeUInt32BE(crc32c(plain.subarray(21)), 17)
      expect((await s.produce(place, plain)).errorCode).toBe(CODE.INVALID_RECORD)
    })

    test('a batch larger than max.message.bytes: 10', async () => {
      const s = session()
      const place = { topic: await s.topic(1, { 'max.message.bytes': '200' }), partition: 0 }
      expect((await s.produce(place, batch([['a', 'x'.repeat(300)]]))).errorCode).toBe(CODE.MESSAGE_TOO_LARGE)
    })

    test('a record without a key to a compacted topic: 87', async () => {
      const s = session()
      const place = { topic: await s.topic(1, { 'cleanup.policy': 'compact' }), partition: 0 }
      const mixed: Pair[] = [
        ['a', '1'],
        [null, '2'],
      ]
      expect((await s.produce(place, batch(mixed))).errorCode).toBe(CODE.INVALID_RECORD)
    })

    test('a record from further in the future than the topic takes: 32', async () => {
      const s = session()
      const topic = await s.topic(1, { 'message.timestamp.after.max.ms': '1000' })
      const records = batch(A, { timestamp: 4_000_000_000_000 })
      expect((await s.produce({ topic, partition: 0 }, records)).errorCode).toBe(CODE.INVALID_TIMESTAMP)
    })

    test('to a topic of LogAppendTime: the batch has the time of the broker', async () => {
      const s = session()
      const place = { topic: await s.topic(1, { 'message.timestamp.type': 'LogAppendTime' }), partition: 0 }
      await s.produce(place, batch(A, { timestamp: 1000 }))
      const { header } = only(batches(await s.fetch(place, 0)))
      expect(header.timestampType).toBe('append')
      expect(header.maxTimestamp).toBeGreaterThan(1_600_000_000_000)
    })
  })

  describe('Produce by an idempotent producer', () => {
    const open = async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      const { producerId } = await s.retry('InitProducerId', {
        transactionalId: null,
        transactionTimeoutMs: 60_000,
      })
      const put = (baseSequence: number, pairs = A, producerEpoch = 0) =>
        s.produce(place, batch(pairs, { producerId, producerEpoch, baseSequence }))
      return { s, place, put }
    }

    test('in sequence: appended', async () => {
      const { put } = await open()
      expect(await put(0, AB)).toEqual({ errorCode: CODE.NONE, baseOffset: 0 })
      expect(await put(2)).toEqual({ errorCode: CODE.NONE, baseOffset: 2 })
    })

    test('the last batch again: 0 with the offset it has, and not appended', async () => {
      const { s, place, put } = await open()
      await put(0, AB)
      expect(await put(0, AB)).toEqual({ errorCode: CODE.NONE, baseOffset: 0 })
      expect(await s.offset(place, 'latest', 'read_uncommitted')).toBe(2)
    })

    test('any of the last five batches again: 0 with the offset it has', async () => {
      const { put } = await open()
      for (let i = 0; i < 6; i++) await put(i)
      for (let i = 1; i < 6; i++) expect(await put(i)).toEqual({ errorCode: CODE.NONE, baseOffset: i })
    })

    test('the last batch but five again: 45', async () => {
      const { put } = await open()
      for (let i = 0; i < 6; i++) await put(i)
      expect((await put(0)).errorCode).toBe(CODE.OUT_OF_ORDER_SEQUENCE_NUMBER)
    })

    test('a gap in the sequence: 45', async () => {
      const { put } = await open()
      await put(0)
      expect((await put(2)).errorCode).toBe(CODE.OUT_OF_ORDER_SEQUENCE_NUMBER)
    })

    test('a batch that begins like an old one and has another length: 45', async () => {
      const { put } = await open()
      await put(0, AB)
      expect((await put(0, A)).errorCode).toBe(CODE.OUT_OF_ORDER_SEQUENCE_NUMBER)
    })

    test('a higher epoch from sequence 0 on: appended', async () => {
      const { put } = await open()
      await put(0)
      expect((await put(0, A, 1)).errorCode).toBe(CODE.NONE)
    })

    test('a higher epoch from another sequence on: 45', async () => {
      const { put } = await open()
      await put(0)
      expect((await put(1, A, 1)).errorCode).toBe(CODE.OUT_OF_ORDER_SEQUENCE_NUMBER)
    })

    test('a lower epoch: 47', async () => {
      const { put } = await open()
      await put(0, A, 1)
      expect((await put(1, A, 0)).errorCode).toBe(CODE.INVALID_PRODUCER_EPOCH)
    })

    test('the first batch in a partition: any sequence', async () => {
      const { put } = await open()
      expect((await put(77)).errorCode).toBe(CODE.NONE)
      expect((await put(78)).errorCode).toBe(CODE.NONE)
    })

    test('sequences go from the highest back to 0', async () => {
      const { put } = await open()
      expect((await put(2 ** 31 - 2, AB)).errorCode).toBe(CODE.NONE)
      expect((await put(0)).errorCode).toBe(CODE.NONE)
    })
  })

  describe('Fetch', () => {
    test('what was produced, with its offsets', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      await s.produce(place, batch(AB))
      const fetched = await s.fetch(place, 0)
      expect(fetched).toMatchObject({
        errorCode: 0,
        highWatermark: 2,
        lastStableOffset: 2,
        logStartOffset: 0,
      })
      expect(seen(fetched)).toEqual([
        { offset: 0, key: 'a', value: '1' },
        { offset: 1, key: 'b', value: '2' },
      ])
    })

    test('from the middle of a batch: the whole batch', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      await s.produce(place, batch(AB))
      expect(seen(await s.fetch(place, 1)).map(({ offset }) => offset)).toEqual([0, 1])
    })

    test('from the end: nothing', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      await s.produce(place, batch(A))
      const fetched = await s.fetch(place, 1)
      expect(fetched).toMatchObject({ errorCode: CODE.NONE, highWatermark: 1 })
      expect(fetched.records.length).toBe(0)
    })

    test('from beyond the end: 1', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      expect((await s.fetch(place, 1)).errorCode).toBe(CODE.OFFSET_OUT_OF_RANGE)
    })

    test('from before the start: 1', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      await s.produce(place, batch(AB))
      await s.send('DeleteRecords', { partitions: [{ ...place, offset: 1 }], timeoutMs: 30_000 })
      expect((await s.fetch(place, 0)).errorCode).toBe(CODE.OFFSET_OUT_OF_RANGE)
    })

    test('of an unknown topic: 3', async () => {
      const s = session()
      const fetched = await s.fetch({ topic: s.name('never'), partition: 0 }, 0)
      expect(fetched.errorCode).toBe(CODE.UNKNOWN_TOPIC_OR_PARTITION)
    })

    test('fewer bytes than the first batch has: the whole first batch', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      await s.produce(place, batch(AB))
      await s.produce(place, batch(A))
      const fetched = await s.fetch(place, 0, 'read_committed', { partitionBytes: 1, maxBytes: 1 })
      expect(seen(fetched).map(({ offset }) => offset)).toEqual([0, 1])
    })

    test('bytes for one and a half batches: whole batches up to there, and perhaps a piece of the next', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      const first = batch(AB)
      await s.produce(place, first)
      await s.produce(place, batch(AB))
      const limit = first.length + 40
      const fetched = await s.fetch(place, 0, 'read_committed', { partitionBytes: limit })
      expect(seen(fetched).map(({ offset }) => offset)).toEqual([0, 1])
      expect(fetched.records.length).toBeLessThanOrEqual(limit)
    })

    test('the limit of all partitions: the first one gives, the next one nothing or little', async () => {
      const s = session()
      const topic = await s.topic(2)
      const records = batch(AB)
      await s.produce({ topic, partition: 0 }, records)
      await s.produce({ topic, partition: 1 }, records)
      const { partitions } = await s.send('Fetch', {
        maxWaitMs: 0,
        minBytes: 1,
        maxBytes: records.length,
        isolation: 'read_uncommitted',
        partitions: [0, 1].map((partition) => ({ topic, partition, offset: 0, maxBytes: 1_000_000 })),
      })
      const counts = partitions.map((fetched) => seen(fetched).length)
      expect(counts.sort()).toEqual([0, 2])
    })

    test('waits for records, and answers as soon as there are some', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      const waiting = s.send(
        'Fetch',
        {
          maxWaitMs: 25_000,
          minBytes: 1,
          maxBytes: 1000,
          isolation: 'read_uncommitted',
          partitions: [{ ...place, offset: 0, maxBytes: 1000 }],
        },
        s.connect('fetch'),
      )
      await s.produce(place, batch(A))
      expect(seen(only((await waiting).partitions))).toHaveLength(1)
    })

    test('waits no longer than maxWaitMs', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      const fetched = await s.fetch(place, 0, 'read_committed', { maxWaitMs: 20 })
      expect(fetched.errorCode).toBe(CODE.NONE)
      expect(fetched.records.length).toBe(0)
    })

    test('waits for minBytes', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      const records = batch(A)
      await s.produce(place, records)
      const waiting = s.send(
        'Fetch',
        {
          maxWaitMs: 25_000,
          minBytes: records.length + 1,
          maxBytes: 1000,
          isolation: 'read_uncommitted',
          partitions: [{ ...place, offset: 0, maxBytes: 1000 }],
        },
        s.connect('fetch'),
      )
      await s.produce(place, records)
      expect(seen(only((await waiting).partitions))).toHaveLength(2)
    })

    /** Requests are given up long before: an answer that waits this long fails. */
    const FOR_EVER_MS = 120_000
    const SHORT_MS = 300
    /** A fetch of one partition that waits for more bytes than there are, on a connection of its own. */
    const poll = async (place: TopicPartition, change: Partial<Requests['Fetch']> = {}) => {
      const s = session()
      const startedMs = performance.now()
      const { partitions } = await s.send(
        'Fetch',
        {
          maxWaitMs: FOR_EVER_MS,
          minBytes: 1_000_000,
          maxBytes: 1_000_000,
          isolation: 'read_uncommitted',
          partitions: [{ ...place, offset: 0, maxBytes: 1_000_000 }],
          ...change,
        },
        s.connect('fetch'),
      )
      const codes = new Map(partitions.map(({ partition, errorCode }) => [partition, errorCode]))
      // Clocks of the two sides may differ by a tick.
      const hasWaited = performance.now() - startedMs > SHORT_MS - 20
      return { partitions, codes, hasWaited }
    }
    const withOne = async () => {
      const topic = await session().topic(2)
      await session().produce({ topic, partition: 0 }, batch(A))
      return { topic, place: { topic, partition: 0, offset: 0, maxBytes: 1_000_000 } }
    }

    test('an unknown partition alone: 3 at once', async () => {
      const { topic } = await withOne()
      const { codes } = await poll({ topic, partition: 9 })
      expect(codes.get(9)).toBe(CODE.UNKNOWN_TOPIC_OR_PARTITION)
    })

    test('an unknown partition among others: they wait as if it were not there', async () => {
      const { topic, place } = await withOne()
      const partitions = [{ ...place, partition: 9 }, place]
      const { codes, hasWaited } = await poll({ topic, partition: 9 }, { partitions, maxWaitMs: SHORT_MS })
      expect(codes.get(9)).toBe(CODE.UNKNOWN_TOPIC_OR_PARTITION)
      expect(codes.get(0)).toBe(CODE.NONE)
      expect(hasWaited).toBe(true)
    })

    test('an offset out of range among others: all answer at once', async () => {
      const { topic, place } = await withOne()
      const partitions = [{ ...place, partition: 1, offset: 5 }, place]
      const { codes, ...fetched } = await poll({ topic, partition: 1 }, { partitions })
      expect(codes.get(1)).toBe(CODE.OFFSET_OUT_OF_RANGE)
      expect(codes.get(0)).toBe(CODE.NONE)
      expect(fetched.partitions.flatMap((partition) => seen(partition))).toHaveLength(1)
    })

    test('a topic that is deleted: 3 at once', async () => {
      const s = session()
      const { topic, place } = await withOne()
      const waiting = poll(place)
      await s.send('DeleteTopics', { topics: [topic], timeoutMs: 30_000 })
      expect((await waiting).codes.get(0)).toBe(CODE.UNKNOWN_TOPIC_OR_PARTITION)
    })

    test('a partition counts for no more than its own limit', async () => {
      const { place } = await withOne()
      await session().produce(place, batch(A))
      const sizeBytes = batch(A).length
      const partitions = [{ ...place, maxBytes: sizeBytes }]
      const { hasWaited } = await poll(place, { minBytes: sizeBytes + 1, maxWaitMs: SHORT_MS, partitions })
      expect(hasWaited).toBe(true)
    })

    test('a first batch larger than the limit of its partition counts as it is', async () => {
      const { place } = await withOne()
      const partitions = [{ ...place, maxBytes: 1 }]
      const fetched = await poll(place, { minBytes: batch(A).length, partitions })
      expect(seen(only(fetched.partitions))).toHaveLength(1)
    })

    test('more minBytes than maxBytes: maxBytes are enough', async () => {
      const { place } = await withOne()
      const fetched = await poll(place, { maxBytes: batch(A).length })
      expect(seen(only(fetched.partitions))).toHaveLength(1)
    })

    test('aborted transactions are told under read_committed only', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      await s.produce(place, batch(A))
      expect((await s.fetch(place, 0, 'read_uncommitted')).abortedTransactions).toBeNull()
      expect((await s.fetch(place, 0, 'read_committed')).abortedTransactions).toEqual([])
    })
  })

  describe('ListOffsets', () => {
    test('of an empty partition: 0', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      expect(await s.offset(place, 'earliest', 'read_committed')).toBe(0)
      expect(await s.offset(place, 'latest', 'read_committed')).toBe(0)
    })

    test('latest is the offset of the next record', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      await s.produce(place, batch(AB))
      expect(await s.offset(place, 'latest', 'read_uncommitted')).toBe(2)
    })

    describe('by time', () => {
      const base = Date.now() - 60_000
      /** Offsets 0 and 1 a second after `base`, then one each a second later; the third one stands before its turn. */
      const open = async (configs: Readonly<Record<string, string>> = {}) => {
        const s = session()
        const place = { topic: await s.topic(1, configs), partition: 0 }
        const at = (seconds: number, pairs = A) => batch(pairs, { timestamp: base + seconds * 1_000 })
        await s.produce(place, at(1, AB))
        await s.produce(place, at(3))
        await s.produce(place, at(2))
        await s.produce(place, at(4))
        const offset = (
          seconds: number,
          isolation: 'read_committed' | 'read_uncommitted' = 'read_committed',
        ) => s.offset(place, base + seconds * 1_000, isolation)
        return { s, place, at, offset }
      }

      test('the first record of at least this time', async () => {
        const { offset } = await open()
        expect(await offset(0)).toBe(0)
        expect(await offset(1)).toBe(0)
        expect(await offset(1.001)).toBe(2)
        // The record of second 2 comes behind one that is late enough already.
        expect(await offset(2)).toBe(2)
        expect(await offset(3.5)).toBe(4)
        expect(await offset(4)).toBe(4)
      })

      test('later than all: -1', async () => {
        const { offset } = await open()
        expect(await offset(4.001)).toBe(-1)
      })

      test('of an empty partition: -1', async () => {
        const s = session()
        const place = { topic: await s.topic(), partition: 0 }
        expect(await s.offset(place, 0, 'read_committed')).toBe(-1)
      })

      test('within a batch of several times', async () => {
        const { s, place } = await open()
        const writer = new BatchWriter()
        for (const seconds of [10, 20, 30]) writer.add(base + seconds * 1_000, null, Buffer.from('v'))
        await s.produce(place, Buffer.from(writer.build(NO_OWNER)))
        expect(await s.offset(place, base + 15_000, 'read_committed')).toBe(6)
      })

      test('below the start of the log: not before the start', async () => {
        const { s, place, offset } = await open()
        const partitions = [{ ...place, offset: 1 }]
        await s.send('DeleteRecords', { partitions, timeoutMs: 30_000 })
        expect(await offset(0)).toBe(1)
      })

      test('at or beyond the last stable offset: -1 under read_committed', async () => {
        const { s, place, offset } = await open()
        const producer = await s.producer()
        await s.begin(producer, place)
        const records = batch(A, { ...producer, baseSequence: 0, timestamp: base + 9_000 })
        await s.produce(place, records, producer.transactionalId)
        expect(await offset(9, 'read_uncommitted')).toBe(5)
        expect(await offset(9, 'read_committed')).toBe(-1)
        expect(await offset(4, 'read_committed')).toBe(4)
        await s.finish(producer, true)
        expect(await offset(9, 'read_committed')).toBe(5)
      })

      test('a transaction’s marker counts, with the time at which it was written', async () => {
        const { s, place } = await open()
        const producer = await s.producer()
        await s.transaction(producer, place, 0, A, true)
        const marker = (await s.offset(place, 'latest', 'read_committed')) - 1
        const { records } = await s.fetch(place, marker, 'read_committed')
        const written = Number(Buffer.from(records).readBigInt64BE(35))
        await s.produce(place, batch(A, { timestamp: written + 5_000 }))
        expect(await s.offset(place, written + 1, 'read_committed')).toBe(marker + 1)
        expect(await s.offset(place, written, 'read_committed')).toBeGreaterThanOrEqual(marker - 1)
      })
    })

    test('of a partition that is not there: 3', async () => {
      const s = session()
      const { partitions } = await s.send('ListOffsets', {
        isolation: 'read_committed',
        partitions: [{ topic: await s.topic(), partition: 5, at: 'latest' }],
      })
      expect(only(partitions).errorCode).toBe(CODE.UNKNOWN_TOPIC_OR_PARTITION)
    })
  })

  describe('DeleteRecords', () => {
    const open = async (configs: Readonly<Record<string, string>> = {}) => {
      const s = session()
      const place = { topic: await s.topic(1, configs), partition: 0 }
      await s.produce(place, batch(AB))
      await s.produce(place, batch(AB))
      const remove = async (offset: number, partition = 0) => {
        const partitions = [{ topic: place.topic, partition, offset }]
        return only((await s.send('DeleteRecords', { partitions, timeoutMs: 30_000 })).partitions)
      }
      return { s, place, remove }
    }

    test('up to an offset: it is the log start from then on', async () => {
      const { s, place, remove } = await open()
      expect(await remove(3)).toMatchObject({ errorCode: CODE.NONE, lowWatermark: 3 })
      expect(await s.offset(place, 'earliest', 'read_committed')).toBe(3)
      expect(seen(await s.fetch(place, 3), 3)).toEqual([{ offset: 3, key: 'b', value: '2' }])
    })

    test('up to -1: all there is', async () => {
      const { s, place, remove } = await open()
      expect(await remove(-1)).toMatchObject({ errorCode: CODE.NONE, lowWatermark: 4 })
      expect(await s.offset(place, 'latest', 'read_committed')).toBe(4)
      expect((await s.produce(place, batch(A))).baseOffset).toBe(4)
    })

    test('up to an offset below the start: nothing changes', async () => {
      const { remove } = await open()
      await remove(3)
      expect(await remove(1)).toMatchObject({ errorCode: CODE.NONE, lowWatermark: 3 })
    })

    test('beyond the end: 1', async () => {
      const { remove } = await open()
      expect(await remove(5)).toMatchObject({ errorCode: CODE.OFFSET_OUT_OF_RANGE, lowWatermark: -1 })
    })

    test('of a topic that is only compacted: 44', async () => {
      const { remove } = await open({ 'cleanup.policy': 'compact' })
      expect((await remove(1)).errorCode).toBe(CODE.POLICY_VIOLATION)
    })

    test('of a topic that is compacted and deleted: 0', async () => {
      const { remove } = await open({ 'cleanup.policy': 'compact,delete' })
      expect((await remove(1)).errorCode).toBe(CODE.NONE)
    })

    test('of a partition that is not there: 3', async () => {
      const { remove } = await open()
      expect((await remove(0, 4)).errorCode).toBe(CODE.UNKNOWN_TOPIC_OR_PARTITION)
    })
  })

  describe.skipIf(!traits.canCompact)('Compaction', () => {
    const open = async (configs: Readonly<Record<string, string>> = {}) => {
      const s = session()
      const topic = await s.topic(1, { ...COMPACTED, ...configs })
      const place = { topic, partition: 0 }
      const put = (...pairs: Pair[]) => s.produce(place, batch(pairs))
      const compact = async () => {
        // What is last in the log is not cleaned, so let it be something else, and in a segment of its own.
        await s.produce(place, batch([['end', 'of the log']], { timestamp: Date.now() + 1000 }))
        await s.cluster.compact?.(topic)
      }
      const read = async () => seen(await s.fetchAll(place, 0)).filter(({ key }) => key !== 'end')
      return { s, place, put, compact, read }
    }

    test('keeps the last value of each key, at its offset', async () => {
      const { put, compact, read } = await open()
      await put(['a', '1'], ['b', '1'])
      await put(['a', '2'])
      await put(['c', '1'], ['a', '3'])
      await compact()
      expect(await read()).toEqual([
        { offset: 1, key: 'b', value: '1' },
        { offset: 3, key: 'c', value: '1' },
        { offset: 4, key: 'a', value: '3' },
      ])
    })

    test('keeps tombstones for delete.retention.ms', async () => {
      const { put, compact, read } = await open()
      await put(['a', '1'])
      await put(['a', null])
      await compact()
      expect(await read()).toEqual([{ offset: 1, key: 'a', value: null }])
    })

    test('leaves start and end of the log where they were', async () => {
      const { s, place, put, compact } = await open()
      await put(['a', '1'])
      await put(['a', '2'])
      await compact()
      expect(await s.offset(place, 'earliest', 'read_committed')).toBe(0)
      expect(await s.offset(place, 'latest', 'read_committed')).toBe(3)
      expect((await put(['z', '1'])).baseOffset).toBe(3)
    })

    test('a fetch from a gap goes on behind it', async () => {
      const { s, place, put, compact } = await open()
      await put(['a', '1'])
      await put(['a', '2'])
      await put(['a', '3'])
      await compact()
      for (const offset of [0, 1, 2]) {
        const [first] = seen(await s.fetchAll(place, offset), offset)
        expect(first).toEqual({ offset: 2, key: 'a', value: '3' })
      }
    })

    test('removes aborted data and keeps what it would have replaced', async () => {
      const { s, place, put, compact, read } = await open()
      await put(['a', 'good'])
      const producer = await s.producer()
      await s.transaction(producer, place, 0, [['a', 'bad']], false)
      await compact()
      expect(await read()).toEqual([{ offset: 0, key: 'a', value: 'good' }])
    })

    test('does not touch an open transaction, nor anything behind it', async () => {
      const { s, place, put, compact } = await open()
      await put(['a', '1'])
      // For longer than a cleaner may take.
      const producer = await s.producer(undefined, 300_000)
      await s.begin(producer, place)
      await s.produce(place, batch([['a', '2']], { ...producer, baseSequence: 0 }), producer.transactionalId)
      await compact()
      const offsets = seen(await s.fetchAll(place, 0, 'read_uncommitted')).map(({ offset }) => offset)
      expect(offsets).toEqual([0, 1, 2])
      await s.finish(producer, false)
    })

    test('a producer goes on with its sequence after its batches have gone', async () => {
      const { s, place, put, compact } = await open()
      const { producerId } = await s.retry('InitProducerId', {
        transactionalId: null,
        transactionTimeoutMs: 60_000,
      })
      const owner = { producerId, producerEpoch: 0 }
      await s.produce(place, batch(A, { ...owner, baseSequence: 0 }))
      await put(['a', 'newer'])
      await compact()
      expect((await s.produce(place, batch(A, { ...owner, baseSequence: 1 }))).errorCode).toBe(CODE.NONE)
      expect((await s.produce(place, batch(A, { ...owner, baseSequence: 3 }))).errorCode).toBe(
        CODE.OUT_OF_ORDER_SEQUENCE_NUMBER,
      )
    })
  })
}
