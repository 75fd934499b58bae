/**
 * The commit: the one place where effects leave the process, in this order. It makes sink records, region changes and
 * input offsets visible together; the design and its reasons are in the README under "How a commit works".
 *
 *   1 seal                 by the worker: effects final, generation as captured
 *   2 AddPartitionsToTxn   the broker's transaction clock starts
 *   3 Produce              sinks and changelogs, beside
 *   4 AddOffsetsToTxn
 *   5 X of each region     from the base offsets, all of them present
 *   6 TxnOffsetCommit      offsets with metadata; the generation fences
 *   7 EndTxn               answered: committed. Not answered: nobody knows, and nothing after this is done
 *   8 store                overlay, X and sequence in one batch per task; only now
 *
 * A failure in 2 to 7 rejects, and the worker drops every overlay and asks Kafka what was committed. There is no
 * EndTxn(abort). A failure in 8 concerns its task alone: the commit has happened.
 */
import type { DruseError } from '../errors.ts'
import type { CommitAs, CommitWriter, OffsetToCommit, PartitionBatches } from '../kafka/commit-writer.ts'
import { partitionKey } from '../kafka/partition-key.ts'
import { TransactionBatches } from '../kafka/transaction-batches.ts'
import type { Processed } from './repartition-purge.ts'
import type { FirstStart } from './take.ts'
import type { SealedTask } from './task.ts'
import type { TaskState } from './task-state.ts'

export interface SealedTransaction {
  /** As captured when the first record of this transaction was processed; never refreshed. */
  readonly as: CommitAs
  readonly tasks: readonly (SealedTask & { readonly state: TaskState })[]
}

export interface CommitResult {
  /** All before them has been processed, for good. */
  readonly offsets: readonly OffsetToCommit[]
  /** What changelogs hold before these offsets is needed no more. */
  readonly forgotten: readonly Processed[]
  /** Tasks whose store did not take the commit: they stop, and what they read goes on coming from the overlay until then. */
  readonly notStored: readonly { readonly task: SealedTask['task']; readonly error: DruseError }[]
}

/** Errors: as the writer's; with `topic` and `partition` in the details where one of them is to blame. */
export async function commit(
  transaction: SealedTransaction,
  groupId: string,
  writer: CommitWriter,
): Promise<CommitResult> {
  const { tasks, as } = transaction
  const batches = makeBatches(tasks)

  await writer.begin(batches, groupId, as)
  const [ends] = await Promise.all([writer.produce(batches), writer.addOffsets(groupId)])

  const commits = tasks.map((sealed) => ({ sealed, next: sealed.state.advance(sealed, ends) }))
  const offsets = commits.map(({ sealed, next }) =>
    sealed.positions.map((at) => ({ ...at, metadata: sealed.state.metadata(next, at) })),
  )
  await writer.commitOffsets(groupId, as, offsets)
  await writer.end()

  const notStored: { task: SealedTask['task']; error: DruseError }[] = []
  await Promise.all(
    commits.map(async ({ sealed, next }) => {
      const error = await sealed.state.store(sealed, next)
      if (error !== undefined) notStored.push({ task: sealed.task, error })
    }),
  )
  const forgotten = commits.flatMap(({ sealed }) => sealed.state.forgotten)
  return { offsets: offsets.flat(), forgotten, notStored }
}

/**
 * The first start of tasks: a transaction of offsets alone, with sequence 0 and X = 0, before any record is processed.
 * So a crash in the first transaction leaves offsets behind, and where to start is decided once.
 */
export async function commitFirstStarts(
  starts: readonly FirstStart[],
  as: CommitAs,
  groupId: string,
  writer: CommitWriter,
): Promise<void> {
  await writer.begin([], groupId, as)
  await writer.addOffsets(groupId)
  await writer.commitOffsets(
    groupId,
    as,
    starts.map(({ offsets }) => offsets),
  )
  await writer.end()
}

/** Everything that goes to topics. Changes of a region are one record per key: the last. */
function makeBatches(tasks: SealedTransaction['tasks']): PartitionBatches[] {
  const batches = new TransactionBatches()
  for (const { task, outputs, overlays, state } of tasks) {
    outputs.forEach((to, timestamp, key, value, headers) => {
      batches.add(to, to.maxRecordBytes, timestamp, key, value, headers)
    })
    for (const [region, overlay] of overlays) {
      const to = state.changelog(region)
      if (to === undefined) continue
      task.parts.get(region)?.forEachChange(overlay, (key, value, timestamp) => {
        batches.add(to, to.maxRecordBytes, timestamp, key, value)
      })
    }
  }
  return batches.partitions
}

/** Whether a partition is one of a sealed task's own: to find who is to blame for what Kafka refused. */
export function concerns(sealed: SealedTransaction['tasks'][number], key: string): boolean {
  const { outputs, overlays, positions, state } = sealed
  if (outputs.destinations.some((to) => partitionKey(to) === key)) return true
  if (positions.some((at) => partitionKey(at) === key)) return true
  return [...overlays].some(([region, overlay]) => {
    const changelog = state.changelog(region)
    return overlay.size > 0 && changelog !== undefined && partitionKey(changelog) === key
  })
}
