/**
 * Exactly once on a real broker, over what networks do to a transaction's requests: the whole application, through a
 * proxy that loses and delays. Judged by what is committed, read past the proxy.
 */
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { Druse, type DruseSettings, memoryDisk, silentLogger } from '../../src/index.ts'
import { kafkaWire } from '../../src/kafka/kafkajs.ts'
import type { Api } from '../../src/ports.ts'
import { drained, feed, INPUTS, makeTopics, tallyOf, verify } from '../runtime/tally.ts'
import { describeOnKafka } from '../stack/kafka.ts'
import { type Exchange, inTransaction, KafkaProxy } from '../stack/proxy.ts'
import { ON_KAFKA } from './settings.ts'

/** What is not answered is given up soon: on a slow machine also what would have been answered. */
const IMPATIENT = { requestTimeoutMs: 1_000 }
const STEPS = ['AddPartitionsToTxn', 'Produce', 'AddOffsetsToTxn', 'TxnOffsetCommit', 'EndTxn'] as const

describeOnKafka('answers that are lost', ({ brokers }) => {
  const wire = kafkaWire({ brokers })
  let prefix = ''
  let proxy: KafkaProxy

  beforeEach(async () => {
    prefix = `lost-${process.hrtime.bigint().toString(36)}-`
    await makeTopics(wire, prefix)
    await feed(wire, 0, INPUTS, prefix)
    const opened = await KafkaProxy.open(wire)
    proxy = opened
    onTestFinished(() => opened.close())
  })

  /** Runs until every input has come out, and is verified. */
  async function run(settings: Partial<DruseSettings> = {}): Promise<Druse> {
    const options = {
      ...ON_KAFKA,
      ...settings,
      logger: silentLogger,
      wire: kafkaWire({ brokers: proxy.brokers }),
      stateDir: memoryDisk(),
    }
    const app = new Druse(tallyOf(prefix), options)
    onTestFinished(() => app.close())
    await app.start()
    await drained(wire, INPUTS, prefix)
    await verify(wire, INPUTS, prefix)
    expect(app.health).toMatchObject({ state: 'RUNNING', healthy: true })
    return app
  }

  for (const step of STEPS) {
    test(`of ${step}: the connection breaks, one strike`, async () => {
      proxy.fate = inTransaction(step, 3, 'cut')
      const app = await run()
      expect(app.health.counts.recoveries).toBe(1)
    })
  }

  test('of EndTxn: silence, one strike', async () => {
    proxy.fate = inTransaction('EndTxn', 3, 'silent')
    const app = await run(IMPATIENT)
    expect(app.health.counts.recoveries).toBeGreaterThan(0)
  })

  test('of InitProducerId, the first one and the one after a strike', async () => {
    const step = inTransaction('Produce', 2, 'cut')
    const lost = new Set([1, 3])
    proxy.fate = (exchange) => {
      if (exchange.api === 'InitProducerId' && lost.has(proxy.of('InitProducerId').length)) return 'cut'
      return step(exchange)
    }
    const app = await run()
    expect(app.health.counts.recoveries).toBe(1)
    expect(proxy.of('InitProducerId').length).toBeGreaterThanOrEqual(4)
  })

  test('again and again, whichever', async () => {
    let count = 0
    proxy.fate = ({ api }) => {
      if (!(STEPS as readonly Api[]).includes(api)) return 'pass'
      count += 1
      return count % 37 === 0 ? 'cut' : 'pass'
    }
    const app = await run()
    expect(app.health.counts.recoveries).toBeGreaterThan(1)
  })

  // KAFKA-17754: an EndTxn that is on its way while its producer goes on must not end what comes next.
  test('an EndTxn that arrives in the middle of a later transaction is refused', async () => {
    const release = Promise.withResolvers<void>()
    let late: Exchange<'EndTxn'> | undefined
    const hold = inTransaction('EndTxn', 2, { after: release.promise })
    proxy.fate = (exchange) => {
      const fate = hold(exchange)
      if (fate !== 'pass') late = exchange as Exchange<'EndTxn'>
      // The next transaction has records in it, and its offsets are about to come.
      else if (late !== undefined && exchange.api === 'TxnOffsetCommit') {
        release.resolve()
        return { after: late.answered }
      }
      return fate
    }
    const app = await run(IMPATIENT)
    expect(app.health.counts.recoveries).toBeGreaterThan(0)
    const refused = (await late?.answered)?.errorCode
    // INVALID_PRODUCER_EPOCH or PRODUCER_FENCED.
    expect([47, 90]).toContain(refused)
  })
})
