/**
 * What is known of the commits of tasks, from whoever made them: of each life of a task the newest. It is only ever told
 * of commits that were answered, so it is never newer than what is committed.
 */
import type { TaskMetadata } from './task-metadata.ts'

export type LastCommit = Pick<TaskMetadata, 'cluster' | 'incarnation' | 'sequence'>

/** By `lastingName`. */
export interface CommitKnowledge {
  /** The newest of each life that is known of. */
  all(task: string): readonly LastCommit[]
  learn(task: string, commit: LastCommit): void
}

/** After a reset, who was away tells of a life before: which of them is the present one, only Kafka can say. */
const LIVES_MAX = 3

export class KnownCommits implements CommitKnowledge {
  readonly #known = new Map<string, readonly LastCommit[]>()

  all(task: string): readonly LastCommit[] {
    return this.#known.get(task) ?? []
  }

  learn(task: string, commit: LastCommit): void {
    const same = this.all(task).find((other) => isOfLife(other, commit))
    if (same === undefined || same.sequence < commit.sequence) this.replace(task, commit)
  }

  /** Also by an earlier commit of its life: under at-least-once Kafka may go back to one. */
  replace(task: string, commit: LastCommit): void {
    const { cluster, incarnation, sequence } = commit
    const others = this.all(task).filter((other) => !isOfLife(other, commit))
    this.#known.set(task, [...others, { cluster, incarnation, sequence }].slice(-LIVES_MAX))
  }
}

function isOfLife(other: LastCommit, { cluster, incarnation }: LastCommit): boolean {
  return other.cluster === cluster && other.incarnation === incarnation
}
