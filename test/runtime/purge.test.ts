/** Deletion of what was processed from repartition topics: never more than that, whoever asks, and nothing depends on it. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  type Clock,
  Druse,
  int64,
  memoryDisk,
  silentLogger,
  string,
  systemClock,
  Topology,
  type Wire,
} from '../../src/index.ts'
import { CODE } from '../../src/kafka/error-codes.ts'
import { partitionFor } from '../../src/kafka/partitioner.ts'
import { committedOffsets, listOffsets } from '../../src/kafka/topics.ts'
import type { Request, Requests } from '../../src/ports.ts'
import type { TopicPartition } from '../../src/types.ts'
import { type Fate, type Fates, type Instance, type InstanceOptions, QUICK } from './instance.ts'
import { Stage, strings } from './stage.ts'
import { drained, feed, INPUTS, makeTopics, tally, verify } from './tally.ts'

const TOPIC = 'tally-by-rest-repartition'
const PARTITIONS: readonly TopicPartition[] = [0, 1, 2].map((partition) => ({ topic: TOPIC, partition }))

let stage: Stage
/** Requests that asked for more than was committed, or elsewhere. */
let wrong: unknown[]

beforeEach(async () => {
  stage = await Stage.open()
  wrong = []
})

afterEach(async () => {
  await stage.close()
  expect(wrong).toEqual([])
})

/** Looks at each DeleteRecords before the broker gets it. */
async function check({ partitions }: Requests['DeleteRecords']): Promise<void> {
  for (const { topic, partition, offset } of partitions) {
    if (topic !== TOPIC) wrong.push({ topic, partition, offset })
    for (;;) {
      const [at] = await committedOffsets(stage.cluster, 'tally', [{ topic, partition }])
      // A transaction is under way: what it comes to is what counts.
      if (at?.offset === 'unstable') continue
      if (at?.offset === undefined || at.offset < offset) wrong.push({ topic, partition, offset, at })
      break
    }
  }
}

const checked =
  (fates: Fates = () => 'pass'): Fates =>
  (request) => {
    const fate = fates(request)
    return request.api === 'DeleteRecords' && fate === 'pass' ? { after: check(request) } : fate
  }

function instance({ fates, ...options }: Partial<InstanceOptions> = {}): Instance {
  return stage.instance(tally, {
    commitRecords: 40,
    repartitionPurgeIntervalMs: 5,
    fates: checked(fates),
    ...options,
  })
}

const starts = () => listOffsets(stage.cluster, PARTITIONS, 'earliest')
const committed = async () =>
  new Map(
    (await committedOffsets(stage.cluster, 'tally', PARTITIONS)).map(({ topic, partition, offset }) => [
      `${topic}/${partition}`,
      offset,
    ]),
  )

/** Until the log of each partition begins where its task stands. */
async function purged(): Promise<void> {
  await expect
    .poll(async () => JSON.stringify([...(await starts())].sort()), { timeout: 20_000, interval: 20 })
    .toBe(JSON.stringify([...(await committed())].sort()))
}

const deletions = ({ requests }: Instance) => requests.filter(({ api }) => api === 'DeleteRecords')

/** Whether a request is the look at the topic before a deletion: after the start, nobody else looks. */
function looksOfPurge(): (request: Request) => boolean {
  let isProcessed = false
  return (request) => {
    if (request.api === 'TxnOffsetCommit')
      isProcessed ||= request.partitions.some(({ topic, offset }) => topic === TOPIC && offset > 0)
    return isProcessed && request.api === 'Metadata' && String(request.topics) === TOPIC
  }
}

async function begin(options: Partial<InstanceOptions> = {}): Promise<Instance> {
  await makeTopics(stage.wire)
  await feed(stage.wire)
  const one = instance(options)
  await one.start()
  await drained(stage.wire)
  return one
}

