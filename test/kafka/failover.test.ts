/** Brokers that die, come back, and hand over what they lead, while records flow: the job ends with the right result. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { DruseError, TransactionalProducer, type Wire } from '../../src/index.ts'
import { Cluster } from '../../src/kafka/cluster.ts'
import { kafkaWire } from '../../src/kafka/kafkajs.ts'
import type { Producing } from '../../src/ports.ts'
import { int64, string } from '../../src/serde/index.ts'
import { silentLogger, systemClock } from '../../src/system.ts'
import { Instance } from '../runtime/instance.ts'
import { drained, makeTopics, tallyOf, verify } from '../runtime/tally.ts'
import { describeOnClusters, type RunningCluster } from '../stack/cluster.ts'
import { ON_KAFKA } from './settings.ts'

const CHUNK = 20
const ENOUGH = 400
/** Of a dead broker: its partitions have new leaders after so long, in place of 9 s. */
const QUICK_TO_NOTICE = { 'broker.session.timeout.ms': '4000', 'broker.heartbeat.interval.ms': '500' }
/** What a dead broker never answers is given up soon. */
const SETTINGS = { ...ON_KAFKA, requestTimeoutMs: 5_000 }

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

interface Running {
  flows(): Promise<void>
  coordinators(): Promise<{ ofTransactions: number; ofGroup: number }>
}

describeOnClusters('brokers that fail', (startCluster) => {
  /** Does something to the cluster while records flow, and sees that all of them come out, once. */
  async function under(cluster: RunningCluster, fault: (running: Running) => Promise<void>) {
    const wire = kafkaWire({ brokers: cluster.brokers })
    await makeTopics(wire)
    const load = new Load(wire)
    const one = new Instance({ ...SETTINGS, topology: () => tallyOf(''), wire })
    onTestFinished(() => one.close())
    await one.start()
    const commits = () => one.requests.filter(({ api }) => api === 'EndTxn').length
    /** More has been fed, and more transactions have ended, than when it was asked. */
    const flows = async () => {
      const before = { sent: load.sent, commits: commits() }
      await expect.poll(() => load.sent, { timeout: 60_000 }).toBeGreaterThan(before.sent + CHUNK)
      await expect.poll(commits, { timeout: 60_000 }).toBeGreaterThan(before.commits + 1)
    }
    /** The nodes that coordinate the application's transactions and its group. */
    const coordinators = async () => {
      const asked = new Cluster({ wire, clock: systemClock, log: silentLogger })
      const { transactionalId } = one.requests.find(({ api }) => api === 'EndTxn') as Producing
      const ofTransactions = await asked.coordinator('transaction', transactionalId)
      const ofGroup = await asked.coordinator('group', 'tally')
      asked.close()
      return { ofTransactions, ofGroup }
    }
    await flows()
    await fault({ flows, coordinators })
    await expect.poll(() => load.sent, { timeout: 60_000 }).toBeGreaterThan(ENOUGH)
    const sent = await load.end()
    await drained(wire, sent)
    await verify(wire, sent)
    expect(one.app.health).toMatchObject({ state: 'RUNNING', healthy: true })
  }

  test('the only broker is killed and comes back', { timeout: 240_000 }, async () => {
    await using cluster = await startCluster()
    await under(cluster, async ({ flows }) => {
      await cluster.kill(1)
      await cluster.start(1)
      await flows()
    })
  })

  test('of three, the one that coordinates is killed, and its successor hands over', {
    timeout: 300_000,
  }, async () => {
    await using cluster = await startCluster({ nodes: 3, configs: QUICK_TO_NOTICE })
    await under(cluster, async ({ flows, coordinators }) => {
      const { ofTransactions } = await coordinators()
      await cluster.kill(ofTransactions)
      // Nobody waits for it.
      await flows()
      await cluster.start(ofTransactions)
      await flows()
      const { ofGroup } = await coordinators()
      await cluster.stop(ofGroup)
      await flows()
      await cluster.start(ofGroup)
      await flows()
    })
  })
})
