/** The rules of the protocol that are not crash points: what a transaction holds, and what is dropped with it. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  type EmbeddedBroker,
  embeddedBroker,
  ensureTopics,
  int64,
  memoryDisk,
  type RestoreProgress,
  readTopic,
  string,
  Topology,
  TransactionalProducer,
  type Wire,
} from '../../src/index.ts'
import { Cluster } from '../../src/kafka/cluster.ts'
import { NO_MEMBERSHIP } from '../../src/kafka/commit-writer.ts'
import { CODE } from '../../src/kafka/error-codes.ts'
import { committedOffsets } from '../../src/kafka/topics.ts'
import { TransactionalWriter } from '../../src/kafka/transactional-writer.ts'
import { decodeMetadata } from '../../src/runtime/task-metadata.ts'
import { silentLogger, systemClock } from '../../src/system.ts'
import { type Fates, Instance, PATIENT, QUICK_BROKER } from './instance.ts'
import { drained, feed, INPUTS, makeTopics, tally, verify } from './tally.ts'

let broker: EmbeddedBroker
let wire: Wire
let cluster: Cluster
let instances: Instance[]

beforeEach(async () => {
  broker = await embeddedBroker(QUICK_BROKER)
  wire = broker.wire()
  cluster = new Cluster({ wire, clock: systemClock, log: silentLogger })
  instances = []
})

afterEach(async () => {
  for (const instance of instances) {
    instance.thaw()
    await instance.close()
  }
  cluster.close()
  await broker.close()
})

function instance(options: Partial<ConstructorParameters<typeof Instance>[0]> = {}): Instance {
  const made = new Instance({ topology: tally, wire, commitRecords: 40, ...options })
  instances.push(made)
  return made
}

const committed = async (topics: readonly string[], group = 'tally', partitions = 3) =>
  committedOffsets(
    cluster,
    group,
    topics.flatMap((topic) => Array.from({ length: partitions }, (_, partition) => ({ topic, partition }))),
  )

describe('first start', () => {
  test('offsets are committed, with sequence 0 and X = 0, before the first record is processed', async () => {
    await makeTopics(wire)
    await feed(wire)
    const one = instance({ fates: (request) => (request.api === 'Produce' ? 'crashBefore' : 'pass') })
    await one.start()
    await one.fell
    const offsets = await committed(['numbers', 'tally-by-rest-repartition'])
    expect(offsets).toHaveLength(6)
    for (const { offset, metadata } of offsets) {
      expect(offset).toBe(0)
      const { sequence, regions } = decodeMetadata(metadata, 'test')
      expect(sequence).toBe(0)
      for (const { position } of Object.values(regions)) expect(position).toBe(0)
    }
  })

  test("a reset policy is applied once: 'latest' does not move when the first transaction is lost", async () => {
    await ensureTopics(wire, [
      { topic: 'in', partitions: 1 },
      { topic: 'out', partitions: 1 },
    ])
    const topology = (): Topology => {
      const t = new Topology('late')
      t.stream('in', { key: string, value: string, offsetReset: 'latest' }).to('out')
      return t
    }
    const send = async (value: string): Promise<void> => {
      const producer = await TransactionalProducer.open({ wire, transactionalId: 'sender' })
      const to = await producer.topic('in', { key: string, value: string })
      await producer.transact({ topic: 'in', partition: 0 }, 0, (t) => t.send(to, { key: 'k', value }))
      producer.close()
    }
    await send('before the first start')
    const first = instance({
      topology,
      fates: (request) => (request.api === 'Produce' ? 'crashBefore' : 'pass'),
    })
    await first.start()
    await first.app.untilRunning()
    await send('while the first one ran')
    await first.fell
    await instance({ topology, disk: first.disk }).start()
    const values = async () =>
      (await readTopic(wire, 'out', { key: string, value: string })).map((r) => r.value)
    await expect.poll(values, { timeout: 10_000 }).toEqual(['while the first one ran'])
  })

  for (const fate of ['crashBefore', 'crashAfter'] as const) {
    for (const api of ['AddOffsetsToTxn', 'TxnOffsetCommit', 'EndTxn'] as const) {
      test(`${fate} ${api} of the offsets-only transaction: resolved again, or found`, async () => {
        await makeTopics(wire)
        await feed(wire)
        const first = instance({ fates: (request) => (request.api === api ? fate : 'pass') })
        await first.start()
        await first.fell
        await instance({ disk: first.disk }).start()
        await drained(wire)
        await verify(wire)
      })
    }
  }
})

describe('dirty tasks', () => {
  /** One task with two inputs. */
  const merged = (): Topology => {
    const t = new Topology('merged')
    const seen = t.region('seen', { key: string, value: int64 })
    t.stream(['left', 'right'], { key: string, value: int64 })
      .process('see', { regions: [seen] }, (record, { seen, forward }) => {
        seen.put(record.key, record.value)
        forward(record.key, record.value)
      })
      .to('out')
    return t
  }

  test('a dirty task commits all its input partitions with the same metadata, also those that did not move', async () => {
    await ensureTopics(
      wire,
      ['left', 'right', 'out'].map((topic) => ({ topic, partitions: 1 })),
    )
    const one = await instance({ topology: merged }).start()
    await one.app.untilRunning()
    const producer = await TransactionalProducer.open({ wire, transactionalId: 'sender' })
    const left = await producer.topic('left', { key: string, value: int64 })
    await producer.transact({ topic: 'left', partition: 0 }, 0, (t) => t.send(left, { key: 'k', value: 1 }))
    producer.close()
    await expect
      .poll(async () => (await readTopic(wire, 'out', { key: string, value: int64 })).length)
      .toBe(1)
    const [a, b] = await committed(['left', 'right'], 'merged', 1)
    const [one_, two] = [decodeMetadata(a?.metadata ?? '', 'a'), decodeMetadata(b?.metadata ?? '', 'b')]
    expect(b?.offset).toBe(0)
    expect(one_.sequence).toBeGreaterThan(0)
    // The partition's own.
    const shared = { offset: 0, topic: '', partitionTimeMs: 0 }
    expect(two.topic).not.toBe(one_.topic)
    expect([one_.partitionTimeMs > 0, two.partitionTimeMs]).toEqual([true, -1])
    expect({ ...two, ...shared }).toEqual({ ...one_, ...shared })
  })

  test('an input whose offset is gone while others have theirs is not taken for a new one', async () => {
    await ensureTopics(
      wire,
      ['left', 'right', 'out'].map((topic) => ({ topic, partitions: 1 })),
    )
    const first = await instance({ topology: merged }).start()
    await first.app.untilRunning()
    const [left] = await committed(['left'], 'merged', 1)
    await first.close()
    const admin = wire.connect('admin')
    await admin.send(0, { api: 'DeleteTopics', topics: ['right'], timeoutMs: 1_000 }, 1_000)
    admin.destroy()
    await ensureTopics(wire, [{ topic: 'right', partitions: 1 }])
    expect((await committed(['right'], 'merged', 1))[0]?.offset).toBeUndefined()
    expect(decodeMetadata(left?.metadata ?? '', 'left').inputs).toHaveLength(2)
    const second = await instance({ topology: merged, disk: first.disk }).start()
    await second.app.untilRunning()
    expect(second.app.health.tasks[0]?.error?.code).toBe('OFFSETS_INCONSISTENT')
  })

  test('nothing dirty: no transaction', async () => {
    await makeTopics(wire)
    await feed(wire)
    const one = await instance().start()
    await drained(wire)
    await expect.poll(() => one.app.health.counts.commits > 0 && idle(one)).toBe(true)
    const before = one.requests.filter(({ api }) => api === 'EndTxn').length
    // Heartbeats go on, so time passes; no condition can show that nothing happens but some of it.
    const beats = () => one.requests.filter(({ api }) => api === 'Heartbeat').length
    const from = beats()
    await expect.poll(beats, { timeout: 5_000 }).toBeGreaterThan(from + 5)
    expect(one.requests.filter(({ api }) => api === 'EndTxn').length).toBe(before)
  })
})

