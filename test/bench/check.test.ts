/** What the benchmark takes for right: a program that loses, repeats, reorders or invents is found out. */
import { describe, expect, test } from 'vitest'
import { checkCount, checkPass, type Read } from '../../bench/check.ts'
import { inputRecord } from '../../bench/workload.ts'

const KEYS = 7
const RECORDS = 60

const input: readonly Read[] = Array.from({ length: RECORDS }, (_, n) => {
  const { key, value } = inputRecord(n, KEYS)
  return { key, value, partition: Number(key.at(-1)) % 4 }
})

/** A change of an output that is right. */
type Change = (right: readonly Read[]) => readonly Read[]

const same: Change = (right) => right
const without =
  (n: number): Change =>
  (right) =>
    right.filter((_, i) => i !== n)
const twice =
  (n: number): Change =>
  (right) =>
    right.flatMap((record, i) => (i === n ? [record, record] : [record]))
const swapped: Change = (right) => {
  const second = right.findIndex(({ partition }, i) => i > 0 && partition === right[0]?.partition)
  const changed = [...right]
  changed[0] = right[second] as Read
  changed[second] = right[0] as Read
  return changed
}

describe('pass', () => {
  const right = input.map((record) => ({ ...record, value: record.value.toUpperCase() }))

  test('each record in its partition, in order', () => {
    checkPass(input, right)
    // Partitions are read one after the other, as it comes.
    checkPass(
      input,
      right.toSorted((a, b) => b.partition - a.partition),
    )
  })

  test.each<[string, Change]>([
    ['one is missing', without(5)],
    ['one is there twice', twice(5)],
    ['one is there twice, another is missing', (right) => twice(5)(without(9)(right))],
    ['two have changed places', swapped],
    ['a value is as it was', (right) => right.with(3, input[3] as Read)],
    ['a key is another', (right) => right.with(3, { ...(right[3] as Read), key: 'other' })],
  ])('%s', (_, change) => {
    expect(() => checkPass(input, change(right))).toThrow()
  })
})

describe('count', () => {
  const counts = new Map<string, number>()
  const right = input.map(({ key, partition }) => {
    const count = (counts.get(key) ?? 0) + 1
    counts.set(key, count)
    return { key, value: String(count), partition }
  })
  const check = (written: readonly Read[]): void => checkCount(written, { records: RECORDS, keys: KEYS })
  const last = right.at(-1) as Read

  test('every update, or those that a cache lets through', () => {
    check(same(right))
    check(right.filter(({ key, value }) => Number(value) % 2 === 0 || Number(value) === counts.get(key)))
  })

  test.each<[string, Change]>([
    ['the last of a key is missing', without(RECORDS - 1)],
    ['one is there twice', twice(5)],
    ['a key goes back', (right) => [...right, { ...last, value: '1' }]],
    ['a key is counted too far', (right) => [...right, { ...last, value: String(Number(last.value) + 1) }]],
    ['a key is missing', (right) => right.filter(({ key }) => key !== last.key)],
    ['a key is new', (right) => [...right, { key: 'other', value: '1', partition: 0 }]],
    ['a count is no number', (right) => right.with(3, { ...(right[3] as Read), value: 'x' })],
  ])('%s', (_, change) => {
    expect(() => check(change(right))).toThrow()
  })
})
