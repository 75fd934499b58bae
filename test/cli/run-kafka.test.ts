/** `druse run` on a real Kafka, with a real registry. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import {
  ensureTopics,
  int64,
  kafkaWire,
  readTopic,
  schemaRegistry,
  string,
  TransactionalProducer,
} from '../../src/index.ts'
import { describeOnKafka } from '../stack/kafka.ts'
import { describeOnRegistry } from '../stack/registry.ts'
import { fixture, start } from './command.ts'
import { word } from './fixtures/avro-words.ts'

describeOnKafka('druse run on Kafka', ({ brokers }) => {
  describeOnRegistry('with a registry', (url) => {
    test('runs with --brokers and --registry until it is told to stop, and goes on later', async () => {
      const prefix = `t${process.hrtime.bigint().toString(36)}-`
      process.env.DRUSE_TEST_PREFIX = prefix
      onTestFinished(() => {
        delete process.env.DRUSE_TEST_PREFIX
      })
      const directory = await mkdtemp(join(tmpdir(), 'druse-cli-'))
      onTestFinished(() => rm(directory, { recursive: true }))
      const wire = kafkaWire({ brokers })
      await ensureTopics(wire, [
        { topic: `${prefix}lines`, partitions: 2 },
        { topic: `${prefix}counts`, partitions: 1 },
      ])
      const producer = await TransactionalProducer.open({
        wire,
        registry: schemaRegistry({ url }),
        transactionalId: `${prefix}lines`,
      })
      onTestFinished(() => producer.close())
      const lines = await producer.topic(`${prefix}lines`, { key: string, value: word })
      const counts = `${prefix}counts`
      const command = ['run', fixture('avro-words.ts'), '--brokers', brokers.join(), '--registry', url]
      for (const count of [1, 2]) {
        await producer.transact({ topic: `${prefix}lines`, partition: 0 }, count, (transaction) => {
          transaction.send(lines, { key: 'a', value: 'a' })
        })
        const running = start([...command, '--state-dir', join(directory, 'regions')])
        await running.printed(`counted a ${count}`)
        running.kill('SIGTERM')
        expect(await running.ended).toMatchObject({ code: 0, err: '' })
        const found = await readTopic(wire, counts, { key: string, value: int64 })
        expect(found.map(({ key, value }) => [key, value])).toEqual(
          [1, 2].slice(0, count).map((n) => ['a', n]),
        )
      }
    })
  })
})
