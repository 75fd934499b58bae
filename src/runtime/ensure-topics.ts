import { DruseError } from '../errors.ts'
import { Cluster } from '../kafka/cluster.ts'
import { createTopics, describeTopics } from '../kafka/topics.ts'
import type { Wire } from '../ports.ts'
import { silentLogger, systemClock } from '../system.ts'

export interface WantedTopic {
  readonly topic: string
  readonly partitions: number
  /** Default: the broker's. */
  readonly replicationFactor?: number
  /** Kafka's topic settings by name. Default: the broker's. */
  readonly configs?: Readonly<Record<string, string>>
}

/**
 * Creates the topics that do not exist. Errors: TOPIC_PARTITIONS when one exists with another partition count,
 * TOPIC_NOT_CREATED, BROKER_UNAVAILABLE.
 */
export async function ensureTopics(wire: Wire, topics: readonly WantedTopic[]): Promise<void> {
  const cluster = new Cluster({ wire, clock: systemClock, log: silentLogger })
  try {
    const found = await describeTopics(
      cluster,
      topics.map(({ topic }) => topic),
    )
    for (const { topic, partitions } of topics) {
      const existing = found.get(topic)
      if (existing === undefined || existing.partitions === partitions) continue
      throw new DruseError(
        'TOPIC_PARTITIONS',
        `Topic '${topic}' has ${existing.partitions} partitions, not ${partitions}`,
        { topic },
      )
    }
    await createTopics(
      cluster,
      topics
        .filter(({ topic }) => !found.has(topic))
        .map(({ replicationFactor = -1, configs = {}, ...topic }) => ({
          ...topic,
          replicationFactor,
          configs,
        })),
    )
  } finally {
    cluster.close()
  }
}
