/**
 * The group of an application, held by one who changes what its instances stand on. It is a membership: as long as it
 * lasts, instances that start wait in their JoinGroup, and commits made under its generation are refused once it is
 * lost. If the holder dies, the group goes on after the session.
 */
import { DruseError } from '../errors.ts'
import type { Cluster } from '../kafka/cluster.ts'
import { encodeAssignment } from '../kafka/consumer-protocol.ts'
import { GroupMember } from '../kafka/group-member.ts'
import { describeGroup, removeMembers } from '../kafka/groups.ts'
import type { GroupMemberDescription, Membership } from '../ports.ts'
import { assignTasks, memberMetadata } from './assignor.ts'
import { KnownCommits } from './known-commits.ts'
import type { DruseSettings } from './options.ts'
import type { Plan } from './plan.ts'

/** How long instances that start are held off at most. */
const HOLD_MS = 600_000

export class GroupLock {
  readonly membership: Membership
  readonly #release: () => Promise<void>

  private constructor(membership: Membership, release: () => Promise<void>) {
    this.membership = membership
    this.#release = release
  }

  /** Alone in the group, or not at all. Errors: GROUP_ACTIVE, GROUP_PROTOCOL, BROKER_UNAVAILABLE. */
  static async take(cluster: Cluster, plan: Plan, settings: DruseSettings): Promise<GroupLock> {
    const groupId = plan.graph.application
    const joined = Promise.withResolvers<Membership>()
    const released = Promise.withResolvers<void>()
    let isAlone = false
    const known = new KnownCommits()
    const member = new GroupMember(
      cluster,
      {
        groupId,
        groupInstanceId: null,
        protocolName: 'druse',
        sessionTimeoutMs: settings.sessionTimeoutMs,
        heartbeatIntervalMs: settings.heartbeatIntervalMs,
        rebalanceTimeoutMs: HOLD_MS,
      },
      {
        metadata: () => memberMetadata(plan, [], known),
        assign: async (members) => {
          isAlone = members.length === 1
          if (!isAlone) return assignTasks(plan, members, known)
          return new Map(members.map(({ memberId }) => [memberId, encodeAssignment([], Buffer.alloc(0))]))
        },
        assigned: (_, membership) => joined.resolve(membership),
        // Whoever wants to join waits until this is over.
        revoke: () => released.promise,
        lost: () => released.promise,
        failed: (error) => joined.reject(error),
      },
    )
    const release = async (): Promise<void> => {
      const closing = member.close()
      released.resolve()
      await closing
    }
    const cancel = cluster.clock.wake(cluster.retryBudgetMs + settings.rebalanceTimeoutMs, () =>
      joined.reject(
        new DruseError('BROKER_UNAVAILABLE', `Could not join group '${groupId}'; check that its brokers run`),
      ),
    )
    member.start()
    try {
      const membership = await joined.promise
      if (!isAlone) throw groupActive(groupId, [])
      return new GroupLock(membership, release)
    } catch (error) {
      await release()
      throw error
    } finally {
      cancel()
    }
  }

  release(): Promise<void> {
    return this.#release()
  }
}

/** Nobody may be in the group; `force` puts out who is. Resolves to those. Errors: GROUP_ACTIVE. */
export async function emptyGroup(
  cluster: Cluster,
  groupId: string,
  { force, dryRun }: { readonly force: boolean; readonly dryRun: boolean },
): Promise<readonly GroupMemberDescription[]> {
  const { members } = await describeGroup(cluster, groupId)
  if (members.length === 0) return members
  if (!force) throw groupActive(groupId, members)
  if (!dryRun) await removeMembers(cluster, groupId, members)
  return members
}

function groupActive(groupId: string, members: readonly GroupMemberDescription[]): DruseError {
  const who = members.map(({ memberId, clientHost }) => `${memberId} at ${clientHost}`).join(', ')
  return new DruseError(
    'GROUP_ACTIVE',
    `Application '${groupId}' has running instances${who === '' ? '' : `: ${who}`}. Stop them first. One that was killed stays in the group until its session has ended (sessionTimeoutMs, 45 s unless set); --force puts it out at once`,
    { groupId, members: members.map(({ memberId }) => memberId) },
  )
}
