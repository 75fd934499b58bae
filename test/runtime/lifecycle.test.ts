/** An application from its making to its end: states, starting, closing, and what stays behind. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  type ApplicationState,
  Druse,
  type DruseError,
  type DruseOptions,
  levelDisk,
  memoryDisk,
  silentLogger,
  Topology,
} from '../../src/index.ts'
import { type Fates, type Instance, QUICK } from './instance.ts'
import { Stage, strings } from './stage.ts'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
  await stage.topics({ topic: 'in', partitions: 2 }, 'out')
})

afterEach(async () => {
  await stage.close()
})

const counting = (): Topology => {
  const t = new Topology('app')
  t.stream('in', strings).groupByKey().count('n').toStream().mapValues(String).to('out', strings)
  return t
}

/** Values that stop for ever at 'stop', while told to. */
const stopping = (isStopped: () => boolean) => (): Topology => {
  const t = new Topology('app')
  t.stream('in', strings)
    .process('stop', {}, (record, { forward }) => {
      forward(record.key, record.value)
      if (record.value === 'stop' && isStopped()) return new Promise<void>(() => {})
    })
    .to('out')
  return t
}

function statesOf({ app }: Instance): ApplicationState[] {
  const states: ApplicationState[] = [app.state]
  app.onStateChange((to, from) => {
    expect(from).toBe(states.at(-1))
    states.push(to)
  })
  return states
}

const codeOf = (error: unknown) => (error as DruseError).code

describe('states', () => {
  test('come in their order, each told once', async () => {
    const one = stage.instance(counting)
    const states = statesOf(one)
    expect(one.app.health).toMatchObject({
      state: 'CREATED',
      healthy: true,
      tasks: [],
      counts: { records: 0 },
    })
    await one.start()
    await one.app.untilRunning()
    expect(one.app.health).toMatchObject({
      state: 'RUNNING',
      healthy: true,
      tasks: [
        { task: '0_0', status: 'running' },
        { task: '0_1', status: 'running' },
      ],
    })
    await one.close()
    expect(one.app.health).toMatchObject({ state: 'NOT_RUNNING', healthy: true, error: undefined })
    expect(states).toEqual(['CREATED', 'REBALANCING', 'RUNNING', 'PENDING_SHUTDOWN', 'NOT_RUNNING'])
  })

  test('a rebalance is one, for those who were there', async () => {
    const one = await stage.run(counting)
    const states = statesOf(one)
    const two = await stage.run(counting)
    await expect.poll(() => one.app.health.tasks.length).toBe(1)
    await one.app.untilRunning()
    expect(states).toEqual(['RUNNING', 'REBALANCING', 'RUNNING'])
    await two.close()
    await expect.poll(() => one.app.health.tasks.length).toBe(2)
    await one.app.untilRunning()
    expect(states).toEqual(['RUNNING', 'REBALANCING', 'RUNNING', 'REBALANCING', 'RUNNING'])
  })

  test('a listener that was taken away hears nothing', async () => {
    const one = stage.instance(counting)
    const heard: ApplicationState[] = []
    const stop = one.app.onStateChange((to) => heard.push(to))
    await one.start()
    stop()
    await one.app.untilRunning()
    expect(heard).toEqual(['REBALANCING'])
  })

  test('an instance without tasks runs, too', async () => {
    const instances: Instance[] = []
    for (let i = 0; i < 3; i++) instances.push(await stage.run(counting))
    await expect.poll(() => instances.map(({ app }) => app.health.tasks.length).sort()).toEqual([0, 1, 1])
    for (const { app } of instances) await app.untilRunning()
    expect(instances.map(({ app }) => app.state)).toEqual(['RUNNING', 'RUNNING', 'RUNNING'])
  })

  test('what a group refuses ends the application, and lets go of everything', async () => {
    const disk = memoryDisk()
    const refused = {
      errorCode: 23,
      generationId: -1,
      protocolName: '',
      leader: '',
      memberId: '',
      members: [],
    }
    const one = stage.instance(counting, {
      disk,
      fates: ({ api }) => (api === 'JoinGroup' ? { answer: refused } : 'pass'),
    })
    const states = statesOf(one)
    await one.start()
    const error = await one.app.untilRunning().catch((error: unknown) => error as DruseError)
    expect(error).toMatchObject({ code: 'KAFKA_REFUSED', details: { kafkaCode: 23 } })
    expect(one.app.health).toMatchObject({ state: 'ERROR', healthy: false, error })
    await one.app.close()
    expect(states).toEqual(['CREATED', 'REBALANCING', 'ERROR', 'NOT_RUNNING'])
    expect(one.app.health).toMatchObject({ state: 'NOT_RUNNING', error })
    await stage.run(counting, { disk })
  })
})

