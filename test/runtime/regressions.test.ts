/** What went wrong once: a test for each, named by the behaviour it broke. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  type ApplicationState,
  type Clock,
  Druse,
  type DruseError,
  int64,
  type MemoryDisk,
  memoryDisk,
  silentLogger,
  string,
  systemClock,
  type TopicPartition,
  Topology,
  type Wire,
} from '../../src/index.ts'
import { Cluster } from '../../src/kafka/cluster.ts'
import { NO_MEMBERSHIP } from '../../src/kafka/commit-writer.ts'
import { BatchWriter } from '../../src/kafka/record-batch.ts'
import { TransactionalWriter } from '../../src/kafka/transactional-writer.ts'
import type { Outcome, Request } from '../../src/ports.ts'
import type { Fates, Instance } from './instance.ts'
import { Stage, strings } from './stage.ts'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
})

afterEach(async () => {
  await stage.close()
})

const until = <T>(look: () => T) => expect.poll(look, { timeout: 20_000, interval: 5 })

/** Counts the records of each key. */
const counting = (): Topology => {
  const t = new Topology('app')
  t.stream('in', strings).groupByKey().count('n').toStream().mapValues(String).to('out', strings)
  return t
}

/** The same, with a task of its own for another input. */
const countingAndCopying = (): Topology => {
  const t = counting()
  t.stream('also', strings).to('copies')
  return t
}

const valuesOf = async (topic: string) => (await stage.read(topic)).map(([, value]) => value)
const bytesOf = (...values: string[]) =>
  values.map((value) => ({ key: Buffer.from('k'), value: Buffer.from(value) }))

const statusOf = ({ app }: Instance, name: string) =>
  app.health.tasks.find(({ task }) => task === name)?.status

const fetches = (request: Request, topic: string): boolean =>
  request.api === 'Fetch' && request.partitions.some((at) => at.topic === topic)

/** A wire that loses the requests for which `lost` returns a promise: the answer is missing once that has resolved. */
function losing(wire: Wire, lost: (request: Request) => Promise<unknown> | undefined): Wire {
  const none: Outcome<never> = { ok: false, reason: 'disconnect' }
  return {
    connect: (purpose) => {
      const inner = wire.connect(purpose)
      return {
        destroy: () => inner.destroy(),
        send: async (node, request, timeoutMs) => {
          const pending = lost(request)
          if (pending === undefined) return inner.send(node, request, timeoutMs)
          await pending
          return none
        },
      }
    },
  }
}

/** Puts something around the closing of every task's store. */
function aroundClose(disk: MemoryDisk, around: (close: () => Promise<void>) => Promise<void>): MemoryDisk {
  const open = disk.open.bind(disk)
  disk.open = async (path) => {
    const store = await open(path)
    const close = store.close.bind(store)
    if (path.startsWith('tasks/')) store.close = () => around(close)
    return store
  }
  return disk
}

describe('state', () => {
  test('a restore that the deadline of close() cuts off claims nothing: the next start replays it', async () => {
    // Reading a changelog counted as read to its end when it was given up, and the store said so.
    await stage.topics('in', 'also', 'out', 'copies')
    await stage.say('in', ['k', 'a'], ['k', 'b'], ['k', 'c'])
    const one = await stage.run(counting)
    await stage.drained(counting)
    await one.close()
    const held = Promise.withResolvers<void>()
    // The first start of another task does not come to its end: the loop learns of close() only at the deadline.
    const fates: Fates = (request) => {
      if (fetches(request, 'app-n-changelog')) return { after: held.promise }
      return request.api === 'AddOffsetsToTxn' ? { answer: { errorCode: 51 } } : 'pass'
    }
    const two = stage.instance(countingAndCopying, { fates, transactionTimeoutMs: 30_000 })
    await two.start()
    await until(() => two.requests.some((request) => fetches(request, 'app-n-changelog'))).toBe(true)
    await until(() => two.requests.some(({ api }) => api === 'AddOffsetsToTxn')).toBe(true)
    await two.app.close({ timeoutMs: 50 })
    held.resolve()
    const three = await stage.run(countingAndCopying, { disk: two.disk })
    expect(three.logged('task: state replayed')).toBe(true)
    await stage.say('in', ['k', 'd'])
    await stage.drained(countingAndCopying)
    expect(await valuesOf('out')).toEqual(['1', '2', '3', '4'])
  })

  test('a global region with an empty partition is not loaded anew by a restart', async () => {
    // An empty partition leaves no position behind, which passed for a copy that is not whole.
    await stage.topics('in', 'out', {
      topic: 'names',
      partitions: 2,
      configs: { 'cleanup.policy': 'compact' },
    })
    await stage.produce({ topic: 'names', partition: 1 }, bytesOf('Karl'))
    const topology = (): Topology => {
      const t = new Topology('app')
      const names = t.globalRegion('names', { topic: 'names', ...strings })
      t.stream('in', strings)
        .process('look', { regions: [names] }, (record, { names, forward }) =>
          forward(record.key, names.get(record.key) ?? 'nobody'),
        )
        .to('out')
      return t
    }
    const one = await stage.run(topology)
    await one.close()
    const two = await stage.run(topology, { disk: one.disk })
    await stage.say('in', ['k', 'who?'])
    await stage.drained(topology)
    expect(await valuesOf('out')).toEqual(['Karl'])
    const read = two.requests.flatMap((request) => (request.api === 'Fetch' ? request.partitions : []))
    const full = read.filter(({ topic, partition }) => topic === 'names' && partition === 1)
    expect(new Set(full.map(({ offset }) => offset))).toEqual(new Set([1]))
  })
})

