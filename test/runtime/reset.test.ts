/** Resetting applications, and what they make of it at their next start. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  int64,
  json,
  memoryDisk,
  type OffsetReset,
  type ResetOptions,
  type ResetPlan,
  resetApplication,
  string,
  Topology,
} from '../../src/index.ts'
import { describeGroup, removeMembers } from '../../src/kafka/groups.ts'
import { BatchWriter } from '../../src/kafka/record-batch.ts'
import { TransactionalWriter } from '../../src/kafka/transactional-writer.ts'
import type { Connection, Purpose, Request, Requests } from '../../src/ports.ts'
import type { TopicPartition } from '../../src/types.ts'
import { DyingWire, type Mishap } from './dying-wire.ts'
import type { Instance } from './instance.ts'
import { Stage, strings } from './stage.ts'
import { feed, makeTopics, type Tally, tally } from './tally.ts'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
})

afterEach(async () => {
  await stage.close()
})

/** So that members that died take no time. */
const QUICK_RESET = {
  sessionTimeoutMs: 300,
  heartbeatIntervalMs: 60,
  transactionTimeoutMs: 1_500,
  requestTimeoutMs: 1_000,
}

const reset = (topology: () => Topology, options: Partial<ResetOptions> = {}): Promise<ResetPlan> =>
  resetApplication(topology(), { wire: stage.wire, ...QUICK_RESET, ...options })

/** Runs until all input is committed, then stops. */
async function runOnce(topology: () => Topology, disk = memoryDisk()): Promise<Instance> {
  const one = await stage.run(topology, { disk })
  await stage.drained(topology)
  await one.close()
  return one
}

/** How many each key has been counted. */
const counting =
  (offsetReset: OffsetReset = 'earliest', topics: string | readonly string[] = 'in') =>
  (): Topology => {
    const t = new Topology('app')
    t.stream(topics, { ...strings, offsetReset })
      .groupByKey()
      .count('n')
      .toStream()
      .mapValues(String)
      .to('out', strings)
    return t
  }

const until = <T>(look: () => T) => expect.poll(look, { timeout: 20_000, interval: 5 })
const outs = async () => (await stage.read('out')).map(([key, value]) => `${key}=${value}`)
const offset = async (at: TopicPartition) => (await stage.committed('app', at))?.offset
const topicId = async (topic: string) => (await stage.cluster.refresh([topic]))[0]?.topicId
const IN = { topic: 'in', partition: 0 }
const CHANGELOG = { topic: 'app-n-changelog', partition: 0 }

const inputsOf = ({ inputs }: ResetPlan) =>
  inputs.map(({ topic, partition, from, to }) => `${topic}/${partition}: ${from ?? '-'} -> ${to}`)

