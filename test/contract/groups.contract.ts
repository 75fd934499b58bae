/** JoinGroup, SyncGroup, Heartbeat, LeaveGroup of the classic protocol, and who may commit for a group. */
import { describe, expect, test } from 'vitest'
import { CODE } from '../../src/kafka/error-codes.ts'
import type { Connection, Requests, Responses } from '../../src/ports.ts'
import { ask, only, type Session } from './fixture.ts'
import type { GetSession } from './wire.contract.ts'

type Join = Requests['JoinGroup']
type Joined = Responses['JoinGroup']

/**
 * A subscription of the consumer protocol: version 0, no topics, `metadata` as user data. Kafka 4 reads what members
 * subscribe to, and does not answer at all when it cannot.
 */
const SUBSCRIPTION = Buffer.from('000000000000000000086d65746164617461', 'hex')

/** One member with a connection of its own: a JoinGroup that waits holds back what is behind it. */
class Member {
  readonly #session: Session
  readonly #connection: Connection
  readonly groupId: string
  readonly groupInstanceId: string | null
  memberId = ''
  generationId = -1

  constructor(session: Session, groupId: string, groupInstanceId: string | null = null) {
    this.#session = session
    this.groupId = groupId
    this.groupInstanceId = groupInstanceId
    this.#connection = session.connect('group')
  }

  get membership() {
    const { groupId, generationId, memberId, groupInstanceId } = this
    return { groupId, generationId, memberId, groupInstanceId }
  }

  /** One JoinGroup, as it is. */
  joinOnce(change: Partial<Join> = {}): Promise<Joined> {
    return ask(this.#connection, 'JoinGroup', {
      groupId: this.groupId,
      sessionTimeoutMs: Math.max(30_000, this.#session.traits.sessionTimeoutMs),
      rebalanceTimeoutMs: 30_000,
      memberId: this.memberId,
      groupInstanceId: this.groupInstanceId,
      protocolType: 'consumer',
      protocols: [{ name: 'range', metadata: SUBSCRIPTION }],
      ...change,
    })
  }

  /** Joins as a client does: settles, and comes back with the id it was given. */
  async join(change: Partial<Join> = {}): Promise<Joined> {
    for (;;) {
      const joined = await this.joinOnce(change)
      if (joined.errorCode === CODE.MEMBER_ID_REQUIRED) {
        this.memberId = joined.memberId
        continue
      }
      if ([14, 15, 16].includes(joined.errorCode)) continue
      if (joined.errorCode === CODE.NONE) {
        this.memberId = joined.memberId
        this.generationId = joined.generationId
      }
      return joined
    }
  }

