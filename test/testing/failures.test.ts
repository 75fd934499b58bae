/** What goes wrong in a test is told to it: once, with the task, and at the latest when the driver is closed. */
import { describe, expect, test } from 'vitest'
import { DruseError, int64, type Registry, string, Topology } from '../../src/index.ts'
import { TestDriver } from '../../src/testing/index.ts'
import { figures, strings, sums } from './topologies.ts'

const picky = (options: ConstructorParameters<typeof Topology>[1] = {}) => {
  const topology = new Topology('picky', options)
  topology
    .stream('in', strings)
    .mapValues((value) => {
      if (value === 'bad') throw new TypeError('not this one')
      return value.toUpperCase()
    })
    .to('out', { value: string })
  return topology
}

describe('an operator that throws', () => {
  test('stops its task, and is told to the call that let it happen, once', async () => {
    const driver = await TestDriver.create(picky(), { partitions: 2 })
    const input = driver.createInputTopic('in', strings)
    await input.pipeInput('a', 'fine', { partition: 1 })
    const error = await input.pipeInput('a', 'bad', { partition: 1 }).catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(DruseError)
    expect(error).toMatchObject({
      code: 'OPERATOR_FAILED',
      details: { task: '0_1', instance: 'instance-0', topic: 'in', partition: 1, offset: 1 },
    })
    const { message, cause } = error as DruseError
    expect(message).toMatch(
      /^Task 0_1 of instance-0 has stopped: Operator '.*' failed on record in\/1@1: not this one \[OPERATOR_FAILED\]$/,
    )
    expect((cause as DruseError).cause).toBeInstanceOf(TypeError)
    // The other task goes on, and what the one had committed is there.
    await input.pipeInput('b', 'other', { partition: 0 })
    await input.pipeInput('b', 'behind', { partition: 1 })
    const out = driver.createOutputTopic('out', strings)
    expect((await out.readValuesToList()).toSorted()).toEqual(['FINE', 'OTHER'])
    expect(driver.instances[0].health.tasks.map(({ status }) => status)).toEqual(['running', 'failed'])
    await driver.close()
  })

  test('is left out, or goes to the dead letters, as the policy says', async () => {
    for (const onFailure of ['skip', { deadLetter: 'refused' }] as const) {
      await using driver = await TestDriver.create(picky({ onFailure }))
      await driver.createInputTopic('in', strings).pipeKeyValueList([
        ['a', 'one'],
        ['a', 'bad'],
        ['a', 'two'],
      ])
      expect(await driver.createOutputTopic('out', strings).readValuesToList()).toEqual(['ONE', 'TWO'])
      if (onFailure === 'skip') continue
      expect(await driver.createOutputTopic('refused', strings).readRecordsToList()).toMatchObject([
        { key: 'a', value: 'bad', headers: [{ key: 'druse.error.code' }, {}, {}, {}, {}, {}, {}] },
      ])
    }
  })

  test("or gives what it may not is named: the fault is the record's, not Druse's", async () => {
    const nothing = (): never => undefined as never
    const wrong: [string, (t: Topology) => void][] = [
      ['map', (t) => t.stream('in', strings).map(nothing, { name: 'map' }).to('out', strings)],
      ['group', (t) => void t.table('in', strings).groupBy('group', nothing, strings).count('counts')],
      [
        'unique',
        (t) => t.stream('in', strings).deduplicate('unique', { by: nothing, withinMs: 1 }).to('out'),
      ],
    ]
    for (const [operator, build] of wrong) {
      const t = new Topology('wrong')
      build(t)
      await using driver = await TestDriver.create(t)
      await expect(driver.createInputTopic('in', strings).pipeInput('k', 'v')).rejects.toMatchObject({
        code: 'OPERATOR_FAILED',
        details: { operator, topic: 'in', offset: 0 },
      })
    }
  })

  test('is told by close, if nobody was told before', async () => {
    const driver = await TestDriver.create(picky())
    await driver.createInputTopic('in', { ...strings, waitForIdle: false }).pipeInput('a', 'bad')
    await expect(driver.close()).rejects.toMatchObject({ code: 'OPERATOR_FAILED' })
    expect(driver.instances[0].state).toBe('stopped')
    await driver.close()
  })

  test('is told again after a restart, for it fails again', async () => {
    await using driver = await TestDriver.create(picky())
    const input = driver.createInputTopic('in', strings)
    await expect(input.pipeInput('a', 'bad')).rejects.toMatchObject({ code: 'OPERATOR_FAILED' })
    await expect(driver.instances[0].restart()).rejects.toMatchObject({ code: 'OPERATOR_FAILED' })
  })

  test('is told by what lets time pass', async () => {
    await using driver = await TestDriver.create(picky())
    await driver.createInputTopic('in', { ...strings, waitForIdle: false }).pipeInput('a', 'bad')
    await expect(driver.advanceWallClockTime(1_000)).rejects.toMatchObject({ code: 'OPERATOR_FAILED' })
  })
})

