/** Looking at a consumer group from outside, and putting members out of it. */
import type { GroupDescription, GroupMemberDescription } from '../ports.ts'
import { type Cluster, unexpected } from './cluster.ts'
import { CODE } from './error-codes.ts'

export async function describeGroup(cluster: Cluster, groupId: string): Promise<GroupDescription> {
  const what = `describe group '${groupId}'`
  const { groups } = await cluster.ask(
    what,
    async () => ({
      node: await cluster.coordinator('group', groupId),
      request: { api: 'DescribeGroups', groups: [groupId] },
    }),
    (answer) => passing(cluster, groupId, answer.groups[0]?.errorCode),
  )
  const [found] = groups
  const code = found?.errorCode ?? CODE.UNKNOWN_SERVER_ERROR
  if (found === undefined || code !== CODE.NONE) throw unexpected(what, code)
  return found
}

/** Members that are gone by now are passed over. */
export async function removeMembers(
  cluster: Cluster,
  groupId: string,
  members: readonly GroupMemberDescription[],
): Promise<void> {
  const what = `remove members from group '${groupId}'`
  for (const { memberId, groupInstanceId } of members) {
    const { errorCode } = await cluster.ask(
      what,
      async () => ({
        node: await cluster.coordinator('group', groupId),
        request: { api: 'LeaveGroup', groupId, members: [{ memberId, groupInstanceId }] },
      }),
      (answer) => passing(cluster, groupId, answer.errorCode),
    )
    if (errorCode !== CODE.NONE && errorCode !== CODE.UNKNOWN_MEMBER_ID) throw unexpected(what, errorCode)
  }
}

/** The coordinator is looked up anew when it has moved. */
function passing(cluster: Cluster, groupId: string, code: number = CODE.UNKNOWN_SERVER_ERROR): number {
  if (code !== CODE.NOT_COORDINATOR) return code
  cluster.forgetCoordinator('group', groupId)
  return CODE.COORDINATOR_NOT_AVAILABLE
}
