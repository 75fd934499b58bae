/** Avro records between Druse and Java, both ways, through a real Kafka and a real registry. */
import { randomUUID } from 'node:crypto'
import { afterAll, describe, expect, test } from 'vitest'
import {
  avro,
  Druse,
  ensureTopics,
  kafkaWire,
  memoryDisk,
  readTopic,
  type Serde,
  schemaRegistry,
  silentLogger,
  string,
  Topology,
  TransactionalProducer,
} from '../../src/index.ts'
import { describeOn } from '../stack/describe-on.ts'
import { describeOnKafka } from '../stack/kafka.ts'
import { describeOnRegistry } from '../stack/registry.ts'
import { AvroExchange } from './avro-exchange.ts'

const ACCOUNT = {
  type: 'record',
  name: 'Account',
  fields: [
    { name: 'iban', type: 'string' },
    { name: 'owner', type: ['null', 'string'], default: null },
    { name: 'tags', type: { type: 'array', items: 'string' } },
    { name: 'limits', type: { type: 'map', values: 'double' } },
  ],
}
const TRANSFER = {
  type: 'record',
  name: 'Transfer',
  namespace: 'com.example.bank',
  fields: [
    { name: 'id', type: { type: 'string', logicalType: 'uuid' } },
    { name: 'sequence', type: 'long' },
    { name: 'amount', type: { type: 'bytes', logicalType: 'decimal', precision: 20, scale: 2 } },
    { name: 'at', type: { type: 'long', logicalType: 'timestamp-micros' } },
    { name: 'day', type: { type: 'int', logicalType: 'date' } },
    { name: 'status', type: { type: 'enum', name: 'Status', symbols: ['OPEN', 'BOOKED', 'REFUSED'] } },
    { name: 'hash', type: { type: 'fixed', name: 'Hash', size: 4 } },
    { name: 'from', type: ACCOUNT },
    {
      name: 'to',
      type: [
        'null',
        'Account',
        { type: 'record', name: 'Cash', fields: [{ name: 'currency', type: 'string' }] },
      ],
    },
    { name: 'note', type: ['null', 'string', 'long'], default: null },
    { name: 'rate', type: 'double' },
    { name: 'share', type: 'float' },
    { name: 'urgent', type: 'boolean' },
  ],
}
const GEBÜHR = { name: 'fee', type: 'long', default: -1, doc: 'Gebühr' }
const LATER = { ...TRANSFER, fields: [GEBÜHR, ...TRANSFER.fields] }

interface Transfer {
  readonly [field: string]: unknown
}
const serde = (schema: object): Serde<Transfer> => avro<Transfer>(schema, { longs: 'bigint' })