describe('what was processed', () => {
  test('is deleted, and nothing else: the rest is what comes next', async () => {
    const one = await begin()
    await purged()
    for (const [, offset] of await starts()) expect(offset).toBeGreaterThan(0)
    for (const topic of ['numbers', 'copies', 'tallies', 'tally-counts-changelog'])
      expect(
        (await listOffsets(stage.cluster, [{ topic, partition: 0 }], 'earliest')).get(`${topic}/0`),
      ).toBe(0)
    await feed(stage.wire, INPUTS, INPUTS + 100)
    await drained(stage.wire, INPUTS + 100)
    await verify(stage.wire, INPUTS + 100)
    // What has been deleted is not asked for again.
    await purged()
    const asked = deletions(one).flatMap((request) =>
      (request as { partitions: Requests['DeleteRecords']['partitions'] }).partitions.map(
        ({ partition, offset }) => `${partition}@${offset}`,
      ),
    )
    expect(new Set(asked).size).toBe(asked.length)
  })

  test('by default every 30 seconds', async () => {
    await makeTopics(stage.wire)
    await feed(stage.wire)
    const one = await stage.instance(tally).start()
    await drained(stage.wire)
    await verify(stage.wire)
    expect(deletions(one)).toEqual([])
    expect([...(await starts()).values()]).toEqual([0, 0, 0])
  })

  test('is asked for once, however often a commit says the same', async () => {
    const pair = (): Topology => {
      const t = new Topology('tally')
      const seen = t.region('seen', strings)
      const by = t.stream('in', strings).repartition('by-rest', { partitions: 3 })
      by.process('keep', { regions: [seen] }, ({ key, value }, { seen }) => seen.put(key, value))
      t.stream('beside', strings).process('look', { regions: [seen] }, ({ key }, { seen, forward }) => {
        forward(key, seen.get(key) ?? '')
      })
      return t
    }
    const keys = [0, 1].map((partition) =>
      ['a', 'b', 'c', 'd', 'e', 'f'].find((key) => partitionFor(Buffer.from(key), 3) === partition),
    ) as [string, string]
    await stage.topics('in', { topic: 'beside', partitions: 3 })
    await stage.say('in', [keys[0], '1'])
    const one = await stage.run(pair, { fates: checked(), repartitionPurgeIntervalMs: 5 })
    const asked = () =>
      one.requests.flatMap((request) =>
        request.api === 'DeleteRecords' ? request.partitions.map((at) => at.partition) : [],
      )
    await expect.poll(asked).toEqual([0])
    // Commits with the old position of the repartition topic beside the new one here.
    await stage.say('beside', [keys[0], '?'])
    await stage.drained(pair)
    await stage.say('in', [keys[1], '2'])
    await expect.poll(asked).toContain(1)
    expect(asked()).toEqual([0, 1])
  })

  test('while a deletion is under way is deleted with the next one', async () => {
    const held = Promise.withResolvers<void>()
    const one = await begin({
      fates: ({ api }) => (api === 'DeleteRecords' ? { after: held.promise } : 'pass'),
    })
    await expect.poll(() => deletions(one)).toHaveLength(1)
    await feed(stage.wire, INPUTS, INPUTS + 50)
    await drained(stage.wire, INPUTS + 50)
    held.resolve()
    await purged()
    await verify(stage.wire, INPUTS + 50)
  })

  test('a restart goes on behind it, with its state or without', async () => {
    const one = await begin()
    await purged()
    await one.close()
    await feed(stage.wire, INPUTS, INPUTS + 50)
    const two = instance({ disk: one.disk })
    await two.start()
    await drained(stage.wire, INPUTS + 50)
    await purged()
    two.crash()
    await feed(stage.wire, INPUTS + 50, INPUTS + 120)
    const three = instance()
    await three.start()
    await drained(stage.wire, INPUTS + 120)
    await verify(stage.wire, INPUTS + 120)
    expect(three.app.health.healthy).toBe(true)
  })

  test('is deleted at least once, too', async () => {
    const one = await begin({ processingGuarantee: 'at_least_once' })
    await purged()
    await one.close()
    await feed(stage.wire, INPUTS, INPUTS + 50)
    await instance({ processingGuarantee: 'at_least_once' }).start()
    await drained(stage.wire, INPUTS + 50)
    // Nothing went wrong, so nothing came twice.
    await verify(stage.wire, INPUTS + 50)
  })

  test('a reader of the topic begins where it begins now', async () => {
    await begin()
    await purged()
    const left = await stage.records(TOPIC, { key: string, value: int64 })
    expect(left).toEqual([])
  })

  test('a new application of the same topics is not in its way', async () => {
    await makeTopics(stage.wire)
    const plain = (): Topology => {
      const t = new Topology('plain')
      t.stream('numbers', { key: string, value: int64 }).to('copies')
      return t
    }
    await feed(stage.wire)
    const one = stage.instance(plain, { repartitionPurgeIntervalMs: 1 })
    await one.start()
    await stage.drained(plain)
    expect(deletions(one)).toEqual([])
  })
})

