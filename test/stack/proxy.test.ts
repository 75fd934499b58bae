/** What tests of faults rely on: the proxy does to a request what it is told, and to no other. */
import { expect, onTestFinished, test } from 'vitest'
import { kafkaWire } from '../../src/kafka/kafkajs.ts'
import { ANY_NODE } from '../../src/ports.ts'
import { describeOnKafka } from './kafka.ts'
import { type Fate, KafkaProxy } from './proxy.ts'

const TIMEOUT_MS = 2_000

describeOnKafka('through a proxy', ({ brokers }) => {
  async function open() {
    const proxy = await KafkaProxy.open(kafkaWire({ brokers }))
    onTestFinished(() => proxy.close())
    const connection = kafkaWire({ brokers: proxy.brokers }).connect('admin')
    onTestFinished(() => connection.destroy())
    const ask = (key: string, timeoutMs = 20_000) =>
      connection.send(ANY_NODE, { api: 'FindCoordinator', key, keyType: 'group' }, timeoutMs)
    await ask('first')
    return { proxy, ask }
  }
  /** For the next request alone. */
  const next = (proxy: KafkaProxy, fate: Fate): void => {
    proxy.fate = () => {
      proxy.fate = () => 'pass'
      return fate
    }
  }

  for (const fate of ['cut', 'torn', 'lose'] as const) {
    test(`${fate}: the connection breaks; the next one is as ever`, async () => {
      const { proxy, ask } = await open()
      next(proxy, fate)
      expect(await ask('struck')).toMatchObject({ ok: false, reason: 'disconnect' })
      const { answered } = proxy.exchanges.at(-1) as (typeof proxy.exchanges)[number]
      const isDone = await Promise.race([answered.then(() => true), ask('after').then(() => false)])
      // What is lost was never carried out.
      expect(isDone).toBe(fate !== 'lose')
      expect(await ask('after')).toMatchObject({ ok: true, response: { errorCode: 0 } })
    })
  }

  test('silent: no answer to this one', async () => {
    const { proxy, ask } = await open()
    next(proxy, 'silent')
    expect(await ask('struck', TIMEOUT_MS)).toMatchObject({ ok: false, reason: 'timeout' })
    expect(await ask('after')).toMatchObject({ ok: true })
  })

  test('halfOpen: nothing more on its connection', async () => {
    const { proxy, ask } = await open()
    next(proxy, 'halfOpen')
    const outcomes = await Promise.all([ask('struck', TIMEOUT_MS), ask('behind', TIMEOUT_MS)])
    expect(outcomes.map(({ ok }) => ok)).toEqual([false, false])
    expect(await ask('after')).toMatchObject({ ok: true })
  })

  for (const kind of ['after', 'answerAfter'] as const) {
    test(`${kind}: it waits, and so does what comes behind it`, async () => {
      const { proxy, ask } = await open()
      const release = Promise.withResolvers<void>()
      next(proxy, kind === 'after' ? { after: release.promise } : { answerAfter: release.promise })
      const order: string[] = []
      const both = Promise.all([
        ask('struck').then(() => order.push('struck')),
        ask('behind').then(() => order.push('behind')),
      ])
      const [struck] = proxy.exchanges.slice(-2)
      if (kind === 'answerAfter') await struck?.answered
      expect(order).toEqual([])
      release.resolve()
      await both
      expect(order).toEqual(['struck', 'behind'])
    })
  }

  test('slow: an answer takes as long as its bytes do', async () => {
    const { proxy, ask } = await open()
    proxy.bytesPerSecond = 100
    const startedMs = performance.now()
    expect(await ask('slow')).toMatchObject({ ok: true })
    // More than 50 bytes of request and answer each.
    expect(performance.now() - startedMs).toBeGreaterThan(500)
  })

  test('what is forgotten is not kept', async () => {
    const { proxy, ask } = await open()
    const before = proxy.exchanges.length
    proxy.forgets = true
    await ask('forgotten')
    expect(proxy.exchanges.length).toBe(before)
  })
})