describe('a record that fails', () => {
  test('while another task wakes the loop: none of its effects is committed, now or later', async () => {
    // For a few turns the task was neither busy nor known to have failed; a commit in between sealed half a record.
    const ROUNDS = 13
    const at = (partition: number): TopicPartition => ({ topic: 'in', partition })
    await stage.topics({ topic: 'in', partitions: ROUNDS + 2 }, 'out')
    let gate = Promise.withResolvers<void>()
    let waiting = 0
    let isMended = false
    const work = async (turns: number, isBad: boolean): Promise<void> => {
      waiting += 1
      await gate.promise
      if (!isBad || isMended) return
      for (let turn = 0; turn < turns; turn++) await undefined
      throw new Error('refused')
    }
    const topology = (): Topology => {
      const t = new Topology('pay')
      const paid = t.region('paid', { key: string, value: int64 })
      t.stream('in', strings)
        .process('pay', { regions: [paid] }, ({ key, value }, { paid, forward }) => {
          const count = (paid.get(key) ?? 0) + 1
          paid.put(key, count)
          forward(key, `${value} ${count}`)
          if (value !== 'quick') return work(Number(key), value === 'bad')
        })
        .to('out')
      return t
    }
    const send = (partition: number, value: string) =>
      stage.produce(at(partition), [{ key: Buffer.from(`${partition}`), value: Buffer.from(value) }])
    const one = await stage.run(topology)
    // Each round fails one turn later than the one before, on a partition of its own.
    for (let turns = 0; turns < ROUNDS; turns++) {
      gate = Promise.withResolvers<void>()
      waiting = 0
      await send(turns, 'bad')
      await send(ROUNDS, 'good')
      await until(() => waiting).toBe(2)
      // A commit that has to leave both out: from here on they wait for the next, which is due as soon as one is through.
      await send(ROUNDS + 1, 'quick')
      await until(async () => (await stage.committed('pay', at(ROUNDS + 1)))?.offset).toBe(turns + 1)
      gate.resolve()
      await until(() => statusOf(one, `0_${turns}`)).toBe('failed')
      await until(async () => (await stage.committed('pay', at(ROUNDS)))?.offset).toBe(turns + 1)
    }
    const others = [1, 2].flatMap((i) =>
      Array.from({ length: ROUNDS }, (_, n) => `${i === 1 ? 'good' : 'quick'} ${n + 1}`),
    )
    const bad = Array.from({ length: ROUNDS }, () => 'bad 1')
    expect((await valuesOf('out')).sort()).toEqual(others.toSorted())
    await one.close()
    isMended = true
    await stage.run(topology, { disk: one.disk })
    await stage.drained(topology)
    expect((await valuesOf('out')).sort()).toEqual([...bad, ...others].sort())
    const paid = new Map(await stage.read('pay-paid-changelog', { key: string, value: int64 }))
    const counts = Array.from({ length: ROUNDS + 2 }, (_, n) => [`${n}`, n < ROUNDS ? 1 : ROUNDS] as const)
    expect(paid).toEqual(new Map(counts))
  })

  test('at once, after it was forwarded to an operator that rejects later: left out, and no rejection is lost', async () => {
    // The promise of what was forwarded had nobody to wait for it: Node ends a process over that.
    await stage.topics('in', 'out')
    const lost: unknown[] = []
    const note = (error: unknown): void => void lost.push(error)
    process.on('unhandledRejection', note)
    const later = Promise.withResolvers<void>()
    const topology = (): Topology => {
      const t = new Topology('app', { onFailure: 'skip' })
      t.stream('in', strings)
        .process('first', {}, ({ key, value }, { forward }) => {
          forward(key, value)
          forward(key, `${value} again`)
          if (value === 'bad') throw new Error('first')
        })
        .process('second', {}, async ({ key, value }, { forward }) => {
          if (value.startsWith('bad')) {
            await later.promise
            throw new Error('second')
          }
          forward(key, value)
        })
        .to('out')
      return t
    }
    await stage.say('in', ['k', 'bad'], ['k', 'good'])
    const one = await stage.run(topology)
    await until(() => one.app.health.counts.records).toBe(1)
    later.resolve()
    await stage.drained(topology)
    expect(await valuesOf('out')).toEqual(['good', 'good again'])
    process.off('unhandledRejection', note)
    expect(lost).toEqual([])
  })
})