/** As Druse has them, and in Avro's JSON encoding as Java has them. */
const TRANSFERS: readonly (readonly [Transfer, string])[] = [
  [
    {
      id: '5f2a6c1e-8f1d-4d43-9a0c-2f1f3f3c2d11',
      sequence: 2n ** 53n + 1n,
      amount: Buffer.from([0xff, 0x38]),
      at: 1_763_863_200_123_456n,
      day: 20_415,
      status: 'BOOKED',
      hash: Buffer.from([0, 127, 128, 255]),
      from: { iban: 'DE02', owner: 'Jürgen 💶 漢字', tags: ['a', '', 'ß'], limits: { tag: 0.1 } },
      to: { 'com.example.bank.Account': { iban: 'FR76', owner: null, tags: [], limits: {} } },
      note: -(2n ** 62n),
      rate: -1.0e-300,
      share: 0.5,
      urgent: true,
    },
    '{"id":"5f2a6c1e-8f1d-4d43-9a0c-2f1f3f3c2d11","sequence":9007199254740993,"amount":"\\u00ff8","at":1763863200123456,"day":20415,"status":"BOOKED","hash":"\\u0000\\u007f\\u0080\\u00ff","from":{"iban":"DE02","owner":{"string":"Jürgen 💶 漢字"},"tags":["a","","ß"],"limits":{"tag":0.1}},"to":{"com.example.bank.Account":{"iban":"FR76","owner":null,"tags":[],"limits":{}}},"note":{"long":-4611686018427387904},"rate":-1.0E-300,"share":0.5,"urgent":true}',
  ],
  [
    {
      id: '00000000-0000-0000-0000-000000000000',
      sequence: -(2n ** 63n),
      amount: Buffer.alloc(0),
      at: -1n,
      day: -719_162,
      status: 'OPEN',
      hash: Buffer.alloc(4),
      from: { iban: '', owner: null, tags: [], limits: {} },
      to: { 'com.example.bank.Cash': { currency: '€' } },
      note: 'line\nbreak "quoted" \u0000\uffff',
      rate: 1.7976931348623157e308,
      share: -1.5,
      urgent: false,
    },
    '{"id":"00000000-0000-0000-0000-000000000000","sequence":-9223372036854775808,"amount":"","at":-1,"day":-719162,"status":"OPEN","hash":"\\u0000\\u0000\\u0000\\u0000","from":{"iban":"","owner":null,"tags":[],"limits":{}},"to":{"com.example.bank.Cash":{"currency":"€"}},"note":{"string":"line\\nbreak \\"quoted\\" \\u0000\\uffff"},"rate":1.7976931348623157E308,"share":-1.5,"urgent":false}',
  ],
  [
    {
      id: 'x',
      sequence: 2n ** 63n - 1n,
      amount: Buffer.from('7fffffffffffffffffff', 'hex'),
      at: 0n,
      day: 0,
      status: 'REFUSED',
      hash: Buffer.from('abcd'),
      from: { iban: 'x'.repeat(5_000), owner: '', tags: Array.from({ length: 300 }, String), limits: {} },
      to: null,
      note: null,
      rate: -0,
      share: 1,
      urgent: false,
    },
    `{"id":"x","sequence":9223372036854775807,"amount":"\\u007f${'\\u00ff'.repeat(9)}","at":0,"day":0,"status":"REFUSED","hash":"abcd","from":{"iban":"${'x'.repeat(5_000)}","owner":{"string":""},"tags":${JSON.stringify(Array.from({ length: 300 }, String))},"limits":{}},"to":null,"note":null,"rate":-0.0,"share":1.0,"urgent":false}`,
  ],
]
const VALUES = TRANSFERS.map(([value]) => value)
const LINES = TRANSFERS.map(([, line]) => line)

/** For comparison: long numbers as text, for JSON.parse rounds them. */
const parsed = (json: string): Record<string, unknown> =>
  JSON.parse(json.replace(/("(?:sequence|long|at|fee)":)(-?\d+)/g, '$1"$2"'))
const without = (line: string): Record<string, unknown> => {
  const { fee: _, ...rest } = parsed(line)
  return rest
}
const withFee = (line: string, fee: number): string => `{"fee":${fee},${line.slice(1)}`

const java = await AvroExchange.find()
afterAll(async () => {
  if ('found' in java) await java.found.remove()
})

