/** What a reader sees of a real Kafka: our batches, Kafka's markers and lists, our filter. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CODE } from '../../src/kafka/error-codes.ts'
import { kafkaWire } from '../../src/kafka/kafkajs.ts'
import { openBatch, visibleBatches } from '../../src/kafka/read-committed.ts'
import { BatchWriter } from '../../src/kafka/record-batch.ts'
import type { TopicPartition } from '../../src/types.ts'
import { type Producer, Session } from '../contract/fixture.ts'
import { describeOnEachKafka } from '../stack/kafka.ts'

describeOnEachKafka('reading', ({ brokers }) => {
  let session: Session
  beforeAll(async () => {
    const cluster = { wire: kafkaWire({ brokers }), close: async () => {} }
    const traits = { sessionTimeoutMs: 6_000, patienceMs: 30_000, canCompact: false }
    session = new Session(cluster, traits, process.hrtime.bigint().toString(36))
    // Makes the broker create the topic of the transaction coordinator.
    await session.retry('FindCoordinator', { key: session.name('any'), keyType: 'transaction' })
  })
  afterAll(() => session.close())

  /** Follows the positions to the end, as a consumer does. */
  async function readAll(place: TopicPartition, from: number, bytes?: number): Promise<string> {
    const seen: string[] = []
    let position = from
    const end = await session.offset(place, 'latest', 'read_committed')
    while (position < end) {
      const options = bytes === undefined ? {} : { partitionBytes: bytes, maxBytes: bytes }
      const fetched = await session.fetch(place, position, 'read_committed', options)
      expect(fetched.errorCode).toBe(CODE.NONE)
      const { batches, nextOffset } = visibleBatches(fetched, position, 'read_committed')
      for (const batch of batches) {
        const cursor = openBatch(batch)
        for (let record = cursor.next(); record !== undefined; record = cursor.next()) {
          seen.push(`${record.offset}:${record.value}`)
        }
      }
      expect(nextOffset).toBeGreaterThan(position)
      position = nextOffset
    }
    return [...seen, `end ${position}`].join(' ')
  }

  /** Writes batches of open transactions, counting their sequences. */
  function writing(place: TopicPartition) {
    const sequences = new Map<string, number>()
    return async (producer: Producer, key: Buffer | null, ...values: string[]) => {
      const { transactionalId } = producer
      const baseSequence = sequences.get(transactionalId) ?? 0
      sequences.set(transactionalId, baseSequence + values.length)
      const writer = new BatchWriter()
      for (const value of values) writer.add(Date.now(), key, Buffer.from(value))
      const records = writer.build({ ...producer, baseSequence, isTransactional: true })
      expect(await session.produce(place, records, transactionalId)).toMatchObject({ errorCode: CODE.NONE })
    }
  }

  test('aborted transactions that overlap, from every offset and in small pieces', async () => {
    const place = { topic: await session.topic(), partition: 0 }
    const write = writing(place)
    const a = await session.producer()
    const b = await session.producer()
    await session.begin(a, place)
    await session.begin(b, place)
    await write(a, Buffer.alloc(4), 'a1', 'a2')
    await write(b, null, 'b1')
    await write(a, null, 'a3')
    // By last offset b comes first in Kafka's list, though a began before it.
    await session.finish(b, false)
    await write(a, null, 'a4')
    await session.finish(a, false)
    await session.begin(a, place)
    await write(a, Buffer.alloc(4), 'seen')
    await session.finish(a, true)
    expect(await readAll(place, 0)).toBe('7:seen end 9')
    for (let from = 0; from <= 8; from++) {
      const expected = from <= 7 ? '7:seen end 9' : 'end 9'
      expect(await readAll(place, from)).toBe(expected)
      expect(await readAll(place, from, 1)).toBe(expected)
    }
  })

  test('records come back as they were written', async () => {
    const place = { topic: await session.topic(), partition: 0 }
    const now = Date.now()
    const records = [
      {
        timestamp: now,
        key: null,
        value: Buffer.alloc(0),
        headers: [
          { key: 'h', value: null },
          { key: 'h', value: Buffer.from('✓') },
        ],
      },
      { timestamp: now - 2 ** 33, key: Buffer.from('k'), value: null, headers: [] },
      { timestamp: now + 5, key: Buffer.alloc(0), value: Buffer.alloc(20_000, 7), headers: [] },
    ]
    const writer = new BatchWriter()
    for (const { timestamp, key, value, headers } of records) writer.add(timestamp, key, value, headers)
    const owner = { producerId: -1n, producerEpoch: -1, baseSequence: -1, isTransactional: false }
    expect(await session.produce(place, writer.build(owner))).toEqual({ errorCode: 0, baseOffset: 0 })
    const [batch] = visibleBatches(await session.fetch(place, 0), 0, 'read_committed').batches
    const cursor = batch && openBatch(batch)
    const read = [cursor?.next(), cursor?.next(), cursor?.next(), cursor?.next()]
    expect(read).toEqual([...records.map((record, offset) => ({ offset, ...record })), undefined])
  })

  test('nothing keeps the process alive after destroy', async () => {
    const sockets = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length
    const before = sockets()
    const connection = session.cluster.wire.connect('fetch')
    const place = { topic: await session.topic(), partition: 0 }
    const waiting = connection.send(
      -1,
      {
        api: 'Fetch',
        maxWaitMs: 20_000,
        minBytes: 1,
        maxBytes: 1000,
        isolation: 'read_committed',
        partitions: [{ ...place, offset: 0, maxBytes: 1000 }],
      },
      30_000,
    )
    expect((await connection.send(-1, { api: 'Metadata', topics: [] }, 50)).ok).toBe(false)
    expect(await waiting).toMatchObject({ ok: false, reason: 'disconnect' })
    expect(await connection.send(-1, { api: 'Metadata', topics: [] }, 30_000)).toMatchObject({ ok: true })
    connection.destroy()
    // Destroyed sockets are closed within a few turns; with a leak this runs into the test's time-out.
    while (sockets() > before) await new Promise((resolve) => setImmediate(resolve))
  })
})
