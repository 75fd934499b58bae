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
import type { CommitKnowledge } from './known-commits.ts'
import { inputsOf, type Plan, type TaskId } from './plan.ts'
import { lastingName } from './state-directory.ts'
import { decodeCommits, encodeCommits, type TaskCommit } from './told-commits.ts'

const VERSION = 1
/**
 * Commits that a member tells of, of tasks that it runs and of others. Kafka keeps what all members say, and what they
 * are assigned, in one record, of 1 MiB at most by default.
 */
export const COMMITS_MAX = { own: 1_000, others: 250 }

/** By the sub-topology's first topic: its number may differ between versions of an application. */
function taskKey({ sub, partition }: TaskId): string {
  return `${sub.name}/${partition}`
}

export function allTasks(plan: Plan): TaskId[] {
  return plan.subs.flatMap((sub) =>
    Array.from({ length: plan.taskCounts[sub.id] as number }, (_, partition) => ({ sub, partition })),
  )
}

/** What a member tells the leader: topics, the tasks whose state it has, and the last commits that it knows of. */
export function memberMetadata(plan: Plan, owned: readonly TaskId[], known: CommitKnowledge): Uint8Array {
  const topics = [...new Set(plan.subs.flatMap(inputTopics))].sort()
  const own = new Set(owned.map(taskKey))
  const others = allTasks(plan).filter((task) => !own.has(taskKey(task)))
  const commits = encodeCommits([
    ...commitsOf(owned, known).slice(0, COMMITS_MAX.own),
    ...commitsOf(others, known).slice(0, COMMITS_MAX.others),
  ])
  return encodeSubscription(topics, Buffer.from(JSON.stringify({ v: VERSION, tasks: [...own], commits })))
}

/** `known`: the leader's knowledge; it learns what the members tell, and is handed to those who get the tasks. */
export function assignTasks(
  plan: Plan,
  members: Responses['JoinGroup']['members'],
  known: CommitKnowledge,
): ReadonlyMap<string, Uint8Array> {
  for (const { metadata } of members) {
    for (const [task, commit] of toldBy(plan, metadata)) known.learn(lastingName(task), commit)
  }
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
        Buffer.from(
          JSON.stringify({
            v: VERSION,
            commits: encodeCommits(commitsOf(mine, known).slice(0, COMMITS_MAX.own)),
          }),
        ),
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

/** What the leader knows of the last commits of the tasks that it has assigned. */
export function handedCommits(plan: Plan, assignment: Uint8Array): TaskCommit[] {
  return decodeCommits(plan, parse(decodeAssignment(assignment).userData).commits)
}

function toldBy(plan: Plan, metadata: Uint8Array): TaskCommit[] {
  return decodeCommits(plan, parse(decodeSubscription(metadata).userData).commits)
}

function commitsOf(tasks: readonly TaskId[], known: CommitKnowledge): TaskCommit[] {
  return tasks.flatMap((task) => known.all(lastingName(task)).map((commit) => [task, commit] as const))
}

function load(assigned: ReadonlyMap<string, readonly TaskId[]>, id: string): number {
  return assigned.get(id)?.length ?? 0
}

/** What cannot be read counts as nothing: it only costs a replay. */
function ownedTasks(metadata: Uint8Array): ReadonlySet<string> {
  const { tasks } = parse(decodeSubscription(metadata).userData)
  return new Set(Array.isArray(tasks) ? tasks.filter((task) => typeof task === 'string') : [])
}

function parse(userData: Buffer): { readonly tasks?: unknown; readonly commits?: unknown } {
  try {
    const said: unknown = JSON.parse(userData.toString('utf8'))
    return typeof said === 'object' && said !== null ? said : {}
  } catch {
    return {}
  }
}