describe('what is not committed', () => {
  test('stays, though it was processed: transactions that never end', async () => {
    let ends = 0
    const one = await begin({
      fates: ({ api }) => (api === 'EndTxn' && ++ends % 3 === 0 ? 'loseRequest' : 'pass'),
    })
    await purged()
    await verify(stage.wire)
    expect(one.app.health.counts.recoveries).toBeGreaterThan(0)
  })
})

describe('tasks that move', () => {
  test('instances that come, go and crash while each of them deletes', async () => {
    await makeTopics(stage.wire)
    let inputs = 0
    const more = async (): Promise<void> => {
      await feed(stage.wire, inputs, inputs + 150)
      inputs += 150
    }
    await more()
    const quick = { repartitionPurgeIntervalMs: 1 }
    const one = await instance(quick).start()
    await more()
    const two = await instance(quick).start()
    await drained(stage.wire, inputs)
    await more()
    one.crash()
    const three = await instance({ ...quick, disk: one.disk }).start()
    await more()
    await two.close()
    await drained(stage.wire, inputs)
    await purged()
    await verify(stage.wire, inputs)
    expect(deletions(three).length).toBeGreaterThan(0)
  })

  test('one that is frozen with a request in its hands, and sends it when others have gone on', async () => {
    let isFirst = true
    const one = instance({
      fates: ({ api }): Fate => {
        if (api !== 'DeleteRecords' || !isFirst) return 'pass'
        isFirst = false
        return 'freezeBefore'
      },
    })
    await makeTopics(stage.wire)
    await feed(stage.wire)
    await one.start()
    await one.fell
    const two = await instance({ repartitionPurgeIntervalMs: 60_000 }).start()
    await drained(stage.wire)
    // Nobody has deleted anything yet.
    expect([...(await starts()).values()]).toEqual([0, 0, 0])
    await feed(stage.wire, INPUTS, INPUTS + 80)
    await drained(stage.wire, INPUTS + 80)
    one.thaw()
    await expect.poll(async () => Math.max(...(await starts()).values())).toBeGreaterThan(0)
    const now = await committed()
    for (const [key, offset] of await starts()) expect(offset).toBeLessThanOrEqual(now.get(key) as number)
    await two.close()
    await instance({ disk: two.disk }).start()
    await feed(stage.wire, INPUTS + 80, INPUTS + 120)
    await drained(stage.wire, INPUTS + 120)
    await verify(stage.wire, INPUTS + 120)
  })

  test('one that thaws when its topic is another one of that name deletes nothing in it', async () => {
    const isLook = looksOfPurge()
    let isFirst = true
    const one = instance({
      fates: (request): Fate => {
        if (!isLook(request) || !isFirst) return 'pass'
        isFirst = false
        return 'freezeBefore'
      },
    })
    await makeTopics(stage.wire)
    await feed(stage.wire)
    await one.start()
    await one.fell
    const at = PARTITIONS[0] as TopicPartition
    const answer = await stage.ask(at, { api: 'DeleteTopics', topics: [TOPIC], timeoutMs: 1_000 })
    expect(answer.topics[0]?.errorCode).toBe(CODE.NONE)
    stage.cluster.forgetTopic(TOPIC)
    await stage.topics({ topic: TOPIC, partitions: 3, configs: { 'retention.ms': '-1' } })
    for (const partition of PARTITIONS) {
      const records = Array.from({ length: INPUTS }, () => ({ value: Buffer.from('new') }))
      await stage.produce(partition, records)
    }
    one.thaw()
    await expect.poll(() => one.logged('cannot be deleted yet')).toBe(true)
    expect(deletions(one)).toEqual([])
    expect([...(await starts()).values()]).toEqual([0, 0, 0])
  })
})

