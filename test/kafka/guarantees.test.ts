/** The other guarantee, and static members, on a real broker. */
import { expect, onTestFinished, test } from 'vitest'
import { int64, memoryDisk, readTopic, string } from '../../src/index.ts'
import { kafkaWire } from '../../src/kafka/kafkajs.ts'
import type { Api } from '../../src/ports.ts'
import { Instance, type InstanceOptions } from '../runtime/instance.ts'
import { drained, feed, INPUTS, makeTopics, tallyOf, verify } from '../runtime/tally.ts'
import { describeOnKafka } from '../stack/kafka.ts'
import { type Exchange, type Fate, KafkaProxy } from '../stack/proxy.ts'
import { ON_KAFKA } from './settings.ts'

describeOnKafka('at-least-once and static members', ({ brokers }) => {
  const wire = kafkaWire({ brokers })

  async function open(): Promise<string> {
    const prefix = `guarantee-${process.hrtime.bigint().toString(36)}-`
    await makeTopics(wire, prefix)
    return prefix
  }

  function instance(prefix: string, options: Partial<InstanceOptions>): Instance {
    const made = new Instance({ wire, ...ON_KAFKA, topology: () => tallyOf(prefix), ...options })
    onTestFinished(() => made.close())
    return made
  }

  /** For the nth and every later tenth of a kind. */
  const often = (api: Api, fate: Fate) => {
    let count = 0
    return (exchange: Exchange): Fate => {
      if (exchange.api !== api) return 'pass'
      count += 1
      return count % 10 === 9 ? fate : 'pass'
    }
  }

  for (const api of ['Produce', 'OffsetCommit'] as const) {
    for (const fate of ['cut', 'silent'] as const) {
      test(`at-least-once: answers to ${api} are lost (${fate}), the requests come again and change nothing`, async () => {
        const prefix = await open()
        await feed(wire, 0, INPUTS, prefix)
        const proxy = await KafkaProxy.open(wire)
        onTestFinished(() => proxy.close())
        proxy.fate = often(api, fate)
        const one = await instance(prefix, {
          wire: kafkaWire({ brokers: proxy.brokers }),
          processingGuarantee: 'at_least_once',
        }).start()
        await drained(wire, INPUTS, prefix)
        await verify(wire, INPUTS, prefix)
        expect(proxy.of(api).length).toBeGreaterThan(9)
        expect(one.app.health.counts.recoveries).toBe(0)
      })
    }
  }

  test('at-least-once: crashed with changes that no commit knows of, and gone on from nothing; then exactly-once', async () => {
    const prefix = await open()
    await feed(wire, 0, INPUTS / 2, prefix)
    let commits = 0
    const first = instance(prefix, {
      processingGuarantee: 'at_least_once',
      fates: ({ api }) => (api === 'OffsetCommit' && ++commits === 12 ? 'crashBefore' : 'pass'),
    })
    await first.start()
    await first.fell
    await feed(wire, INPUTS / 2, INPUTS, prefix)
    const second = instance(prefix, { processingGuarantee: 'exactly_once' })
    await second.start()
    const inputs = async (): Promise<Set<number>> => {
      const copies = await readTopic(wire, `${prefix}copies`, { key: string, value: int64 })
      return new Set(copies.map(({ value }) => value))
    }
    await expect.poll(async () => (await inputs()).size, { timeout: 40_000 }).toBe(INPUTS)
    expect(second.app.health).toMatchObject({ state: 'RUNNING', healthy: true })
  })

  test('a static member comes back within its session: its tasks are its own again, and nobody else notices', async () => {
    const prefix = await open()
    await feed(wire, 0, INPUTS / 2, prefix)
    const disk = memoryDisk()
    const session = { sessionTimeoutMs: 30_000 }
    const first = await instance(prefix, { disk, groupInstanceId: 'one', ...session }).start()
    const other = await instance(prefix, { groupInstanceId: 'two', ...session }).start()
    const tasks = (of: Instance) => of.app.health.tasks.map(({ task }) => task).sort()
    await expect.poll(() => [tasks(first).length, tasks(other).length], { timeout: 40_000 }).toEqual([3, 3])
    await drained(wire, INPUTS / 2, prefix)
    const before = tasks(first)
    await first.app.close()
    const states: string[] = []
    other.app.onStateChange((state) => states.push(state))
    await feed(wire, INPUTS / 2, INPUTS, prefix)
    const again = await instance(prefix, { disk, groupInstanceId: 'one', ...session }).start()
    await again.app.untilRunning()
    expect(tasks(again)).toEqual(before)
    await drained(wire, INPUTS, prefix)
    await verify(wire, INPUTS, prefix)
    expect(states).toEqual([])
  })
})
