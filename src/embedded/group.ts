/**
 * One consumer group of the classic protocol: its members and where a rebalance stands. Kafka's GroupMetadata.
 *
 *     Empty ──join──▶ PreparingRebalance ──all have joined, or time is up──▶ CompletingRebalance
 *       ▲                 ▲    │ nobody is left                                 │        │
 *       └─────────────────┼────┘                              join, leave, lost │        │ the leader's SyncGroup
 *                         ├────────────────────────────────────────────────────┘        ▼
 *                         └───────────────────────── join, leave, lost ─────────────── Stable
 */
import type { Requests, Responses } from '../ports.ts'

export type GroupState =
  /** No members; offsets may be committed from outside. */
  | 'Empty'
  /** Waits for all members to join again. */
  | 'PreparingRebalance'
  /** The new generation stands; waits for the leader's assignment. */
  | 'CompletingRebalance'
  /** Everybody has an assignment. */
  | 'Stable'

const MOVES: Readonly<Record<GroupState, readonly GroupState[]>> = {
  Empty: ['PreparingRebalance'],
  PreparingRebalance: ['CompletingRebalance', 'Empty'],
  CompletingRebalance: ['Stable', 'PreparingRebalance'],
  Stable: ['PreparingRebalance'],
}

export type JoinAnswer = Responses['JoinGroup']
export type SyncAnswer = Responses['SyncGroup']
export type Protocols = Requests['JoinGroup']['protocols']

export interface Member {
  memberId: string
  readonly groupInstanceId: string | null
  rebalanceTimeoutMs: number
  sessionTimeoutMs: number
  protocols: Protocols
  assignment: Uint8Array
  /** Has not been in a generation yet. */
  isNew: boolean
  /** Answers its JoinGroup, while one waits. */
  join: ((answer: JoinAnswer) => void) | undefined
  /** Answers its SyncGroup, while one waits. */
  sync: ((answer: SyncAnswer) => void) | undefined
  stopExpiry: () => void
}

/** What another coordinator would read in the log: a group as it was when its last rebalance was over. */
export interface GroupSnapshot {
  readonly generationId: number
  readonly protocolType: string | undefined
  readonly protocolName: string | undefined
  readonly leader: string | undefined
  readonly members: readonly Omit<Member, 'isNew' | 'join' | 'sync' | 'stopExpiry'>[]
}

export class Group {
  readonly groupId: string
  generationId: number
  protocolType: string | undefined
  protocolName: string | undefined
  leader: string | undefined
  readonly members = new Map<string, Member>()
  /** Ids given out with MEMBER_ID_REQUIRED, with the way to stop their expiry. */
  readonly pendingMembers = new Map<string, () => void>()
  /** Members of the generation that have not sent SyncGroup. */
  readonly pendingSync = new Set<string>()
  /** The rebalance that waits, and how to stop its time-out. An initial one waits for its delay, come who may. */
  rebalance: { readonly isInitial: boolean; readonly stop: () => void } | undefined
  stopSyncExpiry: () => void = () => {}
  /** Someone joined during the initial delay. */
  hasNewMember = false
  #state: GroupState = 'Empty'
  readonly #staticMembers = new Map<string, string>()
  #snapshot: GroupSnapshot

  constructor(groupId: string, generationId: number) {
    this.groupId = groupId
    this.generationId = generationId
    this.#snapshot = this.#asSnapshot()
  }

  /** The same group where its coordinator has moved to: a rebalance that was under way has not happened. */
  reloaded(): Group {
    const { generationId, protocolType, protocolName, leader, members } = this.#snapshot
    const group = new Group(this.groupId, generationId)
    for (const member of members) {
      const waiting = { isNew: false, join: undefined, sync: undefined, stopExpiry: () => {} }
      group.add({ ...member, ...waiting }, protocolType ?? '')
    }
    group.protocolName = protocolName
    group.leader = leader
    if (members.length > 0) group.#state = 'Stable'
    group.#snapshot = this.#snapshot
    return group
  }

  /** As it is now, it is in the log. */
  saved(): void {
    this.#snapshot = this.#asSnapshot()
  }

  get state(): GroupState {
    return this.#state
  }

