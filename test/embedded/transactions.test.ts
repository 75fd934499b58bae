import { describe, expect, test } from 'vitest'
import { CODE } from '../../src/kafka/error-codes.ts'
import type { Outcome, Requests, Responses } from '../../src/ports.ts'
import { batch, type Producer } from '../contract/fixture.ts'
import { Assembly } from './assembly.ts'
import { turn } from './test-clock.ts'

const A = [['a', '1']] as const

/** A transaction in two partitions and a group, ready to be ended. */
async function prepared(assembly: Assembly) {
  const s = assembly.session
  const topic = await s.topic(2)
  const places = [0, 1].map((partition) => ({ topic, partition }))
  const producer = await s.producer()
  await s.begin(producer, ...places)
  for (const place of places) {
    await s.produce(place, batch(A, { ...producer, baseSequence: 0 }), producer.transactionalId)
  }
  await s.addOffsets(producer, 'group')
  await s.commitOffset(producer, 'group', { topic, partition: 0 }, 5)
  return { topic, producer, places }
}

/** On a held clock: sends a request and runs only what carries it out. */
async function exchange<A extends keyof Requests>(
  assembly: Assembly,
  api: A,
  request: Requests[A],
): Promise<Responses[A]> {
  const answer = assembly.session.send(api, request, assembly.session.connect('admin'))
  await assembly.clock.step(-1)
  await turn()
  return answer
}

async function stable(assembly: Assembly, topic: string): Promise<number[]> {
  const partitions = [0, 1].map((partition) => ({ topic, partition, at: 'latest' as const }))
  const listed = await exchange(assembly, 'ListOffsets', { isolation: 'read_committed', partitions })
  return listed.partitions.map(({ offset }) => offset)
}

describe('EndTxn', () => {
  test('is answered before any marker stands, and each marker comes as an event of its own', async () => {
    const assembly = await Assembly.open()
    const { topic, producer } = await prepared(assembly)
    const { clock } = assembly
    clock.isHeld = true
    const ended = await exchange(assembly, 'EndTxn', { ...producer, committed: true })
    expect(ended.errorCode).toBe(CODE.NONE)
    expect(clock.dueCount).toBe(3)
    expect(await stable(assembly, topic)).toEqual([0, 0])

    // The second partition's marker first: nothing orders them.
    await clock.step(1)
    expect(await stable(assembly, topic)).toEqual([0, 2])
    const fetchOffset = { groupId: 'group', requireStable: true, partitions: [{ topic, partition: 0 }] }
    const unstable = await exchange(assembly, 'OffsetFetch', fetchOffset)
    expect(unstable.partitions[0]?.errorCode).toBe(CODE.UNSTABLE_OFFSET_COMMIT)

    // The group's marker.
    await clock.step(1)
    const committed = await exchange(assembly, 'OffsetFetch', fetchOffset)
    expect(committed.partitions[0]).toMatchObject({ errorCode: CODE.NONE, offset: 5 })
    expect(await stable(assembly, topic)).toEqual([0, 2])

    await clock.step()
    expect(await stable(assembly, topic)).toEqual([2, 2])
  })

  test('with asynchronous offsets is complete before they are seen, and a crash loses none', async () => {
    const assembly = await Assembly.open({ asynchronousOffsets: true })
    const { topic, producer } = await prepared(assembly)
    const { clock } = assembly
    clock.isHeld = true
    await exchange(assembly, 'EndTxn', { ...producer, committed: true })
    // Two markers of partitions, that of the group, and the completion; the offsets come behind all of them.
    for (let n = 0; n < 3; n++) await clock.step(0)
    expect(await stable(assembly, topic)).toEqual([2, 2])
    const committed = (requireStable: boolean) =>
      exchange(assembly, 'OffsetFetch', {
        groupId: 'group',
        requireStable,
        partitions: [{ topic, partition: 0 }],
      })
    expect((await committed(true)).partitions[0]?.errorCode).toBe(CODE.UNSTABLE_OFFSET_COMMIT)
    expect((await committed(false)).partitions[0]?.offset).toBe(-1)
    clock.isHeld = false
    await assembly.kill()
    await assembly.open()
    expect((await committed(true)).partitions[0]).toMatchObject({ errorCode: CODE.NONE, offset: 5 })
  })

  test('until it is complete, whatever would change the transaction answers 51', async () => {
    const assembly = await Assembly.open()
    const { topic, producer } = await prepared(assembly)
    const { clock } = assembly
    clock.isHeld = true
    await exchange(assembly, 'EndTxn', { ...producer, committed: true })
    const codes = async (): Promise<(number | undefined)[]> => {
      const { transactionalId } = producer
      const partitions = [{ topic, partition: 0 }]
      return [
        (await exchange(assembly, 'InitProducerId', { transactionalId, transactionTimeoutMs: 1000 }))
          .errorCode,
        (await exchange(assembly, 'AddPartitionsToTxn', { ...producer, partitions })).partitions[0]
          ?.errorCode,
        (await exchange(assembly, 'AddOffsetsToTxn', { ...producer, groupId: 'group' })).errorCode,
        (await exchange(assembly, 'EndTxn', { ...producer, committed: true })).errorCode,
        (await exchange(assembly, 'EndTxn', { ...producer, committed: false })).errorCode,
      ]
    }
    const busy = Array(5).fill(CODE.CONCURRENT_TRANSACTIONS)
    expect(await codes()).toEqual(busy)
    for (let markers = 0; markers < 3; markers++) await clock.step()
    // All markers stand, the transaction has yet to be called complete.
    expect(await codes()).toEqual(busy)
    await clock.step()
    expect((await exchange(assembly, 'EndTxn', { ...producer, committed: true })).errorCode).toBe(CODE.NONE)
  })

  test('is answered once its state is in the store, and no marker is even on its way before', async () => {
    const assembly = await Assembly.open()
    const { topic, producer } = await prepared(assembly)
    const { clock } = assembly
    const store = assembly.gate()
    clock.isHeld = true
    const ended = assembly.session.send('EndTxn', { ...producer, committed: true })
    await clock.step()
    expect(clock.dueCount).toBe(0)
    store.release()
    expect((await ended).errorCode).toBe(CODE.NONE)
    expect(clock.dueCount).toBe(3)
    expect(await stable(assembly, topic)).toEqual([0, 0])
  })

  test('offsets that a fenced producer sends before the marker are taken, and go with its transaction', async () => {
    const assembly = await Assembly.open()
    const { topic, producer } = await prepared(assembly)
    const { clock } = assembly
    clock.isHeld = true
    const { transactionalId } = producer
    await exchange(assembly, 'InitProducerId', { transactionalId, transactionTimeoutMs: 1000 })
    const commit = {
      ...producer,
      groupId: 'group',
      generationId: -1,
      memberId: '',
      groupInstanceId: null,
      partitions: [{ topic, partition: 1, offset: 9, metadata: '' }],
    }
    const { partitions } = await exchange(assembly, 'TxnOffsetCommit', commit)
    expect(partitions[0]?.errorCode).toBe(CODE.NONE)
    clock.isHeld = false
    await clock.advance(0)
    const committed = await assembly.session.committedOffset('group', { topic, partition: 1 })
    expect(committed).toMatchObject({ errorCode: CODE.NONE, offset: -1 })
  })

  test('a batch that comes while markers are on their way: 19, to be tried again', async () => {
    const assembly = await Assembly.open()
    const { places, producer } = await prepared(assembly)
    const [place] = places
    if (place === undefined) throw new Error('no place')
    assembly.clock.isHeld = true
    await exchange(assembly, 'EndTxn', { ...producer, committed: true })
    await assembly.clock.step()
    const records = batch(A, { ...producer, baseSequence: 1 })
    const { transactionalId } = producer
    const request = {
      transactionalId,
      acks: -1,
      timeoutMs: 1000,
      partitions: [{ ...place, records }],
    } as const
    const { partitions } = await exchange(assembly, 'Produce', request)
    expect(partitions[0]?.errorCode).toBe(CODE.NOT_ENOUGH_REPLICAS)
  })
})

