/** What outlives a crash of the process, at every moment at which one can come. SIGKILL itself is in kill.test.ts. */
import { describe, expect, test } from 'vitest'
import { EmbeddedBroker } from '../../src/embedded/embedded-broker.ts'
import { CODE } from '../../src/kafka/error-codes.ts'
import { batch, only, seen } from '../contract/fixture.ts'
import { Assembly, seededRandom } from './assembly.ts'
import { turn } from './test-clock.ts'

const A = [['a', '1']] as const

describe('After a crash', () => {
  test('cluster id, topics with their ids and settings, and records are there', async () => {
    const assembly = await Assembly.open()
    const s = assembly.session
    const topic = await s.topic(2, { 'cleanup.policy': 'compact', 'max.message.bytes': '500' })
    await s.produce({ topic, partition: 1 }, batch([['k', 'v']]))
    const describeAll = async () => ({
      metadata: await assembly.session.send('Metadata', { topics: null }),
      configs: await assembly.session.send('DescribeConfigs', { topics: [topic] }),
      records: seen(await assembly.session.fetch({ topic, partition: 1 }, 0)),
    })
    const before = await describeAll()
    await assembly.killAndOpen()
    expect(await describeAll()).toEqual(before)
    expect(before.records).toEqual([{ offset: 0, key: 'k', value: 'v' }])
  })

  test('topics from before and after it have logs of their own', async () => {
    const assembly = await Assembly.open()
    const names: string[] = []
    for (let i = 0; i < 3; i++) {
      const topic = await assembly.session.topic()
      names.push(topic)
      await assembly.session.produce({ topic, partition: 0 }, batch([['topic', String(i)]]))
      await assembly.killAndOpen()
    }
    for (const [i, topic] of names.entries()) {
      const values = seen(await assembly.session.fetch({ topic, partition: 0 }, 0)).map(({ value }) => value)
      expect(values).toEqual([String(i)])
    }
  })

  test('a deleted topic stays deleted, and leaves nothing in the store', async () => {
    const assembly = await Assembly.open()
    await assembly.kill()
    const empty = await assembly.entryCount()
    await assembly.open()
    const s = assembly.session
    const topic = await s.topic()
    const place = { topic, partition: 0 }
    const producer = await s.producer()
    for (let i = 0; i < 3_000; i += 1) {
      const sent = s.produce(place, batch(A))
      if (i % 100 === 0) await sent
    }
    await s.addOffsets(producer, 'group')
    await s.commitOffset(producer, 'group', place, 1)
    await s.finish(producer, true)
    await s.send('DeleteTopics', { topics: [topic], timeoutMs: 1 })
    // Killed while batches are being removed.
    await assembly.killAndOpen()
    const { topics } = await assembly.session.send('Metadata', { topics: null })
    expect(topics).toEqual([])
    expect(await assembly.session.committedOffset('group', place)).toMatchObject({ offset: -1 })
    await assembly.clock.advance(0)
    await assembly.kill()
    // What is left is the transactional id.
    expect(await assembly.entryCount()).toBe(empty + 1)
  })

  test('the log start stays where DeleteRecords put it, and producers go on behind it', async () => {
    const assembly = await Assembly.open()
    const s = assembly.session
    const place = { topic: await s.topic(), partition: 0 }
    const { producerId } = await s.send('InitProducerId', { transactionalId: null, transactionTimeoutMs: 1 })
    const put = (baseSequence: number) =>
      assembly.session.produce(place, batch(A, { producerId, producerEpoch: 0, baseSequence }))
    for (let i = 0; i < 5; i++) await put(i)
    await s.send('DeleteRecords', { partitions: [{ ...place, offset: 5 }], timeoutMs: 1 })
    await assembly.killAndOpen()
    const t = assembly.session
    expect(await t.offset(place, 'earliest', 'read_committed')).toBe(5)
    expect(await t.offset(place, 'latest', 'read_committed')).toBe(5)
    expect((await put(7)).errorCode).toBe(CODE.OUT_OF_ORDER_SEQUENCE_NUMBER)
    expect(await put(4)).toEqual({ errorCode: CODE.NONE, baseOffset: 4 })
    expect(await put(5)).toEqual({ errorCode: CODE.NONE, baseOffset: 5 })
  })

  test('aborted transactions are still listed, those whose data was deleted are not', async () => {
    const assembly = await Assembly.open()
    const s = assembly.session
    const place = { topic: await s.topic(), partition: 0 }
    const producer = await s.producer()
    await s.transaction(producer, place, 0, A, false)
    await s.transaction(producer, place, 1, A, false)
    await s.produce(place, batch(A))
    await s.send('DeleteRecords', { partitions: [{ ...place, offset: 2 }], timeoutMs: 1 })
    for (let i = 0; i < 2; i++) {
      const fetched = await assembly.session.fetch(place, 2)
      expect(fetched.abortedTransactions).toEqual([{ producerId: producer.producerId, firstOffset: 2 }])
      expect(fetched.lastStableOffset).toBe(5)
      await assembly.killAndOpen()
    }
  })

  test('nothing is answered that is not in the store', async () => {
    const assembly = await Assembly.open()
    const s = assembly.session
    const place = { topic: await s.topic(), partition: 0 }
    const connection = s.connect('produce')
    const answered: number[] = []
    for (let i = 0; i < 200; i++) {
      const partitions = [{ ...place, records: batch([['n', String(i)]]) }]
      const request = { transactionalId: null, acks: -1, timeoutMs: 1, partitions } as const
      s.send('Produce', request, connection).then(
        () => answered.push(i),
        () => {},
      )
    }
    // A reader must not see more than is kept either: what it has seen it may have acted upon.
    let read = 0
    while (answered.length < 50) {
      const fetched = await s.fetch(place, 0, 'read_uncommitted', {}, s.connect('fetch'))
      read = fetched.highWatermark
      await turn()
    }
    await assembly.killAndOpen()
    const values = seen(await assembly.session.fetch(place, 0)).map(({ value }) => Number(value))
    expect(values.length).toBeLessThan(200)
    expect(values.length).toBeGreaterThanOrEqual(Math.max(answered.length, read))
    expect(values).toEqual(values.map((_, i) => i))
  })
})