  become(state: GroupState): void {
    if (!MOVES[this.#state].includes(state)) {
      throw new Error(`Group ${this.groupId} cannot go from ${this.#state} to ${state}`)
    }
    this.#state = state
  }

  get canRebalance(): boolean {
    return MOVES[this.#state].includes('PreparingRebalance')
  }

  staticMemberId(groupInstanceId: string): string | undefined {
    return this.#staticMembers.get(groupInstanceId)
  }

  add(member: Member, protocolType: string): void {
    if (member.groupInstanceId !== null) this.#staticMembers.set(member.groupInstanceId, member.memberId)
    if (this.members.size === 0) this.protocolType = protocolType
    this.leader ??= member.memberId
    this.members.set(member.memberId, member)
    this.forgetPending(member.memberId)
  }

  remove(memberId: string): void {
    const member = this.members.get(memberId)
    if (member !== undefined) {
      member.stopExpiry()
      this.members.delete(memberId)
      if (member.groupInstanceId !== null) this.#staticMembers.delete(member.groupInstanceId)
    }
    if (this.leader === memberId) this.leader = this.members.keys().next().value
    this.forgetPending(memberId)
    this.pendingSync.delete(memberId)
  }

  forgetPending(memberId: string): void {
    this.pendingMembers.get(memberId)?.()
    this.pendingMembers.delete(memberId)
  }

  /** The same member under a new id; whoever used the old one is fenced. */
  replaceStatic(member: Member, newMemberId: string): void {
    const { memberId: oldMemberId } = member
    this.members.delete(oldMemberId)
    member.memberId = newMemberId
    this.members.set(newMemberId, member)
    if (this.leader === oldMemberId) this.leader = newMemberId
    if (member.groupInstanceId !== null) this.#staticMembers.set(member.groupInstanceId, newMemberId)
  }

  get haveAllJoined(): boolean {
    if (this.pendingMembers.size > 0) return false
    for (const member of this.members.values()) if (member.join === undefined) return false
    return true
  }

  /** Whether there is a leader who has joined, if need be another one than before. */
  electJoinedLeader(): boolean {
    if (this.leader === undefined) return false
    if (this.members.get(this.leader)?.join !== undefined) return true
    for (const member of this.members.values()) {
      if (member.join === undefined) continue
      this.leader = member.memberId
      return true
    }
    return false
  }

  get rebalanceTimeoutMs(): number {
    let timeoutMs = 0
    for (const member of this.members.values()) timeoutMs = Math.max(timeoutMs, member.rebalanceTimeoutMs)
    return timeoutMs
  }

  /** Whether a member with these protocols fits to the others. */
  supports(protocolType: string, protocols: Protocols): boolean {
    if (this.#state === 'Empty') return protocolType !== '' && protocols.length > 0
    return this.protocolType === protocolType && protocols.some(({ name }) => this.#isCommon(name))
  }

  /** Of the protocols that all know, the one that most members like best. */
  selectProtocol(): string {
    const votes = new Map<string, number>()
    for (const { protocols } of this.members.values()) {
      const choice = protocols.find(({ name }) => this.#isCommon(name))
      if (choice !== undefined) votes.set(choice.name, (votes.get(choice.name) ?? 0) + 1)
    }
    let best = ''
    for (const [name, count] of votes) if (count > (votes.get(best) ?? 0)) best = name
    return best
  }

  nextGeneration(): void {
    this.generationId += 1
    this.pendingSync.clear()
    if (this.members.size > 0) {
      this.protocolName = this.selectProtocol()
      this.become('CompletingRebalance')
    } else {
      this.protocolName = undefined
      this.become('Empty')
      this.saved()
    }
  }

  /** What a member is told of the current generation; the leader hears of all. */
  joined(memberId: string): JoinAnswer {
    const members = [...this.members.values()].map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId,
      metadata: this.#metadataOf(member),
    }))
    return {
      errorCode: 0,
      generationId: this.generationId,
      protocolName: this.protocolName ?? '',
      leader: this.leader ?? '',
      memberId,
      members: this.leader === memberId ? members : [],
    }
  }

  #asSnapshot(): GroupSnapshot {
    const { generationId, protocolType, protocolName, leader } = this
    const members = Array.from(
      this.members.values(),
      ({ memberId, groupInstanceId, rebalanceTimeoutMs, sessionTimeoutMs, protocols, assignment }) => ({
        memberId,
        groupInstanceId,
        rebalanceTimeoutMs,
        sessionTimeoutMs,
        protocols,
        assignment,
      }),
    )
    return { generationId, protocolType, protocolName, leader, members }
  }

  #metadataOf({ protocols }: Member): Uint8Array {
    return protocols.find(({ name }) => name === this.protocolName)?.metadata ?? new Uint8Array(0)
  }

  #isCommon(name: string): boolean {
    for (const { protocols } of this.members.values()) {
      if (!protocols.some((protocol) => protocol.name === name)) return false
    }
    return true
  }
}

/** Same names in the same order with the same bytes: the member has nothing new to say. */
export function sameProtocols(some: Protocols, others: Protocols): boolean {
  return (
    some.length === others.length &&
    some.every(({ name, metadata }, i) => {
      const other = others[i]
      return other !== undefined && other.name === name && Buffer.compare(metadata, other.metadata) === 0
    })
  )
}