describe('A broker that dies', () => {
  const outcomeOf = (assembly: Assembly, producer: Producer, committed: boolean): Promise<Outcome<unknown>> =>
    assembly.session.connect('produce').send(0, { api: 'EndTxn', ...producer, committed }, 10_000)

  test.each([true, false])(
    'after EndTxn (committed: %s), before or between markers: ends it the same way',
    async (committed) => {
      for (let markers = 0; markers <= 4; markers++) {
        const assembly = await Assembly.open()
        const { topic, producer, places } = await prepared(assembly)
        assembly.clock.isHeld = true
        const outcome = outcomeOf(assembly, producer, committed)
        await assembly.clock.step(-1)
        expect(await outcome).toMatchObject({ ok: true, response: { errorCode: CODE.NONE } })
        for (let i = 0; i < markers; i++) await assembly.clock.step()

        await assembly.kill()
        assembly.clock.isHeld = false
        await assembly.open()
        const s = assembly.session
        const again = await s.retry('EndTxn', { ...producer, committed }, [CODE.CONCURRENT_TRANSACTIONS])
        expect(again.errorCode).toBe(CODE.NONE)
        for (const place of places) {
          // One record and one marker, not two.
          expect(await s.offset(place, 'latest', 'read_committed')).toBe(2)
          expect(await s.offset(place, 'latest', 'read_uncommitted')).toBe(2)
          expect((await s.fetch(place, 0)).abortedTransactions).toHaveLength(committed ? 0 : 1)
        }
        const { offset, errorCode } = await s.committedOffset('group', { topic, partition: 0 })
        expect([errorCode, offset]).toEqual([CODE.NONE, committed ? 5 : -1])
      }
    },
  )

  test('in the middle of a transaction: it stays open, and its producer can go on and commit', async () => {
    const assembly = await Assembly.open()
    const { topic, producer, places } = await prepared(assembly)
    await assembly.killAndOpen()
    const s = assembly.session
    for (const place of places) expect(await s.offset(place, 'latest', 'read_committed')).toBe(0)
    expect((await s.committedOffset('group', { topic, partition: 0 })).errorCode).toBe(88)
    await s.finish(producer, true)
    for (const place of places) expect(await s.offset(place, 'latest', 'read_committed')).toBe(2)
    expect((await s.committedOffset('group', { topic, partition: 0 })).offset).toBe(5)
  })

  test('in the middle of a transaction whose producer never comes back: the time-out still counts from its start', async () => {
    const assembly = await Assembly.open({ transactionCleanUpIntervalMs: 1_000 })
    const s = assembly.session
    const place = { topic: await s.topic(), partition: 0 }
    const producer = await s.producer(undefined, 10_000)
    await s.begin(producer, place)
    await s.produce(place, batch(A, { ...producer, baseSequence: 0 }), producer.transactionalId)
    await assembly.clock.advance(9_000)
    await assembly.killAndOpen()
    await assembly.clock.advance(500)
    expect(await assembly.session.offset(place, 'latest', 'read_committed')).toBe(0)
    await assembly.clock.advance(2_000)
    expect(await assembly.session.offset(place, 'latest', 'read_committed')).toBe(2)
  })

  test('producer ids are never given out twice', async () => {
    const assembly = await Assembly.open()
    const first = await assembly.session.producer('one')
    await assembly.killAndOpen()
    const second = await assembly.session.producer('two')
    expect(second.producerId).toBeGreaterThan(first.producerId)
    const again = await assembly.session.producer('one')
    expect(again).toMatchObject({ producerId: first.producerId, producerEpoch: 1 })
  })

  test('a batch that was answered is recognised when it comes again', async () => {
    const assembly = await Assembly.open()
    const { producer, places } = await prepared(assembly)
    const [place] = places
    if (place === undefined) throw new Error('no place')
    await assembly.killAndOpen()
    const records = batch(A, { ...producer, baseSequence: 0 })
    const again = await assembly.session.produce(place, records, producer.transactionalId)
    expect(again).toEqual({ errorCode: CODE.NONE, baseOffset: 0 })
  })
})

