/** Tests as others write them, for run.test.ts, which looks at what becomes of them. */
import { expect, test } from 'vitest'
import { describeOnEachKafka, describeOnKafka } from '../kafka.ts'

test('without Kafka', () => {})

describeOnKafka('on Kafka', ({ brokers }) => {
  test('waits', async () => {
    console.log(`brokers=${brokers}`)
    if (process.env.SAMPLE === 'waits') await new Promise(() => {})
    expect(brokers).toHaveLength(1)
  }, 600_000)
})

describeOnEachKafka('on each Kafka', ({ version }) => {
  test('has a version', () => {
    expect(version).toMatch(/^\d+\.\d+\.\d+$/)
  })
})
