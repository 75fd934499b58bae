/**
 * The last commits of tasks, as members of the group tell one another of them, in JSON:
 *
 *   {"<cluster>":{"<the sub-topology's first topic>":[[<partition>,"<incarnation>",<sequence>], …]}}
 *
 * About 25 bytes for a task. What cannot be read, or is of tasks that are not known here, counts as nothing: it is
 * protection that is missing then, never anything else.
 */
import type { LastCommit } from './known-commits.ts'
import type { Plan, TaskId } from './plan.ts'

export type TaskCommit = readonly [task: TaskId, commit: LastCommit]

type Told = Record<string, Record<string, [partition: number, incarnation: string, sequence: number][]>>

export function encodeCommits(commits: readonly TaskCommit[]): Told {
  const byCluster = Map.groupBy(commits, ([, { cluster }]) => cluster)
  return Object.fromEntries(
    Array.from(byCluster, ([cluster, ofCluster]) => {
      const bySub = Map.groupBy(ofCluster, ([{ sub }]) => sub.name)
      const lists = Array.from(bySub, ([name, ofSub]) => {
        return [
          name,
          ofSub.map(([{ partition }, { incarnation, sequence }]) => [partition, incarnation, sequence]),
        ]
      })
      return [cluster, Object.fromEntries(lists)]
    }),
  )
}

export function decodeCommits(plan: Plan, told: unknown): TaskCommit[] {
  return entriesOf(told).flatMap(([cluster, subs]) =>
    entriesOf(subs).flatMap(([name, list]) => {
      const sub = plan.subs.find((known) => known.name === name)
      if (sub === undefined || !Array.isArray(list)) return []
      return list.flatMap((entry: unknown): TaskCommit[] => {
        const [partition, incarnation, sequence] = Array.isArray(entry) ? entry : []
        const isTask = isCount(partition) && partition < (plan.taskCounts[sub.id] as number)
        if (!isTask || typeof incarnation !== 'string' || !isCount(sequence)) return []
        return [
          [
            { sub, partition },
            { cluster, incarnation, sequence },
          ],
        ]
      })
    }),
  )
}

function entriesOf(value: unknown): [string, unknown][] {
  return typeof value === 'object' && value !== null ? Object.entries(value) : []
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