describe('Epochs', () => {
  test('end at 32766, then the transactional id gets another producer id', async () => {
    const assembly = await Assembly.open()
    const s = assembly.session
    const connection = s.connect('produce')
    const { producerId } = await s.producer('worn')
    const epochs: number[] = []
    let changed: Producer | undefined
    while (changed === undefined) {
      const sent = Array.from({ length: 500 }, () =>
        s.send('InitProducerId', { transactionalId: 'worn', transactionTimeoutMs: 1_000 }, connection),
      )
      for (const { errorCode, ...next } of await Promise.all(sent)) {
        expect(errorCode).toBe(CODE.NONE)
        if (next.producerId === producerId) epochs.push(next.producerEpoch)
        else changed ??= { transactionalId: 'worn', ...next }
      }
    }
    expect(epochs.at(-1)).toBe(32_766)
    expect(changed.producerEpoch).toBe(0)
  })
})

describe('The time-out of a transaction', () => {
  test('is looked at each clean-up interval, and not before it is over', async () => {
    const assembly = await Assembly.open({ transactionCleanUpIntervalMs: 10_000 })
    const s = assembly.session
    const place = { topic: await s.topic(), partition: 0 }
    await assembly.clock.advance(5_000)
    const producer = await s.producer(undefined, 10_000)
    await s.begin(producer, place)
    await s.produce(place, batch(A, { ...producer, baseSequence: 0 }), producer.transactionalId)
    // At 10 s it is 5 s old, at 15 s nobody looks.
    await assembly.clock.advance(14_000)
    expect(await s.offset(place, 'latest', 'read_committed')).toBe(0)
    await assembly.clock.advance(2_000)
    expect(await s.offset(place, 'latest', 'read_committed')).toBe(2)
  })

  test('counts from its first partition, not from the last', async () => {
    const assembly = await Assembly.open({ transactionCleanUpIntervalMs: 1_000 })
    const s = assembly.session
    const topic = await s.topic(2)
    const producer = await s.producer(undefined, 10_000)
    await s.begin(producer, { topic, partition: 0 })
    await assembly.clock.advance(9_000)
    await s.begin(producer, { topic, partition: 1 })
    await assembly.clock.advance(2_500)
    const { errorCode } = await s.send('EndTxn', { ...producer, committed: true })
    expect(errorCode).toBe(CODE.INVALID_PRODUCER_EPOCH)
  })

  test('without an open transaction nothing is scheduled', async () => {
    const assembly = await Assembly.open()
    const s = assembly.session
    const place = { topic: await s.topic(), partition: 0 }
    await s.transaction(await s.producer(), place, 0, A, true)
    await assembly.clock.advance(1_000_000)
    expect(await s.offset(place, 'latest', 'read_committed')).toBe(2)
    expect(assembly.clock.wakeCount).toBe(0)
  })
})