describe('starting', () => {
  test('happens once', async () => {
    const one = stage.instance(counting)
    const starting = one.start()
    expect(codeOf(await one.app.start().catch((error: unknown) => error))).toBe('APPLICATION_STATE')
    await starting
    const again = await one.app.start().catch((error: unknown) => error as DruseError)
    expect(again).toMatchObject({ code: 'APPLICATION_STATE', kind: 'user' })
    expect((again as DruseError).message).toMatch(
      /is (REBALANCING|RUNNING); it starts once: make a new Druse/,
    )
    await one.app.untilRunning()
  })

  test('not after an end', async () => {
    const one = await stage.run(counting)
    await one.close()
    expect(codeOf(await one.app.start().catch((error: unknown) => error))).toBe('APPLICATION_STATE')
    expect(codeOf(await one.app.untilRunning().catch((error: unknown) => error))).toBe('APPLICATION_STATE')
  })

  test('that failed can be tried again, with a new application on the same directory', async () => {
    const disk = memoryDisk()
    const wrong = (): Topology => {
      const t = new Topology('app')
      t.stream('missing', strings).to('out')
      return t
    }
    const one = stage.instance(wrong, { disk })
    const states = statesOf(one)
    expect(codeOf(await one.start().catch((error: unknown) => error))).toBe('TOPIC_MISSING')
    expect(codeOf(await one.app.untilRunning().catch((error: unknown) => error))).toBe('TOPIC_MISSING')
    await one.close()
    expect(states).toEqual(['CREATED', 'REBALANCING', 'ERROR', 'NOT_RUNNING'])
    await stage.run(counting, { disk })
  })

  test('a topology that is none: told before anything is touched', async () => {
    const one = stage.instance(() => new Topology('app'))
    expect(codeOf(await one.start().catch((error: unknown) => error))).toBe('TOPOLOGY_INVALID')
    expect(one.app.state).toBe('CREATED')
    expect(one.requests).toEqual([])
  })

  const OPTIONS: readonly (readonly [Partial<DruseOptions>, RegExp])[] = [
    [{ commitIntervalMs: 0 }, /^Option commitIntervalMs is 0; it has to be a whole number from 1/],
    [{ commitRecords: 1.5 }, /^Option commitRecords is 1\.5/],
    [{ commitBytes: Number.NaN }, /^Option commitBytes is NaN/],
    [{ requestTimeoutMs: -1 }, /^Option requestTimeoutMs is -1/],
    [{ bufferedRecordsPerPartition: '9' as never }, /^Option bufferedRecordsPerPartition is 9/],
    [{ replicationFactor: 0 }, /^Option replicationFactor is 0/],
    [{ repartitionPurgeIntervalMs: 0 }, /^Option repartitionPurgeIntervalMs is 0/],
    // A timer that is set for longer goes off at once.
    [{ metadataMaxAgeMs: 2 ** 31 }, /it has to be a whole number from 1 to 2147483647 /],
    [{ replicationFactor: -2 }, /^Option replicationFactor is -2; it has to be a whole number from -1/],
    [
      { heartbeatIntervalMs: 400, sessionTimeoutMs: 700 },
      /^heartbeatIntervalMs \(400\) has to be at most half of sessionTimeoutMs \(700\)/,
    ],
    [
      { commitIntervalMs: 10_000, transactionTimeoutMs: 10_000 },
      /^commitIntervalMs \(10000\) has to be less than transactionTimeoutMs \(10000\)/,
    ],
  ]
  for (const [options, message] of OPTIONS) {
    test(`options are checked first: ${JSON.stringify(options)}`, () => {
      const make = () => new Druse(counting(), { wire: stage.wire, stateDir: memoryDisk(), ...options })
      expect(make).toThrow(
        expect.objectContaining({ code: 'OPTION_INVALID', message: expect.stringMatching(message) }),
      )
    })
  }

  test('the defaults, and -1 for the replication factor, are allowed', () => {
    const base = { wire: stage.wire, stateDir: memoryDisk(), logger: silentLogger }
    expect(() => new Druse(counting(), base)).not.toThrow()
    expect(() => new Druse(counting(), { ...base, replicationFactor: -1 })).not.toThrow()
    expect(() => new Druse(counting(), { ...base, metadataMaxAgeMs: 2 ** 31 - 1 })).not.toThrow()
    expect(() => new Druse(counting(), { ...base, commitBytes: 2 ** 40 })).not.toThrow()
  })
})