/** Whether the markers of the last commit have been passed, too. */
const idle = (one: Instance): boolean => {
  const last = one.requests.slice(-12)
  return last.every(({ api }) => api === 'Fetch' || api === 'Heartbeat')
}

describe('what is dropped together', () => {
  test('a failed commit takes all tasks of the worker back, and all of them go on', async () => {
    await makeTopics(wire)
    await feed(wire)
    let produced = 0
    const fates: Fates = (request) => {
      if (request.api !== 'Produce') return 'pass'
      produced += 1
      return produced === 12 ? 'loseAnswer' : 'pass'
    }
    const one = await instance({ fates, ...PATIENT }).start()
    await drained(wire)
    await verify(wire)
    const taken = one.log.filter(({ message }) => message.startsWith('task: state'))
    // Three tasks with two regions each, taken twice.
    expect(new Set(taken.map(({ details }) => details.task)).size).toBe(3)
    expect(taken.length).toBe(12)
    expect(one.app.health.counts.recoveries).toBe(1)
  })

  test('two overlays: while a commit is under way the next one fills on top of it, and is dropped with it', async () => {
    await makeTopics(wire)
    await feed(wire)
    const held = Promise.withResolvers<void>()
    let ends = 0
    let processedAtSeal = 0
    let one: Instance | undefined
    const fates: Fates = (request) => {
      // First starts end transactions, too, before any record.
      const processed = one?.app.health.counts.records ?? 0
      if (request.api !== 'EndTxn' || processed === 0) return 'pass'
      ends += 1
      if (ends !== 4) return 'pass'
      processedAtSeal = processed
      return { after: held.promise }
    }
    one = instance({ fates, commitRecords: 30, ...PATIENT, requestTimeoutMs: 5_000 })
    await one.start()
    // It goes on processing, on top of what is not known to be committed, and then waits: it holds no more than that.
    await expect.poll(() => processedAtSeal > 0).toBe(true)
    await expect.poll(() => one.app.health.counts.records).toBeGreaterThan(processedAtSeal)
    const atMost = processedAtSeal + 30 + 256
    expect(one.app.health.counts.records).toBeLessThanOrEqual(atMost)
    await expect.poll(() => one.app.health.counts.recoveries, { timeout: 10_000 }).toBe(1)
    held.resolve()
    await drained(wire)
    await verify(wire)
  })

  test('a task whose store fails stops alone; what was committed stays, the others go on', async () => {
    await makeTopics(wire)
    await feed(wire)
    const disk = memoryDisk()
    const one = await instance({ disk }).start()
    await one.app.untilRunning()
    disk.full = true
    const broken = () =>
      one.app.health.tasks.filter(({ error }) => error?.code === 'STATE_WRITE_FAILED').length
    await expect.poll(broken).toBeGreaterThan(0)
    // Tasks without regions have no store to fail.
    expect(
      one.app.health.tasks.filter(({ task, status }) => task.startsWith('0_') && status === 'running'),
    ).toHaveLength(3)
    await expect
      .poll(async () => (await readTopic(wire, 'copies', { key: string, value: int64 })).length)
      .toBe(INPUTS)
    await one.close()
    disk.full = false
    await instance({ disk }).start()
    await drained(wire)
    await verify(wire)
  })
})