describe('a deletion that fails', () => {
  const answer = (request: Request, errorCode: number): Fate => ({
    answer: {
      partitions: (request as Requests['DeleteRecords'] & Request & { api: 'DeleteRecords' }).partitions.map(
        ({ topic, partition }) => ({ topic, partition, errorCode, lowWatermark: -1 }),
      ),
    },
  })
  const told = ({ log }: Instance, level: string) =>
    log.filter((line) => line.level === level && line.message.startsWith('purge:'))

  test('is told once and tried again until it works; nothing else notices', async () => {
    let seen = 0
    let connections = 0
    const wire: Wire = {
      connect: (purpose) => {
        if (purpose === 'admin') connections += 1
        return stage.wire.connect(purpose)
      },
    }
    const one = await begin({
      wire,
      fates: (request) => {
        if (request.api !== 'DeleteRecords') return 'pass'
        seen += 1
        if (seen === 1) return answer(request, CODE.NOT_LEADER_OR_FOLLOWER)
        if (seen === 2) return 'loseRequest'
        if (seen === 3) return 'loseAnswer'
        if (seen === 4) return answer(request, CODE.REQUEST_TIMED_OUT)
        if (seen === 5) return { answer: { partitions: [] } }
        return 'pass'
      },
    })
    await purged()
    await expect.poll(() => told(one, 'info')).toHaveLength(1)
    expect(told(one, 'warn')).toHaveLength(1)
    expect(told(one, 'warn')[0]?.details).toMatchObject({
      partition: expect.stringMatching(/^tally-by-rest-repartition\/\d$/),
      reason: 'NOT_LEADER_OR_FOLLOWER',
    })
    // The application's, and its own: the first, and one after each answer that was lost.
    expect(connections).toBe(1 + 3)
    expect(told(one, 'debug').length).toBeGreaterThanOrEqual(4)
    await verify(stage.wire)
    expect(one.app.health).toMatchObject({ healthy: true, counts: { recoveries: 0 } })
  })

  test('without the right to: one warning, no further request; the application goes on', async () => {
    const one = await begin({
      fates: (request) =>
        request.api === 'DeleteRecords' ? answer(request, CODE.TOPIC_AUTHORIZATION_FAILED) : 'pass',
    })
    await expect.poll(() => deletions(one)).toHaveLength(1)
    const commits = one.app.health.counts.commits
    for (let n = 0; n < 5; n++) {
      const inputs = INPUTS + n * 20
      await feed(stage.wire, inputs, inputs + 20)
      await drained(stage.wire, inputs + 20)
    }
    expect(one.app.health.counts.commits).toBeGreaterThan(commits)
    expect(deletions(one)).toHaveLength(1)
    expect(told(one, 'warn').map(({ details }) => details)).toEqual([
      { topics: TOPIC, reason: 'TOPIC_AUTHORIZATION_FAILED' },
    ])
    expect(one.app.health.healthy).toBe(true)
    await verify(stage.wire, INPUTS + 100)
  })

  test('when the topic cannot be looked at, too', async () => {
    const isLook = looksOfPurge()
    let seen = 0
    const one = await begin({
      fates: (request) => {
        if (!isLook(request) || seen >= 1) return 'pass'
        seen += 1
        return { answer: { clusterId: 'x', controllerId: 0, brokers: [], topics: [] } }
      },
    })
    await purged()
    expect(told(one, 'warn')).toHaveLength(1)
  })
})

test('nothing of it is left when the application is closed', async () => {
  const pending = new Set<number>()
  const clock: Clock = {
    ...systemClock,
    wake: (delayMs, callback) => {
      pending.add(delayMs)
      const cancel = systemClock.wake(delayMs, callback)
      return () => {
        pending.delete(delayMs)
        cancel()
      }
    },
  }
  await makeTopics(stage.wire)
  await feed(stage.wire)
  const app = new Druse(tally(), {
    ...QUICK,
    wire: stage.wire,
    stateDir: memoryDisk(),
    logger: silentLogger,
    clock,
    repartitionPurgeIntervalMs: 61_234,
  })
  await app.start()
  await drained(stage.wire)
  await expect.poll(() => pending).toContain(61_234)
  await app.close()
  expect(pending).not.toContain(61_234)
})

test('repartition topics are made for it', async () => {
  await stage.topics('in')
  const topology = (): Topology => {
    const t = new Topology('made')
    t.stream('in', strings)
      .repartition('r')
      .foreach(() => {})
    return t
  }
  await stage.run(topology)
  const place = { topic: 'in', partition: 0 }
  const found = await stage.ask(place, { api: 'DescribeConfigs', topics: ['made-r-repartition'] })
  // As Kafka Streams' RepartitionTopicConfig.
  expect(found.topics[0]?.configs).toMatchObject({
    'cleanup.policy': 'delete',
    'retention.ms': '-1',
    'segment.bytes': '52428800',
  })
})
