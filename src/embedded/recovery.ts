/** Opening: what a store holds becomes the state of a broker. */
import type { Store } from '../ports.ts'
import type { CommittedOffsets, OffsetRecord, PendingRecord } from './committed-offsets.ts'
import type { GroupCoordinator, GroupRecord } from './group-coordinator.ts'
import {
  batchKey,
  fromJson,
  type LogPosition,
  META_KEY,
  positionOf,
  prefixBounds,
  type TextPrefix,
} from './keys.ts'
import type { LogSnapshot, PartitionLog } from './partition-log.ts'
import type { MetaRecord, Topic, TopicRecord, Topics } from './topics.ts'
import type { TransactionCoordinator, TransactionRecord } from './transaction-coordinator.ts'

export function readMeta(store: Store): MetaRecord | undefined {
  const bytes = store.getSync(META_KEY)
  return bytes === undefined ? undefined : fromJson<MetaRecord>(bytes)
}

/** Returns the keys of logs whose topic has gone, left over from a removal that was cut short. */
export async function recover(
  store: Store,
  parts: {
    readonly topics: Topics
    readonly transactions: TransactionCoordinator
    readonly groups: GroupCoordinator
    readonly offsets: CommittedOffsets
  },
): Promise<Uint8Array[]> {
  const { topics, transactions, groups, offsets } = parts
  const byNumber = new Map<number, Topic>()
  await each<TopicRecord>(store, 't', (record) => byNumber.set(record.number, topics.restore(record)))

  const logAt = ({ topicNumber, partition }: LogPosition): PartitionLog | undefined =>
    byNumber.get(topicNumber)?.logs[partition]
  const orphans: Uint8Array[] = []
  for await (const [key, value] of store.range(prefixBounds('s'))) {
    const log = logAt(positionOf(key))
    if (log === undefined) orphans.push(key)
    else log.restoreSnapshot(fromJson<LogSnapshot>(value))
  }
  for await (const [key, value] of store.range(prefixBounds('i'))) {
    const position = positionOf(key)
    const log = logAt(position)
    if (log !== undefined) log.restoreEntry(position.baseOffset, value)
    else orphans.push(key, batchKey('b', position.topicNumber, position.partition, position.baseOffset))
  }

  await each<TransactionRecord>(store, 'x', (record) => transactions.restore(record))
  await each<GroupRecord>(store, 'g', ({ groupId, generationId }) => groups.restore(groupId, generationId))
  await each<OffsetRecord>(store, 'o', (record) => {
    groups.restore(record.groupId)
    offsets.restoreCommitted(record)
  })
  await each<PendingRecord>(store, 'q', (record) => {
    groups.restore(record.groupId)
    offsets.restorePending(record)
  })
  return orphans
}

async function each<T>(store: Store, prefix: TextPrefix, take: (record: T) => void): Promise<void> {
  for await (const [, value] of store.range(prefixBounds(prefix))) take(fromJson<T>(value))
}
