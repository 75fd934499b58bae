/**
 * A process that is stopped (SIGSTOP) for longer than its session, in the middle of a transaction, while another takes
 * its tasks; then it goes on. Kafka refuses what it was about to commit, and nothing is there twice.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { CODE } from '../../src/kafka/error-codes.ts'
import { kafkaWire } from '../../src/kafka/kafkajs.ts'
import type { Api } from '../../src/ports.ts'
import { ChildProcess } from '../child-process.ts'
import { Instance } from '../runtime/instance.ts'
import { drained, feed, INPUTS, makeTopics, tallyOf, verify } from '../runtime/tally.ts'
import { describeOnKafka } from '../stack/kafka.ts'
import { type Exchange, inTransaction, KafkaProxy } from '../stack/proxy.ts'
import { ON_KAFKA } from './settings.ts'

const CHILD = fileURLToPath(new URL('tally-child.ts', import.meta.url))
const PATIENCE = { timeout: 30_000 }
const TASKS = 6

describeOnKafka('frozen beyond the session', ({ brokers }) => {
  const wire = kafkaWire({ brokers })

  /** Stops a child at a request of its third transaction, which is on its way to Kafka until `deliver`. */
  async function open<A extends Api>(api: A) {
    const prefix = `frozen-${process.hrtime.bigint().toString(36)}-`
    await makeTopics(wire, prefix)
    await feed(wire, 0, INPUTS, prefix)
    const stateDir = await mkdtemp(join(tmpdir(), 'druse-frozen-'))
    onTestFinished(() => rm(stateDir, { recursive: true, force: true }))
    const proxy = await KafkaProxy.open(wire)
    onTestFinished(() => proxy.close())

    const delivery = Promise.withResolvers<void>()
    const held = Promise.withResolvers<Exchange<A>>()
    const hold = inTransaction(api, 3, { after: delivery.promise })
    proxy.fate = (exchange) => {
      const fate = hold(exchange)
      if (fate !== 'pass') held.resolve(exchange as Exchange<A>)
      return fate
    }
    const child = new ChildProcess(CHILD, [proxy.brokers.join(), prefix, stateDir])
    const { answered } = await held.promise
    child.kill('SIGSTOP')
    const second = new Instance({ ...ON_KAFKA, topology: () => tallyOf(prefix), wire })
    onTestFinished(() => second.close())
    await second.start()
    const tasks = () => second.app.health.tasks.length
    // The session of the child is over.
    await expect.poll(tasks, PATIENCE).toBe(TASKS)
    const deliver = async () => {
      delivery.resolve()
      return answered
    }
    const thaw = async () => {
      child.kill('SIGCONT')
      // It has joined again.
      await expect.poll(tasks, PATIENCE).toBeLessThan(TASKS)
    }
    return { prefix, second, deliver, thaw }
  }

  test('before TxnOffsetCommit: it is refused, the other has gone on from the commit before', async () => {
    const { prefix, deliver, thaw } = await open('TxnOffsetCommit')
    const { partitions } = await deliver()
    expect(partitions.length).toBeGreaterThan(0)
    for (const { errorCode } of partitions) {
      expect([CODE.ILLEGAL_GENERATION, CODE.UNKNOWN_MEMBER_ID]).toContain(errorCode)
    }
    await thaw()
    await feed(wire, INPUTS, INPUTS + 100, prefix)
    await drained(wire, INPUTS + 100, prefix)
    await verify(wire, INPUTS + 100, prefix)
  })

  test('before EndTxn: the other waits for it, and it commits', async () => {
    const { prefix, second, deliver, thaw } = await open('EndTxn')
    await expect.poll(() => second.logged('waiting until an earlier owner'), PATIENCE).toBe(true)
    expect(await deliver()).toEqual({ errorCode: CODE.NONE })
    await thaw()
    await feed(wire, INPUTS, INPUTS + 100, prefix)
    await drained(wire, INPUTS + 100, prefix)
    await verify(wire, INPUTS + 100, prefix)
  })
})
