/**
 * The group coordinator: membership by the classic protocol, as in Kafka's GroupCoordinator, and who may commit offsets.
 * Members live in memory only: after a restart groups are empty, with their generation and offsets, and nobody is
 * waited for.
 */

import { CODE } from '../kafka/error-codes.ts'
import type { Membership, PartitionCode, Requests, Responses } from '../ports.ts'
import type { TopicPartition } from '../types.ts'
import type { CommittedOffsets } from './committed-offsets.ts'
import { Group, type JoinAnswer, type Member, type SyncAnswer, sameProtocols } from './group.ts'
import type { Journal } from './journal.ts'
import { textKey, toJson } from './keys.ts'
import { type Context, uuid } from './settings.ts'
import type { TransactionCoordinator } from './transaction-coordinator.ts'

type JoinRequest = Requests['JoinGroup']
type Answer<T> = T | Promise<T>

/** A group in the store. */
export interface GroupRecord {
  readonly groupId: string
  readonly generationId: number
}

/** A new member cannot heartbeat before it knows its id, so it is given this long to be still there. */
const NEW_MEMBER_TIMEOUT_MS = 5 * 60 * 1000
const NO_ASSIGNMENT = new Uint8Array(0)

export class GroupCoordinator {
  readonly #context: Context
  readonly #journal: Journal
  readonly #offsets: CommittedOffsets
  readonly #transactions: TransactionCoordinator
  readonly #groups = new Map<string, Group>()

  constructor(parts: {
    readonly context: Context
    readonly journal: Journal
    readonly offsets: CommittedOffsets
    readonly transactions: TransactionCoordinator
  }) {
    this.#context = parts.context
    this.#journal = parts.journal
    this.#offsets = parts.offsets
    this.#transactions = parts.transactions
  }

  /** While opening: the group is known, without members. */
  restore(groupId: string, generationId = 0): void {
    const known = this.#groups.get(groupId)
    if (known === undefined) this.#groups.set(groupId, new Group(groupId, generationId))
    else known.generationId = Math.max(known.generationId, generationId)
  }

  /**
   * The coordinator of these groups has moved: another broker goes on with what stands in the log. Whoever waits is
   * refused, sessions begin anew, and of a rebalance that was under way nothing is known.
   */
  reload(isMeant: (groupId: string) => boolean): void {
    for (const [groupId, group] of this.#groups) {
      if (!isMeant(groupId)) continue
      group.rebalance?.stop()
      group.stopSyncExpiry()
      for (const memberId of [...group.pendingMembers.keys()]) group.forgetPending(memberId)
      for (const member of group.members.values()) {
        member.stopExpiry()
        answerJoin(member, notJoined(member.memberId, CODE.NOT_COORDINATOR))
        answerSync(member, { errorCode: CODE.NOT_COORDINATOR, assignment: NO_ASSIGNMENT })
      }
      const loaded = group.reloaded()
      this.#groups.set(groupId, loaded)
      for (const member of loaded.members.values()) this.#expireLater(loaded, member, member.sessionTimeoutMs)
    }
  }

  // --- JoinGroup ----------------------------------------------------------------------------------------------

  join(request: JoinRequest): Answer<JoinAnswer> {
    const { groupId, memberId, sessionTimeoutMs } = request
    const { minSessionTimeoutMs, maxSessionTimeoutMs } = this.#context.settings
    if (groupId === '') return notJoined(memberId, CODE.INVALID_GROUP_ID)
    if (sessionTimeoutMs < minSessionTimeoutMs || sessionTimeoutMs > maxSessionTimeoutMs) {
      return notJoined(memberId, CODE.INVALID_SESSION_TIMEOUT)
    }
    let group = this.#groups.get(groupId)
    if (group === undefined) {
      if (memberId !== '') return notJoined(memberId, CODE.UNKNOWN_MEMBER_ID)
      group = new Group(groupId, 0)
      this.#groups.set(groupId, group)
    }
    if (!group.supports(request.protocolType, request.protocols)) {
      return notJoined(memberId, CODE.INCONSISTENT_GROUP_PROTOCOL)
    }
    const answer = memberId === '' ? this.#joinNew(group, request) : this.#joinKnown(group, request)
    this.#maybeCompleteJoin(group)
    return answer
  }

