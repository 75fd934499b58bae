/**
 * A member of a consumer group, from JoinGroup to LeaveGroup (classic protocol, eager).
 *
 *            ┌───────────────────────────── revoke (awaited) ◄── rebalance ──┐
 *            ▼                                                               │
 *   start ─► joining ─► syncing ─► assigned ─► staying (heartbeats) ─────────┤
 *            ▲                                                               │
 *            └──────────────────────────────── lost (awaited) ◄─ unknown ────┘
 *
 * Before JoinGroup is sent, `revoke` or `lost` has returned: everything of the old generation is committed or dropped.
 * Heartbeats go on while `revoke` works, so that a long commit does not cost the membership.
 */
import { DruseError } from '../errors.ts'
import type { Connection, Membership, Outcome, Request, ResponseOf, Responses } from '../ports.ts'
import { type Cluster, unexpected } from './cluster.ts'
import { CODE, nameOf } from './error-codes.ts'
import { pause } from './retry.ts'

export interface GroupHandlers {
  /** What this member tells the leader, asked anew at each join. */
  metadata(): Uint8Array
  /** As leader: the assignment of each member, from what they told. */
  assign(members: Responses['JoinGroup']['members']): Promise<ReadonlyMap<string, Uint8Array>>
  assigned(assignment: Uint8Array, membership: Membership): void
  /** Commit and let go: another member may own the partitions once this has returned. */
  revoke(): Promise<void>
  /** Others may own the partitions already: drop. */
  lost(reason: string): Promise<void>
  /** The member cannot go on. */
  failed(error: DruseError): void
}

export interface GroupOptions {
  readonly groupId: string
  readonly groupInstanceId: string | null
  readonly protocolName: string
  /** Without a heartbeat for so long, the group goes on without this member. */
  readonly sessionTimeoutMs: number
  readonly heartbeatIntervalMs: number
  /** How long the group waits for a member to commit and rejoin. */
  readonly rebalanceTimeoutMs: number
}

type Ending = 'rebalance' | 'lost' | 'closed'

export class GroupMember {
  readonly #cluster: Cluster
  readonly #options: GroupOptions
  readonly #handlers: GroupHandlers
  readonly #closing = new AbortController()
  #connection: Connection
  #memberId = ''
  #generationId = -1
  #running: Promise<void> | undefined
  /** Set while staying: ends it from outside. */
  #end: ((ending: Ending, reason: string) => void) | undefined
  #lastContactMs = 0

  constructor(cluster: Cluster, options: GroupOptions, handlers: GroupHandlers) {
    this.#cluster = cluster
    this.#options = options
    this.#handlers = handlers
    this.#connection = cluster.wire.connect('group')
  }