describe('an application', () => {
  beforeEach(async () => {
    await stage.topics('in', 'out')
  })

  test('closes in time without a coordinator to be found, and leaves its directory free', async () => {
    // Leaving the group failed, and with it close(), which left the directory locked.
    const one = await stage.run(counting)
    const isLookUp = (request: Request): boolean =>
      request.api === 'FindCoordinator' && request.keyType === 'group'
    const before = one.requests.filter(isLookUp).length
    one.fates = () => 'loseRequest'
    await until(() => one.requests.filter(isLookUp).length).toBeGreaterThan(before)
    await one.app.close({ timeoutMs: 100 })
    expect(one.app.state).toBe('NOT_RUNNING')
    await stage.run(counting, { disk: one.disk })
    await stage.say('in', ['k', 'a'])
    await stage.drained(counting)
    expect(await valuesOf('out')).toEqual(['1'])
  })

  /** An application that has lost its producer, and asks for another. */
  async function withoutProducer(errorCode: number): Promise<{ one: Instance; inits: () => number }> {
    const one = await stage.run(counting)
    const from = one.requests.length
    one.fates = ({ api }) => {
      if (api === 'EndTxn') return 'loseRequest'
      return api === 'InitProducerId' ? { answer: { errorCode, producerId: -1n, producerEpoch: -1 } } : 'pass'
    }
    await stage.say('in', ['k', 'a'])
    const inits = () => one.requests.slice(from).filter(({ api }) => api === 'InitProducerId').length
    await until(inits).toBeGreaterThan(0)
    return { one, inits }
  }

  test('closes within its deadline while no producer can be had', async () => {
    // InitProducerId was tried to the end of its own budget, whatever close() had been told.
    const { one, inits } = await withoutProducer(51)
    await until(inits).toBeGreaterThan(2)
    const from = performance.now()
    await one.app.close({ timeoutMs: 200 })
    expect(performance.now() - from).toBeLessThan(3_000)
    expect(one.app.state).toBe('NOT_RUNNING')
    await stage.run(counting, { disk: one.disk })
    await stage.drained(counting)
    expect(await valuesOf('out')).toEqual(['1'])
  })

  test('ends with an error when a producer is refused for good, and asks no more', async () => {
    // What Kafka would never grant was asked for without a pause.
    const { one, inits } = await withoutProducer(53)
    await until(() => one.app.state).toBe('ERROR')
    expect(one.app.health).toMatchObject({
      healthy: false,
      error: { code: 'KAFKA_REFUSED', details: { kafkaCode: 53 } },
    })
    await one.app.close()
    expect(inits()).toBe(1)
    await stage.run(counting, { disk: one.disk })
    await stage.drained(counting)
    expect(await valuesOf('out')).toEqual(['1'])
  })

  test('goes on through a rebalance though stores cannot be closed, tells it, and leaves its directory free', async () => {
    // One store that could not be closed ended the loop, left the others open, and the group waited for an answer.
    const disk = memoryDisk()
    let isBroken = true
    aroundClose(disk, async (close) => {
      await close()
      if (isBroken) throw new Error('cannot be closed')
    })
    const topology = (): Topology => {
      const t = new Topology('app')
      const kept = t.region('kept', strings)
      t.stream('in', strings)
        .process('stop', { regions: [kept] }, ({ key, value }, { forward }) => {
          forward(key, value)
          return isBroken ? new Promise<void>(() => {}) : undefined
        })
        .to('out')
      return t
    }
    const one = await stage.run(topology, { disk, rebalanceTimeoutMs: 100 })
    await stage.say('in', ['k', 'a'])
    await until(() => one.app.health.counts.records).toBe(1)
    const two = stage.instance(topology)
    await two.start()
    await until(() => one.logged('store could not be closed')).toBe(true)
    await two.app.untilRunning()
    expect(one.app.state).not.toBe('ERROR')
    await one.app.close({ timeoutMs: 200 })
    expect(one.app.state).toBe('NOT_RUNNING')
    await two.app.close({ timeoutMs: 200 })
    isBroken = false
    await stage.run(topology, { disk })
    await stage.drained(topology)
    expect(await valuesOf('out')).toEqual(['a'])
  })

  test('goes on, and closes, though a state listener throws whatever it hears', async () => {
    // What a listener threw went into the loop and ended it.
    const one = stage.instance(counting)
    const heard: ApplicationState[] = []
    one.app.onStateChange((to) => {
      throw new Error(`no ${to}`)
    })
    one.app.onStateChange((to) => heard.push(to))
    await one.start()
    await one.app.untilRunning()
    const two = await stage.run(counting)
    await two.close()
    await until(() => heard.join()).toMatch(/^REBALANCING,RUNNING,REBALANCING,.*RUNNING$/)
    await stage.say('in', ['k', 'a'], ['k', 'b'])
    await stage.drained(counting)
    expect(one.app.health).toMatchObject({ state: 'RUNNING', healthy: true, counts: { recoveries: 0 } })
    await one.app.close()
    expect(heard.slice(-2)).toEqual(['PENDING_SHUTDOWN', 'NOT_RUNNING'])
    await stage.run(counting, { disk: one.disk })
    expect(await valuesOf('out')).toEqual(['1', '2'])
  })

  test('goes on when brokers come back that were away for longer than anything is tried', async () => {
    // A coordinator that could not be found within the retry budget ended the application.
    const FASTER = 50
    const clock: Clock = {
      monotonicMs: () => systemClock.monotonicMs() * FASTER,
      wallMs: () => systemClock.wallMs(),
      wake: (delayMs, callback) => systemClock.wake(delayMs / FASTER, callback),
    }
    let isAway = false
    const wire = losing(stage.wire, () => (isAway ? Promise.resolve() : undefined))
    const app = new Druse(counting(), { wire, clock, stateDir: memoryDisk(), logger: silentLogger })
    await app.start()
    await app.untilRunning()
    await stage.say('in', ['k', 'before'])
    await stage.drained(counting)
    isAway = true
    const from = clock.monotonicMs()
    await stage.say('in', ['k', 'meanwhile'])
    await until(() => clock.monotonicMs() - from).toBeGreaterThan(90_000)
    expect(app.health).toMatchObject({ state: expect.not.stringMatching('ERROR'), error: undefined })
    isAway = false
    await stage.say('in', ['k', 'after'])
    await stage.drained(counting)
    expect(await valuesOf('out')).toEqual(['1', '2', '3'])
    await app.close()
  })
})

