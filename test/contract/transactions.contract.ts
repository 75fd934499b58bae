/** InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, and transactional Produce and Fetch. */
import { describe, expect, test } from 'vitest'
import { CODE } from '../../src/kafka/error-codes.ts'
import type { TopicPartition } from '../../src/types.ts'
import { batch, batches, only, type Pair, type Producer, type Session, seen } from './fixture.ts'
import type { GetSession } from './wire.contract.ts'

const A: readonly Pair[] = [['a', '1']]

export function transactionContract(session: GetSession): void {
  const open = async (partitions = 1) => {
    const s = session()
    const topic = await s.topic(partitions)
    const place = { topic, partition: 0 }
    const producer = await s.producer()
    return { s, topic, place, producer }
  }
  const put = (s: Session, producer: Producer, place: TopicPartition, baseSequence = 0, pairs = A) =>
    s.produce(place, batch(pairs, { ...producer, baseSequence }), producer.transactionalId)
  const init = (s: Session, transactionalId: string | null, transactionTimeoutMs = 60_000) =>
    s.retry('InitProducerId', { transactionalId, transactionTimeoutMs })

  describe('InitProducerId', () => {
    test('without a transactional id: a new producer id each time, epoch 0', async () => {
      const s = session()
      const first = await init(s, null)
      const second = await init(s, null)
      expect(first).toMatchObject({ errorCode: CODE.NONE, producerEpoch: 0 })
      expect(second.producerId).not.toBe(first.producerId)
    })

    test('a new transactional id: epoch 0', async () => {
      const s = session()
      expect(await init(s, s.name('producer'))).toMatchObject({ errorCode: CODE.NONE, producerEpoch: 0 })
    })

    test('a known transactional id: the same producer id, the next epoch', async () => {
      const s = session()
      const id = s.name('producer')
      const first = await init(s, id)
      const second = await init(s, id)
      expect(second).toEqual({ errorCode: CODE.NONE, producerId: first.producerId, producerEpoch: 1 })
    })

    test('an empty transactional id: 42', async () => {
      expect(await init(session(), '')).toMatchObject({ errorCode: CODE.INVALID_REQUEST, producerId: -1n })
    })

    test.each([0, -1, 2 ** 31 - 1])('a transaction timeout of %i ms: 50', async (timeoutMs) => {
      const s = session()
      const { errorCode } = await init(s, s.name('producer'), timeoutMs)
      expect(errorCode).toBe(CODE.INVALID_TRANSACTION_TIMEOUT)
    })

    test('while a transaction is open: 51, and it is aborted; then an epoch two higher', async () => {
      const { s, place, producer } = await open()
      await s.begin(producer, place)
      await put(s, producer, place)
      expect((await init(s, producer.transactionalId)).errorCode).toBe(CODE.CONCURRENT_TRANSACTIONS)
      const next = await s.producer(producer.transactionalId)
      expect(next).toMatchObject({
        producerId: producer.producerId,
        producerEpoch: producer.producerEpoch + 2,
      })
      const fetched = await s.fetch(place, 0)
      expect(fetched.abortedTransactions).toEqual([{ producerId: producer.producerId, firstOffset: 0 }])
    })
  })

  describe('AddPartitionsToTxn', () => {
    const add = async (s: Session, producer: Producer, ...partitions: TopicPartition[]) =>
      (await s.retry('AddPartitionsToTxn', { ...producer, partitions }, [CODE.CONCURRENT_TRANSACTIONS]))
        .partitions

    test('partitions: 0 each', async () => {
      const { s, topic, producer } = await open(2)
      const added = await add(s, producer, { topic, partition: 0 }, { topic, partition: 1 })
      expect(added.map(({ errorCode }) => errorCode)).toEqual([CODE.NONE, CODE.NONE])
    })

    test('the same partition again: 0', async () => {
      const { s, place, producer } = await open()
      await add(s, producer, place)
      expect(only(await add(s, producer, place)).errorCode).toBe(CODE.NONE)
    })

    test('a partition that is not there: 3, and 55 for the others, which are not added', async () => {
      const { s, topic, place, producer } = await open()
      const added = await add(s, producer, place, { topic, partition: 9 })
      const codes = new Map(added.map(({ partition, errorCode }) => [partition, errorCode]))
      expect(codes.get(9)).toBe(CODE.UNKNOWN_TOPIC_OR_PARTITION)
      expect(codes.get(0)).toBe(CODE.OPERATION_NOT_ATTEMPTED)
      expect((await put(s, producer, place)).errorCode).toBe(CODE.INVALID_TXN_STATE)
    })

    test('an unknown transactional id: 49', async () => {
      const { s, place, producer } = await open()
      const other = { ...producer, transactionalId: s.name('never') }
      expect(only(await add(s, other, place)).errorCode).toBe(CODE.INVALID_PRODUCER_ID_MAPPING)
    })

    test('another producer id: 49', async () => {
      const { s, place, producer } = await open()
      const other = { ...producer, producerId: producer.producerId + 1_000_000n }
      expect(only(await add(s, other, place)).errorCode).toBe(CODE.INVALID_PRODUCER_ID_MAPPING)
    })

    test('an old epoch: 47', async () => {
      const { s, place, producer } = await open()
      await s.producer(producer.transactionalId)
      expect(only(await add(s, producer, place)).errorCode).toBe(CODE.INVALID_PRODUCER_EPOCH)
    })

    test('an epoch never given out: 47', async () => {
      const { s, place, producer } = await open()
      const other = { ...producer, producerEpoch: producer.producerEpoch + 1 }
      expect(only(await add(s, other, place)).errorCode).toBe(CODE.INVALID_PRODUCER_EPOCH)
    })
  })

  describe('AddOffsetsToTxn', () => {
    const add = async (s: Session, producer: Producer) =>
      (
        await s.retry('AddOffsetsToTxn', { ...producer, groupId: s.name('group') }, [
          CODE.CONCURRENT_TRANSACTIONS,
        ])
      ).errorCode

    test('a group: 0', async () => {
      const { s, producer } = await open()
      expect(await add(s, producer)).toBe(CODE.NONE)
    })

    test('an unknown transactional id: 49', async () => {
      const { s, producer } = await open()
      const other = { ...producer, transactionalId: s.name('never') }
      expect(await add(s, other)).toBe(CODE.INVALID_PRODUCER_ID_MAPPING)
    })

    test('an old epoch: 47', async () => {
      const { s, producer } = await open()
      await s.producer(producer.transactionalId)
      expect(await add(s, producer)).toBe(CODE.INVALID_PRODUCER_EPOCH)
    })
  })

  describe('EndTxn', () => {
    const end = async (s: Session, producer: Producer, committed: boolean) =>
      (await s.retry('EndTxn', { ...producer, committed })).errorCode
    const endSettled = async (s: Session, producer: Producer, committed: boolean) =>
      (await s.retry('EndTxn', { ...producer, committed }, [CODE.CONCURRENT_TRANSACTIONS])).errorCode

    test('an open transaction: 0', async () => {
      const { s, place, producer } = await open()
      await s.begin(producer, place)
      expect(await end(s, producer, true)).toBe(CODE.NONE)
    })

    test('nothing was ever added: 48', async () => {
      const { s, producer } = await open()
      expect(await end(s, producer, true)).toBe(CODE.INVALID_TXN_STATE)
      expect(await end(s, producer, false)).toBe(CODE.INVALID_TXN_STATE)
    })

    test.each([true, false])(
      'again with the same result (committed: %s): 0 once it is complete',
      async (how) => {
        const { s, place, producer } = await open()
        await s.begin(producer, place)
        await end(s, producer, how)
        expect(await endSettled(s, producer, how)).toBe(CODE.NONE)
      },
    )

    test.each([true, false])(
      'again with the other result (first committed: %s): 51 until it is complete, then 48',
      async (how) => {
        const { s, place, producer } = await open()
        await s.begin(producer, place)
        await end(s, producer, how)
        expect(await endSettled(s, producer, !how)).toBe(CODE.INVALID_TXN_STATE)
      },
    )

    test('after InitProducerId has begun anew: 48', async () => {
      const { s, place, producer } = await open()
      await s.begin(producer, place)
      await s.finish(producer, true)
      const next = await s.producer(producer.transactionalId)
      expect(await end(s, next, true)).toBe(CODE.INVALID_TXN_STATE)
    })

    test('an unknown transactional id: 49', async () => {
      const { s, producer } = await open()
      const other = { ...producer, transactionalId: s.name('never') }
      expect(await end(s, other, true)).toBe(CODE.INVALID_PRODUCER_ID_MAPPING)
    })

    test('another producer id: 49', async () => {
      const { s, place, producer } = await open()
      await s.begin(producer, place)
      const other = { ...producer, producerId: producer.producerId + 1_000_000n }
      expect(await end(s, other, true)).toBe(CODE.INVALID_PRODUCER_ID_MAPPING)
      await s.finish(producer, false)
    })

    test('an old epoch: 47', async () => {
      const { s, producer } = await open()
      await s.producer(producer.transactionalId)
      expect(await end(s, producer, true)).toBe(CODE.INVALID_PRODUCER_EPOCH)
    })

    test('of a producer that was fenced in the middle of its transaction: 47, and nothing is committed', async () => {
      const { s, place, producer } = await open()
      await s.begin(producer, place)
      await put(s, producer, place)
      await s.producer(producer.transactionalId)
      expect(await end(s, producer, true)).toBe(CODE.INVALID_PRODUCER_EPOCH)
      expect((await s.fetch(place, 0)).abortedTransactions).toHaveLength(1)
    })

    test('the same producer and epoch go on with the next transaction', async () => {
      const { s, place, producer } = await open()
      await s.transaction(producer, place, 0, A, true)
      expect(await s.transaction(producer, place, 1, A, true)).toBe(2)
    })
  })

  describe('Produce in a transaction', () => {
    test('to an added partition: 0', async () => {
      const { s, place, producer } = await open()
      await s.begin(producer, place)
      expect(await put(s, producer, place)).toEqual({ errorCode: CODE.NONE, baseOffset: 0 })
      await s.finish(producer, true)
    })

    test('to a partition that was not added: 48', async () => {
      const { s, topic, place, producer } = await open(2)
      await s.begin(producer, place)
      expect((await put(s, producer, { topic, partition: 1 })).errorCode).toBe(CODE.INVALID_TXN_STATE)
      await s.finish(producer, false)
    })

    test('after the transaction has ended: 48', async () => {
      const { s, place, producer } = await open()
      await s.transaction(producer, place, 0, A, true)
      expect((await put(s, producer, place, 1)).errorCode).toBe(CODE.INVALID_TXN_STATE)
    })

    test('a batch of an ended transaction again: 0 with the offset it has', async () => {
      const { s, place, producer } = await open()
      await s.transaction(producer, place, 0, A, true)
      await s.begin(producer, place)
      // Why no sequence is ever used a second time, also not after an abort.
      expect(await put(s, producer, place, 0)).toEqual({ errorCode: CODE.NONE, baseOffset: 0 })
      await s.finish(producer, false)
    })

    test('with an old epoch, after the new producer has begun: 47', async () => {
      const { s, place, producer } = await open()
      const next = await s.producer(producer.transactionalId)
      await s.begin(next, place)
      await put(s, next, place)
      expect((await put(s, producer, place)).errorCode).toBe(CODE.INVALID_PRODUCER_EPOCH)
      await s.finish(next, false)
    })

    test('with an old epoch, before the new producer has written anything: 47', async () => {
      const { s, place, producer } = await open()
      await s.producer(producer.transactionalId)
      expect((await put(s, producer, place)).errorCode).toBe(CODE.INVALID_PRODUCER_EPOCH)
    })

    test('with the epoch of a transaction that was aborted over its head: 47', async () => {
      const { s, place, producer } = await open()
      await s.begin(producer, place)
      await put(s, producer, place)
      await s.producer(producer.transactionalId)
      expect((await put(s, producer, place, 1)).errorCode).toBe(CODE.INVALID_PRODUCER_EPOCH)
    })

    test('an unknown transactional id: 49', async () => {
      const { s, place, producer } = await open()
      const other = { ...producer, transactionalId: s.name('never') }
      expect((await put(s, other, place)).errorCode).toBe(CODE.INVALID_PRODUCER_ID_MAPPING)
    })

    test('a gap in the sequence: 45', async () => {
      const { s, place, producer } = await open()
      await s.begin(producer, place)
      await put(s, producer, place)
      expect((await put(s, producer, place, 5)).errorCode).toBe(CODE.OUT_OF_ORDER_SEQUENCE_NUMBER)
      await s.finish(producer, false)
    })

    test('a batch outside of the transaction that is open in the partition: 48', async () => {
      const { s, place, producer } = await open()
      await s.begin(producer, place)
      await put(s, producer, place)
      const { producerId, producerEpoch } = producer
      const plain = batch(A, { producerId, producerEpoch, baseSequence: 1 })
      expect((await s.produce(place, plain)).errorCode).toBe(CODE.INVALID_TXN_STATE)
      await s.finish(producer, false)
    })
  })

  describe('Offsets and isolation', () => {
    test('an open transaction: the last stable offset stands at its first record', async () => {
      const { s, place, producer } = await open()
      await s.produce(place, batch(A))
      await s.begin(producer, place)
      await put(s, producer, place)
      await s.produce(place, batch(A))
      expect(await s.offset(place, 'latest', 'read_committed')).toBe(1)
      expect(await s.offset(place, 'latest', 'read_uncommitted')).toBe(3)
      const committed = await s.fetchAll(place, 0, 'read_committed')
      expect(committed).toMatchObject({ highWatermark: 3, lastStableOffset: 1 })
      expect(seen(committed)).toHaveLength(1)
      expect(seen(await s.fetchAll(place, 0, 'read_uncommitted'))).toHaveLength(3)
      await s.finish(producer, false)
    })

    test('read_committed from the last stable offset on: nothing, no error', async () => {
      const { s, place, producer } = await open()
      await s.begin(producer, place)
      await put(s, producer, place)
      await put(s, producer, place, 1)
      const fetched = await s.fetch(place, 1, 'read_committed')
      expect(fetched.errorCode).toBe(CODE.NONE)
      expect(fetched.records.length).toBe(0)
      await s.finish(producer, false)
    })

    test('a long poll from behind the last stable offset: nothing, and at once', async () => {
      const { s, place, producer } = await open()
      await s.begin(producer, place)
      await put(s, producer, place)
      // Longer than a request may take: an answer that waits fails.
      const fetched = await s.fetch(place, 1, 'read_committed', { maxWaitMs: 120_000 })
      expect(fetched).toMatchObject({ errorCode: CODE.NONE, lastStableOffset: 0 })
      expect(fetched.records.length).toBe(0)
      await s.finish(producer, false)
    })

    test('committed: a control batch follows, and the last stable offset is the end', async () => {
      const { s, place, producer } = await open()
      await s.transaction(producer, place, 0, A, true)
      const fetched = await s.fetchAll(place, 0)
      expect(fetched).toMatchObject({ highWatermark: 2, lastStableOffset: 2, abortedTransactions: [] })
      expect(batches(fetched).map(({ header }) => header.isControl)).toEqual([false, true])
    })

    test('committed: the marker has the epoch of the producer', async () => {
      const { s, place, producer } = await open()
      await s.transaction(producer, place, 0, A, true)
      const marker = batches(await s.fetchAll(place, 0)).at(-1)?.header
      expect(marker).toMatchObject({
        producerId: producer.producerId,
        producerEpoch: producer.producerEpoch,
        isTransactional: true,
        baseOffset: 1,
      })
    })

    test('aborted: the transaction is listed with its first offset', async () => {
      const { s, place, producer } = await open()
      await s.produce(place, batch(A))
      await s.transaction(producer, place, 0, A, false)
      const fetched = await s.fetchAll(place, 0)
      expect(fetched.abortedTransactions).toEqual([{ producerId: producer.producerId, firstOffset: 1 }])
      expect(fetched.lastStableOffset).toBe(3)
    })

    test('aborted: listed also when only its end is fetched', async () => {
      const { s, place, producer } = await open()
      await s.transaction(producer, place, 0, A, false)
      const fetched = await s.fetch(place, 1)
      expect(fetched.abortedTransactions).toEqual([{ producerId: producer.producerId, firstOffset: 0 }])
    })

    test('aborted: not listed to who fetches behind its marker', async () => {
      const { s, place, producer } = await open()
      await s.transaction(producer, place, 0, A, false)
      await s.produce(place, batch(A))
      expect((await s.fetch(place, 2)).abortedTransactions).toEqual([])
    })

    test('overlapping aborted transactions: in the order of their markers', async () => {
      const { s, place, producer: first } = await open()
      const second = await s.producer()
      await s.begin(first, place)
      await put(s, first, place)
      await s.begin(second, place)
      await put(s, second, place)
      await s.finish(second, false)
      await s.finish(first, false)
      expect((await s.fetchAll(place, 0)).abortedTransactions).toEqual([
        { producerId: second.producerId, firstOffset: 1 },
        { producerId: first.producerId, firstOffset: 0 },
      ])
    })

    test('two overlapping transactions: the last stable offset goes up with the first one', async () => {
      const { s, place, producer: first } = await open()
      const second = await s.producer()
      await s.begin(first, place)
      await put(s, first, place)
      await s.begin(second, place)
      await put(s, second, place)
      await s.finish(first, true)
      expect(await s.offset(place, 'latest', 'read_committed')).toBe(1)
      await s.finish(second, true)
      expect(await s.offset(place, 'latest', 'read_committed')).toBe(4)
    })

    test('a partition that was added and not written to: only the marker, if any, and nothing aborted', async () => {
      const { s, place, producer } = await open()
      await s.begin(producer, place)
      await s.finish(producer, false)
      const fetched = await s.fetchAll(place, 0)
      expect(fetched.abortedTransactions).toEqual([])
      expect(fetched.lastStableOffset).toBe(fetched.highWatermark)
      expect(seen(fetched)).toEqual([])
    })

    test('a long poll under read_committed waits for the marker', async () => {
      const { s, place, producer } = await open()
      await s.begin(producer, place)
      const waiting = s.send(
        'Fetch',
        {
          maxWaitMs: 25_000,
          minBytes: 1,
          maxBytes: 1_000_000,
          isolation: 'read_committed',
          partitions: [{ ...place, offset: 0, maxBytes: 1_000_000 }],
        },
        s.connect('fetch'),
      )
      await put(s, producer, place)
      await s.end(producer, true)
      expect(seen(only((await waiting).partitions))).toHaveLength(1)
    })
  })

  describe('A transaction that runs out of time', () => {
    test('is aborted by the broker, and its producer is fenced', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      const producer = await s.producer(s.name('producer'), 100)
      await s.begin(producer, place)
      await put(s, producer, place)
      await s.until(
        () => s.offset(place, 'latest', 'read_committed'),
        (offset) => offset === 2,
      )
      expect((await s.fetch(place, 0)).abortedTransactions).toHaveLength(1)
      const ended = await s.retry('EndTxn', { ...producer, committed: true }, [CODE.CONCURRENT_TRANSACTIONS])
      expect(ended.errorCode).toBe(CODE.INVALID_PRODUCER_EPOCH)
      expect((await put(s, producer, place, 1)).errorCode).toBe(CODE.INVALID_PRODUCER_EPOCH)
    })
  })
}