  start(): void {
    this.#running = this.#run().catch((error: unknown) => {
      if (!this.#closing.signal.aborted) this.#handlers.failed(asFailure(error))
    })
  }

  /** Kafka has said elsewhere that this member or generation is no more: drop and join again. */
  lose(reason: string): void {
    this.#end?.('lost', reason)
  }

  /**
   * Asks whether the membership still holds; if it does not, it ends as by `lose`. Undefined: nobody can say, because the
   * group cannot be reached, or is just being joined.
   */
  async confirm(): Promise<boolean | undefined> {
    if (this.#end === undefined) return undefined
    const code = await this.#heartbeat()
    if (this.#end === undefined) return undefined
    if (code === CODE.UNKNOWN_MEMBER_ID) this.#memberId = ''
    if (code === CODE.UNKNOWN_MEMBER_ID || code === CODE.ILLEGAL_GENERATION) {
      this.lose(nameOf(code))
      return false
    }
    return code === CODE.NONE || code === CODE.REBALANCE_IN_PROGRESS ? true : undefined
  }

  /** Leaves the group unless told to stay (its partitions then wait for it until the session is over). Calls no handler. */
  async close({ leave = true } = {}): Promise<void> {
    this.#closing.abort()
    this.#end?.('closed', 'closing')
    this.#connection.destroy()
    await this.#running
    if (!leave || this.#memberId === '') return
    const { groupId, groupInstanceId } = this.#options
    const connection = this.#cluster.wire.connect('group')
    try {
      const node = await this.#cluster.coordinator('group', groupId, LEAVE_TIMEOUT_MS)
      const members = [{ memberId: this.#memberId, groupInstanceId }]
      await connection.send(node, { api: 'LeaveGroup', groupId, members }, LEAVE_TIMEOUT_MS)
    } catch (error) {
      // The group learns it from the session's end.
      this.#cluster.log.warn({ group: groupId, error }, 'group: could not leave')
    } finally {
      connection.destroy()
    }
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#cluster
    let pauseMs = FIRST_JOIN_PAUSE_MS
    while (!this.#closing.signal.aborted) {
      const assignment = await this.#join()
      if (this.#closing.signal.aborted) return
      if (assignment === undefined) {
        // Each attempt may begin a rebalance for all members.
        await pause(clock, pauseMs, this.#closing.signal)
        pauseMs = Math.min(pauseMs * 2, LAST_JOIN_PAUSE_MS)
        continue
      }
      pauseMs = FIRST_JOIN_PAUSE_MS
      this.#lastContactMs = clock.monotonicMs()
      this.#handlers.assigned(assignment, this.#membership())
      const { ending, reason } = await this.#stay()
      if (ending === 'closed') return
      log.info({ group: this.#options.groupId, generation: this.#generationId, reason }, `group: ${ending}`)
      if (ending === 'lost') await this.#handlers.lost(reason)
      else await this.#revoke()
    }
  }

  /** One round of JoinGroup and SyncGroup; undefined: again, after a moment. */
  async #join(): Promise<Uint8Array | undefined> {
    const { groupId, groupInstanceId, protocolName, sessionTimeoutMs, rebalanceTimeoutMs } = this.#options
    const { log, requestTimeoutMs } = this.#cluster
    const joined = await this.#send(
      {
        api: 'JoinGroup',
        groupId,
        groupInstanceId,
        sessionTimeoutMs,
        rebalanceTimeoutMs,
        memberId: this.#memberId,
        protocolType: 'consumer',
        protocols: [{ name: protocolName, metadata: this.#handlers.metadata() }],
      },
      rebalanceTimeoutMs + requestTimeoutMs,
    )
    if (!joined.ok) return undefined
    if (joined.response.errorCode !== CODE.NONE) {
      if (joined.response.errorCode === CODE.MEMBER_ID_REQUIRED) {
        this.#memberId = joined.response.memberId
        return this.#join()
      }
      this.#refused(joined.response.errorCode, 'join the group')
      return undefined
    }
    this.#memberId = joined.response.memberId
    this.#generationId = joined.response.generationId

    let assignments: { memberId: string; assignment: Uint8Array }[] = []
    if (joined.response.leader === this.#memberId) {
      const byMember = await this.#handlers.assign(joined.response.members)
      assignments = Array.from(byMember, ([memberId, assignment]) => ({ memberId, assignment }))
    }
    const synced = await this.#send(
      { api: 'SyncGroup', ...this.#membership(), assignments },
      rebalanceTimeoutMs + requestTimeoutMs,
    )
    if (!synced.ok) return undefined
    if (synced.response.errorCode !== CODE.NONE) {
      this.#refused(synced.response.errorCode, 'sync with the group')
      return undefined
    }
    log.info({ group: groupId, generation: this.#generationId, member: this.#memberId }, 'group: joined')
    return synced.response.assignment
  }

  /** Heartbeats until something ends the generation. */
  async #stay(): Promise<{ ending: Ending; reason: string }> {
    const { clock } = this.#cluster
    const ended = Promise.withResolvers<{ ending: Ending; reason: string }>()
    const done = new AbortController()
    this.#end = (ending, reason) => {
      done.abort()
      ended.resolve({ ending, reason })
    }
    if (this.#closing.signal.aborted) this.#end('closed', 'closing')
    while (!done.signal.aborted) {
      await pause(clock, this.#options.heartbeatIntervalMs, done.signal)
      if (done.signal.aborted) break
      const code = await this.#heartbeat()
      if (code === CODE.REBALANCE_IN_PROGRESS) this.#end('rebalance', 'other members come or go')
      else if (code === CODE.UNKNOWN_MEMBER_ID || code === CODE.ILLEGAL_GENERATION) {
        if (code === CODE.UNKNOWN_MEMBER_ID) this.#memberId = ''
        this.#end('lost', nameOf(code))
      } else if (clock.monotonicMs() - this.#lastContactMs > this.#options.sessionTimeoutMs) {
        this.#end('lost', `no answer to a heartbeat for ${this.#options.sessionTimeoutMs} ms`)
      }
    }
    this.#end = undefined
    return ended.promise
  }

  async #revoke(): Promise<void> {
    const done = new AbortController()
    const beating = this.#beatUntil(done.signal)
    // Told when it is awaited; until then it must not count as unhandled.
    beating.catch(() => {})
    try {
      await this.#handlers.revoke()
    } finally {
      done.abort()
    }
    await beating
  }

  async #beatUntil(signal: AbortSignal): Promise<void> {
    for (;;) {
      await pause(this.#cluster.clock, this.#options.heartbeatIntervalMs, signal)
      if (signal.aborted || this.#closing.signal.aborted) return
      await this.#heartbeat()
    }
  }

  /** The code of the answer; undefined when there is none. */
  async #heartbeat(): Promise<number | undefined> {
    const { requestTimeoutMs, clock } = this.#cluster
    const timeoutMs = Math.min(requestTimeoutMs, this.#options.sessionTimeoutMs)
    const outcome = await this.#send({ api: 'Heartbeat', ...this.#membership() }, timeoutMs)
    if (!outcome.ok) return undefined
    const { errorCode } = outcome.response
    if (errorCode === CODE.NONE || errorCode === CODE.REBALANCE_IN_PROGRESS) {
      this.#lastContactMs = clock.monotonicMs()
    }
    if (errorCode === CODE.FENCED_INSTANCE_ID) throw this.#instanceFenced()
    if (MOVED.has(errorCode)) this.#cluster.forgetCoordinator('group', this.#options.groupId)
    return errorCode
  }

  async #send<R extends Request>(request: R, timeoutMs: number): Promise<Outcome<ResponseOf<R>>> {
    let node: number
    try {
      node = await this.#cluster.coordinator('group', this.#options.groupId, timeoutMs)
    } catch (cause) {
      // No broker to be found: the session may end over it, the member does not.
      return { ok: false, reason: 'disconnect', cause }
    }
    const outcome = await this.#connection.send(node, request, timeoutMs)
    if (!outcome.ok && !this.#closing.signal.aborted) {
      // An old answer must not meet a new question: go on with a fresh connection, at a coordinator looked up anew.
      this.#connection.destroy()
      this.#connection = this.#cluster.wire.connect('group')
      this.#cluster.forgetCoordinator('group', this.#options.groupId)
    }
    return outcome
  }

  #refused(code: number, what: string): void {
    const { groupId } = this.#options
    if (code === CODE.UNKNOWN_MEMBER_ID) this.#memberId = ''
    else if (MOVED.has(code)) this.#cluster.forgetCoordinator('group', groupId)
    else if (code === CODE.FENCED_INSTANCE_ID) throw this.#instanceFenced()
    else if (!REJOINABLE.has(code)) throw unexpected(`${what} '${groupId}'`, code)
    this.#cluster.log.debug({ group: groupId, code: nameOf(code) }, `group: could not ${what}, trying again`)
  }

  #instanceFenced(): DruseError {
    return new DruseError(
      'INSTANCE_FENCED',
      `Another process has joined group '${this.#options.groupId}' with the instance id '${this.#options.groupInstanceId}'; give each its own`,
    )
  }

  #membership(): Membership {
    const { groupId, groupInstanceId } = this.#options
    return { groupId, groupInstanceId, memberId: this.#memberId, generationId: this.#generationId }
  }
}

const FIRST_JOIN_PAUSE_MS = 20
const LAST_JOIN_PAUSE_MS = 1_000
const LEAVE_TIMEOUT_MS = 2_000
const MOVED: ReadonlySet<number> = new Set([CODE.NOT_COORDINATOR, CODE.COORDINATOR_NOT_AVAILABLE])
const REJOINABLE: ReadonlySet<number> = new Set([
  CODE.REBALANCE_IN_PROGRESS,
  CODE.ILLEGAL_GENERATION,
  CODE.COORDINATOR_LOAD_IN_PROGRESS,
])

function asFailure(error: unknown): DruseError {
  if (error instanceof DruseError) return error
  return new DruseError('INTERNAL', `The group member stopped: ${String(error)}`, { cause: error })
}
