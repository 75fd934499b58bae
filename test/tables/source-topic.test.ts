/** Tables that are restored from their source topic: it serves as the changelog. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { int64, memoryDisk, resetApplication, type TableOptions, Topology } from '../../src/index.ts'
import { PATIENT } from '../runtime/instance.ts'
import { Stage, strings } from '../runtime/stage.ts'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
  await stage.topics(
    { topic: 'in', configs: { 'cleanup.policy': 'compact' } },
    { topic: 'for-ever', configs: { 'retention.ms': '-1' } },
    'plain',
    'out',
  )
})

afterEach(() => stage.close())

const counting =
  (options: Partial<TableOptions<string, string>> = { reuseSourceTopic: true }, topic = 'in') =>
  (): Topology => {
    const t = new Topology('app')
    t.table(topic, { ...strings, ...options, name: 'rows' })
      .groupBy('by-value', (value) => [value, 1], { key: strings.key, value: int64 })
      .count('counts')
      .toStream()
      .to('out')
    return t
  }

const REGION = new Topology('regions').region('rows', strings)
const counts = async (): Promise<Record<string, number>> =>
  Object.fromEntries(await stage.read('out', { key: strings.key, value: int64 }))

describe.each(['persistent', 'memory'] as const)('in a region that is %s', (store) => {
  const topology = counting({ reuseSourceTopic: true, store })

  test('has no changelog, and stands where the offsets do', async () => {
    const disk = memoryDisk()
    const one = await stage.run(topology, { disk })
    await stage.say('in', ['1', 'a'], ['2', 'a'])
    await stage.drained(topology)
    expect(await stage.cluster.topic('app-rows-changelog')).toBeUndefined()
    one.crash()
    // Not processed yet: a restore must not take it in.
    await stage.say('in', ['1', 'b'], ['2', null], ['3', 'b'])
    const two = await stage.run(topology, { disk: memoryDisk() })
    await stage.drained(topology)
    expect(await counts()).toEqual({ a: 0, b: 2 })
    await two.close()
    await stage.say('in', ['3', 'a'])
    // A directory that is behind by one life.
    await stage.run(topology, { disk })
    await stage.drained(topology)
    expect(await counts()).toEqual({ a: 1, b: 1 })
  })

  test('under at_least_once, too', async () => {
    const options = { ...PATIENT, processingGuarantee: 'at_least_once' } as const
    const one = await stage.run(topology, options)
    await stage.say('in', ['1', 'a'], ['2', 'a'])
    await stage.drained(topology)
    await one.close()
    await stage.say('in', ['1', 'b'], ['2', null])
    await stage.run(topology, { ...options, disk: memoryDisk() })
    await stage.drained(topology)
    expect(await counts()).toEqual({ a: 0, b: 1 })
  })

  test('of a topic whose beginning was deleted', async () => {
    const from = counting({ reuseSourceTopic: true, store }, 'for-ever')
    await stage.say('for-ever', ['0', 'a'])
    await stage.say('for-ever', ['1', 'a'])
    const at = { topic: 'for-ever', partition: 0 }
    await stage.ask(at, {
      api: 'DeleteRecords',
      partitions: [{ ...at, offset: 2 }],
      timeoutMs: 1_000,
    })
    for (const value of ['b', 'c']) {
      const instance = await stage.run(from, { disk: memoryDisk() })
      await stage.drained(from)
      await instance.close()
      await stage.say('for-ever', ['2', value])
    }
    await stage.run(from, { disk: memoryDisk() })
    await stage.drained(from)
    expect(await counts()).toEqual({ a: 1, b: 0, c: 1 })
  })

  test('takes what the topic took, however large', async () => {
    const from = counting({ reuseSourceTopic: true, store }, 'narrow')
    const configs = { 'cleanup.policy': 'compact', 'max.message.bytes': '300' }
    await stage.topics({ topic: 'narrow', configs })
    const large = 'x'.repeat(200)
    await stage.say('narrow', ['1', large])
    await stage.run(from)
    await stage.drained(from)
    expect(await counts()).toEqual({ [large]: 1 })
  })

  test('after a reset that keeps state, and one that does not', async () => {
    const one = await stage.run(topology)
    await stage.say('in', ['1', 'a'], ['2', 'a'])
    await stage.drained(topology)
    await one.close()
    for (const keepState of [true, false]) {
      await resetApplication(topology(), { wire: stage.wire, keepState })
      const next = await stage.run(topology, { disk: memoryDisk() })
      await stage.drained(topology)
      expect((await counts()).a).toBe(2)
      expect(await next.app.region(REGION).get('1')).toBe('a')
      await next.close()
    }
  })
})

describe('is refused', () => {
  const build = (options: Partial<TableOptions<string, string>>) => () =>
    counting({ reuseSourceTopic: true, ...options })().build()

  test('where the topic is not what the table holds', () => {
    expect(build({})).not.toThrow()
    expect(build({ timestamp: () => 1 })).toThrow(/what stands there: it has a timestamp rule/)
    expect(build({ offsetReset: 'latest' })).toThrow(/it begins at offsetReset 'latest'/)
    expect(build({ onFailure: 'skip' })).toThrow(/an error policy may leave records out/)
    expect(build({ onUndecodable: { deadLetter: 'dead' } })).toThrow(/an error policy may leave records out/)
  })

  test('where the topic forgets', async () => {
    const topology = counting({ reuseSourceTopic: true }, 'plain')
    await expect(stage.run(topology)).rejects.toThrow(
      /Table 'rows' is to be restored from its source topic 'plain', which deletes records by age/,
    )
  })

  test('where an operator would write into it', () => {
    const t = new Topology('app')
    const { region } = t.table('in', { ...strings, name: 'rows', reuseSourceTopic: true })
    const stream = t.stream('plain', strings)
    expect(() => stream.process('p', { regions: [region] }, () => {})).toThrow(
      /region 'rows', which topic 'in' is the changelog of/,
    )
  })

  test('of an application that has a changelog', async () => {
    const one = await stage.run(counting({}))
    await stage.say('in', ['1', 'a'])
    await stage.drained(counting({}))
    await one.close()
    const two = await stage.run(counting())
    expect(two.app.health.tasks.map(({ error }) => error?.code)).toContain('REGION_CHANGED')
  })
})

test('of a topic that the application has read without a table holds what was said before', async () => {
  const before = (): Topology => {
    const t = new Topology('app')
    t.stream('in', strings).to('out')
    return t
  }
  const one = await stage.run(before)
  await stage.say('in', ['1', 'a'], ['2', 'b'])
  await stage.drained(before)
  await one.close()
  const after = (): Topology => {
    const t = new Topology('app')
    t.table('in', { ...strings, name: 'rows', reuseSourceTopic: true })
      .toStream()
      .to('out')
    return t
  }
  const two = await stage.run(after)
  expect(await two.app.region(REGION).get('1')).toBe('a')
  await stage.say('in', ['2', null])
  await stage.drained(after)
  expect(await two.app.region(REGION).get('2')).toBeUndefined()
  expect(await stage.read('out')).toEqual([
    ['1', 'a'],
    ['2', 'b'],
    ['2', null],
  ])
})
