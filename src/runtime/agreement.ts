/** What Kafka says of a task: its committed offsets and their metadata, all of which have to agree. Never guesses. */
import { DruseError } from '../errors.ts'
import { partitionKey } from '../kafka/partition-key.ts'
import type { CommittedOffset } from '../kafka/topics.ts'
import { type TaskId, taskName } from './plan.ts'
import { RESET_OR_KEEP } from './reset-advice.ts'
import { decodeMetadata, inputKey, type TaskMetadata } from './task-metadata.ts'

export type Agreement =
  /** Nothing was ever committed for this task. */
  | { readonly kind: 'new' }
  /** A transaction that has not ended yet holds offsets for it. */
  | { readonly kind: 'unstable' }
  | {
      readonly kind: 'committed'
      readonly metadata: TaskMetadata
      /** A partition that was not an input before is missing. */
      readonly positions: InputPositions
    }

export interface InputPosition {
  readonly offset: number
  /** See `TaskMetadata`. */
  readonly partitionTimeMs: number
}

/** By `partitionKey`. */
export type InputPositions = ReadonlyMap<string, InputPosition>

/** What the cluster and its topics are now, as hashes. */
export interface Identities {
  readonly clusterHash: string
  topicHash(topic: string): string
}

/** Errors: METADATA_FOREIGN, METADATA_NEWER, RESET_UNFINISHED, OFFSETS_INCONSISTENT, CLUSTER_CHANGED, TOPIC_RECREATED. */
export function agree(task: TaskId, committed: readonly CommittedOffset[], now: Identities): Agreement {
  if (committed.some(({ offset }) => offset === 'unstable')) return { kind: 'unstable' }
  const positions = new Map<string, InputPosition>()
  let agreed: TaskMetadata | undefined
  for (const at of committed) {
    const { offset } = at
    if (typeof offset !== 'number') continue
    const where = `The offset of ${partitionKey(at)}`
    const metadata = decodeMetadata(at.metadata, where)
    if (metadata.offset !== offset) {
      throw inconsistent(
        task,
        `${where} is ${offset}, but Druse committed ${metadata.offset}: a tool has moved it`,
      )
    }
    if (metadata.cluster !== now.clusterHash) {
      throw new DruseError(
        'CLUSTER_CHANGED',
        `${where} was committed on another cluster: offsets and changelogs were copied here, and their positions do not fit together. ${RESET_OR_KEEP}`,
        { task: taskName(task) },
      )
    }
    if (metadata.topic !== now.topicHash(at.topic)) {
      throw new DruseError(
        'TOPIC_RECREATED',
        `${where} was committed in another topic of this name: '${at.topic}' was deleted and created again, and its offsets count other records. ${RESET_OR_KEEP}`,
        { task: taskName(task), topic: at.topic },
      )
    }
    agreed ??= metadata
    if (metadata.sequence !== agreed.sequence || metadata.incarnation !== agreed.incarnation) {
      throw inconsistent(
        task,
        `${where} is of commit ${metadata.sequence} (${metadata.incarnation}), others are of commit ${agreed.sequence} (${agreed.incarnation})`,
      )
    }
    positions.set(partitionKey(at), { offset, partitionTimeMs: metadata.partitionTimeMs })
  }
  if (agreed === undefined) return { kind: 'new' }
  for (const at of committed) {
    if (positions.has(partitionKey(at)) || !agreed.inputs.includes(inputKey(at.topic))) continue
    throw inconsistent(task, `the offset of ${partitionKey(at)} is gone: it has expired or was deleted`)
  }
  return { kind: 'committed', metadata: agreed, positions }
}

function inconsistent(task: TaskId, what: string): DruseError {
  return new DruseError(
    'OFFSETS_INCONSISTENT',
    `Task ${taskName(task)} cannot start: ${what}. Its state would not fit its input. ${RESET_OR_KEEP}`,
    { task: taskName(task) },
  )
}