  #joinNew(group: Group, request: JoinRequest): Answer<JoinAnswer> {
    const { groupInstanceId } = request
    const memberId = `${groupInstanceId ?? 'member'}-${uuid(this.#context.random)}`
    if (groupInstanceId === null) {
      // The member has to come back with its id, so that one that never heard the answer does not linger.
      const stop = this.#context.clock.wake(request.sessionTimeoutMs, () => {
        group.forgetPending(memberId)
        this.#maybeCompleteJoin(group)
      })
      group.pendingMembers.set(memberId, stop)
      return notJoined(memberId, CODE.MEMBER_ID_REQUIRED)
    }
    const known = group.members.get(group.staticMemberId(groupInstanceId) ?? '')
    if (known === undefined) return this.#addMember(group, memberId, request)
    return this.#replaceStatic(group, known, memberId, request)
  }

  #joinKnown(group: Group, request: JoinRequest): Answer<JoinAnswer> {
    const { memberId, groupInstanceId } = request
    if (group.pendingMembers.has(memberId)) return this.#addMember(group, memberId, request)
    const code = faultOfMember(group, memberId, groupInstanceId)
    const member = group.members.get(memberId)
    if (member === undefined || code !== CODE.NONE) return notJoined(memberId, code)
    const isSame = sameProtocols(member.protocols, request.protocols)
    switch (group.state) {
      case 'PreparingRebalance':
        return this.#rejoin(group, member, request)
      case 'CompletingRebalance':
        // It may not have heard the answer to its JoinGroup.
        return isSame ? group.joined(memberId) : this.#rejoin(group, member, request)
      case 'Stable':
        // A leader joins again when it wants another assignment.
        if (group.leader === memberId || !isSame) return this.#rejoin(group, member, request)
        return group.joined(memberId)
      case 'Empty':
        return notJoined(memberId, CODE.UNKNOWN_MEMBER_ID)
    }
  }

  #addMember(group: Group, memberId: string, request: JoinRequest): Promise<JoinAnswer> {
    return new Promise((join) => {
      const { groupInstanceId, rebalanceTimeoutMs, sessionTimeoutMs, protocols, protocolType } = request
      const member: Member = {
        memberId,
        groupInstanceId,
        rebalanceTimeoutMs,
        sessionTimeoutMs,
        protocols,
        assignment: NO_ASSIGNMENT,
        isNew: true,
        join,
        sync: undefined,
        stopExpiry: () => {},
      }
      if (group.state === 'PreparingRebalance' && group.generationId === 0) group.hasNewMember = true
      group.add(member, protocolType)
      this.#expireLater(group, member, NEW_MEMBER_TIMEOUT_MS)
      if (group.canRebalance) this.#prepareRebalance(group)
    })
  }

  #rejoin(group: Group, member: Member, request: JoinRequest): Promise<JoinAnswer> {
    return new Promise((join) => {
      this.#update(member, request, join)
      if (group.canRebalance) this.#prepareRebalance(group)
    })
  }

  #replaceStatic(group: Group, member: Member, memberId: string, request: JoinRequest): Promise<JoinAnswer> {
    return new Promise((join) => {
      const leader = group.leader ?? ''
      answerJoin(member, notJoined(member.memberId, CODE.FENCED_INSTANCE_ID))
      answerSync(member, { errorCode: CODE.FENCED_INSTANCE_ID, assignment: NO_ASSIGNMENT })
      group.replaceStatic(member, memberId)
      this.#expireLater(group, member, member.sessionTimeoutMs)
      this.#update(member, request, join)
      switch (group.state) {
        case 'Stable':
          if (group.selectProtocol() !== group.protocolName) this.#prepareRebalance(group)
          // The generation stays. The old leader's id keeps a returning leader from assigning anew.
          else {
            answerJoin(member, { ...group.joined(memberId), leader, members: [] })
            group.saved()
          }
          break
        case 'CompletingRebalance':
          this.#prepareRebalance(group)
          break
        case 'PreparingRebalance':
        case 'Empty':
          break
      }
    })
  }

  #update(member: Member, request: JoinRequest, join: (answer: JoinAnswer) => void): void {
    member.protocols = request.protocols
    member.rebalanceTimeoutMs = request.rebalanceTimeoutMs
    member.sessionTimeoutMs = request.sessionTimeoutMs
    member.join = join
  }

  // --- Rebalance ----------------------------------------------------------------------------------------------

  #prepareRebalance(group: Group): void {
    // Those who wait for an assignment have to join again.
    if (group.state === 'CompletingRebalance') {
      this.#assign(group, CODE.REBALANCE_IN_PROGRESS, () => NO_ASSIGNMENT)
    }
    group.stopSyncExpiry()
    group.pendingSync.clear()
    const isInitial = group.state === 'Empty'
    group.become('PreparingRebalance')
    if (isInitial) {
      const delay = this.#context.settings.groupInitialRebalanceDelayMs
      this.#delayInitial(group, delay, Math.max(group.rebalanceTimeoutMs - delay, 0))
    } else {
      this.#delayJoin(group)
      this.#maybeCompleteJoin(group)
    }
  }

  /** The first rebalance waits for others to come, longer if they do. */
  #delayInitial(group: Group, delayMs: number, remainingMs: number): void {
    const stop = this.#context.clock.wake(delayMs, () => {
      if (!group.hasNewMember || remainingMs === 0) {
        this.#completeJoin(group)
        return
      }
      group.hasNewMember = false
      const next = Math.min(this.#context.settings.groupInitialRebalanceDelayMs, remainingMs)
      this.#delayInitial(group, next, Math.max(remainingMs - delayMs, 0))
    })
    group.rebalance = { isInitial: true, stop }
  }

  #delayJoin(group: Group): void {
    const stop = this.#context.clock.wake(group.rebalanceTimeoutMs, () => this.#completeJoin(group))
    group.rebalance = { isInitial: false, stop }
  }

  #maybeCompleteJoin(group: Group): void {
    if (group.state !== 'PreparingRebalance' || group.rebalance?.isInitial !== false) return
    if (group.haveAllJoined) this.#completeJoin(group)
  }

  #completeJoin(group: Group): void {
    group.rebalance?.stop()
    group.rebalance = undefined
    for (const member of [...group.members.values()]) {
      if (member.join === undefined && member.groupInstanceId === null) group.remove(member.memberId)
    }
    // Only static members are left, and none has joined: their sessions decide.
    if (!group.electJoinedLeader() && group.members.size > 0) {
      this.#delayJoin(group)
      return
    }
    group.nextGeneration()
    const record: GroupRecord = { groupId: group.groupId, generationId: group.generationId }
    this.#journal.put(textKey('g', group.groupId), toJson(record))
    for (const member of group.members.values()) {
      answerJoin(member, group.joined(member.memberId))
      this.#expireLater(group, member, member.sessionTimeoutMs)
      member.isNew = false
      group.pendingSync.add(member.memberId)
    }
    if (group.state === 'CompletingRebalance') this.#expireSyncLater(group)
  }

  #expireSyncLater(group: Group): void {
    const { generationId } = group
    group.stopSyncExpiry = this.#context.clock.wake(group.rebalanceTimeoutMs, () => {
      if (group.generationId !== generationId || group.pendingSync.size === 0 || !group.canRebalance) return
      for (const memberId of [...group.pendingSync]) group.remove(memberId)
      this.#prepareRebalance(group)
    })
  }

  #assign(group: Group, errorCode: number, assignmentOf: (memberId: string) => Uint8Array): void {
    for (const member of group.members.values()) {
      member.assignment = assignmentOf(member.memberId)
      if (answerSync(member, { errorCode, assignment: member.assignment })) {
        this.#expireLater(group, member, member.sessionTimeoutMs)
      }
    }
  }

  // --- SyncGroup, Heartbeat, LeaveGroup -----------------------------------------------------------------------

  sync(request: Requests['SyncGroup']): Answer<SyncAnswer> {
    const refuse = (errorCode: number): SyncAnswer => ({ errorCode, assignment: NO_ASSIGNMENT })
    const found = this.#find(request)
    if (typeof found === 'number') return refuse(found)
    const { group, member } = found
    switch (group.state) {
      case 'Empty':
        return refuse(CODE.UNKNOWN_MEMBER_ID)
      case 'PreparingRebalance':
        return refuse(CODE.REBALANCE_IN_PROGRESS)
      case 'CompletingRebalance':
        return new Promise((sync) => {
          member.sync = sync
          this.#hasSynced(group, member)
          if (group.leader !== member.memberId) return
          const assignments = new Map(
            request.assignments.map(({ memberId, assignment }) => [memberId, assignment]),
          )
          this.#assign(group, CODE.NONE, (memberId) => assignments.get(memberId) ?? NO_ASSIGNMENT)
          group.become('Stable')
          group.saved()
        })
      case 'Stable':
        this.#hasSynced(group, member)
        this.#expireLater(group, member, member.sessionTimeoutMs)
        return { errorCode: CODE.NONE, assignment: member.assignment }
    }
  }

  heartbeat(request: Membership): Responses['Heartbeat'] {
    const found = this.#find(request)
    if (typeof found === 'number') return { errorCode: found }
    const { group, member } = found
    if (group.state === 'Empty') return { errorCode: CODE.UNKNOWN_MEMBER_ID }
    this.#expireLater(group, member, member.sessionTimeoutMs)
    return { errorCode: group.state === 'PreparingRebalance' ? CODE.REBALANCE_IN_PROGRESS : CODE.NONE }
  }

  /** The code of the first member that could not leave, as Kafka's own client reads the answer. */
  leave({ groupId, members }: Requests['LeaveGroup']): Responses['LeaveGroup'] {
    if (groupId === '') return { errorCode: CODE.INVALID_GROUP_ID }
    const group = this.#groups.get(groupId)
    const codes = members.map((identity) => {
      if (group === undefined) return CODE.UNKNOWN_MEMBER_ID
      const { groupInstanceId } = identity
      const isByInstance = identity.memberId === '' && groupInstanceId !== null
      const memberId = isByInstance ? (group.staticMemberId(groupInstanceId) ?? '') : identity.memberId
      if (group.pendingMembers.has(memberId)) {
        group.forgetPending(memberId)
        this.#maybeCompleteJoin(group)
        return CODE.NONE
      }
      const code = faultOfMember(group, memberId, groupInstanceId)
      if (code === CODE.NONE) this.#removeMember(group, memberId)
      return code
    })
    return { errorCode: codes.find((code) => code !== CODE.NONE) ?? CODE.NONE }
  }

  /** One that nobody knows is 'Dead', without an error. */
  describe({ groups }: Requests['DescribeGroups']): Responses['DescribeGroups'] {
    return {
      groups: groups.map((groupId) => {
        const nobody = { groupId, errorCode: CODE.NONE, state: 'Dead', protocolName: '', members: [] }
        if (groupId === '') return { ...nobody, errorCode: CODE.INVALID_GROUP_ID }
        const group = this.#groups.get(groupId)
        if (group === undefined) return nobody
        const { state, protocolName } = group
        return {
          ...nobody,
          state,
          protocolName: state === 'Stable' ? (protocolName ?? '') : '',
          members: Array.from(group.members.values(), ({ memberId, groupInstanceId }) => ({
            memberId,
            groupInstanceId,
            clientId: 'embedded',
            clientHost: 'embedded',
          })),
        }
      }),
    }
  }

  #hasSynced(group: Group, member: Member): void {
    group.pendingSync.delete(member.memberId)
    if (group.pendingSync.size === 0) group.stopSyncExpiry()
  }

  #removeMember(group: Group, memberId: string): void {
    const member = group.members.get(memberId)
    if (member === undefined) return
    answerJoin(member, notJoined('', CODE.UNKNOWN_MEMBER_ID))
    group.remove(memberId)
    if (group.state === 'PreparingRebalance') this.#maybeCompleteJoin(group)
    else if (group.canRebalance && group.state !== 'Empty') this.#prepareRebalance(group)
  }

  /** The member's session begins anew. */
  #expireLater(group: Group, member: Member, timeoutMs: number): void {
    member.stopExpiry()
    member.stopExpiry = this.#context.clock.wake(timeoutMs, () => {
      if (group.members.get(member.memberId) !== member) return
      // One that waits for the others is not expected to heartbeat, unless it is new and may never have been there.
      if (!member.isNew && (member.join !== undefined || member.sync !== undefined)) return
      this.#removeMember(group, member.memberId)
    })
  }

  #find(membership: Membership): number | { readonly group: Group; readonly member: Member } {
    const { groupId, memberId, groupInstanceId, generationId } = membership
    if (groupId === '') return CODE.INVALID_GROUP_ID
    const group = this.#groups.get(groupId)
    if (group === undefined) return CODE.UNKNOWN_MEMBER_ID
    const code = faultOfMember(group, memberId, groupInstanceId)
    const member = group.members.get(memberId)
    if (member === undefined || code !== CODE.NONE) return code
    return generationId === group.generationId ? { group, member } : CODE.ILLEGAL_GENERATION
  }

  // --- Offsets ------------------------------------------------------------------------------------------------

  /** In a transaction: the transaction, then the membership are looked at. */
  commit(request: Requests['TxnOffsetCommit'], exists: Exists): Responses['TxnOffsetCommit'] {
    return answerCommit(
      request.partitions,
      exists,
      () => this.#commitFault(request),
      (known) => this.#offsets.store(request, known),
    )
  }

  /** Without a transaction. */
  commitPlainly(request: Requests['OffsetCommit'], exists: Exists): Responses['OffsetCommit'] {
    return answerCommit(
      request.partitions,
      exists,
      () => this.#plainCommitFault(request),
      (known) => this.#offsets.commit(request.groupId, known),
    )
  }

  #plainCommitFault(request: Membership): number {
    const { groupId, memberId, groupInstanceId, generationId } = request
    if (groupId === '') return CODE.INVALID_GROUP_ID
    const group = this.#groups.get(groupId)
    const isNobody = generationId < 0 && memberId === '' && groupInstanceId === null
    // Anybody may commit for a group that has no members, and only then.
    if (isNobody && group !== undefined && group.state !== 'Empty') return CODE.UNKNOWN_MEMBER_ID
    const code = this.#membershipFault(groupId, generationId, memberId, groupInstanceId)
    if (code !== CODE.NONE || group === undefined) return code
    const member = group.members.get(memberId)
    if (member === undefined) return CODE.NONE
    this.#expireLater(group, member, member.sessionTimeoutMs)
    return group.state === 'CompletingRebalance' ? CODE.REBALANCE_IN_PROGRESS : CODE.NONE
  }

  #commitFault(request: Requests['TxnOffsetCommit']): number {
    const { groupId, producerId, producerEpoch, generationId, memberId, groupInstanceId } = request
    if (groupId === '') return CODE.INVALID_GROUP_ID
    // As for a partition: once there are offsets of the transaction, the coordinator is not asked again.
    const pendingEpoch = this.#offsets.pendingEpoch(groupId, producerId)
    if (pendingEpoch === undefined) {
      const code = this.#transactions.verify(request, { groupId })
      if (code !== CODE.NONE) return code
    }
    const membershipCode = this.#membershipFault(groupId, generationId, memberId, groupInstanceId)
    if (membershipCode !== CODE.NONE) return membershipCode
    if (pendingEpoch !== undefined && producerEpoch < pendingEpoch) return CODE.INVALID_PRODUCER_EPOCH
    return CODE.NONE
  }

  #membershipFault(
    groupId: string,
    generationId: number,
    memberId: string,
    groupInstanceId: string | null,
  ): number {
    const group = this.#groups.get(groupId)
    if (group === undefined) {
      if (generationId >= 0) return CODE.ILLEGAL_GENERATION
      this.restore(groupId)
      return CODE.NONE
    }
    if (generationId < 0 && group.state === 'Empty') return CODE.NONE
    // Neither generation nor member: from a producer that does not say for whom it commits. It is let through.
    if (generationId < 0 && memberId === '' && groupInstanceId === null) return CODE.NONE
    const code = faultOfMember(group, memberId, groupInstanceId)
    if (code !== CODE.NONE) return code
    return generationId === group.generationId ? CODE.NONE : CODE.ILLEGAL_GENERATION
  }
}

