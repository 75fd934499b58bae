/** Compressed batches: taken, kept as they are, served, compacted. */
import { describe, expect, test } from 'vitest'
import { CODE } from '../../src/kafka/error-codes.ts'
import { batch, batches, COMPACTED, only, type Pair, seen, type Traits } from './fixture.ts'
import type { GetSession } from './wire.contract.ts'

const CODECS = ['gzip', 'snappy', 'lz4', 'zstd'] as const

/** Compresses well. */
const long = (text: string): string => `${text} `.repeat(200)

export function compressionContract(session: GetSession, traits: Traits): void {
  describe.each(CODECS)('Compressed batches, %s', (compression) => {
    test('are served as they were produced', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      // More than one block.
      const pairs: Pair[] = Array.from({ length: 500 }, (_, i) => [
        `key ${i}`,
        i === 7 ? null : long(`value ${i}`),
      ])
      const produced = batch(pairs, { compression })
      expect(produced.length).toBeLessThan(batch(pairs).length / 2)
      expect(await s.produce(place, produced)).toEqual({ errorCode: CODE.NONE, baseOffset: 0 })
      const fetched = await s.fetch(place, 0)
      const { header } = only(batches(fetched))
      expect(header).toMatchObject({ recordCount: 500, lastOffset: 499, sizeBytes: produced.length })
      expect(CODECS[header.compression - 1]).toBe(compression)
      expect(seen(fetched)).toEqual(pairs.map(([key, value], offset) => ({ offset, key, value })))
    })

    test('in a transaction: not seen when it aborts, seen when it commits', async () => {
      const s = session()
      const place = { topic: await s.topic(), partition: 0 }
      const producer = await s.producer()
      for (const [sequence, committed] of [false, true].entries()) {
        await s.begin(producer, place)
        const pairs: Pair[] = [['key', long(`${committed}`)]]
        const records = batch(pairs, { ...producer, baseSequence: sequence, compression })
        expect((await s.produce(place, records, producer.transactionalId)).errorCode).toBe(CODE.NONE)
        await s.finish(producer, committed)
      }
      const fetched = await s.fetch(place, 0)
      expect(fetched.abortedTransactions).toEqual([{ producerId: producer.producerId, firstOffset: 0 }])
      expect(seen(fetched, 2)).toEqual([{ offset: 2, key: 'key', value: long('true') }])
    })

    test('max.message.bytes is about the compressed size', async () => {
      const s = session()
      const place = { topic: await s.topic(1, { 'max.message.bytes': '500' }), partition: 0 }
      const pairs: Pair[] = [['key', long('value')]]
      expect((await s.produce(place, batch(pairs))).errorCode).toBe(CODE.MESSAGE_TOO_LARGE)
      expect((await s.produce(place, batch(pairs, { compression }))).errorCode).toBe(CODE.NONE)
    })

    test('a record without a key to a compacted topic: 87', async () => {
      const s = session()
      const place = { topic: await s.topic(1, { 'cleanup.policy': 'compact' }), partition: 0 }
      const mixed: Pair[] = [
        ['a', long('1')],
        [null, long('2')],
      ]
      expect((await s.produce(place, batch(mixed, { compression }))).errorCode).toBe(CODE.INVALID_RECORD)
    })

    test.skipIf(!traits.canCompact)('are compacted, and stay compressed', async () => {
      const s = session()
      const place = { topic: await s.topic(1, COMPACTED), partition: 0 }
      await s.produce(
        place,
        batch(
          [
            ['a', long('a1')],
            ['b', long('b1')],
            ['c', long('c1')],
          ],
          { compression },
        ),
      )
      await s.produce(place, batch([['a', long('a2')]], { compression }))
      // What is last in the log is not cleaned.
      await s.produce(place, batch([['end', 'of the log']], { timestamp: Date.now() + 1000 }))
      await s.cluster.compact?.(place.topic)
      const fetched = await s.fetchAll(place, 0)
      expect(seen(fetched)).toEqual([
        { offset: 1, key: 'b', value: long('b1') },
        { offset: 2, key: 'c', value: long('c1') },
        { offset: 3, key: 'a', value: long('a2') },
        { offset: 4, key: 'end', value: 'of the log' },
      ])
      const [first] = batches(fetched)
      expect(first?.header).toMatchObject({ recordCount: 2, lastOffset: 2 })
      expect(CODECS[(first?.header.compression ?? 0) - 1]).toBe(compression)
    })
  })
}