describe('a full reset', () => {
  test('the application begins as if for the first time, its regions empty', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'], ['k', 'b'])
    const one = await runOnce(counting())
    const before = await topicId('app-n-changelog')
    const plan = await reset(counting(), { stateDirs: [one.disk] })
    expect(inputsOf(plan)).toEqual(['in/0: 3 -> 0'])
    expect(plan.topics).toEqual([{ topic: 'app-n-changelog', partitions: 1, action: 'recreate' }])
    expect(plan.directories).toEqual([{ root: 'memory:', tasks: ['tasks/in-0'] }])
    expect(plan).toMatchObject({ application: 'app', keepState: false, resumes: false, sinks: ['out'] })
    expect(await topicId('app-n-changelog')).not.toBe(before)
    expect(await stage.read('app-n-changelog')).toEqual([])
    expect(await one.disk.list('')).toContain('tasks.aside-1')
    expect(await one.disk.list('tasks')).toEqual([])
    await runOnce(counting(), one.disk)
    expect(await outs()).toEqual(['k=1', 'k=2', 'k=1', 'k=2'])
  })

  test('a directory that could not be reached is moved aside when it is opened', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'], ['k', 'b'])
    const one = await runOnce(counting())
    await reset(counting())
    const two = await stage.run(counting(), { disk: one.disk })
    await stage.drained(counting())
    expect(two.log.filter(({ message }) => message.includes('moved aside'))).toMatchObject([
      { details: { reason: 'it is of an earlier life of the application' } },
    ])
    expect(await outs()).toEqual(['k=1', 'k=2', 'k=1', 'k=2'])
    expect(await one.disk.list('tasks')).toContain('in-0.aside-1')
  })

  test('who was away knows and tells of more commits than there are since: nobody minds', async () => {
    const copying = (): Topology => {
      const t = new Topology('app')
      t.stream('in', strings).to('out', strings)
      return t
    }
    await stage.topics('in', 'out')
    const one = await stage.run(copying)
    for (const value of ['a', 'b', 'c']) {
      await stage.say('in', ['k', value])
      await stage.drained(copying)
    }
    await one.close()
    await reset(copying)
    const two = await stage.run(copying)
    await stage.drained(copying)
    const again = await stage.run(copying, { disk: one.disk })
    // Whoever of them has the task then has heard of both lives.
    await until(() =>
      [two, again].flatMap(({ app }) => app.health.tasks.map(({ status }) => status)),
    ).toEqual(['running'])
    await stage.say('in', ['k', 'd'])
    await stage.drained(copying)
    await two.close()
    await until(() => again.app.health.tasks).toMatchObject([{ status: 'running', error: undefined }])
    expect(again.log.concat(two.log).filter(({ message }) => message.includes('cannot be taken'))).toEqual([])
    expect(await outs()).toEqual(['k=a', 'k=b', 'k=c', 'k=a', 'k=b', 'k=c', 'k=d'])
  })

  test('repartition topics, two sub-topologies and several partitions', async () => {
    await makeTopics(stage.wire)
    await feed(stage.wire, 0, 40)
    const one = await runOnce(tally)
    const plan = await reset(tally)
    expect(plan.topics.map(({ topic, action }) => [topic, action])).toEqual([
      ['tally-by-rest-repartition', 'recreate'],
      ['tally-counts-changelog', 'recreate'],
      ['tally-sums-changelog', 'recreate'],
    ])
    expect(plan.inputs).toHaveLength(6)
    expect(plan.inputs.every(({ from, to }) => (from as number) > 0 && to === 0)).toBe(true)
    await runOnce(tally, one.disk)
    await expectTwice(40)
  })

  test('after its partition count was changed, an input can be read again', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'])
    const one = await runOnce(counting())
    await stage.cluster.ask('delete', async () => ({
      node: 0,
      request: { api: 'DeleteTopics', topics: ['in'], timeoutMs: 1_000 },
    }))
    stage.cluster.forgetTopic('in')
    await stage.topics({ topic: 'in', partitions: 3 })
    await stage.say('in', ['k', 'a'], ['l', 'b'])
    const refused = stage.instance(counting(), { disk: one.disk })
    await expect(refused.start()).rejects.toMatchObject({ code: 'TOPIC_PARTITIONS' })
    await reset(counting(), { stateDirs: [one.disk] })
    await runOnce(counting(), one.disk)
    expect((await outs()).sort()).toEqual(['k=1', 'k=1', 'l=1'])
  })

  test('of an application that never ran creates its topics, and is no obstacle to its first start', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'])
    const plan = await reset(counting(), { stateDirs: [memoryDisk()] })
    expect(inputsOf(plan)).toEqual(['in/0: - -> 0'])
    expect(plan.topics).toEqual([{ topic: 'app-n-changelog', partitions: 1, action: 'create' }])
    await runOnce(counting())
    expect(await outs()).toEqual(['k=1'])
  })

  test('topics that are named like internal ones but are not of the topology are told and left alone', async () => {
    await stage.topics('in', 'out', 'app-old-changelog', 'app-b-x-repartition', 'apps-changelog')
    const plan = await reset(counting())
    expect(plan.unknownTopics).toEqual(['app-b-x-repartition', 'app-old-changelog'])
    expect(await topicId('app-old-changelog')).toBeDefined()
  })

  test('a directory of another application is refused before anything is changed', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'])
    await runOnce(counting())
    const disk = memoryDisk()
    await disk.writeText('owner.json', '{"application":"other","workerId":"00"}')
    await expect(reset(counting(), { stateDirs: [disk] })).rejects.toMatchObject({
      code: 'STATE_DIR_FOREIGN',
    })
    expect(await offset(IN)).toBe(2)
    expect(await stage.read('app-n-changelog')).toHaveLength(1)
  })

  test('a directory that is in use is refused before anything is changed', async () => {
    await stage.topics('in', 'out')
    const one = await runOnce(counting())
    const store = await one.disk.open('process')
    await expect(reset(counting(), { stateDirs: [one.disk] })).rejects.toMatchObject({
      code: 'STATE_DIR_OCCUPIED',
    })
    await store.close()
  })
})