describe('back-pressure', () => {
  test('a partition whose records wait is not fetched until there is room', async () => {
    const gate = Promise.withResolvers<void>()
    const topology = (): Topology => {
      const t = new Topology('slow')
      t.stream('in', { key: string, value: string })
        .process('wait', {}, async (record, { forward }) => {
          await gate.promise
          forward(record.key, record.value)
        })
        .to('out')
      return t
    }
    await ensureTopics(wire, [
      { topic: 'in', partitions: 1 },
      { topic: 'out', partitions: 1 },
    ])
    const count = 30_000
    const producer = await TransactionalProducer.open({ wire, transactionalId: 'sender' })
    const to = await producer.topic('in', { key: string, value: string })
    await producer.transact({ topic: 'in', partition: 0 }, count, (transaction) => {
      for (let n = 0; n < count; n++) transaction.send(to, { key: `${n}`, value: 'x'.repeat(100) })
    })
    producer.close()
    const one = await instance({ topology, commitRecords: 1e6 }).start()
    const fetches = () => one.requests.filter(({ api }) => api === 'Fetch').length
    const beats = () => one.requests.filter(({ api }) => api === 'Heartbeat').length
    // The first megabyte is more than may wait; heartbeats show that the instance is alive and could fetch.
    await expect.poll(beats, { timeout: 10_000 }).toBeGreaterThan(5)
    const before = fetches()
    await expect.poll(beats, { timeout: 10_000 }).toBeGreaterThan(15)
    expect(fetches()).toBe(before)
    gate.resolve()
    const out = async () => (await readTopic(wire, 'out', { key: string, value: string })).length
    await expect.poll(out, { timeout: 20_000, interval: 100 }).toBe(count)
  })
})

