/** Topics that are missing, have the wrong shape, or settings that would lose records: told at start, before anything is done. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type DruseError, int64, memoryDisk, Topology } from '../../src/index.ts'
import type { InstanceOptions } from './instance.ts'
import { Stage, strings } from './stage.ts'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
})

afterEach(async () => {
  await stage.close()
})

/** Why an application does not start; it has let go of its directory then, and joined nothing. */
async function refusal(
  topology: () => Topology,
  options: Partial<InstanceOptions> = {},
): Promise<DruseError> {
  const disk = options.disk ?? memoryDisk()
  const one = stage.instance(topology, { ...options, disk })
  const error = await one.start().then(
    () => undefined,
    (error: unknown) => error as DruseError,
  )
  expect(error).toBeDefined()
  expect(one.app.state).toBe('ERROR')
  expect(one.app.health).toMatchObject({ healthy: false, error })
  expect(one.requests.filter(({ api }) => api === 'JoinGroup' || api === 'InitProducerId')).toEqual([])
  await (await disk.open('process')).close()
  await one.close()
  expect(one.app.state).toBe('NOT_RUNNING')
  return error as DruseError
}

const exists = async (topic: string): Promise<boolean> => (await stage.cluster.topic(topic)) !== undefined

/** The broker of one node leads everything. */
const broker = { topic: 'in', partition: 0 }

async function recreate(topic: string, partitions: number): Promise<void> {
  await stage.ask(broker, { api: 'DeleteTopics', topics: [topic], timeoutMs: 1_000 })
  stage.cluster.forgetTopic(topic)
  await stage.topics({ topic, partitions })
}

const everything = (): Topology => {
  const t = new Topology('app', { onFailure: { deadLetter: 'failed' } })
  t.globalRegion('names', { topic: 'global', ...strings })
  t.stream(['in', 'also'], { ...strings, onUndecodable: { deadLetter: 'undecodable' } }).to('out')
  return t
}
const TOPICS = ['also', 'failed', 'global', 'in', 'out', 'undecodable']

describe('missing topics', () => {
  for (const missing of TOPICS) {
    test(`'${missing}': told by name, and nothing is created`, async () => {
      const compact = { 'cleanup.policy': 'compact' }
      await stage.topics(
        ...TOPICS.filter((topic) => topic !== missing).map((topic) => ({
          topic,
          ...(topic === 'global' && { configs: compact }),
        })),
      )
      const error = await refusal(everything)
      expect(error).toMatchObject({ code: 'TOPIC_MISSING', kind: 'user', details: { topics: [missing] } })
      expect(error.message).toBe(
        `These topics do not exist: ${missing}. Create them: their partition counts are yours to choose [TOPIC_MISSING]`,
      )
      expect(await exists(missing)).toBe(false)
    })
  }

  test('all are told at once', async () => {
    expect((await refusal(everything)).details).toEqual({ topics: TOPICS })
  })

  test('once they exist, the same directory starts', async () => {
    const disk = memoryDisk()
    const topology = (): Topology => {
      const t = new Topology('app')
      t.stream('in', strings)
        .groupBy('by', (value) => value)
        .count('n')
        .toStream()
        .to('out')
      return t
    }
    await stage.topics('in')
    await refusal(topology, { disk })
    expect(await exists('app-n-changelog')).toBe(false)
    expect(await exists('app-by-repartition')).toBe(false)
    await stage.topics('out')
    await stage.say('in', ['k', 'v'])
    await stage.run(topology, { disk })
    await stage.drained(topology)
    expect(await stage.read('out', { ...strings, value: int64 })).toEqual([['v', 1]])
  })

  test('a topic that cannot be created', async () => {
    const topology = (): Topology => {
      const t = new Topology('app')
      t.stream('in', strings).groupByKey().count('n')
      return t
    }
    await stage.topics('in')
    const topics = [{ topic: 'app-n-changelog', errorCode: 29, errorMessage: 'not authorized' }]
    const error = await refusal(topology, {
      fates: ({ api }) => (api === 'CreateTopics' ? { answer: { topics } } : 'pass'),
    })
    expect(error).toMatchObject({
      code: 'TOPIC_NOT_CREATED',
      details: { topic: 'app-n-changelog', kafkaCode: 29 },
    })
    expect(error.message).toMatch(
      /refused to create topic 'app-n-changelog': not authorized.*Create it by hand/,
    )
  })
})