describe('where inputs go on', () => {
  beforeEach(async () => {
    await stage.topics('in', 'out')
    const records = ['a', 'b', 'c', 'd'].map((key, i) => ({ key, value: key, timestamp: 1_000 * (i + 1) }))
    await stage.send('in', records, strings)
    await runOnce(counting())
  })

  const cases: [name: string, to: ResetOptions['to'], expected: number][] = [
    ['earliest', 'earliest', 0],
    ['latest', 'latest', 5],
    ['an offset', { offset: 2 }, 2],
    ['an offset beyond the end: the end', { offset: 99 }, 5],
    ['back by two from the committed one', { shiftBy: -2 }, 3],
    ['back by more than there is: the beginning', { shiftBy: -99 }, 0],
    ['forth by more than there is: the end', { shiftBy: 99 }, 5],
    ['the first record of a time', { timestampMs: 2_500 }, 2],
    ['a time at which there is a record', { timestampMs: 2_000 }, 1],
    ['a time after all: the end', { timestampMs: 9e15 }, 5],
  ]
  test.each(cases)('%s', async (_, to, expected) => {
    const plan = await reset(counting(), to === undefined ? {} : { to })
    expect(inputsOf(plan)).toEqual([`in/0: 5 -> ${expected}`])
    expect(await offset(IN)).toBe(expected)
    await stage.say('in', ['z', 'z'])
    const before = (await outs()).length
    await runOnce(counting())
    const keys = ['a', 'b', 'c', 'd', 'z'].slice(Math.min(expected, 4))
    expect((await outs()).slice(before)).toEqual(keys.map((key) => `${key}=1`))
  })

  test('a position below the first record that is left: that record', async () => {
    await stage.ask(IN, { api: 'DeleteRecords', partitions: [{ ...IN, offset: 3 }], timeoutMs: 1_000 })
    expect(inputsOf(await reset(counting(), { to: { offset: 1 } }))).toEqual(['in/0: 5 -> 3'])
  })

  test.each<unknown>([
    { offset: -1 },
    { offset: 0.5 },
    { offset: '3' },
    { shiftBy: 0.5 },
    { timestampMs: -5 },
    'erliest',
    '',
    7,
    null,
    {},
    { foo: 1 },
    { toString: 1 },
    { offset: 3, shiftBy: 1 },
  ])('%j is refused, before anything is changed', async (to) => {
    const before = await stage.committed('app', IN)
    const seen: Request[] = []
    const wire = {
      connect: (purpose: Purpose): Connection => {
        const inner = stage.wire.connect(purpose)
        return {
          destroy: () => inner.destroy(),
          send: (node, request, timeoutMs) => {
            seen.push(request)
            return inner.send(node, request, timeoutMs)
          },
        }
      },
    }
    await expect(reset(counting(), { wire, to: to as never })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
    })
    expect(seen).toEqual([])
    expect(await stage.committed('app', IN)).toEqual(before)
  })

  test('a topic that is no input is refused', async () => {
    const refused = reset(counting(), { to: 'latest', topics: ['out'] })
    await expect(refused).rejects.toThrow(/'out' is no input of application 'app'; it reads in/)
  })
})

test('without a position: where a first start begins', async () => {
  await stage.topics('in', 'out')
  await stage.say('in', ['k', 'a'])
  await runOnce(counting('earliest'))
  expect(inputsOf(await reset(counting('latest')))).toEqual(['in/0: 2 -> 2'])
  await expect(reset(counting('none'))).rejects.toMatchObject({ code: 'OFFSETS_MISSING' })
  expect(await offset(IN)).toBe(2)
  expect(inputsOf(await reset(counting('none'), { to: 'earliest' }))).toEqual(['in/0: 2 -> 0'])
})

