/** What the fetcher does when a broker does not answer. */
import { expect, test } from 'vitest'
import { embeddedBroker, ensureTopics, silentLogger, systemClock } from '../../src/index.ts'
import { Cluster } from '../../src/kafka/cluster.ts'
import { Fetcher } from '../../src/kafka/fetcher.ts'
import type { Clock, Wire } from '../../src/ports.ts'

test('asks again after a fetch that was lost, also when its timer goes off a little early', async () => {
  const broker = await embeddedBroker()
  const inner = broker.wire()
  let lost = 0
  const wire: Wire = {
    connect: (purpose) => {
      const connection = inner.connect(purpose)
      return {
        destroy: () => connection.destroy(),
        send: async (node, request, timeoutMs) => {
          if (request.api !== 'Fetch' || lost === 5) return connection.send(node, request, timeoutMs)
          lost += 1
          return { ok: false, reason: 'timeout' }
        },
      }
    },
  }
  // Timers count in whole milliseconds of their own.
  const clock: Clock = {
    monotonicMs: () => systemClock.monotonicMs(),
    wallMs: () => systemClock.wallMs(),
    wake: (delayMs, callback) => systemClock.wake(Math.max(0, delayMs - 2), callback),
  }
  await ensureTopics(inner, [{ topic: 'in', partitions: 1 }])
  const cluster = new Cluster({ wire, clock, log: silentLogger })
  let deliveries = 0
  const fetcher = new Fetcher(
    cluster,
    { isolation: 'read_committed', maxWaitMs: 10 },
    {
      deliver: () => {
        deliveries += 1
      },
      failed: () => {},
    },
  )
  try {
    fetcher.add({ topic: 'in', partition: 0 }, 0)
    await expect.poll(() => deliveries).toBeGreaterThan(0)
    expect(lost).toBe(5)
  } finally {
    fetcher.close()
    cluster.close()
    await broker.close()
  }
})
