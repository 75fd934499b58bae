import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { murmur2, partitionFor } from '../../src/kafka/partitioner.ts'
import type { Serde } from '../../src/ports.ts'
import { bigint64, bytes, double, int32, int64, string } from '../../src/serde/index.ts'

/** From Kafka's own classes: see the `source` of the file. */
const keys: { key: string; murmur2: number; partitions: number; partition: number }[] = JSON.parse(
  readFileSync(new URL('./fixtures/murmur2.json', import.meta.url), 'utf8'),
).keys

// The values of Kafka's UtilsTest.testMurmur2.
test.each([
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
  ['abc', 479470107],
])('murmur2 of %s', (text, expected) => {
  expect(murmur2(Buffer.from(text))).toBe(expected)
})

test('400 keys hash and go where the Java client sends them', () => {
  expect(keys.length).toBe(400)
  for (const each of keys) {
    const key = Buffer.from(each.key, 'hex')
    expect(murmur2(key)).toBe(each.murmur2)
    expect(partitionFor(key, each.partitions)).toBe(each.partition)
  }
})

test('a view of a larger buffer', () => {
  expect(murmur2(Buffer.from('--foobar--').subarray(2, 8))).toBe(-790332482)
})

describe('10 000 keys, by our serdes, go where the Java client sends them', () => {
  const { partitions } = JSON.parse(
    readFileSync(new URL('./fixtures/partitions.json', import.meta.url), 'utf8'),
  ) as { partitions: string }
  const expected = Buffer.from(partitions, 'base64')

  // The generator of DumpPartitions.java.
  let state = 4711
  const next = (): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state
  }
  const below = (limit: number): number => (next() >>> 0) % limit
  const times = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make)
  const codePoint = (): number => {
    const kind = below(4)
    if (kind === 0) return below(0x80)
    if (kind === 1) return 0x80 + below(0x780)
    return kind === 2 ? 0x800 + below(0xd000) : 0x10000 + below(0x100000)
  }
  const SPECIAL = [0, -0, Number.NaN, Infinity, -Infinity, Number.MAX_VALUE, Number.MIN_VALUE]

  type Kind = readonly [name: string, serde: Serde<unknown>, value: (i: number) => unknown]
  const kind = <T>(name: string, serde: Serde<T>, value: (i: number) => T): Kind => [
    name,
    serde as Serde<unknown>,
    value,
  ]
  const KINDS: readonly Kind[] = [
    kind('ASCII', string, () => String.fromCharCode(...times(below(40), () => below(128)))),
    kind('all of Unicode', string, () => String.fromCodePoint(...times(below(20), codePoint))),
    kind('names', string, (i) => `key-${i}`),
    kind('bytes', bytes, () => Uint8Array.from(times(below(64), next))),
    kind('Integer', int32, next),
    kind('Long', bigint64, () => (BigInt(next()) << 32n) | BigInt(next() >>> 0)),
    kind('Long that a number holds', int64, () => next() * 2_097_151),
    kind('Double', double, (i) => {
      const one = next()
      const other = next()
      return SPECIAL[Math.floor(i / 8)] ?? one / other
    }),
  ]
  const values = times(expected.length / 2, () => 0).map((_, i) => {
    const [, , value] = KINDS[i % KINDS.length] as Kind
    return value(i)
  })

  test('so many', () => {
    expect(values.length).toBe(10_000)
  })

  test.each(KINDS)('%s', async (name, serde) => {
    const codec = await serde.open({ topic: 't', part: 'key', registry: undefined, writes: true })
    const nth = KINDS.findIndex((each) => each[0] === name)
    for (let i = nth; i < values.length; i += KINDS.length) {
      const partition = partitionFor(codec.encode(values[i]), 1 + (i % 1000))
      if (partition !== expected.readInt16BE(2 * i))
        expect.fail(`key ${i}, ${String(values[i])}: ${partition}`)
    }
  })
})