test('a position for some inputs: the others get the default', async () => {
  await stage.topics('a', 'b', 'out')
  await stage.say('a', ['k', '1'])
  await stage.say('b', ['k', '2'])
  const both = counting('earliest', ['a', 'b'])
  await runOnce(both)
  const to = { to: 'latest', topics: ['b'] } as const
  expect(inputsOf(await reset(both, { ...to, keepState: true }))).toEqual(['a/0: 2 -> 2', 'b/0: 2 -> 2'])
  expect(inputsOf(await reset(both, to))).toEqual(['a/0: 2 -> 0', 'b/0: 2 -> 2'])
})

test('nothing to shift from is refused', async () => {
  await stage.topics('in', 'out')
  const refused = reset(counting(), { to: { shiftBy: -1 } })
  await expect(refused).rejects.toThrow(/Nothing is committed for in\/0, so it cannot be shifted/)
})

describe('keeping state', () => {
  test('what is read again is processed again onto the same regions', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'], ['k', 'b'])
    const one = await runOnce(counting())
    const before = await topicId('app-n-changelog')
    const plan = await reset(counting(), { keepState: true, to: { shiftBy: -2 }, stateDirs: [one.disk] })
    expect(inputsOf(plan)).toEqual(['in/0: 3 -> 1'])
    expect(plan).toMatchObject({ topics: [], directories: [{ tasks: [] }] })
    expect(plan.regions).toEqual([
      { region: 'n', partition: 0, changelog: 'app-n-changelog', position: expect.any(Number) },
    ])
    expect(await topicId('app-n-changelog')).toBe(before)
    await runOnce(counting(), one.disk)
    expect(await outs()).toEqual(['k=1', 'k=2', 'k=3'])
    // And on from there, exactly once.
    await stage.say('in', ['k', 'c'])
    await runOnce(counting(), one.disk)
    expect(await outs()).toEqual(['k=1', 'k=2', 'k=3', 'k=4'])
  })

  test('what is passed over never counts', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'])
    await runOnce(counting())
    await stage.say('in', ['k', 'b'], ['k', 'c'])
    await reset(counting(), { keepState: true, to: 'latest' })
    await stage.say('in', ['k', 'd'])
    await runOnce(counting())
    expect(await outs()).toEqual(['k=1', 'k=2'])
  })

  test('offsets that another tool has moved: they hold, with the regions as they are', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'], ['k', 'b'])
    const one = await runOnce(counting())
    await stage.commitOffset('app', IN, 1, '')
    const stopped = await stage.run(counting(), { disk: one.disk })
    expect(stopped.app.health.tasks[0]?.error?.code).toBe('METADATA_FOREIGN')
    await stopped.close()
    expect(inputsOf(await reset(counting(), { keepState: true }))).toEqual(['in/0: 1 -> 1'])
    await runOnce(counting(), one.disk)
    expect(await outs()).toEqual(['k=1', 'k=2', 'k=3'])
  })

  test('offsets that have expired: inputs begin as at a first start, with the regions as they are', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'])
    const one = await runOnce(counting())
    await stage.commitOffset('app', IN, -1, '')
    const stopped = await stage.run(counting(), { disk: one.disk })
    expect(stopped.app.health.tasks[0]?.error?.code).toBe('STATE_WITHOUT_OFFSETS')
    await stopped.close()
    expect(inputsOf(await reset(counting(), { keepState: true }))).toEqual(['in/0: - -> 0'])
    await runOnce(counting(), one.disk)
    expect(await outs()).toEqual(['k=1', 'k=2'])
  })

  test('offsets that were set back with their metadata: those, with the regions as they are', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'])
    const one = await runOnce(counting())
    const old = await stage.committed('app', IN)
    await stage.say('in', ['k', 'b'])
    await runOnce(counting(), one.disk)
    await stage.commitOffset('app', IN, old?.offset as number, old?.metadata as string)
    const stopped = await stage.run(counting(), { disk: one.disk })
    expect(stopped.app.health.tasks[0]?.error?.code).toBe('OFFSETS_OLDER_THAN_STATE')
    await stopped.close()
    await reset(counting(), { keepState: true })
    await runOnce(counting(), one.disk)
    expect(await outs()).toEqual(['k=1', 'k=2', 'k=3'])
  })

  test('an input that was deleted and created again begins as at a first start', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'], ['k', 'b'])
    const one = await runOnce(counting())
    const old = await stage.committed('app', IN)
    await stage.cluster.ask('delete', async () => ({
      node: 0,
      request: { api: 'DeleteTopics', topics: ['in'], timeoutMs: 1_000 },
    }))
    await stage.topics('in')
    await stage.say('in', ['k', 'c'], ['k', 'd'], ['k', 'e'])
    // As when Kafka has not deleted it.
    await stage.commitOffset('app', IN, old?.offset as number, old?.metadata as string)
    expect(inputsOf(await reset(counting(), { keepState: true }))).toEqual(['in/0: - -> 0'])
    await runOnce(counting(), one.disk)
    expect(await outs()).toEqual(['k=1', 'k=2', 'k=3', 'k=4', 'k=5'])
  })

  test('records that wait in a repartition topic are neither lost nor repeated', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'], ['k', 'b'])
    let isBroken = true
    const topology = (): Topology => {
      const t = new Topology('app')
      const n = t.region('n', { key: string, value: int64 })
      t.stream('in', strings)
        .repartition('again', strings)
        .process('count', { regions: [n], value: string }, (record, context) => {
          if (isBroken) throw new Error('not today')
          const count = (context.n.get(record.key) ?? 0) + 1
          context.n.put(record.key, count)
          context.forward(record.key, `${count} ${record.value}`)
        })
        .to('out')
      return t
    }
    const one = await stage.run(topology)
    await stage.drained(topology, ['app-again-repartition'])
    await until(() => one.app.health.tasks.map(({ status }) => status).sort()).toEqual(['failed', 'running'])
    await one.close()
    const plan = await reset(topology, { keepState: true })
    expect(inputsOf(plan)).toEqual(['app-again-repartition/0: 0 -> 0', 'in/0: 3 -> 3'])
    isBroken = false
    await runOnce(topology)
    expect(await outs()).toEqual(['k=1 a', 'k=2 b'])
  })

  test('a region with another definition is refused', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'])
    await runOnce(counting())
    const other = () => {
      const t = new Topology('app')
      const n = t.region('n', { key: string, value: string })
      t.stream('in', strings)
        .process('p', { regions: [n] }, () => {})
        .to('out', strings as never)
      return t
    }
    await expect(reset(other, { keepState: true })).rejects.toMatchObject({ code: 'REGION_CHANGED' })
    expect(await offset(IN)).toBe(2)
    await reset(other)
  })

  test('a changelog from which entries were deleted is refused', async () => {
    await stage.topics('in', 'out', {
      topic: 'app-n-changelog',
      configs: { 'cleanup.policy': 'compact,delete' },
    })
    await stage.produce(CHANGELOG, [{ key: Buffer.from('k'), value: Buffer.alloc(8) }])
    const partitions = [{ ...CHANGELOG, offset: 1 }]
    await stage.ask(CHANGELOG, { api: 'DeleteRecords', partitions, timeoutMs: 1_000 })
    const refused = reset(counting(), { keepState: true, to: 'earliest' })
    await expect(refused).rejects.toMatchObject({
      code: expect.stringMatching(/CHANGELOG_TRUNCATED|TOPIC_SETTINGS/),
    })
  })

  test('a transaction that is open in a changelog is waited for: what stands behind it is kept', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'])
    const one = await runOnce(counting())
    const zombie = new TransactionalWriter(stage.cluster, {
      transactionalId: () => 'zombie',
      transactionTimeoutMs: 2_000,
    })
    await zombie.open()
    const batch = new BatchWriter()
    batch.add(0, Buffer.from('k'), Buffer.alloc(8))
    const partitions = [{ ...CHANGELOG, batches: [batch] }]
    await zombie.begin(partitions)
    await zombie.produce(partitions)
    zombie.close()
    await stage.say('in', ['k', 'b'])
    await runOnce(counting(), one.disk)
    await reset(counting(), { keepState: true })
    await stage.say('in', ['k', 'c'])
    await runOnce(counting())
    expect(await outs()).toEqual(['k=1', 'k=2', 'k=3'])
  })

  test('stream time goes on', async () => {
    await stage.topics('in', 'out')
    await stage.send('in', [{ key: 'k', value: 'a', timestamp: 77_000 }], strings)
    await runOnce(counting())
    await reset(counting(), { keepState: true, to: 'earliest' })
    expect(JSON.parse((await stage.committed('app', IN))?.metadata as string)[7]).toBe(77_000)
  })
})

