import { describe, expect, test } from 'vitest'
import { batch, batches, seen } from '../contract/fixture.ts'
import { Assembly } from './assembly.ts'

describe('The cache of batches', () => {
  test('stays within its bound while the log grows, and the whole log can be read', async () => {
    const cacheBytesMax = 20_000
    const assembly = await Assembly.open({ cacheBytesMax })
    const s = assembly.session
    const places = [0, 1].map((partition) => ({ topic: '', partition }))
    const topic = await s.topic(2)
    for (let i = 0; i < 300; i++) {
      for (const { partition } of places) {
        await s.produce({ topic, partition }, batch([[`key ${i}`, `${partition} `.padEnd(500, 'x')]]))
        // One batch may come on top, while it is on its way to the store.
        expect(assembly.broker.cachedBytes).toBeLessThanOrEqual(cacheBytesMax + 1_000)
      }
    }
    expect(assembly.broker.cachedBytes).toBeGreaterThan(cacheBytesMax / 2)
    for (const { partition } of places) {
      const keys: (string | null)[] = []
      for (let offset = 0; offset < 300; ) {
        const fetched = await s.fetch({ topic, partition }, offset, 'read_committed', {
          partitionBytes: 7_000,
        })
        for (const { key, value } of seen(fetched)) {
          keys.push(key)
          expect(value?.startsWith(`${partition} `)).toBe(true)
        }
        offset = (batches(fetched).at(-1)?.header.lastOffset ?? 300) + 1
      }
      expect(keys).toEqual(Array.from({ length: 300 }, (_, i) => `key ${i}`))
    }
  })

  test('keeps a batch until it is in the store, however small it is', async () => {
    const assembly = await Assembly.open({ cacheBytesMax: 0 })
    const s = assembly.session
    const place = { topic: await s.topic(), partition: 0 }
    const store = assembly.gate()
    const produced = s.produce(place, batch([['a', '1']]))
    await assembly.clock.advance(0)
    const fetched = s.fetch(place, 0, 'read_committed', {}, s.connect('fetch'))
    await assembly.clock.advance(0)
    store.release()
    expect((await produced).errorCode).toBe(0)
    expect(seen(await fetched)).toHaveLength(1)
  })

  test('forgets what DeleteRecords, compaction and DeleteTopics remove', async () => {
    const assembly = await Assembly.open()
    const s = assembly.session
    const deleted = await s.topic()
    const compacted = await s.topic(1, { 'cleanup.policy': 'compact' })
    for (let i = 0; i < 10; i++) {
      await s.produce({ topic: deleted, partition: 0 }, batch([['a', 'x'.repeat(1000)]]))
      await s.produce({ topic: compacted, partition: 0 }, batch([['a', 'x'.repeat(1000)]]))
    }
    expect(assembly.broker.cachedBytes).toBeGreaterThan(20_000)
    await s.send('DeleteRecords', {
      partitions: [{ topic: deleted, partition: 0, offset: 10 }],
      timeoutMs: 1,
    })
    expect(assembly.broker.cachedBytes).toBeLessThan(12_000)
    await assembly.broker.compact()
    expect(assembly.broker.cachedBytes).toBeLessThan(1_500)
    await s.send('DeleteTopics', { topics: [deleted, compacted], timeoutMs: 1 })
    expect(assembly.broker.cachedBytes).toBe(0)
  })

  test('in memory nothing is counted, since nothing can be given up', async () => {
    const { EmbeddedBroker } = await import('../../src/embedded/embedded-broker.ts')
    const { systemClock, systemRandom } = await import('../../src/system.ts')
    const broker = await EmbeddedBroker.open({ clock: systemClock, random: systemRandom, cacheBytesMax: 0 })
    const { Session } = await import('../contract/fixture.ts')
    const traits = { sessionTimeoutMs: 6000, patienceMs: 10_000, canCompact: true }
    const s = new Session({ wire: broker.wire(), close: () => broker.close() }, traits, 'memory')
    const place = { topic: await s.topic(), partition: 0 }
    await s.produce(place, batch([['a', '1']]))
    expect(broker.cachedBytes).toBe(0)
    expect(seen(await s.fetch(place, 0))).toHaveLength(1)
    await broker.close()
  })
})