describe('topics that change under a running application', () => {
  for (const change of ['created again', 'with more partitions', 'deleted'] as const) {
    test(`an input ${change} ends it`, async () => {
      await makeTopics(wire)
      await feed(wire)
      const one = await instance({ metadataMaxAgeMs: 100 }).start()
      await drained(wire)
      const admin = wire.connect('admin')
      await admin.send(0, { api: 'DeleteTopics', topics: ['numbers'], timeoutMs: 1_000 }, 1_000)
      const partitions = change === 'created again' ? 3 : 4
      const topics = [{ topic: 'numbers', partitions, replicationFactor: -1, configs: {} }]
      if (change !== 'deleted') await admin.send(0, { api: 'CreateTopics', topics, timeoutMs: 1_000 }, 1_000)
      admin.destroy()
      const codes = () => [
        one.app.health.error?.code,
        ...one.app.health.tasks.map(({ error }) => error?.code),
      ]
      await expect.poll(() => codes().some((code) => code !== undefined), { timeout: 10_000 }).toBe(true)
      await expect.poll(() => one.app.state, { timeout: 10_000 }).toBe('ERROR')
      expect(one.app.health.error?.code).toBe(change === 'deleted' ? 'TOPIC_MISSING' : 'TOPIC_RECREATED')
    })
  }

  test('offsets of another topic of the same name, brought back by a tool, are told from its own', async () => {
    await makeTopics(wire)
    await feed(wire)
    const first = await instance().start()
    await drained(wire)
    await first.close()
    const offsets = (await committed(['numbers'])).map((at) => ({ ...at, offset: Number(at.offset) }))
    const admin = wire.connect('admin')
    // Kafka forgets the offsets of a topic that is deleted.
    await admin.send(0, { api: 'DeleteTopics', topics: ['numbers'], timeoutMs: 1_000 }, 1_000)
    admin.destroy()
    await makeTopics(wire)
    const tool = new TransactionalWriter(cluster, {
      transactionalId: () => 'tool',
      transactionTimeoutMs: 5_000,
    })
    await tool.open()
    await tool.begin([])
    await tool.addOffsets('tally')
    await tool.commitOffsets('tally', NO_MEMBERSHIP, [offsets])
    await tool.end()
    tool.close()
    const second = await instance({ disk: first.disk }).start()
    await second.app.untilRunning()
    const failed = second.app.health.tasks.filter(({ error }) => error?.code === 'TOPIC_RECREATED')
    expect(failed.map(({ task }) => task)).toEqual(['0_0', '0_1', '0_2'])
  })
})

describe('restore', () => {
  test('tells its progress, up to what was committed', async () => {
    await makeTopics(wire)
    await feed(wire)
    const first = await instance().start()
    await drained(wire)
    await first.close()
    const progress: RestoreProgress[] = []
    const second = await instance({ onRestore: (at) => progress.push(at) }).start()
    await second.app.untilRunning()
    expect(new Set(progress.map(({ task, region }) => `${task} ${region}`)).size).toBe(6)
    for (const { from, position, end, records } of progress) {
      expect(from).toBe(0)
      expect(position).toBeLessThanOrEqual(end)
      expect(records).toBeGreaterThan(0)
    }
    await feed(wire, INPUTS, 450)
    await drained(wire, 450)
    await verify(wire, 450)
  })
})

