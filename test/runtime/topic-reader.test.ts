/** Looking at topics from outside, in steps. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  avro,
  type EmbeddedBroker,
  embeddedBroker,
  ensureTopics,
  int32,
  localRegistry,
  memoryDisk,
  type Registry,
  readTopic,
  string,
  TopicReader,
  TransactionalProducer,
  type Wire,
} from '../../src/index.ts'
import type { Outcome, Request, ResponseOf } from '../../src/ports.ts'

let broker: EmbeddedBroker
let wire: Wire
let producer: TransactionalProducer
let sent: number

beforeEach(async () => {
  broker = await embeddedBroker()
  wire = broker.wire()
  await ensureTopics(wire, [{ topic: 'numbers', partitions: 3 }])
  producer = await TransactionalProducer.open({ wire, transactionalId: 'numbers' })
  sent = 0
})

afterEach(async () => {
  producer.close()
  await broker.close()
})

/** The next numbers, in one transaction, keyed by themselves. */
async function produce(count: number): Promise<void> {
  const target = await producer.topic('numbers', { key: int32, value: int32 })
  await producer.transact({ topic: 'numbers', partition: 0 }, sent + count, (transaction) => {
    for (let i = 0; i < count; i++) transaction.send(target, { key: sent + i, value: sent + i })
  })
  sent += count
}

const NUMBERS = { key: int32, value: int32 }

function upTo(end: number, from = 0): number[] {
  return Array.from({ length: end - from }, (_, i) => from + i)
}

async function read(reader: TopicReader<number, number>): Promise<number[]> {
  const found: number[] = []
  await reader.read(({ value }) => found.push(value))
  return found.sort((a, b) => a - b)
}

test('reads what is new, each time', async () => {
  using reader = await TopicReader.open(wire, 'numbers', NUMBERS)
  expect(await read(reader)).toEqual([])
  await produce(100)
  expect(await read(reader)).toEqual(upTo(100))
  expect(await read(reader)).toEqual([])
  await produce(1)
  await produce(20)
  expect(await read(reader)).toEqual(upTo(121, 100))
})

test('reads a partition in its order', async () => {
  await produce(50)
  await produce(50)
  using reader = await TopicReader.open(wire, 'numbers', NUMBERS)
  const last = new Map<number, number>()
  await reader.read(({ partition, value, offset, topic }) => {
    expect(topic).toBe('numbers')
    expect(value).toBeGreaterThan(last.get(partition) ?? -1)
    expect(offset).toBeGreaterThanOrEqual(0)
    last.set(partition, value)
  })
  expect(last.size).toBe(3)
})

test('goes on behind the last record that was taken, when one was not', async () => {
  await produce(60)
  using reader = await TopicReader.open(wire, 'numbers', NUMBERS)
  const taken: number[] = []
  const take = ({ value }: { readonly value: number }): void => {
    if (value === 30 && refuses) throw new Error('not now')
    taken.push(value)
  }
  let refuses = true
  for (let i = 0; i < 3; i++) {
    await expect(reader.read(take)).rejects.toThrow('not now')
    const { length } = taken
    // Nothing comes after the rejection.
    await new Promise((resolve) => setImmediate(resolve))
    expect(taken).toHaveLength(length)
  }
  await produce(10)
  refuses = false
  await reader.read(take)
  expect(taken.toSorted((a, b) => a - b)).toEqual(upTo(70))
})

test('sees what is committed only, and is not stopped by what was aborted', async () => {
  await produce(10)
  using reader = await TopicReader.open(wire, 'numbers', NUMBERS)
  producer.close()
  producer = await TransactionalProducer.open({ wire: withoutEnd(wire), transactionalId: 'numbers' })
  await expect(produce(9)).rejects.toMatchObject({ code: 'TRANSACTION_INDEFINITE' })
  expect(await read(reader)).toEqual(upTo(10))
  producer = await TransactionalProducer.open({ wire, transactionalId: 'numbers' })
  sent = 100
  await produce(5)
  expect(await read(reader)).toEqual(upTo(105, 100))
})

test('ends where the topic ended when it was called, and asks for nothing when there is nothing', async () => {
  await produce(30)
  let fetches = 0
  let ends = 0
  const watched = between(wire, async (request, send) => {
    if (request.api === 'Fetch') fetches++
    const answer = await send()
    // Of each partition its beginning, then its end: when all ends are known, there is more.
    if (request.api === 'ListOffsets' && ++ends === 6) await produce(10)
    return answer
  })
  using reader = await TopicReader.open(watched, 'numbers', NUMBERS)
  expect(await read(reader)).toEqual(upTo(30))
  expect(await read(reader)).toEqual(upTo(40, 30))
  const before = fetches
  expect(await read(reader)).toEqual([])
  expect(fetches).toBe(before)
})