describe('closing', () => {
  test('before starting', async () => {
    const one = stage.instance(counting)
    const states = statesOf(one)
    await one.close()
    await one.close()
    expect(states).toEqual(['CREATED', 'PENDING_SHUTDOWN', 'NOT_RUNNING'])
    expect(codeOf(await one.app.start().catch((error: unknown) => error))).toBe('APPLICATION_STATE')
    expect(one.requests).toEqual([])
  })

  test('as often as one likes, each time until it is over', async () => {
    const one = await stage.run(counting)
    const states = statesOf(one)
    let isOver = false
    const first = one.close().then(() => {
      isOver = true
    })
    await one.close()
    expect(one.app.state).toBe('NOT_RUNNING')
    await first
    expect(isOver).toBe(true)
    await one.close()
    expect(states).toEqual(['RUNNING', 'PENDING_SHUTDOWN', 'NOT_RUNNING'])
    await (await one.disk.open('process')).close()
  })

  for (const api of ['Metadata', 'CreateTopics', 'InitProducerId'] as const) {
    test(`while it starts, at ${api}: nothing of it goes on`, async () => {
      const release = Promise.withResolvers<void>()
      const one = stage.instance(counting, {
        fates: (request) => (request.api === api ? { after: release.promise } : 'pass'),
      })
      const starting = one.start().catch((error: unknown) => error)
      await expect.poll(() => one.requests.some((request) => request.api === api)).toBe(true)
      const closing = one.close()
      release.resolve()
      await closing
      expect(one.app.state).toBe('NOT_RUNNING')
      await starting
      const count = one.requests.length
      await stage.say('in', ['k', 'v'])
      // Its directory is free, and whoever comes next is alone.
      const two = await stage.run(counting, { disk: one.disk })
      await stage.drained(counting)
      expect(await stage.read('out')).toEqual([['k', '1']])
      expect(two.app.health.tasks).toHaveLength(2)
      expect(one.requests.length).toBe(count)
    })
  }

  const SILENCES: Record<string, Fates> = {
    'no broker can be reached': () => 'loseRequest',
    'a broker answers nothing': () => ({ after: new Promise(() => {}) }),
    'a broker initialises no producer': ({ api }) =>
      api === 'InitProducerId' ? { after: new Promise(() => {}) } : 'pass',
    'a broker tells nothing of a global region': ({ api }) => (api === 'Fetch' ? 'loseRequest' : 'pass'),
  }
  for (const [what, fates] of Object.entries(SILENCES)) {
    test(`while it starts, and ${what}: within the deadline`, async () => {
      const topology = (): Topology => {
        const t = counting()
        t.globalRegion('names', { topic: 'names', ...strings })
        return t
      }
      await stage.topics({ topic: 'names', configs: { 'cleanup.policy': 'compact' } })
      if (what.includes('global')) await stage.say('names', ['a', 'Anna'])
      const one = stage.instance(topology, { fates, requestTimeoutMs: 60_000 })
      const starting = one.start().catch((error: unknown) => error)
      await expect.poll(() => one.requests.some((request) => fates(request) !== 'pass')).toBe(true)
      const from = performance.now()
      await one.app.close({ timeoutMs: 100 })
      expect(performance.now() - from).toBeLessThan(2_000)
      expect(one.app.state).toBe('NOT_RUNNING')
      expect(codeOf(await starting)).toMatch(/BROKER_UNAVAILABLE|APPLICATION_STATE|READ_ABANDONED/)
      await (await one.disk.open('process')).close()
    })
  }

  test('commits what is done, though no interval is over', async () => {
    const one = await stage.run(counting, { commitIntervalMs: 1_499 })
    await stage.say('in', ['k', '1'], ['k', '2'])
    await expect.poll(() => one.app.health.counts.records).toBe(2)
    expect(one.app.health.counts.commits).toBe(0)
    await one.close()
    expect(await stage.read('out')).toEqual([
      ['k', '1'],
      ['k', '2'],
    ])
    const two = await stage.run(counting, { disk: one.disk })
    expect(two.logged('state replayed')).toBe(false)
    await stage.drained(counting)
    expect(two.app.health.counts.records).toBe(0)
  })

  test('leaves the group: a successor has the tasks at once, long before a session is over', async () => {
    const long = { sessionTimeoutMs: 60_000, heartbeatIntervalMs: 20_000, rebalanceTimeoutMs: 60_000 }
    const one = await stage.run(counting, long)
    await one.close()
    const from = performance.now()
    const two = await stage.run(counting, long)
    expect(two.app.health.tasks).toHaveLength(2)
    expect(performance.now() - from).toBeLessThan(5_000)
  })

  test('within its deadline, though an operator never returns; what it had in hand is processed by the next', async () => {
    let isStopped = true
    const topology = stopping(() => isStopped)
    const one = await stage.run(topology)
    await stage.say('in', ['a', '1'], ['a', 'stop'], ['a', '2'])
    await expect.poll(() => one.app.health.counts.records).toBe(2)
    const from = performance.now()
    await one.app.close({ timeoutMs: 100 })
    expect(performance.now() - from).toBeLessThan(2_000)
    expect(one.app.state).toBe('NOT_RUNNING')
    isStopped = false
    await stage.run(topology, { disk: one.disk })
    await stage.drained(topology)
    expect((await stage.read('out')).map(([, value]) => value)).toEqual(['1', 'stop', '2'])
  })

  test('a stuck operator keeps neither other tasks from their commit nor the instance from leaving', async () => {
    const topology = stopping(() => true)
    const one = await stage.run(topology, {
      commitIntervalMs: 1_499,
      rebalanceTimeoutMs: 60_000,
      sessionTimeoutMs: 60_000,
    })
    await stage.say('in', ['a', 'stop'])
    await expect.poll(() => one.app.health.counts.records).toBe(1)
    const other = ['b', 'c', 'd', 'e'].map((key) => [key, 'fine'] as const)
    await stage.say('in', ...other)
    await expect.poll(() => one.app.health.counts.records).toBeGreaterThan(1)
    const done = one.app.health.counts.records - 1
    await one.app.close({ timeoutMs: 400 })
    expect(await stage.read('out')).toHaveLength(done)
    const from = performance.now()
    await stage.run(counting)
    expect(performance.now() - from).toBeLessThan(5_000)
  })

  test('within its deadline, though no broker answers any more', async () => {
    const one = await stage.run(counting, { commitIntervalMs: 1_499 })
    await stage.say('in', ['k', '1'])
    await expect.poll(() => one.app.health.counts.records).toBe(1)
    one.fates = () => 'loseRequest'
    const from = performance.now()
    await one.app.close({ timeoutMs: 300 })
    expect(performance.now() - from).toBeLessThan(3_000)
    expect(one.app.state).toBe('NOT_RUNNING')
    await stage.run(counting, { disk: one.disk })
    await stage.drained(counting)
    expect(await stage.read('out')).toEqual([['k', '1']])
  })

  test('within its deadline, though a broker answers nothing at all', async () => {
    const one = await stage.run(counting, { commitIntervalMs: 1_499, requestTimeoutMs: 60_000 })
    await stage.say('in', ['k', '1'])
    await expect.poll(() => one.app.health.counts.records).toBe(1)
    one.fates = () => ({ after: new Promise(() => {}) })
    const from = performance.now()
    await one.app.close({ timeoutMs: 300 })
    expect(performance.now() - from).toBeLessThan(3_000)
    await stage.run(counting, { disk: one.disk })
    await stage.drained(counting)
    expect(await stage.read('out')).toEqual([['k', '1']])
  })
})

