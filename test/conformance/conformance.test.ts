/** The same inputs as Kafka Streams had give the same outputs and stores. */
import { expect, test } from 'vitest'
import { built, optional } from './coverage.ts'
import { verdicts } from './verdicts.ts'

test('what is built is not passed over', () => {
  expect(optional.filter((name) => name in built)).toEqual([])
})

verdicts(0, 2)
