/** What becomes of records that come too late or that a sink cannot take, and what their dead letters tell. */
import { describe, expect, test } from 'vitest'
import {
  avro,
  bytes,
  type ErrorPolicy,
  hoppingWindows,
  int64,
  type LatePolicy,
  localRegistry,
  memoryDisk,
  type Stream,
  string,
  Topology,
  tumblingWindows,
} from '../../src/index.ts'
import { TestDriver } from '../../src/testing/index.ts'

const strings = { key: string, value: string }

const headersOf = ({ headers }: { readonly headers: readonly { key: string; value: Uint8Array | null }[] }) =>
  Object.fromEntries(headers.map(({ key, value }) => [key, value && Buffer.from(value).toString()]))

describe('a record that comes too late', () => {
  const counting = (onLate?: LatePolicy) => () => {
    const t = new Topology('late')
    t.stream('in', { ...strings, ...(onLate && { onLate }) })
      .mapValues((value) => value.toUpperCase())
      .groupByKey()
      .windowedBy(tumblingWindows({ sizeMs: 10, graceMs: 5 }))
      .count('counts')
      .toStream()
      .map((count, { key }) => [key, count] as const)
      .to('out', { key: string, value: int64 })
    return t
  }

  const feed = async (driver: TestDriver): Promise<void> => {
    const input = driver.createInputTopic('in', strings)
    await input.pipeInput('a', 'x', { timestamp: 1 })
    await input.pipeInput('a', 'y', { timestamp: 15 })
    await input.pipeInput('b', 'late', { timestamp: 9, headers: [{ key: 'h', value: Buffer.from('1') }] })
    await input.pipeInput('a', 'z', { timestamp: 16 })
  }

  test('is dropped and counted by default', async () => {
    await using driver = await TestDriver.create(counting())
    await feed(driver)
    expect(await driver.createOutputTopic('out', { key: string, value: int64 }).readValuesToList()).toEqual([
      1, 1, 2,
    ])
    expect(driver.instances[0].health.tasks[0]?.late).toBe(1)
  })

  test('goes to the dead letters as it came, with what there is to know', async () => {
    await using driver = await TestDriver.create(counting({ deadLetter: 'dead' }))
    await feed(driver)
    expect(await driver.createOutputTopic('out', { key: string, value: int64 }).readValuesToList()).toEqual([
      1, 1, 2,
    ])
    const letters = await driver.createOutputTopic('dead', strings).readRecordsToList()
    expect(letters.map(({ key, value, timestamp }) => [key, value, timestamp])).toEqual([['b', 'late', 9]])
    expect(headersOf(letters[0] as (typeof letters)[0])).toEqual({
      h: '1',
      'druse.error.code': 'LATE',
      'druse.error.message': expect.stringContaining("'counts'"),
      'druse.error.operator': 'counts',
      'druse.error.topic': 'in',
      'druse.error.partition': '0',
      'druse.error.offset': '2',
      'druse.error.timestamp': '9',
      'druse.error.windowEnd': '10',
      'druse.error.streamTime': '15',
    })
    expect(driver.instances[0].health.tasks[0]?.late).toBe(1)
  })

  test('is one letter, of however many windows it was left out', async () => {
    await using driver = await TestDriver.create(() => {
      const t = new Topology('hopping', { onLate: { deadLetter: 'dead' } })
      t.stream('in', strings)
        .groupByKey()
        .windowedBy(hoppingWindows({ sizeMs: 20, advanceMs: 5, graceMs: 0 }))
        .count('counts')
      return t
    })
    const input = driver.createInputTopic('in', strings)
    await input.pipeInput('a', 'x', { timestamp: 100 })
    await input.pipeInput('a', 'y', { timestamp: 42 })
    await input.pipeInput('a', 'z', { timestamp: 100 })
    const letters = await driver.createOutputTopic('dead', strings).readRecordsToList()
    expect(letters.map(({ value }) => value)).toEqual(['y'])
    expect(headersOf(letters[0] as (typeof letters)[0])['druse.error.windowEnd']).toBe('60')
    expect(driver.instances[0].health.tasks[0]?.late).toBe(4)
  })

  test('that fails elsewhere is a failure alone', async () => {
    await using driver = await TestDriver.create(() => {
      const policy = { deadLetter: 'dead' }
      const t = new Topology('both', { onLate: policy, onFailure: policy })
      const stream = t.stream('in', strings)
      stream
        .groupByKey()
        .windowedBy(tumblingWindows({ sizeMs: 10, graceMs: 0 }))
        .count('counts')
      stream.foreach((value) => {
        if (value === 'bad') throw new TypeError('not this one')
      })
      return t
    })
    const input = driver.createInputTopic('in', strings)
    await input.pipeInput('a', 'x', { timestamp: 100 })
    await input.pipeInput('a', 'bad', { timestamp: 1 })
    await input.pipeInput('a', 'fine', { timestamp: 100 })
    const letters = await driver.createOutputTopic('dead', strings).readRecordsToList()
    expect(letters.map((letter) => headersOf(letter)['druse.error.code'])).toEqual(['OPERATOR_FAILED'])
  })
})