describe('partition counts', () => {
  test('topics that share a region have to have the same', async () => {
    const topology = (): Topology => {
      const t = new Topology('app')
      const shared = t.region('shared', strings)
      t.stream('left', strings).process('write', { regions: [shared] }, () => {})
      t.stream('right', strings).process('read', { regions: [shared] }, () => {})
      return t
    }
    await stage.topics({ topic: 'left', partitions: 2 }, { topic: 'right', partitions: 3 })
    const error = await refusal(topology)
    expect(error).toMatchObject({ code: 'TOPIC_PARTITIONS', details: { topics: ['left', 'right'] } })
    expect(error.message).toMatch(
      /region 'shared' have different partition counts: left \(2\), right \(3\).*repartition/,
    )
  })

  test('those that only meet in a sink, or in a global region, need not', async () => {
    const topology = (): Topology => {
      const t = new Topology('app')
      const names = t.globalRegion('names', { topic: 'names', ...strings })
      t.stream('left', strings)
        .merge(t.stream('right', strings))
        .process('look', { regions: [names] }, (record, { forward }) => forward(record.key, record.value))
        .to('out')
      return t
    }
    await stage.topics(
      { topic: 'left', partitions: 2 },
      { topic: 'right', partitions: 3 },
      { topic: 'names', configs: { 'cleanup.policy': 'compact' } },
      'out',
    )
    for (const topic of ['left', 'right'])
      await stage.say(topic, ['a', '1'], ['b', '2'], ['c', '3'], ['d', '4'])
    const one = await stage.run(topology)
    await stage.drained(topology)
    expect(one.app.health.tasks).toHaveLength(3)
    expect(await stage.read('out')).toHaveLength(8)
  })

  for (const [what, internal, topology] of [
    [
      'a changelog',
      'app-n-changelog',
      () => {
        const t = new Topology('app')
        t.stream('in', strings).groupByKey().count('n')
        return t
      },
    ],
    [
      'a repartition topic',
      'app-by-repartition',
      () => {
        const t = new Topology('app')
        t.stream('in', strings)
          .selectKey((value) => value)
          .repartition('by', strings)
          .foreach(() => {})
        return t
      },
    ],
  ] as const) {
    test(`an input whose count has changed since ${what} was made`, async () => {
      await stage.topics({ topic: 'in', partitions: 2 })
      await (await stage.run(topology)).close()
      await recreate('in', 3)
      const error = await refusal(topology)
      expect(error).toMatchObject({
        code: 'TOPIC_PARTITIONS',
        details: { topic: internal, partitions: 2, needed: 3 },
      })
      expect(error.message).toMatch(
        /partition count of an input has changed, and keys with it\. Go back to the old count\..*'druse reset MODULE'/,
      )
    })
  }

  test('a repartition topic that is given another count', async () => {
    const topology = (partitions: number) => (): Topology => {
      const t = new Topology('app')
      t.stream('in', strings)
        .repartition('by', { partitions })
        .foreach(() => {})
      return t
    }
    await stage.topics('in')
    await (await stage.run(topology(2))).close()
    expect((await refusal(topology(4))).details).toEqual({
      topic: 'app-by-repartition',
      partitions: 2,
      needed: 4,
    })
    await stage.run(topology(2))
  })
})

