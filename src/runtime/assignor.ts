/**
 * Who runs which task: evenly many for each member, and where a task was before if that is possible, for there its
 * state lies. Whole tasks are assigned, so their inputs stay together.
 */
import {
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
} from '../kafka/consumer-protocol.ts'
import type { Responses } from '../ports.ts'
import { inputTopics } from '../topology/subtopologies.ts'
import { inputsOf, type Plan, type TaskId } from './plan.ts'

const VERSION = 1

/** By the sub-topology's first topic: its number may differ between versions of an application. */
function taskKey({ sub, partition }: TaskId): string {
  return `${sub.name}/${partition}`
}

export function allTasks(plan: Plan): TaskId[] {
  return plan.subs.flatMap((sub) =>
    Array.from({ length: plan.taskCounts[sub.id] as number }, (_, partition) => ({ sub, partition })),
  )
}

/** What a member tells the leader: topics, and the tasks whose state it has. */
export function memberMetadata(plan: Plan, owned: readonly TaskId[]): Uint8Array {
  const topics = [...new Set(plan.subs.flatMap(inputTopics))].sort()
  return encodeSubscription(topics, Buffer.from(JSON.stringify({ v: VERSION, tasks: owned.map(taskKey) })))
}

export function assignTasks(
  plan: Plan,
  members: Responses['JoinGroup']['members'],
): ReadonlyMap<string, Uint8Array> {
  const ids = members.map(({ memberId }) => memberId).sort()
  const owned = new Map(members.map(({ memberId, metadata }) => [memberId, ownedTasks(metadata)]))
  const tasks = allTasks(plan)
  const least = Math.floor(tasks.length / ids.length)
  let extras = tasks.length % ids.length
  const assigned = new Map<string, TaskId[]>(ids.map((id) => [id, []]))

  const take = (id: string, task: TaskId): boolean => {
    const mine = assigned.get(id) as TaskId[]
    if (mine.length > least || (mine.length === least && extras === 0)) return false
    if (mine.length === least) extras -= 1
    mine.push(task)
    return true
  }
  const left = tasks.filter((task) => {
    const owner = ids.find((id) => owned.get(id)?.has(taskKey(task)))
    return owner === undefined || !take(owner, task)
  })
  for (const task of left) {
    const byLoad = [...ids].sort((a, b) => load(assigned, a) - load(assigned, b))
    byLoad.find((id) => take(id, task))
  }
  return new Map(
    Array.from(assigned, ([id, mine]) => [
      id,
      encodeAssignment(
        mine.flatMap((task) => inputsOf(plan, task)),
        Buffer.from(JSON.stringify({ v: VERSION })),
      ),
    ]),
  )
}

export function assignedTasks(plan: Plan, assignment: Uint8Array): TaskId[] {
  const { partitions } = decodeAssignment(assignment)
  const given = new Set(partitions.map(({ topic, partition }) => `${topic}/${partition}`))
  return allTasks(plan).filter((task) =>
    inputsOf(plan, task).some(({ topic, partition }) => given.has(`${topic}/${partition}`)),
  )
}

function load(assigned: ReadonlyMap<string, readonly TaskId[]>, id: string): number {
  return assigned.get(id)?.length ?? 0
}

/** What cannot be read counts as nothing: it only costs a replay. */
function ownedTasks(metadata: Uint8Array): ReadonlySet<string> {
  const { userData } = decodeSubscription(metadata)
  try {
    const { tasks } = JSON.parse(userData.toString('utf8')) as { tasks?: unknown }
    return new Set(Array.isArray(tasks) ? tasks.filter((task) => typeof task === 'string') : [])
  } catch {
    return new Set()
  }
}
