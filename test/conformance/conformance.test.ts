/** The same inputs as Kafka Streams had give the same outputs and stores. */
import { expect, test } from 'vitest'
import { built, optional, pending } from './coverage.ts'
import { verdicts } from './verdicts.ts'

test('a topology is built, optional or pending', () => {
  const names = [...Object.keys(built), ...pending]
  expect(names).toEqual([...new Set(names)])
  expect(pending.filter((name) => optional.includes(name))).toEqual([])
})

verdicts(0, 2)