describe('a producer that was given up', () => {
  beforeEach(async () => {
    await stage.topics('in', 'out')
  })

  test('has no say in the next one: what it was about to repeat ends nothing', async () => {
    // A request that slept between two attempts woke up under the new epoch, and took that for its own.
    const TRIES = 7
    const struck = Promise.withResolvers<void>()
    let isOn = false
    let isOver = false
    // One of two requests that are sent side by side fails just when the other begins a long pause.
    const wire = losing(stage.wire, (request) => {
      if (!isOn || isOver || request.api !== 'Produce' || request.partitions[0]?.topic !== 'out') return
      return struck.promise
    })
    let tries = 0
    let old: number | undefined
    let isAwake = false
    const fates: Fates = (request) => {
      if (!isOn || request.api !== 'AddOffsetsToTxn') return 'pass'
      old ??= request.producerEpoch
      if (isOver) {
        if (request.producerEpoch === old) isAwake = true
        return 'pass'
      }
      tries += 1
      if (tries === TRIES) {
        struck.resolve()
        isOver = true
      }
      return { answer: { errorCode: 51 } }
    }
    const one = await stage.run(counting, { wire, fates })
    isOn = true
    await stage.say('in', ['k', 'a'])
    await until(() => isAwake).toBe(true)
    await stage.drained(counting)
    for (const value of 'bcde') await stage.say('in', ['k', value])
    await stage.drained(counting)
    expect(one.app.health.counts).toMatchObject({ recoveries: 1, indefinite: 1 })
    expect(await valuesOf('out')).toEqual(['1', '2', '3', '4', '5'])
  })

  test('because a coordinator was not found, takes nothing more until it is opened; what it held is gone', async () => {
    // A look-up that failed left the epoch in use: the next transaction carried the records of the failed one.
    let isAway = false
    const wire = losing(stage.wire, ({ api }) =>
      isAway && api === 'FindCoordinator' ? Promise.resolve() : undefined,
    )
    const cluster = new Cluster({ wire, clock: systemClock, log: silentLogger })
    const writer = new TransactionalWriter(cluster, { transactionalId: () => 't', transactionTimeoutMs: 600 })
    const transact = async (value: string): Promise<void> => {
      const batch = new BatchWriter()
      batch.add(1, null, Buffer.from(value), [])
      const batches = [{ topic: 'out', partition: 0, batches: [batch] }]
      await writer.begin(batches)
      await writer.produce(batches)
      await writer.addOffsets('group')
      await writer.commitOffsets('group', NO_MEMBERSHIP, [
        [{ topic: 'in', partition: 0, offset: 1, metadata: value }],
      ])
      await writer.end()
    }
    const codeOf = (error: DruseError) => error.code
    await writer.open()
    isAway = true
    expect(await transact('first').catch(codeOf)).toBe('BROKER_UNAVAILABLE')
    isAway = false
    expect(writer.isOpen).toBe(false)
    expect(await transact('second').catch(codeOf)).toBe('TRANSACTION_INDEFINITE')
    await writer.open()
    await transact('third')
    expect(await valuesOf('out')).toEqual(['third'])
    writer.close()
    cluster.close()
  })
})

