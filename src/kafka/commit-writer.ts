/**
 * What a commit needs of a producer, with a transaction (`TransactionalWriter`) and without (`PlainWriter`).
 * Any step that rejects ends the use of the epoch: `open` comes next.
 */
import type { Membership } from '../ports.ts'
import type { TopicPartition } from '../types.ts'
import { partitionKey } from './partition-key.ts'
import type { BatchWriter } from './record-batch.ts'

/** The batches of one partition, in order. */
export interface PartitionBatches extends TopicPartition {
  readonly batches: readonly BatchWriter[]
}

export interface OffsetToCommit extends TopicPartition {
  readonly offset: number
  readonly metadata: string
}

/** Of all inputs of a task: they agree with one another, or the task cannot start. */
export type TaskOffsets = readonly OffsetToCommit[]

/** Who commits, as captured when the transaction's first record was processed. Outside of a group: NO_MEMBERSHIP. */
export type CommitAs = Pick<Membership, 'memberId' | 'generationId' | 'groupInstanceId'>
export const NO_MEMBERSHIP: CommitAs = { memberId: '', generationId: -1, groupInstanceId: null }

export interface CommitWriter {
  readonly isOpen: boolean
  /**
   * A new epoch; whatever was under way before is over.
   * Errors: BROKER_UNAVAILABLE (also when the signal is aborted), KAFKA_REFUSED.
   */
  open(signal?: AbortSignal): Promise<void>
  /** Ends the use of this epoch. What is under way may still be carried out, until the next `open` fences it. */
  close(): void
  /** Begins a commit of `as` that writes to these partitions: every one that `produce` will be given. */
  begin(partitions: readonly TopicPartition[], groupId: string, as: CommitAs): Promise<void>
  /** Appends; resolves to the offset behind each partition's last record, by `partitionKey`. */
  produce(partitions: readonly PartitionBatches[]): Promise<ReadonlyMap<string, number>>
  /** Says whose offsets come with `commitOffsets`. May run beside `produce`. */
  addOffsets(groupId: string): Promise<void>
  /**
   * After `produce` and `addOffsets`. The generation fences: not the one of now, the one captured. The offsets come
   * by task: those of one stand in one request.
   */
  commitOffsets(groupId: string, as: CommitAs, offsets: readonly TaskOffsets[]): Promise<void>
  /** Resolved: everything of the commit is, or becomes, visible. */
  end(): Promise<void>
}

/** Requests stay well below what a broker takes in one. */
const OFFSETS_PER_REQUEST_MAX = 200

export function* offsetChunks(offsets: readonly TaskOffsets[]): Generator<readonly OffsetToCommit[]> {
  let chunk: OffsetToCommit[] = []
  for (const ofTask of offsets) {
    if (chunk.length > 0 && chunk.length + ofTask.length > OFFSETS_PER_REQUEST_MAX) {
      yield chunk
      chunk = []
    }
    chunk.push(...ofTask)
  }
  if (chunk.length > 0) yield chunk
}

/** Partitions beside one another, the batches of each one after the other; resolves to where the last of each ends. */
export async function appendInOrder(
  partitions: readonly PartitionBatches[],
  append: (to: TopicPartition, writer: BatchWriter) => Promise<number>,
): Promise<ReadonlyMap<string, number>> {
  const ends = new Map<string, number>()
  const rounds = Math.max(0, ...partitions.map(({ batches }) => batches.length))
  for (let round = 0; round < rounds; round++) {
    await Promise.all(
      partitions.map(async ({ topic, partition, batches }) => {
        const writer = batches[round]
        if (writer === undefined) return
        const baseOffset = await append({ topic, partition }, writer)
        ends.set(partitionKey({ topic, partition }), baseOffset + writer.count)
      }),
    )
  }
  return ends
}