describeOnKafka('Avro between Druse and Java', ({ brokers }) => {
  describeOnRegistry('through a registry', (url) => {
    const [root, rest] = url.split('/apis/ccompat/')
    if (rest === undefined) {
      test.skip(`Java's serializers need Apicurio, and REGISTRY_URL=${url} is none`, () => {})
      return
    }
    const why = 'missing' in java ? `: ${java.missing}` : ''
    describeOn(`with Apicurio's serializers${why}`, java, (exchange) => {
      const wire = kafkaWire({ brokers })
      const registry = schemaRegistry({ url })
      const service = { brokers, registry: `${root}/apis/registry/v3` }
      const fresh = async (name: string): Promise<string> => {
        const topic = `exchange-${name}-${randomUUID()}`
        await ensureTopics(wire, [{ topic, partitions: 1 }])
        return topic
      }
      const read = async (topic: string, schema: object) => {
        const records = await readTopic(wire, topic, { key: string, value: serde(schema), registry })
        return records.map(({ value }) => value)
      }
      const write = async (topic: string, schema: object, values: readonly Transfer[]) => {
        const transactionalId = `exchange-${randomUUID()}`
        const producer = await TransactionalProducer.open({ wire, transactionalId, registry })
        const to = await producer.topic(topic, { key: string, value: serde(schema) })
        await producer.transact({ topic, partition: 0 }, 0, (transaction) => {
          for (const [n, value] of values.entries()) transaction.send(to, { key: `druse-${n}`, value })
        })
        producer.close()
      }
      /** Ids of the schemas that a subject has had. */
      const idsOf = async (subject: string): Promise<number[]> => {
        const versions = (await (await fetch(`${url}/subjects/${subject}/versions`)).json()) as number[]
        return Promise.all(
          versions.map(async (version) => {
            const answer = await fetch(`${url}/subjects/${subject}/versions/${version}`)
            return ((await answer.json()) as { id: number }).id
          }),
        )
      }
      const idIn = (bytes: Buffer): number => {
        expect(bytes[0]).toBe(0)
        return bytes.readInt32BE(1)
      }

      test('a job in the middle: Java writes, Druse keeps and passes on, Java reads the same', async () => {
        const [from, to] = [await fresh('from'), await fresh('to')]
        await exchange.produce(service, from, TRANSFER, LINES)
        const topology = new Topology(`exchange-${randomUUID()}`)
        const kept = topology.region('kept', { key: string, value: serde(TRANSFER) })
        topology
          .stream(from, { key: string, value: serde(TRANSFER) })
          .process(
            'keep',
            { regions: [kept], value: serde(TRANSFER) },
            ({ key, value }, { kept, forward }) => {
              kept.put(key, value)
              forward(key, kept.get(key) ?? value)
            },
          )
          .to(to)
        const app = new Druse(topology, { wire, registry, stateDir: memoryDisk(), logger: silentLogger })
        try {
          await app.start()
          await app.untilRunning()
          await expect.poll(() => app.region(kept).get('java-2'), { timeout: 30_000 }).toBeDefined()
          for (const [n, value] of VALUES.entries()) {
            expect(await app.region(kept).get(`java-${n}`)).toEqual(value)
          }
        } finally {
          await app.close()
        }
        const [written, passed] = [
          await exchange.consume(service, from, TRANSFER),
          await exchange.consume(service, to, TRANSFER),
        ]
        expect(passed.map(({ json }) => parsed(json))).toEqual(LINES.map(parsed))
        expect(passed.map(({ key }) => key)).toEqual(['java-0', 'java-1', 'java-2'])
        for (const [n, { bytes }] of passed.entries()) {
          expect(bytes.subarray(5)).toEqual(written[n]?.bytes.subarray(5))
          expect(await idsOf(`${to}-value`)).toContain(idIn(bytes))
        }
        // As with Kafka Streams.
        expect(await idsOf(`${topology.application}-kept-changelog-value`)).toHaveLength(1)
      })

      describe('a field is added, with a default', () => {
        test('Java writes it, Druse does not know it yet; Druse writes without it, Java does', async () => {
          const [newer, older] = [await fresh('newer'), await fresh('older')]
          await exchange.produce(
            service,
            newer,
            LATER,
            LINES.map((line, n) => withFee(line, n)),
          )
          expect(await read(newer, TRANSFER)).toEqual(VALUES)
          expect(await read(newer, LATER)).toEqual(VALUES.map((value, n) => ({ fee: BigInt(n), ...value })))
          await write(older, TRANSFER, VALUES)
          const seen = await exchange.consume(service, older, LATER)
          expect(seen.map(({ json }) => parsed(json))).toEqual(LINES.map((line) => parsed(withFee(line, -1))))
        })

        test('Druse writes it, Java does not know it yet; Java writes without it, Druse does', async () => {
          const [newer, older] = [await fresh('newer'), await fresh('older')]
          await write(
            newer,
            LATER,
            VALUES.map((value, n) => ({ fee: BigInt(n), ...value })),
          )
          const seen = await exchange.consume(service, newer, TRANSFER)
          expect(seen.map(({ json }) => without(json))).toEqual(LINES.map(without))
          for (const { bytes } of seen) expect(await idsOf(`${newer}-value`)).toContain(idIn(bytes))
          await exchange.produce(service, older, TRANSFER, LINES)
          expect(await read(older, LATER)).toEqual(VALUES.map((value) => ({ fee: -1n, ...value })))
        })

        test('both in one topic, under one subject', async () => {
          const topic = await fresh('mixed')
          await exchange.produce(service, topic, TRANSFER, LINES.slice(0, 1))
          await write(
            topic,
            LATER,
            VALUES.slice(1).map((value) => ({ fee: 5n, ...value })),
          )
          expect(await read(topic, TRANSFER)).toEqual(VALUES)
          const seen = await exchange.consume(service, topic, LATER)
          expect(seen.map(({ json }) => parsed(json).fee)).toEqual(['-1', '5', '5'])
          expect((await idsOf(`${topic}-value`)).sort()).toEqual(
            [...new Set(seen.map(({ bytes }) => idIn(bytes)))].sort(),
          )
        })
      })
    })
  })
})
