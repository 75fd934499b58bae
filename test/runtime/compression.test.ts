/** What Druse writes is compressed as the application says, everywhere, and never refused for its size. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  type Compression,
  Druse,
  memoryDisk,
  type ProducedRecord,
  type ProducerTopic,
  string,
  TransactionalProducer,
  type TransactionalProducerOptions,
} from '../../src/index.ts'
import { batches } from '../contract/fixture.ts'
import { Stage, strings } from './stage.ts'
import { drained, feed, INPUTS, makeTopics, tally, verify } from './tally.ts'

const CODECS: readonly Compression[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
})

afterEach(async () => {
  await stage.close()
})

type Transaction = Parameters<Parameters<TransactionalProducer['transact']>[2]>[0]

function send<K, V>(
  transaction: Transaction,
  to: ProducerTopic<K, V>,
  records: readonly ProducedRecord<K, V>[],
): void {
  for (const record of records) transaction.send(to, record)
}

/** The codecs of a topic's batches with data that are large enough to be compressed. */
async function codecsIn(topic: string): Promise<(Compression | undefined)[]> {
  const found = await stage.cluster.topic(topic)
  const all = new Set<Compression | undefined>()
  for (const { partition } of found?.partitions ?? []) {
    const at = { topic, partition }
    const { partitions } = await stage.ask(at, {
      api: 'Fetch',
      maxWaitMs: 0,
      minBytes: 0,
      maxBytes: 10_000_000,
      isolation: 'read_committed',
      partitions: [{ ...at, offset: 0, maxBytes: 10_000_000 }],
    })
    for (const fetched of partitions) {
      for (const { header } of batches(fetched)) {
        if (!header.isControl && header.recordCount > 20) all.add(CODECS[header.compression])
      }
    }
  }
  return [...all]
}

describe.each(CODECS)('compression %s', (compression) => {
  test('of an application: sinks and internal topics; a region is restored from them', async () => {
    await makeTopics(stage.wire)
    await feed(stage.wire, 0, INPUTS / 2)
    // All of it in few commits, so that there is something to compress.
    const options = { compression, commitIntervalMs: 200 }
    const first = await stage.run(tally, options)
    await drained(stage.wire, INPUTS / 2)
    await first.close()
    // On an empty disk, and over what may have been written otherwise.
    await feed(stage.wire, INPUTS / 2, INPUTS)
    const second = await stage.run(tally, { ...options, disk: memoryDisk() })
    await drained(stage.wire)
    await second.close()
    await verify(stage.wire)
    for (const topic of ['copies', 'tally-by-rest-repartition', 'tallies']) {
      expect(await codecsIn(topic), topic).toEqual([compression])
    }
  })

  test('of a transactional producer', async () => {
    await stage.topics('out')
    const options: TransactionalProducerOptions = { wire: stage.wire, transactionalId: 'p', compression }
    using producer = await TransactionalProducer.open(options)
    const out = await producer.topic('out', strings)
    const records = Array.from({ length: 50 }, (_, i) => ({ key: `${i}`, value: `value ${i}` }))
    await producer.transact({ topic: 'out', partition: 0 }, 1, (t) => send(t, out, records))
    expect(await codecsIn('out')).toEqual([compression])
    expect(await stage.read('out')).toEqual(records.map(({ key, value }) => [key, value]))
  })

  test('what does not compress is split as if it were not compressed, and not refused', async () => {
    await stage.topics({ topic: 'small', configs: { 'max.message.bytes': '3000' } })
    using producer = await TransactionalProducer.open({ wire: stage.wire, transactionalId: 'p', compression })
    const small = await producer.topic('small', strings)
    let seed = 7
    const noise = () => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
      return String.fromCharCode(32 + ((seed >>> 16) % 95))
    }
    const records = Array.from({ length: 40 }, (_, i) => ({
      key: `${i}`,
      value: Array.from({ length: 50 + i * 60 }, noise).join(''),
    }))
    await producer.transact({ topic: 'small', partition: 0 }, 1, (t) => send(t, small, records))
    expect(await stage.read('small')).toEqual(records.map(({ key, value }) => [key, value]))
  })
})

test('another codec than Kafka has is refused', async () => {
  const compression = 'brotli' as Compression
  const expected = expect.objectContaining({
    code: 'OPTION_INVALID',
    message: expect.stringContaining('brotli'),
  })
  const disk = memoryDisk()
  expect(() => new Druse(tally(), { wire: stage.wire, stateDir: disk, compression })).toThrow(expected)
  const opening = TransactionalProducer.open({ wire: stage.wire, transactionalId: 'p', compression })
  await expect(opening).rejects.toThrow(expected)
})

test('the default is none', async () => {
  await stage.topics('out')
  await stage.send(
    'out',
    Array.from({ length: 50 }, (_, i) => ({ key: `${i}`, value: 'v' })),
    { key: string, value: string },
  )
  expect(await codecsIn('out')).toEqual(['none'])
})
