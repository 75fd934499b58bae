/** Topics of a real Kafka. */
import { expect, test } from 'vitest'
import { ensureTopics, readTopic, string, TransactionalProducer } from '../../src/index.ts'
import { kafkaWire } from '../../src/kafka/kafkajs.ts'
import { describeOnKafka } from '../stack/kafka.ts'

const strings = { key: string, value: string }

describeOnKafka('topics', ({ brokers }) => {
  test('what was made a moment ago takes a transaction at once', async () => {
    const wire = kafkaWire({ brokers })
    const names = Array.from({ length: 5 }, () => `made-${process.hrtime.bigint().toString(36)}`)
    for (const topic of names) {
      await ensureTopics(wire, [{ topic, partitions: 6 }])
      using producer = await TransactionalProducer.open({ wire, transactionalId: topic })
      const to = await producer.topic(topic, strings)
      await producer.transact({ topic, partition: 0 }, 1, (transaction) => {
        for (let i = 0; i < 60; i++) transaction.send(to, { key: `${i}`, value: 'v' })
      })
      // The markers of a transaction are written after its end was answered.
      await expect.poll(async () => (await readTopic(wire, topic, strings)).length).toBe(60)
    }
  })
})
