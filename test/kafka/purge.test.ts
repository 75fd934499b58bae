/** Deletion from repartition topics on a real Kafka, and what begins behind it. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  Druse,
  ensureTopics,
  int64,
  kafkaWire,
  memoryDisk,
  readTopic,
  string,
  Topology,
  TransactionalProducer,
  type Wire,
} from '../../src/index.ts'
import { Cluster } from '../../src/kafka/cluster.ts'
import { committedOffsets, describeTopics, listOffsets } from '../../src/kafka/topics.ts'
import { silentLogger, systemClock } from '../../src/system.ts'
import { describeOnEachKafka } from '../stack/kafka.ts'

describeOnEachKafka('purge', ({ brokers }) => {
  const id = `purge-${randomBytes(4).toString('hex')}`
  const [numbers, counts, repartition] = [`${id}-numbers`, `${id}-counts`, `${id}-by-rest-repartition`]
  const partitions = [0, 1].map((partition) => ({ topic: repartition, partition }))
  let wire: Wire
  let cluster: Cluster

  beforeAll(async () => {
    wire = kafkaWire({ brokers })
    cluster = new Cluster({ wire, clock: systemClock, log: silentLogger })
    await ensureTopics(wire, [
      { topic: numbers, partitions: 2 },
      { topic: counts, partitions: 2 },
    ])
  })
  afterAll(() => cluster.close())

  const topology = (): Topology => {
    const t = new Topology(id)
    t.stream(numbers, { key: string, value: int64 })
      .groupBy('by-rest', (n) => `r${n % 5}`)
      .count('counts')
      .toStream()
      .to(counts)
    return t
  }

  async function feed(from: number, to: number): Promise<void> {
    const producer = await TransactionalProducer.open({ wire, transactionalId: `${id}-feeder` })
    const target = await producer.topic(numbers, { key: string, value: int64 })
    await producer.transact({ topic: numbers, partition: 0 }, to, (transaction) => {
      for (let n = from; n < to; n++) transaction.send(target, { key: `n${n}`, value: n })
    })
    producer.close()
  }

  /** Counts 1 to n of each rest, each once and in order. */
  async function counted(inputs: number): Promise<void> {
    const read = async () => readTopic(wire, counts, { key: string, value: int64 })
    await expect
      .poll(async () => (await read()).length, { timeout: 60_000, interval: 100 })
      .toBeGreaterThanOrEqual(inputs)
    const records = await read()
    expect(records).toHaveLength(inputs)
    for (let rest = 0; rest < 5; rest++) {
      const of = records.filter(({ key }) => key === `r${rest}`).map(({ value }) => value)
      expect(of).toEqual(Array.from({ length: inputs / 5 }, (_, i) => i + 1))
    }
  }

  async function purged(): Promise<void> {
    await expect
      .poll(
        async () => {
          const starts = await listOffsets(cluster, partitions, 'earliest')
          const committed = await committedOffsets(cluster, id, partitions)
          return committed.map(({ topic, partition, offset }) => [
            starts.get(`${topic}/${partition}`),
            offset,
          ])
        },
        { timeout: 60_000, interval: 100 },
      )
      .toSatisfy((pairs: [number, unknown][]) => pairs.every(([start, at]) => start > 0 && start === at))
  }

  const run = async (disk = memoryDisk()): Promise<Druse> => {
    const app = new Druse(topology(), {
      wire,
      stateDir: disk,
      logger: silentLogger,
      repartitionPurgeIntervalMs: 100,
    })
    await app.start()
    await app.untilRunning()
    return app
  }

  test('up to what is committed; restarts and new owners begin behind it', { timeout: 180_000 }, async () => {
    const disk = memoryDisk()
    await feed(0, 500)
    const one = await run(disk)
    await counted(500)
    await purged()
    const { configs } = (await describeTopics(cluster, [repartition])).get(repartition) ?? {}
    expect(configs).toMatchObject({
      'cleanup.policy': 'delete',
      'retention.ms': '-1',
      'segment.bytes': '52428800',
    })
    await one.close()
    await feed(500, 1_000)
    const two = await run(disk)
    await counted(1_000)
    await purged()
    // Beside the first, with nothing on its disk: tasks move while both of them delete.
    const three = await run()
    await feed(1_000, 1_500)
    await counted(1_500)
    await two.close()
    await feed(1_500, 2_000)
    await counted(2_000)
    await purged()
    expect(three.health.healthy).toBe(true)
    await three.close()
    expect(await readTopic(wire, repartition, { key: string, value: int64 })).toEqual([])
  })
})