describe('instances', () => {
  test('that run are told, and nothing is changed', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'])
    const one = await stage.run(counting())
    await stage.drained(counting())
    const error = await reset(counting(), { stateDirs: [one.disk] }).catch((failure) => failure)
    expect(error).toMatchObject({ code: 'GROUP_ACTIVE' })
    expect(error.message).toMatch(/has running instances: \S+ at embedded\. Stop them first.*--force/)
    await stage.say('in', ['k', 'b'])
    await stage.drained(counting())
    expect(await outs()).toEqual(['k=1', 'k=2'])
  })

  test('that were killed are put out by force, and what they left open is ended', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'])
    const one = stage.instance(counting(), { sessionTimeoutMs: 60_000, transactionTimeoutMs: 60_000 })
    // Dies with its offsets pending.
    one.fates = ({ api }) =>
      api === 'EndTxn' && one.requests.some((r) => r.api === 'Produce') ? 'crashBefore' : 'pass'
    await one.start()
    await one.fell
    const plan = await reset(counting(), { force: true, stateDirs: [one.disk] })
    expect(plan.members).toHaveLength(1)
    await runOnce(counting(), one.disk)
    expect(await outs()).toEqual(['k=1'])
  })

  test('that were killed elsewhere: the end of their transaction is waited for', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'])
    const one = stage.instance(counting())
    one.fates = ({ api }) =>
      api === 'EndTxn' && one.requests.some((r) => r.api === 'Produce') ? 'crashBefore' : 'pass'
    await one.start()
    await one.fell
    await reset(counting(), { force: true, keepState: true })
    await runOnce(counting())
    expect(await outs()).toEqual(['k=1'])
  })

  test('that live and are put out by force stop, and begin anew when they are restarted', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'])
    const one = await stage.run(counting())
    await stage.drained(counting())
    await reset(counting(), { force: true })
    await until(() => one.app.health.tasks[0]?.error?.code).toBe('TOPIC_RECREATED')
    await one.close()
    await runOnce(counting(), one.disk)
    expect(await outs()).toEqual(['k=1', 'k=1'])
  })

  /** A reset that waits before its n-th request of a kind until it is told to go on. */
  function holding(api: Request['api'], nth: number) {
    const reached = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    let count = 0
    const connect = (purpose: Purpose): Connection => {
      const inner = stage.wire.connect(purpose)
      return {
        destroy: () => inner.destroy(),
        send: async (node, request, timeoutMs) => {
          if (request.api === api && ++count === nth) {
            reached.resolve()
            await goOn.promise
          }
          return inner.send(node, request, timeoutMs)
        },
      }
    }
    return { wire: { connect }, reached: reached.promise, goOn: () => goOn.resolve() }
  }

  test('that start meanwhile wait, and then begin anew', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'])
    const one = await runOnce(counting())
    const { wire, reached, goOn } = holding('TxnOffsetCommit', 2)
    const resetting = reset(counting(), { wire })
    await reached
    const two = stage.instance(counting(), { disk: one.disk })
    await two.start()
    await until(() =>
      two.requests.some(
        ({ api, memberId }: Partial<Requests['JoinGroup']> & Request) =>
          api === 'JoinGroup' && memberId !== '',
      ),
    ).toBe(true)
    expect(two.app.state).toBe('REBALANCING')
    goOn()
    await resetting
    await two.app.untilRunning()
    await stage.drained(counting())
    expect(await outs()).toEqual(['k=1', 'k=1'])
  })

  test('that had seen the old topics when they began to wait stop, until they are restarted', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'])
    const one = await runOnce(counting())
    const { wire, reached, goOn } = holding('DeleteTopics', 1)
    const resetting = reset(counting(), { wire })
    await reached
    const two = await stage.instance(counting(), { disk: one.disk }).start()
    goOn()
    await resetting
    await two.app.untilRunning()
    expect(two.app.health.tasks[0]?.error?.code).toBe('TOPIC_RECREATED')
    await two.close()
    await runOnce(counting(), one.disk)
    expect(await outs()).toEqual(['k=1', 'k=1'])
  })

  test('that join while the reset does: nothing is changed', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'])
    const one = await runOnce(counting())
    // Behind the look at the group, before the reset is in it.
    const { wire, reached, goOn } = holding('JoinGroup', 1)
    const resetting = reset(counting(), { wire })
    await reached
    const two = await stage.run(counting(), { disk: one.disk })
    goOn()
    await expect(resetting).rejects.toMatchObject({ code: 'GROUP_ACTIVE' })
    await stage.say('in', ['k', 'b'])
    await stage.drained(counting())
    await until(() => two.app.state).toBe('RUNNING')
    expect(await outs()).toEqual(['k=1', 'k=2'])
  })

  test('that take over while the reset is frozen: it changes nothing any more', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'a'])
    const one = await runOnce(counting())
    const { wire, reached, goOn } = holding('TxnOffsetCommit', 1)
    const resetting = reset(counting(), { wire, keepState: true, to: 'earliest' })
    await reached
    // As when its session has ended.
    const { members } = await describeGroup(stage.cluster, 'app')
    await removeMembers(stage.cluster, 'app', members)
    const two = await stage.run(counting(), { disk: one.disk })
    goOn()
    await expect(resetting).rejects.toMatchObject({ kind: 'fenced' })
    await stage.say('in', ['k', 'b'])
    await stage.drained(counting())
    expect(two.app.health.tasks[0]?.status).toBe('running')
    expect(await outs()).toEqual(['k=1', 'k=2'])
  })
})

