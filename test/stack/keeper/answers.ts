/** Waiting for what was started. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'

const LIMIT_MS = 120_000
const PAUSE_MS = 50

/** Resolves when the broker answers and sees so many brokers; rejects, with what `ended` says, when that resolves first. */
export async function untilBrokerAnswers(
  address: string,
  brokers: number,
  ended: Promise<string>,
): Promise<void> {
  await until(`Kafka at ${address}`, ended, async () => {
    const kafka = new Kafka({
      brokers: [address],
      logLevel: logLevel.NOTHING,
      connectionTimeout: 2_000,
      requestTimeout: 5_000,
      retry: { retries: 0 },
    })
    const admin = kafka.admin()
    try {
      await admin.connect()
      const { brokers: seen } = await admin.describeCluster()
      return seen.length >= brokers
    } finally {
      await admin.disconnect()
    }
  })
}

export async function untilRegistryAnswers(url: string, ended: Promise<string>): Promise<void> {
  await until(`The registry at ${url}`, ended, async () => {
    const response = await fetch(`${url}/subjects`, { signal: AbortSignal.timeout(5_000) })
    await response.body?.cancel()
    return response.ok
  })
}

async function until(who: string, ended: Promise<string>, isDone: () => Promise<boolean>): Promise<void> {
  const end: { said?: string } = {}
  void ended.then((said) => {
    end.said = said
  })
  const deadline = performance.now() + LIMIT_MS
  while (!(await isDone().catch(() => false))) {
    if (end.said !== undefined) throw new Error(`${who} does not answer:\n${end.said}`)
    if (performance.now() > deadline) throw new Error(`${who} does not answer`)
    await sleep(PAUSE_MS)
  }
}