describe('codes of single partitions', () => {
  for (const api of ['AddPartitionsToTxn', 'TxnOffsetCommit'] as const) {
    test(`${api}: an error of the last partition alone fails the commit`, async () => {
      await makeTopics(wire)
      await feed(wire)
      let hits = 0
      const fates: Fates = (request) => {
        if (request.api !== api || request.partitions.length < 2) return 'pass'
        hits += 1
        if (hits !== 3) return 'pass'
        const last = request.partitions.length - 1
        const partitions = request.partitions.map(({ topic, partition }, i) => ({
          topic,
          partition,
          errorCode: i === last ? -1 : 0,
        }))
        return { answer: { partitions } }
      }
      const one = await instance({ fates }).start()
      await drained(wire)
      await verify(wire)
      expect(one.app.health.counts).toMatchObject({ recoveries: 1, indefinite: 1 })
    })
  }
})

test('a producer that Kafka has forgotten is initialised anew: no task is to blame, although each partition says so', async () => {
  await makeTopics(wire)
  await feed(wire)
  let hits = 0
  const fates: Fates = (request) => {
    if (request.api !== 'AddPartitionsToTxn') return 'pass'
    hits += 1
    if (hits !== 2) return 'pass'
    const partitions = request.partitions.map((at) => ({
      ...at,
      errorCode: CODE.INVALID_PRODUCER_ID_MAPPING,
    }))
    return { answer: { partitions } }
  }
  const one = await instance({ fates }).start()
  await drained(wire)
  await verify(wire)
  expect(one.app.health).toMatchObject({ healthy: true, counts: { recoveries: 1, indefinite: 0 } })
})

describe('two instances', () => {
  test('in a rebalance, what is done is committed before JoinGroup is sent again', async () => {
    await makeTopics(wire)
    // So long an interval that nothing but the rebalance commits.
    const first = await instance({ commitIntervalMs: 1_400, commitRecords: 1e6 }).start()
    await first.app.untilRunning()
    await feed(wire)
    await expect.poll(() => first.app.health.counts.records).toBe(INPUTS)
    const second = await instance().start()
    await drained(wire)
    await verify(wire)
    expect(first.app.health.counts.recoveries).toBe(0)
    expect(second.app.health.counts.recoveries).toBe(0)
    const order = first.requests
      .filter(({ api }) => api === 'EndTxn' || api === 'JoinGroup')
      .map(({ api }) => api)
    const rejoin = order.lastIndexOf('JoinGroup')
    expect(order[rejoin - 1]).toBe('EndTxn')
  })

  test('one is crashed and started again, the other frozen beyond its session and thawed: sinks exact', async () => {
    await makeTopics(wire)
    const first = await instance().start()
    const second = await instance().start()
    await Promise.all([first.app.untilRunning(), second.app.untilRunning()])
    await expect
      .poll(() => [first, second].map(({ app }) => app.health.tasks.length), { timeout: 10_000 })
      .toEqual([3, 3])
    await feed(wire, 0, 150)
    await expect.poll(() => first.app.health.counts.records).toBeGreaterThan(20)
    first.crash()
    await feed(wire, 150, 250)
    const again = await instance({ disk: first.disk }).start()
    await expect.poll(() => again.app.health.tasks.length, { timeout: 10_000 }).toBe(3)
    second.freeze()
    await feed(wire, 250, INPUTS)
    await drained(wire)
    second.thaw()
    await expect
      .poll(() => [again, second].map(({ app }) => app.health.tasks.length), { timeout: 10_000 })
      .toEqual([3, 3])
    await feed(wire, INPUTS, 500)
    await drained(wire, 500)
    await verify(wire, 500)
  })
})
