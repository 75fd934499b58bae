/** The broker to measure on: the one that KAFKA_BROKERS names, else one of our own, from Kafka's jars as the tests do. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { jars } from '../test/stack/keeper/jars.ts'

const KAFKA_VERSION = '4.1.0'

export interface Broker extends AsyncDisposable {
  readonly brokers: readonly string[]
}

/** Errors: without JDK or Maven. */
export async function openBroker(): Promise<Broker> {
  const given = process.env.KAFKA_BROKERS
  if (given) return { brokers: given.split(','), [Symbol.asyncDispose]: async () => {} }
  const root = await mkdtemp(join(tmpdir(), 'druse-bench-'))
  const removed = () => rm(root, { recursive: true, force: true })
  try {
    const engine = jars(root)
    await engine.prepareKafka(KAFKA_VERSION)
    // The tests let the cleaner look for work all the time; here it has Kafka's default.
    const configs = { 'log.cleaner.backoff.ms': '15000' }
    const { nodes, remove } = await engine.nodes({ nodes: 1, version: KAFKA_VERSION, configs })
    await Promise.all(nodes.map((node) => node.start(1))).catch(async (error: unknown) => {
      await remove()
      throw error
    })
    return {
      brokers: nodes.map(({ address }) => address),
      [Symbol.asyncDispose]: async () => {
        await remove()
        await removed()
      },
    }
  } catch (cause) {
    await removed()
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new Error(
      `No broker could be started (${reason}): install a JDK (17 or later) and Maven, or set KAFKA_BROKERS=host:port`,
      { cause },
    )
  }
}