describe('regions from outside', () => {
  const region = counting().region('n-of-another', strings)

  test('are there from start to close', async () => {
    const one = stage.instance(counting)
    const n = new Topology('x').region('n', strings)
    const look = () => one.app.region(n)
    expect(look).toThrow(expect.objectContaining({ code: 'APPLICATION_STATE' }))
    await one.start()
    expect(look).not.toThrow()
    await one.close()
    expect(look).toThrow(expect.objectContaining({ code: 'APPLICATION_STATE' }))
    expect(look).toThrow(/'app' is NOT_RUNNING/)
  })

  test('of another topology are unknown', async () => {
    const one = await stage.run(counting)
    expect(() => one.app.region(region)).toThrow(
      expect.objectContaining({
        code: 'TOPOLOGY_INVALID',
        message: expect.stringMatching(/'n-of-another' is not of/),
      }),
    )
  })
})

test('settings for tests are within what is allowed', () => {
  expect(() => new Druse(counting(), { wire: stage.wire, stateDir: memoryDisk(), ...QUICK })).not.toThrow()
})

test('closes in time while a task is failing, another one has a commit under way, and nobody answers', async () => {
  const topology = (): Topology => {
    const t = new Topology('app')
    const kept = t.region('kept', strings)
    t.stream('in', strings).foreach((value) => {
      if (value === 'bad') throw new Error('as it was told to')
    })
    t.stream('other', strings).process('keep', { regions: [kept] }, ({ key, value }, { kept }) => {
      kept.put(key, value)
    })
    return t
  }
  await stage.topics('other')
  let isCut = false
  const lookUps = new Set(['Heartbeat', 'FindCoordinator', 'Metadata'])
  const fates: Fates = ({ api }) => {
    if (!isCut || api === 'Fetch') return 'pass'
    return lookUps.has(api) ? 'loseRequest' : { after: new Promise(() => {}) }
  }
  // Whose stores take a moment to be closed.
  const directory = await mkdtemp(join(tmpdir(), 'druse-close-'))
  const one = await stage.run(topology, {
    stateDir: levelDisk(directory),
    fates,
    requestTimeoutMs: 8_000,
    sessionTimeoutMs: 30_000,
    transactionTimeoutMs: 20_000,
  })
  isCut = true
  await stage.say('other', ['k', 'v'])
  await expect.poll(() => one.requests.some(({ api }) => api === 'AddPartitionsToTxn')).toBe(true)
  await stage.say('in', ['k', 'bad'])
  await expect.poll(() => one.app.health.tasks.some(({ status }) => status === 'suspended')).toBe(true)
  await one.app.close({ timeoutMs: 500 })
  expect(one.app.state).toBe('NOT_RUNNING')
  await rm(directory, { recursive: true })
})
