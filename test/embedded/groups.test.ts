/** What the group coordinator does by the clock, and what is left of a group after a crash. */
import { describe, expect, test } from 'vitest'
import { CODE } from '../../src/kafka/error-codes.ts'
import type { Connection, Requests, Responses } from '../../src/ports.ts'
import type { Session } from '../contract/fixture.ts'
import { Assembly } from './assembly.ts'

type Joined = Responses['JoinGroup']

const SESSION_MS = 10_000
const REBALANCE_MS = 20_000

function joinOf(change: Partial<Requests['JoinGroup']> = {}): Requests['JoinGroup'] {
  return {
    groupId: 'group',
    sessionTimeoutMs: SESSION_MS,
    rebalanceTimeoutMs: REBALANCE_MS,
    memberId: '',
    groupInstanceId: null,
    protocolType: 'consumer',
    protocols: [{ name: 'range', metadata: Buffer.alloc(0) }],
    ...change,
  }
}

/** Asks for an id first, as a dynamic member has to. */
async function join(s: Session, change: Partial<Requests['JoinGroup']> = {}): Promise<Joined> {
  const connection: Connection = s.connect('group')
  const first = await s.send('JoinGroup', joinOf(change), connection)
  if (first.errorCode !== CODE.MEMBER_ID_REQUIRED) return first
  return s.send('JoinGroup', joinOf({ ...change, memberId: first.memberId }), connection)
}

async function heartbeat(s: Session, { memberId, generationId }: Joined): Promise<number> {
  const membership = { groupId: 'group', generationId, memberId, groupInstanceId: null }
  return (await s.send('Heartbeat', membership, s.connect('group'))).errorCode
}

function sync(s: Session, { memberId, generationId }: Joined) {
  const assignments = [{ memberId, assignment: Buffer.from('all') }]
  return s.send('SyncGroup', { groupId: 'group', generationId, memberId, groupInstanceId: null, assignments })
}

/** Whether a promise is settled by now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol('pending')
  return (await Promise.race([promise, Promise.resolve(pending)])) !== pending
}

describe('A session', () => {
  test('lasts as long as heartbeats come within the session timeout', async () => {
    const assembly = await Assembly.open()
    const { session: s, clock } = assembly
    const member = await join(s)
    await sync(s, member)
    for (let i = 0; i < 5; i++) {
      await clock.advance(SESSION_MS - 1)
      expect(await heartbeat(s, member)).toBe(CODE.NONE)
    }
    await clock.advance(SESSION_MS)
    expect(await heartbeat(s, member)).toBe(CODE.UNKNOWN_MEMBER_ID)
  })

  test('of a member that waits in JoinGroup does not end', async () => {
    const assembly = await Assembly.open()
    const { session: s, clock } = assembly
    const first = await join(s)
    await sync(s, first)
    // Static, so that it is not removed for having missed the rebalance.
    const second = join(s, { groupInstanceId: 'two', sessionTimeoutMs: 25_000 })
    await clock.advance(1)
    const longer = joinOf({ memberId: first.memberId, rebalanceTimeoutMs: 100_000 })
    const again = s.send('JoinGroup', longer, s.connect('group'))
    await clock.advance(1)
    const joined = await again
    await second
    await sync(s, joined)
    const third = join(s, { sessionTimeoutMs: 30_000 })
    await clock.advance(1)
    const waiting = s.send('JoinGroup', longer, s.connect('group'))
    // The second member never joins again: the others wait for its session to end, longer than their own.
    await clock.advance(2 * SESSION_MS)
    expect(await isSettled(waiting)).toBe(false)
    await clock.advance(5_000)
    expect(await waiting).toMatchObject({ errorCode: CODE.NONE })
    expect(await third).toMatchObject({ errorCode: CODE.NONE })
  })

  test('an id that nobody comes back with does not hold the group up for longer than its session', async () => {
    const assembly = await Assembly.open()
    const { session: s, clock } = assembly
    const first = await join(s)
    await sync(s, first)
    const lost = await s.send('JoinGroup', joinOf(), s.connect('group'))
    expect(lost.errorCode).toBe(CODE.MEMBER_ID_REQUIRED)
    const again = s.send('JoinGroup', joinOf({ memberId: first.memberId }), s.connect('group'))
    await clock.advance(SESSION_MS - 1)
    expect(await isSettled(again)).toBe(false)
    await clock.advance(1)
    expect(await again).toMatchObject({ errorCode: CODE.NONE, generationId: 2 })
  })
})

describe('A rebalance', () => {
  test('waits for the longest rebalance timeout of its members, not longer', async () => {
    const assembly = await Assembly.open()
    const { session: s, clock } = assembly
    const first = await join(s, { sessionTimeoutMs: 1_000_000 })
    await sync(s, first)
    const second = join(s, { rebalanceTimeoutMs: 1_000 })
    await clock.advance(REBALANCE_MS - 1)
    expect(await isSettled(second)).toBe(false)
    expect(await heartbeat(s, first)).toBe(CODE.REBALANCE_IN_PROGRESS)
    await clock.advance(1)
    expect(await second).toMatchObject({ errorCode: CODE.NONE, generationId: 2 })
    expect(await heartbeat(s, first)).toBe(CODE.UNKNOWN_MEMBER_ID)
  })

  test('a member that joins and never asks for its assignment is removed', async () => {
    const assembly = await Assembly.open()
    const { session: s, clock } = assembly
    const member = await join(s, { sessionTimeoutMs: 1_000_000 })
    await clock.advance(REBALANCE_MS - 1)
    expect(await heartbeat(s, member)).toBe(CODE.NONE)
    await clock.advance(1)
    expect(await heartbeat(s, member)).toBe(CODE.UNKNOWN_MEMBER_ID)
  })

  test('the first one waits groupInitialRebalanceDelayMs, and again when others come', async () => {
    const assembly = await Assembly.open({ groupInitialRebalanceDelayMs: 3_000 })
    const { session: s, clock } = assembly
    const first = join(s)
    await clock.advance(2_000)
    const second = join(s)
    await clock.advance(3_999)
    expect(await isSettled(first)).toBe(false)
    await clock.advance(1)
    expect(await first).toMatchObject({ generationId: 1 })
    expect(await second).toMatchObject({ generationId: 1 })
  })
})

describe('After a crash', () => {
  test('a group is empty, nobody is waited for, and its generation and offsets are there', async () => {
    const assembly = await Assembly.open()
    const s = assembly.session
    const member = await join(s)
    await sync(s, member)
    const place = { topic: await s.topic(), partition: 0 }
    const producer = await s.producer()
    await s.addOffsets(producer, 'group')
    const { memberId, generationId } = member
    expect(await s.commitOffset(producer, 'group', place, 3, { memberId, generationId })).toBe(CODE.NONE)
    await s.finish(producer, true)

    await assembly.killAndOpen()
    const t = assembly.session
    expect(await heartbeat(t, member)).toBe(CODE.UNKNOWN_MEMBER_ID)
    expect((await t.committedOffset('group', place)).offset).toBe(3)
    expect(await join(t)).toMatchObject({ errorCode: CODE.NONE, generationId: 2 })
  })
})