/** The end of a transaction does not reach the broker. */
function withoutEnd(wire: Wire): Wire {
  return between(wire, async ({ api }, send) =>
    api === 'EndTxn' ? { ok: false, reason: 'disconnect' } : send(),
  )
}

type Sent = Outcome<ResponseOf<Request>>

function between(wire: Wire, hook: (request: Request, send: () => Promise<Sent>) => Promise<Sent>): Wire {
  return {
    connect(purpose) {
      const connection = wire.connect(purpose)
      return {
        send: (node, request, timeoutMs) =>
          hook(request, () => connection.send(node, request, timeoutMs)) as never,
        destroy: () => connection.destroy(),
      }
    },
  }
}

test('hands over nothing after it has failed, be it that something is still under way', async () => {
  const registry = localRegistry(memoryDisk(), 'schemas.json')
  const v = { name: 'v', type: 'int' }
  const wide = { type: 'record', name: 'R', fields: [v, { name: 'w', type: 'int', default: 0 }] }
  const first = avro<{ v: number }>({ type: 'record', name: 'R', fields: [v] })
  const second = avro<{ v: number; w: number }>(wide)
  producer.close()
  producer = await TransactionalProducer.open({ wire, registry, transactionalId: 'numbers' })
  // Two keys of different partitions, whose schemas differ.
  const quick = await producer.topic('numbers', { key: int32, value: first })
  await producer.transact({ topic: 'numbers', partition: 0 }, 1, (t) =>
    t.send(quick, { key: 0, value: { v: -1 } }),
  )
  const slow = await producer.topic('numbers', { key: int32, value: second })
  await producer.transact({ topic: 'numbers', partition: 0 }, 2, (t) => {
    for (let key = 1; key < 20; key++) t.send(slow, { key, value: { v: key, w: 0 } })
  })
  const gate = Promise.withResolvers<void>()
  const slowId = await registry.idOf('numbers-value', JSON.stringify(wide))
  const gated: Registry = {
    idOf: (subject, schema) => registry.idOf(subject, schema),
    schemaOf: async (id) => {
      if (id === slowId) await gate.promise
      return registry.schemaOf(id)
    },
  }
  using reader = await TopicReader.open(wire, 'numbers', { key: int32, value: first, registry: gated })
  const taken: number[] = []
  const reading = reader.read(({ value }) => {
    taken.push(value.v)
    throw new Error('enough')
  })
  await expect(reading).rejects.toThrow('enough')
  gate.resolve()
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(taken).toEqual([-1])
})

test('fetches the schemas that it meets', async () => {
  const registry = localRegistry(memoryDisk(), 'schemas.json')
  const text = avro<string>({ type: 'string' })
  producer.close()
  producer = await TransactionalProducer.open({ wire, registry, transactionalId: 'numbers' })
  const target = await producer.topic('numbers', { key: int32, value: text })
  using reader = await TopicReader.open(wire, 'numbers', { key: int32, value: text, registry })
  await producer.transact({ topic: 'numbers', partition: 0 }, 2, (transaction) => {
    transaction.send(target, { key: 1, value: 'one' })
    transaction.send(target, { key: 2, value: 'two' })
  })
  const found: string[] = []
  await reader.read(({ value }) => found.push(value))
  expect(found.sort()).toEqual(['one', 'two'])
})

test('gives up when it is closed', async () => {
  await produce(10)
  const reader = await TopicReader.open(wire, 'numbers', NUMBERS)
  const reading = reader.read(() => reader.close())
  await expect(reading).rejects.toMatchObject({ kind: 'transient' })
})

test('readTopic gives partition after partition', async () => {
  await produce(100)
  const records = await readTopic(wire, 'numbers', NUMBERS)
  expect(records.map(({ value }) => value).sort((a, b) => a - b)).toEqual(upTo(100))
  const places = records.map(({ partition, offset }) => partition * 1000 + offset)
  expect(places).toEqual(places.toSorted((a, b) => a - b))
  await expect(readTopic(wire, 'nowhere', { key: string, value: string })).rejects.toMatchObject({
    code: 'TOPIC_MISSING',
  })
})
