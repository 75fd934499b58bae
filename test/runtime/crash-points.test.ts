/**
 * Every row of the crash-point table of the protocol, and its rules. An instance is crashed, frozen or lied to at one
 * step of a commit; a successor, on the same directory or on an empty one, goes on. What comes out is exact.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  type DruseOptions,
  type EmbeddedBroker,
  embeddedBroker,
  memoryDisk,
  type Wire,
} from '../../src/index.ts'
import type { Api, Request } from '../../src/ports.ts'
import { type Fate, type Fates, Instance, PATIENT, QUICK_BROKER } from './instance.ts'
import { drained, feed, makeTopics, tally, verify } from './tally.ts'

let broker: EmbeddedBroker
let wire: Wire
let instances: Instance[]

beforeEach(async () => {
  broker = await embeddedBroker(QUICK_BROKER)
  wire = broker.wire()
  instances = []
  await makeTopics(wire)
})

afterEach(async () => {
  for (const instance of instances) {
    instance.thaw()
    await instance.close()
  }
  await broker.close()
})

function instance(fates?: Fates, disk = memoryDisk(), options: Partial<DruseOptions> = {}): Instance {
  const made = new Instance({
    topology: tally,
    wire,
    disk,
    commitRecords: 40,
    ...options,
    ...(fates && { fates }),
  })
  instances.push(made)
  return made
}

/** `fate`, once, at the first request of this kind in the nth transaction that changes regions. */
function at(api: Api, nth: number, fate: Fate): Fates {
  let transactions = 0
  let isOver = true
  let isDone = false
  return (request: Request) => {
    // It is sent again while the transaction before is being completed.
    if (request.api === 'AddPartitionsToTxn' && isOver) {
      if (request.partitions.some(({ topic }) => topic.endsWith('-changelog'))) transactions += 1
      isOver = false
    }
    // Those that come after it may change none, and are not counted.
    const hit = request.api === api && transactions === nth && !isOver && !isDone
    if (request.api === 'EndTxn' || hit) isOver = true
    if (hit) isDone = true
    return hit ? fate : 'pass'
  }
}

const STEPS = ['AddPartitionsToTxn', 'Produce', 'AddOffsetsToTxn', 'TxnOffsetCommit', 'EndTxn'] as const

describe('crash at each step', () => {
  for (const step of STEPS) {
    for (const fate of ['crashBefore', 'crashAfter'] as const) {
      for (const heir of [
        'same directory',
        'empty directory',
        'same directory after a power loss',
      ] as const) {
        test(`${fate} ${step}, successor on ${heir}`, async () => {
          await feed(wire)
          const first = await instance(at(step, 3, fate)).start()
          await first.fell
          // All that was not synced, or the newest write alone.
          const lost = fate === 'crashBefore' ? true : (): number => 1
          if (heir.includes('power')) first.disk.crash({ loseUnsynced: lost })
          const disk = heir === 'empty directory' ? memoryDisk() : first.disk
          const second = await instance(undefined, disk).start()
          await drained(wire)
          await verify(wire)
          expect(second.app.health).toMatchObject({ healthy: true })
          expect(second.logged('moved aside')).toBe(false)
        })
      }
    }
  }

  test('before anything is sealed', async () => {
    await feed(wire)
    const first = new Instance({ topology: tally, wire, commitIntervalMs: 1_400, commitRecords: 1e6 })
    await first.start()
    await expect.poll(() => first.app.health.counts.records).toBeGreaterThan(100)
    first.crash()
    await instance(undefined, first.disk).start()
    await drained(wire)
    await verify(wire)
  })

  test('after EndTxn was answered, before the store has the commit', async () => {
    await feed(wire)
    const first = instance()
    // The write that follows an answered EndTxn fails with the process.
    const third = at('EndTxn', 3, 'crashAfter')
    first.fates = (request) => {
      if (third(request) !== 'pass') first.disk.full = true
      return 'pass'
    }
    await first.start()
    await expect.poll(() => first.app.health.tasks.some(({ status }) => status === 'failed')).toBe(true)
    expect(first.app.health.tasks.find(({ error }) => error)?.error?.code).toBe('STATE_WRITE_FAILED')
    first.crash()
    first.disk.full = false
    const second = await instance(undefined, first.disk).start()
    await drained(wire)
    await verify(wire)
    await expect.poll(() => second.logged('state replayed')).toBe(true)
  })
})

describe('answers that are lost', () => {
  for (const step of STEPS) {
    for (const fate of ['loseRequest', 'loseAnswer'] as const) {
      test(`${fate} of ${step}: one strike`, async () => {
        await feed(wire)
        const one = await instance(at(step, 3, fate), undefined, PATIENT).start()
        await drained(wire)
        await verify(wire)
        expect(one.app.health.counts.recoveries).toBe(1)
        // The epoch that it happened under is never used again.
        const epochs = one.requests.flatMap((request) =>
          request.api === 'EndTxn' || request.api === 'AddPartitionsToTxn' ? [request.producerEpoch] : [],
        )
        expect(new Set(epochs).size).toBeGreaterThan(1)
        expect(epochs).toEqual([...epochs].sort((a, b) => a - b))
      })
    }
  }

  test('an EndTxn that arrives late ends no later transaction', async () => {
    await feed(wire)
    const release = Promise.withResolvers<void>()
    const one = await instance(at('EndTxn', 2, { after: release.promise })).start()
    await expect.poll(() => one.app.health.counts.recoveries, { timeout: 20_000 }).toBe(1)
    release.resolve()
    await drained(wire)
    await verify(wire)
  })
})

describe('frozen beyond the session', () => {
  test('before EndTxn, thawed while its transaction is still open: the new owner has waited for it', async () => {
    await feed(wire)
    const patient = { transactionTimeoutMs: 30_000 }
    const first = instance(at('EndTxn', 3, 'freezeBefore'), memoryDisk(), patient)
    await first.start()
    await first.fell
    const second = await instance(undefined, memoryDisk(), patient).start()
    const waiting = 'waiting until an earlier owner'
    await expect.poll(() => second.logged(waiting), { timeout: 10_000 }).toBe(true)
    // Tasks that the open transaction does not concern go on; their commits do not touch the others.
    first.thaw()
    await drained(wire)
    await verify(wire)
  })

  for (const step of ['TxnOffsetCommit', 'EndTxn', 'Produce'] as const) {
    for (const fate of ['freezeBefore', 'freezeAfter'] as const) {
      test(`${fate} ${step}: another owner goes on, the thawed one drops its overlays`, async () => {
        await feed(wire)
        const first = await instance(at(step, 3, fate)).start()
        await first.fell
        const second = await instance().start()
        await drained(wire)
        first.thaw()
        await expect
          .poll(() => first.app.health.tasks.length + second.app.health.tasks.length, { timeout: 10_000 })
          .toBe(6)
        await feed(wire, 400, 500)
        await drained(wire, 500)
        await verify(wire, 500)
      })
    }
  }
})