describe('a dry run', () => {
  test.each([{}, { keepState: true }])('tells the same plan, and changes nothing: %j', async (options) => {
    await makeTopics(stage.wire)
    await feed(stage.wire, 0, 20)
    const one = await runOnce(tally)
    const look = async () => ({
      topics: await stage.cluster.refresh(null),
      offsets: await Promise.all(
        [0, 1, 2].flatMap((partition) =>
          ['numbers', 'tally-by-rest-repartition'].map((topic) =>
            stage.committed('tally', { topic, partition }),
          ),
        ),
      ),
      disk: [await one.disk.list(''), await one.disk.list('tasks'), await one.disk.readText('owner.json')],
    })
    const before = await look()
    const wire = new DyingWire(stage.wire, -1, 'loseAnswer')
    const told: ResetPlan[] = []
    const whole = { ...options, stateDirs: [one.disk], onPlan: (plan: ResetPlan) => void told.push(plan) }
    const dry = await reset(tally, { ...whole, wire, dryRun: true })
    expect(await look()).toEqual(before)
    expect(wire.changes).toEqual([])
    expect(told).toEqual([dry])
    expect(await reset(tally, whole)).toEqual(dry)
    expect(told).toEqual([dry, dry])
  })

  test('makes no directory', async () => {
    await stage.topics('in', 'out')
    const disk = memoryDisk()
    await reset(counting(), { stateDirs: [disk], dryRun: true })
    await reset(counting(), { stateDirs: [disk] })
    expect(await disk.list('')).toEqual([])
  })
})

