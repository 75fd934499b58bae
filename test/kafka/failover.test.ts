/** Brokers that die, come back, and hand over what they lead, while records flow: the job ends with the right result. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { DruseError, TransactionalProducer, type Wire } from '../../src/index.ts'
import { kafkaWire } from '../../src/kafka/kafkajs.ts'
import { int64, string } from '../../src/serde/index.ts'
import { Instance } from '../runtime/instance.ts'
import { drained, makeTopics, tallyOf, verify } from '../runtime/tally.ts'
import { describeOnClusters, type RunningCluster } from '../stack/cluster.ts'
import { ON_KAFKA } from './settings.ts'

const CHUNK = 20
const ENOUGH = 400

/** Feeds numbers in transactions, over every failure, until told to end. Each number is there once. */
class Load {
  #sent = 0
  #ending = false
  readonly #wire: Wire
  readonly #done: Promise<void>

  constructor(wire: Wire) {
    this.#wire = wire
    this.#done = this.#run()
    this.#done.catch(() => {})
  }

  /** Committed so far. */
  get sent(): number {
    return this.#sent
  }

  /** Resolves to how many there are in all. */
  async end(): Promise<number> {
    this.#ending = true
    await this.#done
    return this.#sent
  }

  async #run(): Promise<void> {
    while (!this.#ending) {
      try {
        await this.#feed()
      } catch (error) {
        // What the producer's documentation says: open it again and ask for the position.
        if (!(error instanceof DruseError) || error.kind !== 'transient') throw error
      }
    }
  }

  async #feed(): Promise<void> {
    using producer = await TransactionalProducer.open({ wire: this.#wire, transactionalId: 'feeder' })
    const numbers = await producer.topic('numbers', { key: string, value: int64 })
    const at = { topic: 'numbers', partition: 0 }
    this.#sent = (await producer.position(at)) ?? 0
    while (!this.#ending) {
      const next = this.#sent + CHUNK
      await producer.transact(at, next, (transaction) => {
        for (let n = this.#sent; n < next; n++) {
          transaction.send(numbers, { key: `n${n}`, value: n, timestamp: 1_000 + n })
        }
      })
      this.#sent = next
      await sleep(10)
    }
  }
}

describeOnClusters('brokers that fail', (startCluster) => {
  /** Does something to the cluster while records flow, and sees that all of them come out, once. */
  async function under(cluster: RunningCluster, fault: (settled: () => Promise<void>) => Promise<void>) {
    const wire = kafkaWire({ brokers: cluster.brokers })
    await makeTopics(wire)
    const load = new Load(wire)
    const one = new Instance({ ...ON_KAFKA, topology: () => tallyOf(''), wire })
    onTestFinished(() => one.close())
    await one.start()
    const commits = () => one.requests.filter(({ api }) => api === 'EndTxn').length
    /** More has been fed, and more transactions have ended, than when it was asked. */
    const flows = async () => {
      const before = { sent: load.sent, commits: commits() }
      await expect.poll(() => load.sent, { timeout: 60_000 }).toBeGreaterThan(before.sent + CHUNK)
      await expect.poll(commits, { timeout: 60_000 }).toBeGreaterThan(before.commits + 1)
    }
    await flows()
    await fault(flows)
    await expect.poll(() => load.sent, { timeout: 60_000 }).toBeGreaterThan(ENOUGH)
    const sent = await load.end()
    await drained(wire, sent)
    await verify(wire, sent)
    expect(one.app.health).toMatchObject({ state: 'RUNNING', healthy: true })
    return one
  }

  test('the only broker is killed and comes back', { timeout: 120_000 }, async () => {
    await using cluster = await startCluster()
    const one = await under(cluster, async (flows) => {
      await cluster.kill(1)
      await cluster.start(1)
      await flows()
    })
    expect(one.app.health.counts.recoveries).toBeGreaterThan(0)
  })

  test('of three, one after the other hands over and comes back; one is killed', {
    timeout: 180_000,
  }, async () => {
    await using cluster = await startCluster({ nodes: 3 })
    await under(cluster, async (flows) => {
      for (const node of [1, 2, 3]) {
        await cluster.stop(node)
        await flows()
        await cluster.start(node)
        await flows()
      }
      await cluster.kill(2)
      await flows()
      await cluster.start(2)
      await flows()
    })
  })
})