test("a partition that is added under offsetReset 'latest' is read from its beginning", async () => {
  // It began at its end, and what was written before the application saw it was passed over.
  const topology = (): Topology => {
    const t = new Topology('app')
    t.stream('in', { ...strings, offsetReset: 'latest' }).to('out')
    return t
  }
  await stage.topics({ topic: 'in', partitions: 2 }, 'out')
  const [first, added] = [0, 1].map((partition) => ({ topic: 'in', partition })) as [
    TopicPartition,
    TopicPartition,
  ]
  await stage.produce(first, bytesOf('old'))
  const metadata = await stage.ask(first, { api: 'Metadata', topics: ['in', 'out'] })
  const topics = metadata.topics.map((topic) => ({ ...topic, partitions: topic.partitions.slice(0, 1) }))
  // To the first life of the application, each topic has one partition.
  const one = await stage.run(topology, {
    fates: ({ api }) => (api === 'Metadata' ? { answer: { ...metadata, topics } } : 'pass'),
  })
  await stage.produce(first, bytesOf('a'))
  await until(() => valuesOf('out')).toEqual(['a'])
  await one.close()
  await stage.produce(added, bytesOf('b', 'c'))
  await stage.run(topology, { disk: one.disk })
  await stage.drained(topology)
  expect(await valuesOf('out')).toEqual(['a', 'b', 'c'])
})

