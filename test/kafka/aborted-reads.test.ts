/**
 * Logs of a real broker of which kafkajs's consumer delivers aborted records as committed. Druse's reader has to return
 * none of them, and all that is committed. That kafkajs leaks is asserted too: it shows that the logs have these shapes.
 */
import { Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { Cluster } from '../../src/kafka/cluster.ts'
import { kafkaWire } from '../../src/kafka/kafkajs.ts'
import { PartitionReader } from '../../src/kafka/partition-reader.ts'
import { recordsOf } from '../../src/kafka/read-committed.ts'
import { BatchWriter } from '../../src/kafka/record-batch.ts'
import { silentLogger, systemClock } from '../../src/system.ts'
import type { TopicPartition } from '../../src/types.ts'
import { type Producer, Session } from '../contract/fixture.ts'
import { describeOnEachKafka } from '../stack/kafka.ts'

const END = 'the end'

describeOnEachKafka('aborted records', ({ brokers }) => {
  const wire = kafkaWire({ brokers })
  let session: Session
  beforeAll(async () => {
    const traits = { sessionTimeoutMs: 6_000, patienceMs: 30_000, canCompact: false }
    session = new Session({ wire, close: async () => {} }, traits, process.hrtime.bigint().toString(36))
    await session.settle()
  })
  afterAll(() => session.close())

  /** A partition, a way to write to it in open transactions, and a way to end the log with a committed record. */
  async function open() {
    const place = { topic: await session.topic(), partition: 0 }
    const sequences = new Map<string, number>()
    const write = async (producer: Producer, value: string, key: Buffer | null = null) => {
      const { transactionalId } = producer
      const baseSequence = sequences.get(transactionalId) ?? 0
      sequences.set(transactionalId, baseSequence + 1)
      const writer = new BatchWriter()
      writer.add(Date.now(), key, Buffer.from(value))
      const records = writer.build({ ...producer, baseSequence, isTransactional: true })
      expect(await session.produce(place, records, transactionalId)).toMatchObject({ errorCode: 0 })
    }
    const begin = async () => {
      const producer = await session.producer()
      await session.begin(producer, place)
      return producer
    }
    const finish = async () => {
      const producer = await begin()
      await write(producer, END)
      await session.finish(producer, true)
    }
    return { place, begin, write, finish }
  }

  /** What Druse's reader returns from an offset on. */
  async function readByDruse({ topic, partition }: TopicPartition, from: number): Promise<string[]> {
    const cluster = new Cluster({ wire, clock: systemClock, log: silentLogger })
    const reader = new PartitionReader(cluster)
    const values: string[] = []
    await reader.read({ topic, partition }, from, ({ batches }) => {
      for (const { value } of recordsOf(batches)) values.push(String(value))
      return values.at(-1) === END
    })
    reader.close()
    cluster.close()
    return values
  }

  /** What kafkajs's consumer delivers from an offset on, under read_committed. */
  async function readByKafkajs({ topic, partition }: TopicPartition, from: number): Promise<string[]> {
    const kafka = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING })
    const consumer = kafka.consumer({ groupId: session.name('kafkajs'), readUncommitted: false })
    onTestFinished(() => consumer.disconnect())
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    const values: string[] = []
    await new Promise<void>((resolve) => {
      void consumer.run({
        autoCommit: false,
        eachMessage: async ({ message }) => {
          // A seek takes effect at the next fetch.
          if (Number(message.offset) < from) return
          values.push(String(message.value))
          if (values.at(-1) === END) resolve()
        },
      })
      consumer.seek({ topic, partition, offset: String(from) })
    })
    return values
  }

  test('the list comes by last offset: what began first may end last', async () => {
    const { place, begin, write, finish } = await open()
    const first = await begin()
    const second = await begin()
    await write(first, 'aborted 0')
    await write(second, 'aborted 1')
    await write(first, 'aborted 2')
    await session.finish(second, false)
    await write(first, 'aborted 4')
    await session.finish(first, false)
    await finish()
    const { abortedTransactions } = await session.fetch(place, 0)
    expect(abortedTransactions?.map(({ firstOffset }) => firstOffset)).toEqual([1, 0])
    expect(await readByDruse(place, 0)).toEqual([END])
    expect(await readByKafkajs(place, 0)).toContain('aborted 0')
  })

  test('a record whose key is the int32 0 is no marker', async () => {
    const { place, begin, write, finish } = await open()
    const producer = await begin()
    await write(producer, 'aborted 0', Buffer.alloc(4))
    await write(producer, 'aborted 1')
    await session.finish(producer, false)
    const other = await begin()
    await write(other, 'committed', Buffer.alloc(4))
    await session.finish(other, true)
    await finish()
    expect(await readByDruse(place, 0)).toEqual(['committed', END])
    expect(await readByKafkajs(place, 0)).toEqual(expect.arrayContaining(['aborted 0', 'aborted 1']))
  })

  test('a fetch may begin inside of several aborted transactions', async () => {
    const { place, begin, write, finish } = await open()
    const first = await begin()
    const second = await begin()
    const third = await begin()
    await write(first, 'aborted 0')
    await write(second, 'aborted 1')
    await write(third, 'aborted 2')
    await write(second, 'aborted 3')
    await write(third, 'aborted 4')
    for (const producer of [first, second, third]) await session.finish(producer, false)
    await finish()
    for (let from = 0; from <= 5; from++) expect(await readByDruse(place, from)).toEqual([END])
    expect(await readByKafkajs(place, 3)).toContain('aborted 3')
  })
})
