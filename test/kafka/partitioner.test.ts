import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { murmur2, partitionFor } from '../../src/kafka/partitioner.ts'

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