describe('an application that does not start', () => {
  test('is told by create', async () => {
    const empty = TestDriver.create(new Topology('empty'))
    await expect(empty).rejects.toMatchObject({ code: 'TOPOLOGY_INVALID' })
    const shared = new Topology('shared')
    const totals = shared.region('totals', figures)
    for (const topic of ['one', 'two']) {
      shared.stream(topic, figures).process(`add-${topic}`, { regions: [totals] }, () => {})
    }
    const uneven = TestDriver.create(shared, { topics: [{ topic: 'one', partitions: 2 }] })
    await expect(uneven).rejects.toMatchObject({
      code: 'TOPIC_PARTITIONS',
      message: expect.stringMatching(/^Instance instance-0 has stopped: Topics that feed region 'totals'/),
      details: { instance: 'instance-0' },
    })
  })
})

test('a setting that Kafka refuses is told by create', async () => {
  const refused = TestDriver.create(picky(), { sessionTimeoutMs: 1_000, heartbeatIntervalMs: 300 })
  await expect(refused).rejects.toMatchObject({ code: 'KAFKA_REFUSED' })
})

describe('input that is never processed', () => {
  test('is told, with what it waits for, when nothing has helped for long', async () => {
    const down: Registry = {
      idOf: async () => 1,
      schemaOf: async () => {
        throw new DruseError('REGISTRY_UNAVAILABLE', 'It is down')
      },
    }
    const { avro } = await import('../../src/index.ts')
    const reading = avro<number>({ type: 'int' })
    const topology = new Topology('readings')
    topology.stream('readings', { key: string, value: reading }).to('out')
    const driver = await TestDriver.create(topology, { registry: down })
    const framed = {
      ...reading,
      open: async () => ({ encode: () => Buffer.from('0000000007020406', 'hex'), decode: () => 0 }),
    }
    const piped = driver.createInputTopic('readings', { key: string, value: framed }).pipeInput('a', 1)
    await expect(piped).rejects.toMatchObject({
      code: 'DRIVER_STALLED',
      message: expect.stringMatching(
        /seed 1\): readings\/0 is committed up to 0 of 1; task 0_0 waits for: .*It is down/,
      ),
    })
    // It was told.
    await driver.close()
  })
})

test('a region that failed tasks have is still there to be looked into', async () => {
  const { topology, totals } = sums((value) => {
    if (value === 13) throw new Error('unlucky')
  })
  await using driver = await TestDriver.create(topology)
  const numbers = driver.createInputTopic('numbers', figures)
  await numbers.pipeInput('a', 1)
  const bad = numbers.pipeKeyValueList([
    ['a', 2],
    ['a', 13],
  ])
  await expect(bad).rejects.toMatchObject({ code: 'OPERATOR_FAILED' })
  expect(await driver.region(totals).get('a')).toBe(1)
  expect(await driver.createOutputTopic('sums', { key: string, value: int64 }).readValuesToList()).toEqual([
    1,
  ])
})
