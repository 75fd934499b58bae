/** Notices while the application runs what it checked at its start: topics that were re-created or got other partitions. */
import { DruseError } from '../errors.ts'
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
  for (;;) {
    await pause(cluster.clock, everyMs, signal)
    if (signal.aborted) return
    try {
      const topics = await cluster.refresh([...plan.partitions.keys()])
      const error = topics.map((topic) => whatChanged(surroundings, topic)).find(Boolean)
      if (error !== undefined) return changed(error)
    } catch (error) {
      log.warn({ error }, 'topics: cannot be looked at, trying again later')
    }
  }
}

function whatChanged(surroundings: Surroundings, now: TopicMetadata): DruseError | undefined {
  const { topic, topicId, partitions } = now
  // A topic that is gone or has no leader shows where it is read and written.
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