describe('settings', () => {
  const counting = (): Topology => {
    const t = new Topology('app')
    t.stream('in', strings)
      .groupBy('by', (value) => value)
      .count('n')
    return t
  }

  test('a changelog that deletes by age would forget state', async () => {
    await stage.topics('in', { topic: 'app-n-changelog', configs: { 'cleanup.policy': 'delete' } })
    const error = await refusal(counting)
    expect(error).toMatchObject({
      code: 'TOPIC_SETTINGS',
      details: { topic: 'app-n-changelog', policy: 'delete' },
    })
    expect(error.message).toMatch(/has cleanup\.policy=delete, it has to be compact/)
  })

  test('a repartition topic that is compacted would forget records', async () => {
    await stage.topics('in', { topic: 'app-by-repartition', configs: { 'cleanup.policy': 'compact' } })
    expect((await refusal(counting)).message).toMatch(
      /'app-by-repartition' has cleanup\.policy=compact, it has to be delete/,
    )
  })

  test('internal topics are created so that nothing is lost by age', async () => {
    await stage.topics('in')
    await stage.run(counting)
    const { topics } = await stage.ask(broker, {
      api: 'DescribeConfigs',
      topics: ['app-n-changelog', 'app-by-repartition'],
    })
    expect(topics.map(({ configs }) => configs)).toMatchObject([
      { 'cleanup.policy': 'compact', 'delete.retention.ms': '604800000' },
      { 'cleanup.policy': 'delete', 'retention.ms': '-1' },
    ])
  })

  const global = (): Topology => {
    const t = new Topology('app')
    t.globalRegion('names', { topic: 'names', ...strings })
    return t
  }

  for (const [configs, isRefused] of [
    [{}, true],
    [{ 'cleanup.policy': 'delete', 'retention.ms': '60000' }, true],
    [{ 'cleanup.policy': 'compact,delete', 'retention.ms': '60000' }, true],
    [{ 'cleanup.policy': 'compact' }, false],
    [{ 'cleanup.policy': 'delete', 'retention.ms': '-1' }, false],
    [{ 'cleanup.policy': 'compact,delete', 'retention.ms': '-1' }, false],
  ] as const) {
    test(`a global region of a topic with ${JSON.stringify(configs)}: ${isRefused ? 'refused' : 'taken'}`, async () => {
      await stage.topics({ topic: 'names', configs })
      if (!isRefused) return void (await stage.instance(global).start())
      const error = await refusal(global)
      expect(error).toMatchObject({ code: 'TOPIC_SETTINGS', details: { topic: 'names', region: 'names' } })
      expect(error.message).toMatch(/deletes records by age.*Set cleanup\.policy=compact or retention\.ms=-1/)
    })
  }

  test('a global region whose topic may not be read', async () => {
    await stage.topics({ topic: 'names', configs: { 'cleanup.policy': 'compact' } })
    await stage.say('names', ['k', 'v'])
    const partitions = [
      {
        topic: 'names',
        partition: 0,
        errorCode: 29,
        highWatermark: -1,
        lastStableOffset: -1,
        logStartOffset: -1,
        abortedTransactions: null,
        records: new Uint8Array(),
      },
    ]
    const error = await refusal(global, {
      fates: ({ api }) => (api === 'Fetch' ? { answer: { errorCode: 0, partitions } } : 'pass'),
    })
    expect(error).toMatchObject({ code: 'KAFKA_REFUSED', details: { kafkaCode: 29 } })
    expect(error.message).toMatch(/names\/0.*TOPIC_AUTHORIZATION_FAILED/)
  })
})

describe('where to start', () => {
  test("offsetReset 'none', and nothing committed: the task does not begin, the others do", async () => {
    const topology = (): Topology => {
      const t = new Topology('app')
      t.stream('in', { ...strings, offsetReset: 'none' }).to('out')
      t.stream('also', strings).to('out')
      return t
    }
    await stage.topics('in', 'also', 'out')
    const one = await stage.run(topology)
    expect(one.app.health.tasks).toMatchObject([
      { task: '0_0', status: 'failed', error: { code: 'OFFSETS_MISSING' } },
      { task: '1_0', status: 'running' },
    ])
    const { error } = one.app.health.tasks[0] as { error: DruseError }
    expect(error.message).toMatch(
      /^Nothing is committed for in\/0, and its offsetReset is 'none': say where it begins, with 'druse reset MODULE --keep-state --to-earliest'/,
    )
  })
})
