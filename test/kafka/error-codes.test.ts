import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { CODE, classifyTransactional, nameOf } from '../../src/kafka/error-codes.ts'

/** Kafka's own table: see the `source` of the file. */
const errors: { code: number; name: string }[] = JSON.parse(
  readFileSync(new URL('./fixtures/errors.json', import.meta.url), 'utf8'),
).errors

describe('names', () => {
  test('every code of Kafka 4.4 has its name, and there are no others', () => {
    expect(CODE).toEqual(Object.fromEntries(errors.map(({ code, name }) => [name, code])))
  })

  test('both ways', () => {
    for (const { code, name } of errors) expect(nameOf(code)).toBe(name)
    expect(nameOf(999)).toBe('UNKNOWN_CODE_999')
  })
})

describe('classes of transactional answers', () => {
  const expected = {
    ok: [0],
    retry: [3, 5, 9, 14, 15, 16, 19, 51],
    indefinite: [-1, 6, 7, 20, 45, 46, 56],
    'producer-gone': [47, 90],
    reinitialise: [48, 49, 59],
    'membership-gone': [22, 25, 27],
    'instance-fenced': [82],
    abortable: [10, 12, 17, 18, 28, 29, 32, 43, 76, 87, 120],
    refused: [24, 30, 31, 35, 42, 50, 53],
  }
  /** Never meant for us, though a transactional request may get them: nothing is known to be carried out. */
  const setUp = [2, 21, 23, 26, 54, 55]
  /** Never answered to a transactional request; if it is, nobody knows what happened. */
  const others = [
    1, 4, 8, 11, 13, 33, 34, 36, 37, 38, 39, 40, 41, 44, 52, 57, 58, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69,
    70, 71, 72, 73, 74, 75, 77, 78, 79, 80, 81, 83, 84, 85, 86, 88, 89,
  ].concat(errors.map(({ code }) => code).filter((code) => code >= 91 && code <= 136 && code !== 120))

  test.each(Object.entries(expected))('%s: %j', (name, codes) => {
    for (const code of codes) expect([code, classifyTransactional(code)]).toEqual([code, name])
  })

  test('what is not listed is indefinite', () => {
    for (const code of [...setUp, ...others, 137, 999, -2])
      expect(classifyTransactional(code)).toBe('indefinite')
  })

  test('a decision was taken for every code of Kafka 4.4, once', () => {
    const decided = [...Object.values(expected).flat(), ...setUp, ...others].sort((a, b) => a - b)
    expect(decided).toEqual(errors.map(({ code }) => code).sort((a, b) => a - b))
  })
})