describe('A store that fails', () => {
  test('ends the broker: nothing is answered any more, and the next one opens at what was answered', async () => {
    const assembly = await Assembly.open()
    const s = assembly.session
    const place = { topic: await s.topic(), partition: 0 }
    await s.produce(place, batch(A))
    assembly.disk.full = true
    const connection = s.connect('produce')
    const partitions = [{ ...place, records: batch(A) }]
    const request = { api: 'Produce', transactionalId: null, acks: -1, timeoutMs: 1, partitions } as const
    expect(await connection.send(0, request, 10_000)).toMatchObject({ ok: false, reason: 'disconnect' })
    const metadata = { api: 'Metadata', topics: null } as const
    expect(await s.connect('admin').send(0, metadata, 1)).toEqual({ ok: false, reason: 'disconnect' })
    await assembly.broker.close()
    assembly.disk.full = false
    await assembly.killAndOpen()
    expect(await assembly.session.offset(place, 'latest', 'read_uncommitted')).toBe(1)
  })
})

describe('Two brokers', () => {
  test('in memory are two clusters', async () => {
    const random = seededRandom(7)
    const { clock } = await Assembly.open()
    const ids = []
    for (let i = 0; i < 2; i++) {
      await using broker = await EmbeddedBroker.open({ clock, random })
      const outcome = await broker.wire().connect('admin').send(0, { api: 'Metadata', topics: [] }, 1000)
      ids.push(outcome.ok ? outcome.response.clusterId : '')
    }
    expect(new Set(ids).size).toBe(2)
    expect(only(ids.slice(0, 1))).toMatch(/^[A-Za-z0-9_-]{22}$/)
  })
})