test('an input that fails while an assignment is carried out has failed: told, and nothing is processed twice', async () => {
  // The assignment forgave it as one that had failed before, and its task ran on without an input.
  const topology = (): Topology => {
    const t = new Topology('app')
    t.stream('in', strings).to('out')
    t.stream('also', strings).groupByKey().count('n').toStream().mapValues(String).to('copies', strings)
    return t
  }
  const input = { topic: 'in', partition: 0 }
  await stage.topics({ topic: 'in', partitions: 2 }, { topic: 'also', partitions: 2 }, 'out', 'copies')
  const closing = Promise.withResolvers<void>()
  const held = Promise.withResolvers<void>()
  const disk = aroundClose(memoryDisk(), async (close) => {
    closing.resolve()
    await held.promise
    await close()
  })
  const isInput = ({ topic, partition }: TopicPartition): boolean => topic === 'in' && partition === 0
  const one = await stage.run(topology, { disk })
  const two = stage.instance(topology)
  await two.start()
  // The first one gives up a task to the second, which takes long: its others may fail meanwhile.
  await closing.promise
  await stage.produce(input, bytesOf('x', 'y', 'z'))
  const hasRead = (request: Request): boolean =>
    request.api === 'Fetch' && request.partitions.some((at) => isInput(at) && at.offset === 3)
  await until(() => one.requests.some(hasRead)).toBe(true)
  one.fates = (request) => {
    if (request.api !== 'Fetch' || !request.partitions.some(isInput)) return 'pass'
    const partitions = request.partitions.map(({ topic, partition, offset }) => ({
      topic,
      partition,
      errorCode: isInput({ topic, partition }) ? 29 : 0,
      highWatermark: offset,
      lastStableOffset: offset,
      logStartOffset: 0,
      abortedTransactions: [],
      records: new Uint8Array(),
    }))
    return { answer: { errorCode: 0, partitions } }
  }
  await until(() => statusOf(one, '0_0')).toBe('failed')
  one.fates = () => 'pass'
  held.resolve()
  await one.app.untilRunning()
  expect(one.app.health).toMatchObject({
    healthy: false,
    tasks: [
      { task: '0_0', status: 'failed', error: { code: 'KAFKA_REFUSED', details: { kafkaCode: 29 } } },
      { task: '0_1', status: 'running' },
    ],
  })
  await stage.produce({ topic: 'in', partition: 1 }, bytesOf('other'))
  await until(() => valuesOf('out')).toEqual(['other'])
  // The next rebalance gives it another chance.
  await two.close()
  await stage.produce(input, bytesOf('later'))
  await stage.drained(topology)
  expect(await valuesOf('out')).toEqual(['other', 'x', 'y', 'z', 'later'])
})

describe('committed offsets', () => {
  const IN = { topic: 'in', partition: 0 }
  const tasksOf = ({ app }: Instance) =>
    app.health.tasks.map(({ status, error, waitingFor }) => [status, error?.code, waitingFor?.code])

  test('that are out of date by the time the state is restored are read again', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', '1'])
    const first = await stage.run(counting)
    await stage.drained(counting)
    const early = await stage.committed('app', IN)
    await stage.say('in', ['k', '2'])
    await stage.drained(counting)
    await first.close()
    let asked = 0
    const second = stage.instance(counting, {
      fates: (request) => {
        if (request.api !== 'OffsetFetch') return 'pass'
        asked += 1
        return asked === 1 ? { answer: { errorCode: 0, partitions: [{ ...early, errorCode: 0 }] } } : 'pass'
      },
    })
    await second.start()
    await until(() => second.log.map(({ details: { error } }) => (error as DruseError)?.code)).toContain(
      'TASK_ABANDONED',
    )
    await until(() => tasksOf(second)).toEqual([['running', undefined, undefined]])
    await stage.say('in', ['k', '3'])
    await stage.drained(counting)
    expect(await valuesOf('out')).toEqual(['1', '2', '3'])
  })

  test('that cannot be read for now: the tasks say what they wait for', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', '1'])
    let isLost = true
    const one = stage.instance(counting, {
      requestTimeoutMs: 200,
      fates: ({ api }) => (api === 'OffsetFetch' && isLost ? 'loseRequest' : 'pass'),
    })
    await one.start()
    await until(() => tasksOf(one)).toEqual([['taking', undefined, 'BROKER_UNAVAILABLE']])
    isLost = false
    await until(() => tasksOf(one)).toEqual([['running', undefined, undefined]])
    await stage.drained(counting)
    expect(await valuesOf('out')).toEqual(['1'])
  })

  test('that we have no right to read: the tasks fail', async () => {
    await stage.topics('in', 'out')
    const one = stage.instance(counting, {
      fates: ({ api }) => (api === 'OffsetFetch' ? { answer: { errorCode: 30, partitions: [] } } : 'pass'),
    })
    await one.start()
    await until(() => tasksOf(one)).toEqual([['failed', 'KAFKA_REFUSED', undefined]])
    expect(one.app.health.healthy).toBe(false)
  })
})