  sync(
    assignments: Readonly<Record<string, string>> = {},
    change: Partial<Requests['SyncGroup']> = {},
  ): Promise<Responses['SyncGroup']> {
    return ask(this.#connection, 'SyncGroup', {
      ...this.membership,
      assignments: Object.entries(assignments).map(([memberId, text]) => ({
        memberId,
        assignment: Buffer.from(text),
      })),
      ...change,
    })
  }

  async heartbeat(change: Partial<Requests['Heartbeat']> = {}): Promise<number> {
    return (await ask(this.#connection, 'Heartbeat', { ...this.membership, ...change })).errorCode
  }

  async leave(): Promise<number> {
    const { memberId, groupInstanceId, groupId } = this
    const members = [{ memberId, groupInstanceId }]
    return (await ask(this.#connection, 'LeaveGroup', { groupId, members })).errorCode
  }
}

export function groupContract(session: GetSession): void {
  /** A group of one, stable. */
  const alone = async (groupInstanceId: string | null = null) => {
    const s = session()
    const groupId = s.name('group')
    const member = new Member(s, groupId, groupInstanceId)
    await member.join()
    await member.sync({ [member.memberId]: 'all' })
    return { s, groupId, member }
  }

  /** A stable group of two; the first leads. */
  const pair = async () => {
    const { s, groupId, member: first } = await alone()
    const second = new Member(s, groupId)
    const joining = second.join()
    await s.until(
      () => first.heartbeat(),
      (code) => code === CODE.REBALANCE_IN_PROGRESS,
    )
    await Promise.all([joining, first.join()])
    const assignment = { [first.memberId]: 'one', [second.memberId]: 'two' }
    const synced = await Promise.all([first.sync(assignment), second.sync(assignment)])
    return { s, groupId, first, second, synced }
  }

  describe('JoinGroup', () => {
    test('without a member id: 79 and an id', async () => {
      const s = session()
      const member = new Member(s, s.name('group'))
      const joined = await s.until(
        () => member.joinOnce(),
        ({ errorCode }) => ![14, 15, 16].includes(errorCode),
      )
      expect(joined.errorCode).toBe(CODE.MEMBER_ID_REQUIRED)
      expect(joined.memberId).not.toBe('')
    })

    test('with the given id: generation 1, and the leader hears of all members', async () => {
      const s = session()
      const member = new Member(s, s.name('group'))
      const joined = await member.join()
      expect(joined).toMatchObject({
        errorCode: CODE.NONE,
        generationId: 1,
        protocolName: 'range',
        leader: member.memberId,
      })
      expect(joined.members).toEqual([
        { memberId: member.memberId, groupInstanceId: null, metadata: SUBSCRIPTION },
      ])
    })

    test('with an id nobody gave: 25', async () => {
      const { s, groupId } = await alone()
      const stranger = new Member(s, groupId)
      stranger.memberId = 'nobody'
      expect((await stranger.join()).errorCode).toBe(CODE.UNKNOWN_MEMBER_ID)
    })

    test('with an id, of a group that is not there: 25', async () => {
      const s = session()
      const stranger = new Member(s, s.name('group'))
      stranger.memberId = 'nobody'
      expect((await stranger.join()).errorCode).toBe(CODE.UNKNOWN_MEMBER_ID)
    })

    test('an empty group id: 24', async () => {
      expect((await new Member(session(), '').join()).errorCode).toBe(CODE.INVALID_GROUP_ID)
    })

    test('a session timeout below the least allowed: 26', async () => {
      const s = session()
      const member = new Member(s, s.name('group'))
      const sessionTimeoutMs = s.traits.sessionTimeoutMs - 1
      expect((await member.join({ sessionTimeoutMs })).errorCode).toBe(CODE.INVALID_SESSION_TIMEOUT)
    })

    test('no protocols: 23', async () => {
      const s = session()
      const member = new Member(s, s.name('group'))
      expect((await member.join({ protocols: [] })).errorCode).toBe(CODE.INCONSISTENT_GROUP_PROTOCOL)
    })

    test('protocols that no other member has: 23', async () => {
      const { s, groupId } = await alone()
      const other = new Member(s, groupId)
      const protocols = [{ name: 'other', metadata: SUBSCRIPTION }]
      expect((await other.join({ protocols })).errorCode).toBe(CODE.INCONSISTENT_GROUP_PROTOCOL)
    })

    test('another protocol type: 23', async () => {
      const { s, groupId } = await alone()
      const other = new Member(s, groupId)
      expect((await other.join({ protocolType: 'connect' })).errorCode).toBe(CODE.INCONSISTENT_GROUP_PROTOCOL)
    })

    test('a second member: both are in the next generation, one leads', async () => {
      const { first, second } = await pair()
      expect(first.generationId).toBe(2)
      expect(second.generationId).toBe(2)
    })

    test('the protocol is one that all members have', async () => {
      const s = session()
      const groupId = s.name('group')
      const names = (...list: string[]) => list.map((name) => ({ name, metadata: SUBSCRIPTION }))
      const first = new Member(s, groupId)
      await first.join({ protocols: names('new', 'old') })
      await first.sync()
      const second = new Member(s, groupId)
      const joining = second.join({ protocols: names('old') })
      await s.until(
        () => first.heartbeat(),
        (code) => code === CODE.REBALANCE_IN_PROGRESS,
      )
      const [joined, again] = await Promise.all([joining, first.join({ protocols: names('new', 'old') })])
      expect([joined.protocolName, again.protocolName]).toEqual(['old', 'old'])
    })

    test('again by a follower with nothing new: the same generation at once', async () => {
      const { second } = await pair()
      expect(await second.join()).toMatchObject({ errorCode: CODE.NONE, generationId: 2, members: [] })
    })

    test('again by the leader: a rebalance', async () => {
      const { s, first, second } = await pair()
      const joining = first.join()
      await s.until(
        () => second.heartbeat(),
        (code) => code === CODE.REBALANCE_IN_PROGRESS,
      )
      const [led, followed] = await Promise.all([joining, second.join()])
      expect([led.generationId, followed.generationId]).toEqual([3, 3])
    })

    test('a member that does not join again in time is left out', async () => {
      const s = session()
      const groupId = s.name('group')
      const rebalanceTimeoutMs = 200
      const first = new Member(s, groupId)
      await first.join({ rebalanceTimeoutMs })
      await first.sync()
      const second = new Member(s, groupId)
      const joined = await second.join({ rebalanceTimeoutMs })
      expect(joined).toMatchObject({ errorCode: CODE.NONE, leader: second.memberId })
      expect(await first.heartbeat()).toBe(CODE.UNKNOWN_MEMBER_ID)
    })
  })

  describe('SyncGroup', () => {
    test('each member gets what the leader assigned', async () => {
      const { synced } = await pair()
      expect(
        synced.map(({ errorCode, assignment }) => [errorCode, Buffer.from(assignment).toString()]),
      ).toEqual([
        [CODE.NONE, 'one'],
        [CODE.NONE, 'two'],
      ])
    })

    test('a member the leader forgot gets nothing, and no error', async () => {
      const s = session()
      const member = new Member(s, s.name('group'))
      await member.join()
      const { errorCode, assignment } = await member.sync({})
      expect([errorCode, assignment.length]).toEqual([CODE.NONE, 0])
    })

    test('again in a stable group: the same assignment', async () => {
      const { member } = await alone()
      const { assignment } = await member.sync({})
      expect(Buffer.from(assignment).toString()).toBe('all')
    })

    test('another generation: 22', async () => {
      const { member } = await alone()
      expect((await member.sync({}, { generationId: 7 })).errorCode).toBe(CODE.ILLEGAL_GENERATION)
    })

    test('an unknown member: 25', async () => {
      const { member } = await alone()
      expect((await member.sync({}, { memberId: 'nobody' })).errorCode).toBe(CODE.UNKNOWN_MEMBER_ID)
    })

    test('an unknown group: 25', async () => {
      const s = session()
      const member = new Member(s, s.name('group'))
      expect((await member.sync({}, { memberId: 'nobody' })).errorCode).toBe(CODE.UNKNOWN_MEMBER_ID)
    })

    test('while the group is joining: 27', async () => {
      const { s, groupId, member } = await alone()
      const second = new Member(s, groupId)
      const joining = second.join()
      await s.until(
        () => member.heartbeat(),
        (code) => code === CODE.REBALANCE_IN_PROGRESS,
      )
      expect((await member.sync({})).errorCode).toBe(CODE.REBALANCE_IN_PROGRESS)
      await Promise.all([joining, member.join()])
    })

    test('that waits when the leader leaves: 27', async () => {
      const { s, groupId, member: first } = await alone()
      const second = new Member(s, groupId)
      const joining = second.join()
      await s.until(
        () => first.heartbeat(),
        (code) => code === CODE.REBALANCE_IN_PROGRESS,
      )
      await Promise.all([joining, first.join()])
      const waiting = second.sync()
      expect(await first.leave()).toBe(CODE.NONE)
      expect((await waiting).errorCode).toBe(CODE.REBALANCE_IN_PROGRESS)
    })
  })

  describe('Heartbeat', () => {
    test('of a member: 0', async () => {
      const { member } = await alone()
      expect(await member.heartbeat()).toBe(CODE.NONE)
    })

    test('after joining, before the assignment: 0', async () => {
      const s = session()
      const member = new Member(s, s.name('group'))
      await member.join()
      expect(await member.heartbeat()).toBe(CODE.NONE)
    })

    test('of another generation: 22', async () => {
      const { member } = await alone()
      expect(await member.heartbeat({ generationId: 0 })).toBe(CODE.ILLEGAL_GENERATION)
    })

    test('of an unknown member: 25', async () => {
      const { member } = await alone()
      expect(await member.heartbeat({ memberId: 'nobody' })).toBe(CODE.UNKNOWN_MEMBER_ID)
    })

    test('of an unknown group: 25', async () => {
      const s = session()
      const code = await new Member(s, s.name('group')).heartbeat({ memberId: 'nobody' })
      expect(code).toBe(CODE.UNKNOWN_MEMBER_ID)
    })

    test('of a member whose session has ended: 25, and the others rebalance', async () => {
      const s = session()
      const groupId = s.name('group')
      const lost = new Member(s, groupId)
      const kept = new Member(s, groupId)
      await lost.join({ sessionTimeoutMs: s.traits.sessionTimeoutMs })
      await lost.sync()
      // It has to have been there, and be waited for until its session is over, not for the rebalance timeout.
      const joined = await kept.join()
      expect(joined).toMatchObject({ errorCode: CODE.NONE, leader: kept.memberId })
      expect(await lost.heartbeat()).toBe(CODE.UNKNOWN_MEMBER_ID)
    })
  })

  describe('LeaveGroup', () => {
    test('of a member: 0, and it is unknown', async () => {
      const { member } = await alone()
      expect(await member.leave()).toBe(CODE.NONE)
      expect(await member.heartbeat()).toBe(CODE.UNKNOWN_MEMBER_ID)
    })

    test('the others rebalance', async () => {
      const { s, first, second } = await pair()
      await first.leave()
      expect(await second.heartbeat()).toBe(CODE.REBALANCE_IN_PROGRESS)
      expect(await second.join()).toMatchObject({ errorCode: 0, generationId: 3, leader: second.memberId })
      expect(s).toBeDefined()
    })

    test('of an unknown member: 25', async () => {
      const { s, groupId } = await alone()
      const stranger = new Member(s, groupId)
      stranger.memberId = 'nobody'
      expect(await stranger.leave()).toBe(CODE.UNKNOWN_MEMBER_ID)
    })

    test('the next member of an empty group: the generation goes on', async () => {
      const { s, groupId, member } = await alone()
      await member.leave()
      const joined = await new Member(s, groupId).join()
      expect(joined.generationId).toBeGreaterThan(member.generationId)
    })
  })

  describe('DescribeGroups', () => {
    const describeOne = async (s: Session, groupId: string) => {
      const { groups } = await s.retry('DescribeGroups', { groups: [groupId] })
      const [found] = groups
      if (groups.length !== 1 || found === undefined) throw new Error(`${groups.length} groups`)
      return found
    }

    test('one that nobody knows: Dead, and no error', async () => {
      const s = session()
      const groupId = s.name('group')
      expect(await describeOne(s, groupId)).toEqual({
        groupId,
        errorCode: CODE.NONE,
        state: 'Dead',
        protocolName: '',
        members: [],
      })
    })

    test('a stable one: its protocol and its members', async () => {
      const { s, groupId, first, second } = await pair()
      const found = await describeOne(s, groupId)
      expect(found).toMatchObject({ groupId, errorCode: CODE.NONE, state: 'Stable', protocolName: 'range' })
      expect(found.members.map(({ memberId }) => memberId).sort()).toEqual(
        [first.memberId, second.memberId].sort(),
      )
      for (const member of found.members) {
        expect(member.groupInstanceId).toBeNull()
        expect(member.clientId).not.toBe('')
        expect(member.clientHost).not.toBe('')
      }
    })

    test('a static member: its instance id', async () => {
      const { s, groupId } = await alone('instance')
      const { members } = await describeOne(s, groupId)
      expect(members).toMatchObject([{ groupInstanceId: 'instance' }])
    })

    test('while it waits for members, and then for the assignment', async () => {
      const { s, groupId, member: first } = await alone()
      const second = new Member(s, groupId)
      const joining = second.join()
      await s.until(
        () => first.heartbeat(),
        (code) => code === CODE.REBALANCE_IN_PROGRESS,
      )
      const members = [first, second].map(() => ({ memberId: expect.any(String) }))
      const waiting = { protocolName: '', members }
      expect(await describeOne(s, groupId)).toMatchObject({ ...waiting, state: 'PreparingRebalance' })
      await Promise.all([joining, first.join()])
      expect(await describeOne(s, groupId)).toMatchObject({ ...waiting, state: 'CompletingRebalance' })
    })

    // Kafka 4 describes what stands in its log, and a group comes there with its first assignment.
    test('while it waits for its first assignment: CompletingRebalance, or not known yet', async () => {
      const s = session()
      const member = new Member(s, s.name('group'))
      await member.join()
      expect(['CompletingRebalance', 'Dead']).toContain((await describeOne(s, member.groupId)).state)
    })

    test('whose members have left: Empty', async () => {
      const { s, groupId, member } = await alone()
      await member.leave()
      expect(await describeOne(s, groupId)).toMatchObject({ state: 'Empty', protocolName: '', members: [] })
    })

    test('of which only offsets are known: Empty', async () => {
      const s = session()
      const groupId = s.name('group')
      const producer = await s.producer()
      const place = { topic: await s.topic(), partition: 0 }
      await s.addOffsets(producer, groupId)
      await s.commitOffset(producer, groupId, place, 1)
      await s.finish(producer, true)
      expect(await describeOne(s, groupId)).toMatchObject({ errorCode: 0, state: 'Empty', members: [] })
    })

    test('several at once', async () => {
      const { s, groupId } = await alone()
      const other = s.name('group')
      const { groups } = await s.retry('DescribeGroups', { groups: [other, groupId] })
      expect(new Map(groups.map((group) => [group.groupId, group.state]))).toEqual(
        new Map([
          [other, 'Dead'],
          [groupId, 'Stable'],
        ]),
      )
    })
  })

  describe('Static members', () => {
    test('join at once, without 79', async () => {
      const s = session()
      const member = new Member(s, s.name('group'), 'instance')
      const joined = await s.until(
        () => member.joinOnce(),
        ({ errorCode }) => ![14, 15, 16].includes(errorCode),
      )
      expect(joined.errorCode).toBe(CODE.NONE)
      expect(joined.members.map(({ groupInstanceId }) => groupInstanceId)).toEqual(['instance'])
    })

    test('that come back have a new id in the same generation, with their assignment', async () => {
      const { s, groupId, member: before } = await alone('instance')
      const after = new Member(s, groupId, 'instance')
      expect(await after.join()).toMatchObject({ errorCode: CODE.NONE, generationId: before.generationId })
      expect(after.memberId).not.toBe(before.memberId)
      expect(Buffer.from((await after.sync()).assignment).toString()).toBe('all')
    })

    test('that were replaced: 82 to all they ask', async () => {
      const { s, groupId, member: before } = await alone('instance')
      await new Member(s, groupId, 'instance').join()
      expect(await before.heartbeat()).toBe(CODE.FENCED_INSTANCE_ID)
      expect((await before.sync()).errorCode).toBe(CODE.FENCED_INSTANCE_ID)
      expect((await before.join()).errorCode).toBe(CODE.FENCED_INSTANCE_ID)
      expect(await before.leave()).toBe(CODE.FENCED_INSTANCE_ID)
    })

    test('an instance id nobody has joined with: 25', async () => {
      const { member } = await alone()
      expect(await member.heartbeat({ groupInstanceId: 'nobody' })).toBe(CODE.UNKNOWN_MEMBER_ID)
    })
  })

  describe('OffsetCommit of a member', () => {
    const commit = async (
      s: Session,
      member: Member,
      change: Partial<Requests['OffsetCommit']> = {},
    ): Promise<number> => {
      const place = { topic: await s.topic(), partition: 0 }
      const partitions = [{ ...place, offset: 7, metadata: 'm' }]
      const request = { ...member.membership, groupId: member.groupId, partitions, ...change }
      const { partitions: codes } = await s.retry('OffsetCommit', request)
      const code = only(codes).errorCode
      const committed = { errorCode: CODE.NONE, offset: 7, metadata: 'm' }
      const nothing = { errorCode: CODE.NONE, offset: -1, metadata: '' }
      expect(await s.committedOffset(member.groupId, place)).toEqual(code === CODE.NONE ? committed : nothing)
      return code
    }

    test('of the generation: 0', async () => {
      const { s, member } = await alone()
      expect(await commit(s, member)).toBe(CODE.NONE)
    })

    test('of another generation: 22', async () => {
      const { s, member } = await alone()
      expect(await commit(s, member, { generationId: 0 })).toBe(CODE.ILLEGAL_GENERATION)
    })

    test('an unknown member: 25', async () => {
      const { s, member } = await alone()
      expect(await commit(s, member, { memberId: 'nobody' })).toBe(CODE.UNKNOWN_MEMBER_ID)
    })

    test('a static member that was replaced: 82', async () => {
      const { s, groupId, member } = await alone('instance')
      await new Member(s, groupId, 'instance').join()
      expect(await commit(s, member)).toBe(CODE.FENCED_INSTANCE_ID)
    })

    const nobody = { generationId: -1, memberId: '', groupInstanceId: null }

    test('neither generation nor member, in a group that has members: 25', async () => {
      const { s, member } = await alone()
      expect(await commit(s, member, nobody)).toBe(CODE.UNKNOWN_MEMBER_ID)
    })

    test('neither generation nor member, in a group whose members have left: 0', async () => {
      const { s, member } = await alone()
      await member.leave()
      expect(await commit(s, member, nobody)).toBe(CODE.NONE)
    })

    test('a generation, in a group that nobody knows: 22', async () => {
      const { s, member } = await alone()
      expect(await commit(s, member, { groupId: s.name('group') })).toBe(CODE.ILLEGAL_GENERATION)
    })

    test('while the group is joining, the old generation: 0', async () => {
      const { s, groupId, member } = await alone()
      const second = new Member(s, groupId)
      const joining = second.join()
      await s.until(
        () => member.heartbeat(),
        (code) => code === CODE.REBALANCE_IN_PROGRESS,
      )
      expect(await commit(s, member)).toBe(CODE.NONE)
      await Promise.all([joining, member.join()])
    })

    test('after joining, before the assignment: the new generation 27, the old one 22', async () => {
      const { s, groupId, member: first } = await alone()
      const old = first.generationId
      const second = new Member(s, groupId)
      const joining = second.join()
      await s.until(
        () => first.heartbeat(),
        (code) => code === CODE.REBALANCE_IN_PROGRESS,
      )
      await Promise.all([joining, first.join()])
      expect(await commit(s, first, { generationId: old })).toBe(CODE.ILLEGAL_GENERATION)
      expect(await commit(s, first)).toBe(CODE.REBALANCE_IN_PROGRESS)
    })
  })

  describe('TxnOffsetCommit of a member', () => {
    const commit = async (
      s: Session,
      member: Member,
      change: Partial<Requests['TxnOffsetCommit']> = {},
    ): Promise<number> => {
      const place = { topic: await s.topic(), partition: 0 }
      const producer = await s.producer()
      await s.addOffsets(producer, member.groupId)
      const code = await s.commitOffset(producer, member.groupId, place, 1, {
        ...member.membership,
        ...change,
      })
      await s.finish(producer, false)
      return code
    }

    test('of the generation: 0', async () => {
      const { s, member } = await alone()
      expect(await commit(s, member)).toBe(CODE.NONE)
    })

    test('of another generation: 22', async () => {
      const { s, member } = await alone()
      expect(await commit(s, member, { generationId: 0 })).toBe(CODE.ILLEGAL_GENERATION)
    })

    test('an unknown member: 25', async () => {
      const { s, member } = await alone()
      expect(await commit(s, member, { memberId: 'nobody' })).toBe(CODE.UNKNOWN_MEMBER_ID)
    })

    test('a static member that was replaced: 82', async () => {
      const { s, groupId, member } = await alone('instance')
      await new Member(s, groupId, 'instance').join()
      expect(await commit(s, member)).toBe(CODE.FENCED_INSTANCE_ID)
    })

    test('neither generation nor member, in a group that has members: 0', async () => {
      const { s, member } = await alone()
      const nobody = { generationId: -1, memberId: '', groupInstanceId: null }
      expect(await commit(s, member, nobody)).toBe(CODE.NONE)
    })

    test('no generation, in a group without members: 0', async () => {
      const { s, member } = await alone()
      await member.leave()
      expect(await commit(s, member, { generationId: -1 })).toBe(CODE.NONE)
    })

    test('while the group is joining, the old generation: 0', async () => {
      const { s, groupId, member } = await alone()
      const second = new Member(s, groupId)
      const joining = second.join()
      await s.until(
        () => member.heartbeat(),
        (code) => code === CODE.REBALANCE_IN_PROGRESS,
      )
      expect(await commit(s, member)).toBe(CODE.NONE)
      await Promise.all([joining, member.join()])
    })

    test('after joining, before the assignment: the new generation 0, the old one 22', async () => {
      const { s, groupId, member: first } = await alone()
      const old = first.generationId
      const second = new Member(s, groupId)
      const joining = second.join()
      await s.until(
        () => first.heartbeat(),
        (code) => code === CODE.REBALANCE_IN_PROGRESS,
      )
      await Promise.all([joining, first.join()])
      expect(await commit(s, first)).toBe(CODE.NONE)
      expect(await commit(s, first, { generationId: old })).toBe(CODE.ILLEGAL_GENERATION)
    })

    test("another member's partition: 0, ownership is not looked at", async () => {
      const { s, second } = await pair()
      expect(await commit(s, second)).toBe(CODE.NONE)
    })
  })
}