type Exists = (place: TopicPartition) => boolean

/** Topics that are not there fail alone, before anything else is looked at; metadata comes last. */
function answerCommit<P extends TopicPartition>(
  places: readonly P[],
  exists: Exists,
  fault: () => number,
  store: (known: readonly P[]) => readonly PartitionCode[],
): { readonly partitions: readonly PartitionCode[] } {
  const known = places.filter(exists)
  const answers = new Map<TopicPartition, PartitionCode>()
  if (known.length > 0) {
    const code = fault()
    const stored = code === CODE.NONE ? store(known) : undefined
    known.forEach((place, i) => {
      const { topic, partition } = place
      answers.set(place, stored?.[i] ?? { topic, partition, errorCode: code })
    })
  }
  return {
    partitions: places.map((place) => {
      const { topic, partition } = place
      return answers.get(place) ?? { topic, partition, errorCode: CODE.UNKNOWN_TOPIC_OR_PARTITION }
    }),
  }
}

function faultOfMember(group: Group, memberId: string, groupInstanceId: string | null): number {
  if (groupInstanceId !== null) {
    const current = group.staticMemberId(groupInstanceId)
    if (current === undefined) return CODE.UNKNOWN_MEMBER_ID
    if (current !== memberId) return CODE.FENCED_INSTANCE_ID
  }
  return group.members.has(memberId) ? CODE.NONE : CODE.UNKNOWN_MEMBER_ID
}

function notJoined(memberId: string, errorCode: number): JoinAnswer {
  return { errorCode, generationId: -1, protocolName: '', leader: '', memberId, members: [] }
}

function answerJoin(member: Member, answer: JoinAnswer): void {
  const { join } = member
  member.join = undefined
  join?.(answer)
}

/** Whether one was waiting. */
function answerSync(member: Member, answer: SyncAnswer): boolean {
  const { sync } = member
  member.sync = undefined
  sync?.(answer)
  return sync !== undefined
}
