/** What the cleaner does by the clock, to markers, and when it is cut off. The rest is in the contract. */
import { describe, expect, test } from 'vitest'
import { controlTypeOf, verifyBatch } from '../../src/kafka/record-batch.ts'
import { batch, batches, type Pair, seen } from '../contract/fixture.ts'
import { Assembly } from './assembly.ts'

const RETENTION_MS = 1_000
const END: Pair = ['end', 'of the log']

async function open(settings: Parameters<typeof Assembly.open>[0] = {}) {
  const assembly = await Assembly.open(settings)
  const configs = { 'cleanup.policy': 'compact', 'delete.retention.ms': String(RETENTION_MS) }
  const place = { topic: await assembly.session.topic(1, configs), partition: 0 }
  const put = (...pairs: Pair[]) => assembly.session.produce(place, batch(pairs))
  const layout = async () => {
    const fetched = await assembly.session.fetch(place, 0)
    return batches(fetched).map(({ header, at, bytes }) => {
      verifyBatch(bytes, at, header)
      const control = controlTypeOf(bytes, at, header)
      const kind = control === 'other' ? header.recordCount : control
      return `${header.baseOffset}-${header.lastOffset}: ${kind}`
    })
  }
  return { assembly, place, put, layout }
}

describe('Compaction', () => {
  test('removes tombstones delete.retention.ms after the round that first saw them', async () => {
    const { assembly, place, put } = await open()
    await put(['a', '1'])
    await put(['a', null])
    await put(END)
    await assembly.broker.compact()
    await assembly.clock.advance(RETENTION_MS - 1)
    await assembly.broker.compact()
    const keys = async () => seen(await assembly.session.fetch(place, 0)).map(({ key }) => key)
    expect(await keys()).toEqual(['a', 'end'])
    await assembly.clock.advance(1)
    await assembly.broker.compact()
    expect(await keys()).toEqual(['end'])
  })

  test('a tombstone that nobody has compacted yet stays, however old', async () => {
    const { assembly, place, put } = await open()
    await put(['a', null])
    await put(END)
    await assembly.clock.advance(10 * RETENTION_MS)
    await assembly.broker.compact()
    expect(seen(await assembly.session.fetch(place, 0)).map(({ key }) => key)).toEqual(['a', 'end'])
  })

  test('the horizon of tombstones outlives a crash', async () => {
    const { assembly, place, put } = await open()
    await put(['a', null])
    await put(END)
    await assembly.broker.compact()
    await assembly.clock.advance(RETENTION_MS)
    await assembly.killAndOpen()
    await assembly.broker.compact()
    expect(seen(await assembly.session.fetch(place, 0)).map(({ key }) => key)).toEqual(['end'])
  })

  test('markers go when their transaction has gone and delete.retention.ms has passed', async () => {
    const { assembly, place, put, layout } = await open()
    const s = assembly.session
    const producer = await s.producer()
    await s.transaction(producer, place, 0, [['a', 'committed']], true)
    await s.transaction(producer, place, 1, [['a', 'aborted']], false)
    // So that no batch is kept for the sequence of its producer alone.
    const next = await s.transaction(producer, place, 2, [['b', 'kept']], true)
    await put(['a', 'newer'])
    await put(END)
    expect(next).toBe(4)
    const before = [
      '0-0: 1',
      '1-1: commit',
      '2-2: 1',
      '3-3: abort',
      '4-4: 1',
      '5-5: commit',
      '6-6: 1',
      '7-7: 1',
    ]
    expect(await layout()).toEqual(before)
    const fetched = await s.fetch(place, 0)
    expect(fetched.abortedTransactions).toHaveLength(1)

    // Data goes at once. The markers have just lost it, so the next round is the first to see them idle.
    await assembly.broker.compact()
    await assembly.clock.advance(RETENTION_MS)
    const markers = ['1-1: commit', '3-3: abort', '4-4: 1', '5-5: commit', '6-6: 1', '7-7: 1']
    expect(await layout()).toEqual(markers)
    await assembly.broker.compact()
    await assembly.clock.advance(RETENTION_MS - 1)
    await assembly.broker.compact()
    expect(await layout()).toEqual(markers)
    await assembly.clock.advance(1)
    await assembly.broker.compact()
    expect(await layout()).toEqual(['4-4: 1', '5-5: commit', '6-6: 1', '7-7: 1'])
    expect((await s.fetch(place, 0)).abortedTransactions).toEqual([])
  })

  test('an aborted transaction is listed as long as its marker stands', async () => {
    const { assembly, place, put } = await open()
    const s = assembly.session
    const producer = await s.producer()
    await s.transaction(producer, place, 0, [['a', 'aborted']], false)
    await put(END)
    await assembly.broker.compact()
    expect((await s.fetch(place, 0)).abortedTransactions).toEqual([
      { producerId: producer.producerId, firstOffset: 0 },
    ])
  })

  test('the last batch of a producer, and the last of the round, stay without their records', async () => {
    const { assembly, place, put, layout } = await open()
    const s = assembly.session
    const { producerId } = await s.send('InitProducerId', { transactionalId: null, transactionTimeoutMs: 1 })
    const owner = { producerId, producerEpoch: 0, baseSequence: 0 }
    await s.produce(place, batch([['a', '1']], owner))
    await put(['a', '2'])
    await assembly.broker.compact()
    expect(await layout()).toEqual(['0-0: 0', '1-1: 1'])
    // An aborted transaction at the very end of the log.
    const producer = await s.producer()
    await s.transaction(producer, place, 0, [['a', '3']], false)
    await assembly.broker.compact()
    expect(await layout()).toEqual(['0-0: 0', '1-1: 1', '2-2: 0', '3-3: abort'])
  })

  test('a log whose last record has gone still tells how far it goes', async () => {
    const { assembly, place, put, layout } = await open()
    await put(['a', null])
    await assembly.broker.compact()
    await assembly.clock.advance(RETENTION_MS)
    await assembly.broker.compact()
    expect(await layout()).toEqual(['0-0: 0'])
    await assembly.killAndOpen()
    expect(await layout()).toEqual(['0-0: 0'])
    expect(await assembly.session.offset(place, 'latest', 'read_committed')).toBe(1)
  })

  test('starts by itself when enough of the log is dirty', async () => {
    const { assembly, put, layout } = await open({ cleanableBytesMin: 1_000, minCleanableRatio: 0.5 })
    for (let i = 0; i < 40; i++) await put(['a', `value ${i}`])
    await assembly.clock.advance(0)
    expect((await layout()).length).toBeLessThan(40)
  })

  test('not while most of the log is clean', async () => {
    const { assembly, put, layout } = await open({ cleanableBytesMin: 1, minCleanableRatio: 1 })
    await put(['a', '1'])
    await assembly.broker.compact()
    await put(['a', '2'])
    await assembly.clock.advance(0)
    expect(await layout()).toEqual(['0-0: 1', '1-1: 1'])
  })

  test('cut off by a crash at any turn, the log is whole and the next round finishes', async () => {
    const large = 'x'.repeat(900_000)
    let isFinished = false
    let turns = 0
    for (; !isFinished; turns++) {
      // No round by itself: the one to be cut off shall have something to do.
      const { assembly, place } = await open({ cleanableBytesMin: 1_000_000_000 })
      const s = assembly.session
      const producer = await s.producer()
      // Large batches, so that a round has several chunks.
      for (let i = 0; i < 12; i++) {
        await s.transaction(producer, place, i, [[`key ${i % 3}`, `${i} ${large}`]], i % 4 !== 3)
      }
      await s.produce(place, batch([END]))
      const round = assembly.broker.compact().then(
        () => {
          isFinished = true
        },
        () => {},
      )
      for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve))
      await assembly.kill()
      await round
      await assembly.open()
      const t = assembly.session
      // Read as a consumer does, some bytes at a time.
      const values = async () => {
        const found = new Map<string, string>()
        let offset = 0
        const end = await t.offset(place, 'latest', 'read_committed')
        while (offset < end) {
          const fetched = await t.fetch(place, offset)
          const aborting = new Set((fetched.abortedTransactions ?? []).map(({ firstOffset }) => firstOffset))
          for (const { offset: at, key, value } of seen(fetched, offset)) {
            if (!aborting.has(at) && key !== null) found.set(key, value?.split(' ')[0] ?? '')
          }
          offset = (batches(fetched).at(-1)?.header.lastOffset ?? end) + 1
        }
        return found
      }
      const expected = new Map([
        ['key 0', '9'],
        ['key 1', '10'],
        ['key 2', '8'],
        ['end', 'of'],
      ])
      expect(new Map([...(await values())].sort())).toEqual(new Map([...expected].sort()))
      await assembly.broker.compact()
      expect(new Map([...(await values())].sort())).toEqual(new Map([...expected].sort()))
      // Each transaction took two offsets, and any of the last five batches is recognised, also one that has gone.
      const records = batch([['key 1', `7 ${large}`]], { ...producer, baseSequence: 7 })
      await t.begin(producer, place)
      const again = await t.produce(place, records, producer.transactionalId)
      expect(again).toEqual({ errorCode: 0, baseOffset: 14 })
      await t.finish(producer, false)
    }
    expect(turns).toBeGreaterThan(5)
  })
})
