/** Where the embedded broker is stricter than Kafka promises to be. */
import { describe, expect, test } from 'vitest'
import { batch, seen } from '../contract/fixture.ts'
import { Assembly } from './assembly.ts'

const A = [['a', '1']] as const

describe('Fetch', () => {
  test('lists no aborted transaction that begins behind the bytes it gives', async () => {
    const { session: s } = await Assembly.open()
    const place = { topic: await s.topic(), partition: 0 }
    await s.produce(place, batch(A))
    const producer = await s.producer()
    await s.transaction(producer, place, 0, A, false)
    const fetched = await s.fetch(place, 0, 'read_committed', { partitionBytes: 1 })
    expect(seen(fetched)).toHaveLength(1)
    expect(fetched.abortedTransactions).toEqual([])
  })

  test('lists aborted transactions that overlap the bytes it gives, however long ago they began', async () => {
    const { session: s } = await Assembly.open()
    const place = { topic: await s.topic(), partition: 0 }
    const [long, other] = [await s.producer(), await s.producer()]
    await s.begin(long, place)
    await s.produce(place, batch(A, { ...long, baseSequence: 0 }), long.transactionalId)
    for (let i = 0; i < 5; i++) await s.transaction(other, place, i, A, false)
    await s.finish(long, false)
    const fetched = await s.fetch(place, 5, 'read_committed', { partitionBytes: 1 })
    expect(fetched.abortedTransactions).toEqual([
      { producerId: other.producerId, firstOffset: 5 },
      { producerId: long.producerId, firstOffset: 0 },
    ])
  })

  test('cuts a batch where the bytes end, as Kafka does', async () => {
    const { session: s } = await Assembly.open()
    const place = { topic: await s.topic(), partition: 0 }
    const records = batch(A)
    for (let i = 0; i < 3; i++) await s.produce(place, records)
    const partitionBytes = records.length * 2 + 10
    const fetched = await s.fetch(place, 0, 'read_committed', { partitionBytes })
    expect(fetched.records.length).toBe(partitionBytes)
    expect(seen(fetched)).toHaveLength(2)
  })
})
