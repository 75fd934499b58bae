/** Random histories of the records that a task has sent, against a plain list of them. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Output, OutputLog } from '../../src/runtime/output-log.ts'

const DESTINATIONS = [0, 1, 2].map((partition) => ({ topic: 'out', partition, maxRecordBytes: 1_000 }))

const field = fc.option(fc.uint8Array({ maxLength: 300, size: 'max' }), { nil: null })
const output: fc.Arbitrary<Output> = fc.record({
  to: fc.constantFrom(...DESTINATIONS),
  timestamp: fc.integer({ min: -1, max: 2 ** 47 - 1 }),
  key: field,
  value: field,
  headers: fc.constantFrom([], [{ key: 'h', value: Buffer.of(1) }]),
})

const plain = (record: Output) => ({
  ...record,
  key: record.key && [...record.key],
  value: record.value && [...record.value],
})

function recordsOf(log: OutputLog): ReturnType<typeof plain>[] {
  const found: ReturnType<typeof plain>[] = []
  log.forEach((to, timestamp, key, value, headers) => {
    found.push(plain({ to, timestamp, key, value, headers }))
  })
  return found
}

test('gives back what was pushed and not taken back, in order', () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: output },
    { weight: 1, arbitrary: fc.double({ min: 0, max: 1, noNaN: true }) },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100, size: 'max' }), (steps) => {
      const log = new OutputLog()
      let model: Output[] = []
      for (const step of steps) {
        if (typeof step === 'number') {
          model = model.slice(0, Math.floor(step * (model.length + 1)))
          log.truncate(model.length)
        } else {
          model.push(step)
          log.push(step)
        }
        expect(log.size).toBe(model.length)
      }
      expect(recordsOf(log)).toEqual(model.map(plain))
      expect(log.destinations).toEqual(model.map(({ to }) => to))
    }),
    { numRuns: 300 },
  )
})

test('keeps its own copy of the bytes', () => {
  const log = new OutputLog()
  const [to] = DESTINATIONS
  const [key, value] = [Buffer.of(1), Buffer.of(2)]
  log.push({ to: to as (typeof DESTINATIONS)[0], timestamp: 0, key, value, headers: [] })
  key[0] = 9
  value[0] = 9
  expect(recordsOf(log)).toMatchObject([{ key: [1], value: [2] }])
})
