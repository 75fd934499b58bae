import { expect, test } from 'vitest'
import { Druse, embeddedBroker, ensureTopics, memoryDisk, readTopic, string, int64, Topology, TransactionalProducer, consoleLogger } from '../../src/index.ts'

test('counts words from topic to region to topic', async () => {
  const broker = await embeddedBroker()
  const wire = broker.wire()
  await ensureTopics(wire, [{ topic: 'lines', partitions: 2 }, { topic: 'word-counts', partitions: 2 }])
  const t = new Topology('word-count')
  const counts = t
    .stream('lines', { key: string, value: string })
    .flatMap((line) => line.split(' ').map((word) => [word, word] as const))
    .repartition('by-word', { key: string, value: string })
    .groupByKey()
    .count('counts')
  counts.toStream().to('word-counts')
  console.log(t.describe())

  const producer = await TransactionalProducer.open({ wire, transactionalId: 'feeder' })
  const lines = await producer.topic('lines', { key: string, value: string })
  await producer.transact({ topic: 'lines', partition: 0 }, 3, (tx) => {
    tx.send(lines, { key: 'a', value: 'to be or not to be' })
    tx.send(lines, { key: 'b', value: 'that is the question' })
    tx.send(lines, { key: 'c', value: 'be' })
  })
  producer.close()

  const app = new Druse(t, { wire, stateDir: memoryDisk(), logger: consoleLogger('debug') })
  await app.start()
  await app.untilRunning()
  await expect.poll(async () => (await readTopic(wire, 'word-counts', { key: string, value: int64 })).length, { timeout: 5000 }).toBe(11)
  expect(await app.region(counts.region).get('be')).toBe(3)
  console.log(app.health)
  await app.close()
  await broker.close()
})