/** Twice in the sinks, as of one run in the regions. */
async function expectTwice(inputs: number): Promise<void> {
  const copies = await stage.records('copies', { key: string, value: int64 })
  expect(copies).toHaveLength(2 * inputs)
  const last = new Map(
    (await stage.records('tallies', { key: string, value: json<Tally>() })).map(({ key, value }) => [
      key,
      value,
    ]),
  )
  const changelog = await stage.records('tally-counts-changelog', { key: string, value: int64 })
  const counts = new Map(changelog.map(({ key, value }) => [key, value]))
  expect([...counts.values()].reduce((sum, count) => sum + count, 0)).toBe(inputs)
  for (const [key, count] of counts) expect(last.get(key)?.count).toBe(count)
}

describe('cut off', () => {
  const INPUTS = 20
  /** Of a full reset, with a state directory. */
  const CHANGES = [
    'JoinGroup',
    'JoinGroup',
    'SyncGroup',
    'InitProducerId',
    'InitProducerId',
    'AddOffsetsToTxn',
    'TxnOffsetCommit',
    'EndTxn',
    'DeleteTopics',
    'CreateTopics',
    'AddOffsetsToTxn',
    'TxnOffsetCommit',
    'EndTxn',
    'LeaveGroup',
  ]
  const MARKED = CHANGES.indexOf('EndTxn')
  const DONE = CHANGES.lastIndexOf('EndTxn')

  const sinks = async () => [
    (await stage.records('copies', { key: string, value: int64 })).length,
    (await stage.records('tallies', { key: string, value: json<Tally>() })).length,
  ]

  const points = CHANGES.flatMap((api, at) =>
    (['dieBefore', 'dieAfter'] as const).map((mishap) => [at, api, mishap] as const),
  )
  test.each(points)('at change %i (%s), %s: as before, or not at all, or done', async (at, _, mishap) => {
    await makeTopics(stage.wire)
    await feed(stage.wire, 0, INPUTS)
    const one = await runOnce(tally)
    const wire = new DyingWire(stage.wire, at, mishap)
    void reset(tally, { wire, stateDirs: [one.disk] }).catch(() => {})
    await wire.happened
    expect(wire.changes).toEqual(CHANGES.slice(0, at + 1))
    one.disk.crash()

    const isMarked = at > MARKED || (at === MARKED && mishap === 'dieAfter')
    const isDone = at > DONE || (at === DONE && mishap === 'dieAfter')
    if (!isDone) {
      const two = await stage.run(tally, { disk: one.disk })
      const tasks = new Map(
        two.app.health.tasks.map(({ task, status, error }) => [task, error?.code ?? status]),
      )
      for (const task of ['0_0', '0_1', '0_2']) {
        expect(tasks.get(task)).toBe(isMarked ? 'RESET_UNFINISHED' : 'running')
      }
      expect(await sinks()).toEqual([INPUTS, INPUTS])
      await two.close()
      const plan = await reset(tally, { force: true, stateDirs: [one.disk] })
      expect(plan.resumes).toBe(isMarked)
    }
    await runOnce(tally, one.disk)
    await expectTwice(INPUTS)
  })

  const lost = CHANGES.map((api, at) => [at, api, 'loseAnswer'] as const)
  test.each(lost)(
    'the answer to change %i (%s) is lost: done all the same',
    async (at, _, mishap: Mishap) => {
      await makeTopics(stage.wire)
      await feed(stage.wire, 0, INPUTS)
      const one = await runOnce(tally)
      const wire = new DyingWire(stage.wire, at, mishap)
      await reset(tally, { wire, stateDirs: [one.disk] })
      await runOnce(tally, one.disk)
      await expectTwice(INPUTS)
    },
  )

  test('a shift comes to the same when it is run again', async () => {
    await stage.topics('in', 'out')
    await stage.say('in', ['a', '1'], ['b', '2'], ['c', '3'])
    await runOnce(counting())
    const to = { shiftBy: -2 }
    for (const at of [MARKED, MARKED + 2]) {
      const wire = new DyingWire(stage.wire, at, 'dieBefore')
      void reset(counting(), { wire, to, force: true }).catch(() => {})
      await wire.happened
    }
    expect(inputsOf(await reset(counting(), { to, force: true }))).toEqual(['in/0: 4 -> 2'])
  })

  test('what there was to keep may be gone: keepState is refused', async () => {
    await stage.topics('in', 'out')
    await runOnce(counting())
    const wire = new DyingWire(stage.wire, CHANGES.indexOf('DeleteTopics') - 1, 'dieBefore')
    void reset(counting(), { wire }).catch(() => {})
    await wire.happened
    const refused = reset(counting(), { keepState: true, force: true })
    await expect(refused).rejects.toMatchObject({ code: 'RESET_UNFINISHED' })
  })
})
