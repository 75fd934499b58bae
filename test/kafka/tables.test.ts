/** Tables on a real Kafka: a foreign-key join between topics of different partition counts, restored from them. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  Druse,
  ensureTopics,
  kafkaWire,
  memoryDisk,
  readTopic,
  silentLogger,
  string,
  Topology,
  TransactionalProducer,
  type Wire,
} from '../../src/index.ts'
import { SeededRandom } from '../../src/testing/seeded-random.ts'
import { describeOnEachKafka } from '../stack/kafka.ts'

describeOnEachKafka('tables', ({ brokers }) => {
  const id = `tables-${randomBytes(4).toString('hex')}`
  const [orders, customers, out] = [`${id}-orders`, `${id}-customers`, `${id}-out`]
  const strings = { key: string, value: string }
  const random = new SeededRandom(1)
  const rows = { [orders]: new Map<string, string>(), [customers]: new Map<string, string>() }
  const apps: Druse[] = []
  let wire: Wire

  beforeAll(async () => {
    wire = kafkaWire({ brokers })
    const configs = { 'cleanup.policy': 'compact' }
    await ensureTopics(wire, [
      { topic: orders, partitions: 3, configs },
      { topic: customers, partitions: 2, configs },
      { topic: out, partitions: 1 },
    ])
  })
  afterAll(async () => {
    for (const app of apps) await app.close()
  })

  const topology = (): Topology => {
    const t = new Topology(id)
    const source = { ...strings, reuseSourceTopic: true }
    t.table(orders, source)
      .leftJoinOnForeignKey('joined', t.table(customers, source), {
        foreignKey: (order) => order.split(':')[0] || null,
        joiner: (order, customer) => `${order} ${customer}`,
        value: string,
      })
      .toStream()
      .to(out)
    return t
  }

  /** With nothing on its disk. */
  async function start(): Promise<Druse> {
    const app = new Druse(topology(), { wire, stateDir: memoryDisk(), logger: silentLogger })
    apps.push(app)
    await app.start()
    await app.untilRunning()
    return app
  }

  async function feed(count: number): Promise<void> {
    const producer = await TransactionalProducer.open({ wire, transactionalId: `${id}-feeder` })
    for (const topic of [customers, orders]) {
      const target = await producer.topic(topic, strings as { key: typeof string; value: never })
      await producer.transact({ topic, partition: 0 }, count, (transaction) => {
        for (let n = 0; n < count; n++) {
          const key = topic === orders ? `o${random.below(40)}` : `c${random.below(8)}`
          const value = topic === orders ? `c${random.below(8)}:${n}` : `N${n}`
          const isGone = random.next() < 0.2
          if (isGone) rows[topic]?.delete(key)
          else rows[topic]?.set(key, value)
          transaction.send(target, { key, value: (isGone ? null : value) as never })
        }
      })
    }
    producer.close()
  }

  /** The last result of each row is what the tables say. */
  async function joined(): Promise<void> {
    const expected = [...(rows[orders] ?? [])].map(([key, order]) => [
      key,
      `${order} ${rows[customers]?.get(order.split(':')[0] as string) ?? null}`,
    ])
    const standing = async () => {
      const last = new Map<string, string | null>()
      for (const { key, value } of await readTopic(wire, out, strings)) last.set(key, value)
      return [...last].filter(([, value]) => value !== null).sort()
    }
    await expect.poll(standing, { timeout: 60_000, interval: 100 }).toEqual(expected.sort())
  }

  test('end as what the topics say, whoever has their parts', async () => {
    const one = await start()
    await feed(120)
    await joined()
    await start()
    await feed(120)
    await joined()
    await one.close()
    await feed(120)
    await joined()
  })
})