describe('what a sink cannot take', () => {
  test('is a failure of its record, and told by its code', async () => {
    await using driver = await TestDriver.create(() => {
      const t = new Topology('sinks', { onFailure: { deadLetter: 'dead' } })
      t.stream('in', strings)
        .mapValues(
          (value) => (value === 'huge' ? 'x'.repeat(2_000_000) : value === 'odd' ? 7 : value) as string,
        )
        .to('out', strings)
      return t
    })
    const input = driver.createInputTopic('in', strings)
    for (const value of ['a', 'huge', 'odd', 'b']) await input.pipeInput('k', value)
    expect(await driver.createOutputTopic('out', strings).readValuesToList()).toEqual(['a', 'b'])
    const letters = await driver.createOutputTopic('dead', strings).readRecordsToList()
    expect(letters.map(({ value }) => value)).toEqual(['huge', 'odd'])
    expect(letters.map((letter) => headersOf(letter)['druse.error.cause'])).toEqual([
      'RECORD_TOO_LARGE',
      'ENCODE_FAILED',
    ])
    expect(headersOf(letters[0] as (typeof letters)[0])['druse.error.operator']).toMatch(/^to-out/)
  })
})

test('the ids of Avro schemas are told', async () => {
  const order = avro<{ total: number }>({
    type: 'record',
    name: 'Order',
    fields: [{ name: 'total', type: 'int' }],
  })
  const registry = localRegistry(memoryDisk())
  const topology = () => {
    const t = new Topology('orders', { onFailure: { deadLetter: 'dead' } })
    t.stream('in', { key: string, value: order }).foreach(() => {
      throw new Error('no')
    })
    return t
  }
  await using driver = await TestDriver.create(topology, { registry })
  await driver.createInputTopic('in', { key: string, value: order }).pipeInput('a', { total: 1 })
  const letters = await driver.createOutputTopic('dead', { key: string, value: bytes }).readRecordsToList()
  const [letter] = letters as [(typeof letters)[0]]
  const id = Buffer.from(letter.value as Uint8Array).readUInt32BE(1)
  expect(headersOf(letter)['druse.error.valueSchemaId']).toBe(String(id))
  expect(headersOf(letter)).not.toHaveProperty('druse.error.keySchemaId')
})

describe('behind a repartition', () => {
  const refusing = (policies: readonly (ErrorPolicy | undefined)[], own?: ErrorPolicy) => () => {
    const t = new Topology('behind', own === undefined ? {} : { onFailure: own })
    const [first, ...others] = policies.map((onFailure, n) =>
      t.stream(`in-${n}`, { ...strings, ...(onFailure && { onFailure }) }),
    )
    let all = first as Stream<string, string>
    for (const other of others) all = all.merge(other)
    all
      .groupBy('by-value', (value) => value)
      .reduce('last', (_, value) => {
        if (value === 'bad') throw new Error('no')
        return value
      })
    return t
  }
  const feed = async (driver: TestDriver): Promise<void> => {
    const input = driver.createInputTopic('in-0', strings)
    for (const value of ['bad', 'bad', 'good']) await input.pipeInput('a', value)
  }

  test('the policy is that of the sources before it, where they agree', async () => {
    const letters = { deadLetter: 'letters' }
    for (const policies of [[letters], [letters, { deadLetter: 'letters' }]]) {
      await using driver = await TestDriver.create(refusing(policies))
      await feed(driver)
      const found = await driver.createOutputTopic('letters', strings).readRecordsToList()
      expect(found.map(({ key, value }) => [key, value])).toEqual([['bad', 'bad']])
      expect(headersOf(found[0] as (typeof found)[number])).toMatchObject({
        'druse.error.topic': 'behind-by-value-repartition',
        'druse.error.operator': 'last',
      })
    }
  })

  test('and the topology’s where they do not', async () => {
    for (const [policies, own] of [
      [['skip', 'fail'], undefined],
      [['skip', undefined], 'fail'],
    ] as const) {
      await using driver = await TestDriver.create(refusing(policies, own))
      await expect(feed(driver)).rejects.toMatchObject({ code: 'OPERATOR_FAILED' })
    }
    await using driver = await TestDriver.create(refusing(['fail', { deadLetter: 'letters' }], 'skip'))
    await feed(driver)
  })

  test('a policy for what cannot be decoded is that of the source alone', () => {
    const t = new Topology('behind')
    t.stream('in', { ...strings, onUndecodable: 'skip', onLate: { deadLetter: 'late' } }).repartition('again')
    expect(t.build().nodes.find(({ kind }) => kind === 'repartition')).toMatchObject({
      onUndecodable: 'fail',
      onFailure: 'fail',
      onLate: { deadLetter: 'late' },
    })
  })
})
