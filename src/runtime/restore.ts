/** Brings a region's part in a store from where it stands (L) to what was committed (X), out of its changelog. */
import { DruseError } from '../errors.ts'
import type { Cluster } from '../kafka/cluster.ts'
import { partitionKey } from '../kafka/partition-key.ts'
import type { PartitionReader } from '../kafka/partition-reader.ts'
import { recordsOf } from '../kafka/read-committed.ts'
import { listOffsets } from '../kafka/topics.ts'
import type { Store, Write } from '../ports.ts'
import { forgets } from '../region/definition.ts'
import { EntryWrites, type Fingerprint } from '../region/fingerprint.ts'
import { readStoreValue } from '../region/layout.ts'
import { FORGOTTEN_SLOT, OperatorTimes } from '../region/operator-times.ts'
import type { TypedEntries } from '../region/typed.ts'
import type { TopicPartition } from '../types.ts'
import { RESET } from './reset-advice.ts'

export interface RestoreProgress {
  readonly task: string
  readonly region: string
  readonly from: number
  /** Where the replay stands. */
  readonly position: number
  readonly end: number
  readonly records: number
}

export interface RegionReplay {
  readonly task: string
  readonly region: string
  readonly changelog: TopicPartition
  readonly entries: TypedEntries<unknown, unknown>
  readonly store: Store
  /** L: all before it stands in the store. */
  readonly from: number
  /** X. */
  readonly to: number
  /** The changelog is an input: of what stands beyond X nothing is known, nor asked. */
  readonly isSource: boolean
  /** At L; undefined: of a region in memory, of which nothing is told. */
  readonly fingerprint: Fingerprint | undefined
  /** What else goes into each batch: the position reached, and the fingerprint there. */
  readonly meta: (position: number, fingerprint: Fingerprint | undefined) => readonly Write[]
  readonly progress: (progress: RestoreProgress) => void
}

/**
 * Resolves to whether the changelog holds committed data beyond X. Ends when the position has reached X, control
 * records and compacted gaps counted, and the last stable offset of the call.
 * Errors: CHANGELOG_TRUNCATED, those of the reader and the store.
 */
export async function replay(
  region: RegionReplay,
  cluster: Cluster,
  reader: PartitionReader,
  signal: AbortSignal,
): Promise<{ readonly dataBeyond: boolean; readonly records: number }> {
  const { changelog, from, to } = region
  const key = partitionKey(changelog)
  const stable = (await listOffsets(cluster, [changelog], 'latest')).get(key) as number
  const isForgetful = forgets(region.entries)
  let start = await checkEnds(region, cluster)
  let at = isForgetful ? Math.max(from, start) : from
  const end = region.isSource ? to : Math.max(to, stable)
  let dataBeyond = false
  let records = 0
  let { fingerprint } = region
  const read = (): Promise<void> =>
    reader.read(
      changelog,
      at,
      async ({ batches, nextOffset }) => {
        const writes = new EntryWrites()
        for (const raw of recordsOf(batches)) {
          if (raw.offset >= to) {
            dataBeyond = !region.isSource
            continue
          }
          const pending = region.entries.prepare(raw)
          if (pending !== undefined) await pending
          const write = region.entries.write(raw)
          if (write === undefined) continue
          writes.add(write)
          records += 1
        }
        const position = Math.min(nextOffset, to)
        if (writes.size > 0) {
          fingerprint &&= await writes.fingerprintAfter(region.store, region.entries, fingerprint)
          await region.store.write([...writes.writes, ...region.meta(position, fingerprint)])
          const { task, region: name } = region
          region.progress({ task, region: name, from, position, end: to, records })
        }
        at = nextOffset
        return nextOffset >= end
      },
      signal,
    )
  while (at < end) {
    try {
      await read()
    } catch (error) {
      if (!isForgetful || !DruseError.is(error, 'OFFSET_OUT_OF_RANGE')) throw error
      // Whoever had the task before deletes what is over while this goes on.
      start = await logStart(changelog, cluster)
      if (start <= at) throw error
      at = start
    }
  }
  if (isForgetful && from < to && start > from) assertForgotten(region, start)
  return { dataBeyond, records }
}

/** What was committed has to be there, from one end to the other. Resolves to where the log starts. */
async function checkEnds(replayed: RegionReplay, cluster: Cluster): Promise<number> {
  const { changelog, from, to, region } = replayed
  const key = partitionKey(changelog)
  // A new leader may say less for a moment than what the old one had answered.
  for (let attempt = 0; ; attempt++) {
    const high = (await listOffsets(cluster, [changelog], 'latest', 'read_uncommitted')).get(key) as number
    if (high >= to) break
    if (attempt < 3) {
      cluster.forgetTopic(changelog.topic)
      continue
    }
    throw new DruseError(
      'CHANGELOG_TRUNCATED',
      `The changelog of region '${region}' ends at ${key}@${high}, but state up to ${to} was committed: Kafka has lost data (unclean leader election?). Restore the topic. ${RESET}`,
      { changelog: key, highWatermark: high, committed: to },
    )
  }
  const start = await logStart(changelog, cluster)
  // Compaction leaves the start where it is; whoever moved it has deleted entries that are nowhere else. Of windows, see below.
  if (start > from && from < to && !forgets(replayed.entries)) throw begunLater(replayed, start, from)
  return start
}

/**
 * What retention hides is deleted from the changelogs of windows, up to where the region said so in the commit before. Its
 * last word, which the replay has brought, tells whether that was it.
 */
function assertForgotten(region: RegionReplay, start: number): void {
  const stored = region.store.getSync(region.entries.prefix)
  const times = new OperatorTimes(stored && readStoreValue(stored).value)
  const forgotten = times.at(FORGOTTEN_SLOT)
  if (forgotten < start) throw begunLater(region, start, Math.max(0, forgotten, region.from))
}

async function logStart(changelog: TopicPartition, cluster: Cluster): Promise<number> {
  return (await listOffsets(cluster, [changelog], 'earliest')).get(partitionKey(changelog)) as number
}

function begunLater({ changelog, region }: RegionReplay, start: number, needed: number): DruseError {
  const key = partitionKey(changelog)
  return new DruseError(
    'CHANGELOG_TRUNCATED',
    `The changelog of region '${region}' begins at ${key}@${start}, but records from ${needed} on are needed: they were deleted. ${RESET}`,
    { changelog: key, logStart: start, needed },
  )
}
