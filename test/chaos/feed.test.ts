/** The feeder knows what it has committed: over connections that break, and when it is killed. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { kafkaWire } from '../../src/kafka/kafkajs.ts'
import type { Api } from '../../src/ports.ts'
import { ChildProcess } from '../child-process.ts'
import { readCommitted, recordsRead } from '../stack/committed.ts'
import { describeWithJavaConsumer } from '../stack/java-consumer.ts'
import { describeOnKafka } from '../stack/kafka.ts'
import { KafkaProxy } from '../stack/proxy.ts'
import { judgeInputs } from './input-law.ts'
import { type Ledger, readLedger } from './ledger.ts'
import { topicsOf } from './names.ts'
import type { Topics } from './records.ts'
import { Verdict } from './verdict.ts'
import { makeTopics } from './workloads.ts'

const FEEDER = fileURLToPath(new URL('feed.ts', import.meta.url))
const BROKEN: readonly Api[] = [
  'AddPartitionsToTxn',
  'Produce',
  'AddOffsetsToTxn',
  'TxnOffsetCommit',
  'EndTxn',
  'InitProducerId',
]
/** Of requests; a transaction has about 25. */
const EVERY = 61
const TRANSACTIONS = 12

describeWithJavaConsumer('the feeder', () => {
  describeOnKafka('on Kafka', ({ brokers }) => {
    test('says what is there', { timeout: 120_000 }, async () => {
      const prefix = `feed-${process.hrtime.bigint().toString(36)}-`
      const directory = await mkdtemp(join(tmpdir(), 'druse-feed-'))
      onTestFinished(() => rm(directory, { recursive: true }))
      const ledger = join(directory, 'ledger')
      const wire = kafkaWire({ brokers })
      await makeTopics(wire, prefix)
      const proxy = await KafkaProxy.open(wire)
      onTestFinished(() => proxy.close())
      let asked = 0
      // Carried out, and the client does not learn of it.
      proxy.fate = ({ api }) => (BROKEN.includes(api) && ++asked % EVERY === 0 ? 'cut' : 'pass')
      const start = (): ChildProcess =>
        new ChildProcess(FEEDER, [
          ...['--brokers', proxy.brokers.join(), '--prefix', prefix, '--ledger', ledger],
          ...['--seed', '5', '--rate', '500'],
        ])
      const transactions = async () => (await readLedger(ledger))?.transactions ?? 0

      const first = start()
      await expect.poll(transactions, { timeout: 60_000 }).toBeGreaterThan(TRANSACTIONS)
      first.kill('SIGKILL')
      await first.ended
      const before = await transactions()
      const second = start()
      await expect.poll(transactions, { timeout: 60_000 }).toBeGreaterThan(before + TRANSACTIONS)
      second.kill('SIGTERM')
      expect(await second.ended).toMatchObject({ code: 0 })

      const said = (await readLedger(ledger)) as Ledger
      expect(said).toMatchObject({ hasEnded: true, plan: { seed: 5 } })
      expect(said.asked).toBeGreaterThan(3)
      expect(said.aborted.length).toBeGreaterThan(0)
      const topics = topicsOf(prefix).inputs.map(({ topic }) => topic)
      await readCommitted({ brokers: brokers.join(), directory, topics })
      const records = await Promise.all(topics.map((topic) => recordsRead(directory, topic)))
      const read: Topics = (name) => records[topics.indexOf(prefix + name)] ?? []
      const verdict = new Verdict()
      expect(judgeInputs(said, read, verdict).transactions).toBe(said.transactions)
      expect(verdict.violations).toEqual([])
    })
  })
})
