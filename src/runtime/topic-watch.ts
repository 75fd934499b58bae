/** Notices while the application runs what it checked at its start: topics that are gone, are others, or have grown. */
import { DruseError } from '../errors.ts'
import { CODE } from '../kafka/error-codes.ts'
import { pause } from '../kafka/retry.ts'
import type { TopicMetadata } from '../ports.ts'
import { RESET } from './reset-advice.ts'
import type { Surroundings } from './surroundings.ts'
import { shortHash } from './task-metadata.ts'

/** Looks at all topics of the plan every `everyMs`, until the signal is aborted. Calls `changed` once, with why. */
export async function watchTopics(
  surroundings: Surroundings,
  everyMs: number,
  signal: AbortSignal,
  changed: (error: DruseError) => void,
): Promise<void> {
  const { cluster, plan, log } = surroundings
  let missing: ReadonlySet<string> = new Set()
  for (;;) {
    await pause(cluster.clock, missing.size > 0 ? Math.min(everyMs, CONFIRM_MS) : everyMs, signal)
    if (signal.aborted) return
    try {
      const topics = await cluster.refresh([...plan.partitions.keys()])
      const error = topics.map((topic) => whatChanged(surroundings, topic)).find(Boolean)
      if (error !== undefined) return changed(error)
      const now = topics.filter(isMissing).map(({ topic }) => topic)
      const gone = now.filter((topic) => missing.has(topic))
      if (gone.length > 0) return changed(topicsGone(gone))
      missing = new Set(now)
    } catch (error) {
      log.warn({ error }, 'topics: cannot be looked at, trying again later')
    }
  }
}

/** One broker alone may not know a topic for a moment, so it is asked again. */
const CONFIRM_MS = 5_000

const isMissing = ({ errorCode }: TopicMetadata): boolean => errorCode === CODE.UNKNOWN_TOPIC_OR_PARTITION

function topicsGone(topics: readonly string[]): DruseError {
  return new DruseError(
    'TOPIC_MISSING',
    `These topics were deleted while the application ran: ${topics.join(', ')}. What was in them and not processed is lost. Create them and start again; tasks then say what fits and what does not`,
    { topics },
  )
}

function whatChanged(surroundings: Surroundings, now: TopicMetadata): DruseError | undefined {
  const { topic, topicId, partitions } = now
  // One that has no leader shows where it is read and written.
  if (now.errorCode !== 0) return undefined
  const planned = surroundings.plan.partitions.get(topic) as number
  if (shortHash(topicId) !== surroundings.topicHash(topic)) {
    return new DruseError(
      'TOPIC_RECREATED',
      `Topic '${topic}' was deleted and created again while the application ran: its offsets count other records now. ${RESET}`,
      { topic },
    )
  }
  if (partitions.length === planned) return undefined
  return new DruseError(
    'TOPIC_PARTITIONS',
    `Topic '${topic}' has ${partitions.length} partitions since the application was started with ${planned}: keys have moved. Start it again; it says what fits and what does not`,
    { topic, partitions: partitions.length, planned },
  )
}
