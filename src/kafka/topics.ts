/** Questions and orders about topics and offsets, outside of the path of records. */
import { DruseError } from '../errors.ts'
import { ANY_NODE, type Isolation, type NewTopic } from '../ports.ts'
import type { TopicPartition } from '../types.ts'
import { type Cluster, unexpected } from './cluster.ts'
import { CODE } from './error-codes.ts'
import { partitionKey } from './partition-key.ts'
import { Again, retry } from './retry.ts'

export interface TopicDescription {
  readonly topic: string
  readonly topicId: string
  readonly partitions: number
  readonly configs: Readonly<Record<string, string>>
}

/**
 * Of those that exist. `existing`: those of them that are known to; a broker that was asked may not have heard of what
 * was created a moment ago.
 */
export async function describeTopics(
  cluster: Cluster,
  names: readonly string[],
  existing: Iterable<string> = [],
): Promise<ReadonlyMap<string, TopicDescription>> {
  if (names.length === 0) return new Map()
  const { clock, retryBudgetMs: budgetMs } = cluster
  return retry({ clock, what: `describe topics ${names.join(', ')}`, budgetMs }, async () => {
    const found = (await cluster.refresh(names)).filter(({ topic, errorCode }) => {
      if (errorCode === CODE.UNKNOWN_TOPIC_OR_PARTITION) return false
      if (errorCode === CODE.NONE || errorCode === CODE.LEADER_NOT_AVAILABLE) return true
      throw unexpected(`read the metadata of topic '${topic}'`, errorCode)
    })
    const there = found.map(({ topic }) => topic)
    for (const topic of existing) {
      if (!there.includes(topic)) return new Again(`${topic} is not known to every broker yet`)
    }
    const configs = new Map<string, Readonly<Record<string, string>>>()
    if (there.length > 0) {
      const answer = await cluster.ask('read the settings of topics', async () => ({
        node: ANY_NODE,
        request: { api: 'DescribeConfigs', topics: there },
      }))
      for (const { topic, errorCode, configs: settings } of answer.topics) {
        // Deleted or created a moment ago, and not everywhere yet.
        if (errorCode === CODE.UNKNOWN_TOPIC_OR_PARTITION) {
          return new Again(`${topic} comes or goes`)
        }
        if (errorCode !== CODE.NONE) throw unexpected(`read the settings of topic '${topic}'`, errorCode)
        configs.set(topic, settings)
      }
    }
    return new Map(
      found.map(({ topic, topicId, partitions }) => [
        topic,
        { topic, topicId, partitions: partitions.length, configs: configs.get(topic) ?? {} },
      ]),
    )
  })
}

/** Creates topics and waits until their leaders answer; one that exists by now is left as it is. */
export async function createTopics(cluster: Cluster, topics: readonly NewTopic[]): Promise<void> {
  if (topics.length === 0) return
  const names = topics.map(({ topic }) => topic)
  const answer = await cluster.ask(`create topics ${names.join(', ')}`, async () => ({
    node: ANY_NODE,
    request: { api: 'CreateTopics', topics, timeoutMs: cluster.requestTimeoutMs },
  }))
  for (const { topic, errorCode, errorMessage } of answer.topics) {
    if (errorCode === CODE.NONE || errorCode === CODE.TOPIC_ALREADY_EXISTS) continue
    throw new DruseError(
      'TOPIC_NOT_CREATED',
      `Kafka refused to create topic '${topic}': ${errorMessage ?? ''} (${errorCode}). Create it by hand or grant the right to`,
      { topic, kafkaCode: errorCode },
    )
  }
  // Metadata names leaders before they know that they are: what is produced then is refused, and a transaction lost.
  const places = topics.flatMap(({ topic, partitions }) =>
    Array.from({ length: partitions }, (_, partition) => ({ topic, partition })),
  )
  await listOffsets(cluster, places, 'latest')
}

/** Deletes topics and waits until they are gone; those that do not exist are passed over. Errors: KAFKA_REFUSED. */
export async function deleteTopics(cluster: Cluster, topics: readonly string[]): Promise<void> {
  if (topics.length === 0) return
  const answer = await cluster.ask(`delete topics ${topics.join(', ')}`, async () => ({
    node: ANY_NODE,
    request: { api: 'DeleteTopics', topics, timeoutMs: cluster.requestTimeoutMs },
  }))
  for (const { topic, errorCode } of answer.topics) {
    if (errorCode === CODE.NONE || errorCode === CODE.UNKNOWN_TOPIC_OR_PARTITION) continue
    throw unexpected(`delete topic '${topic}'`, errorCode)
  }
  const { clock, retryBudgetMs: budgetMs } = cluster
  await retry({ clock, what: `see that topics ${topics.join(', ')} are deleted`, budgetMs }, async () => {
    const found = await cluster.refresh(topics)
    const left = found.filter(({ errorCode }) => errorCode !== CODE.UNKNOWN_TOPIC_OR_PARTITION)
    return left.length === 0 ? undefined : new Again(`${left[0]?.topic} is still there`)
  })
}

/**
 * `latest` is the last stable offset under read_committed, else the high watermark; a number asks for the first record
 * of at least that timestamp below it, and -1 says that there is none. By `partitionKey`.
 */
export async function listOffsets(
  cluster: Cluster,
  partitions: readonly TopicPartition[],
  at: 'earliest' | 'latest' | number,
  isolation: Isolation = 'read_committed',
): Promise<ReadonlyMap<string, number>> {
  const offsets = new Map<string, number>()
  await Promise.all(
    partitions.map(async ({ topic, partition }) => {
      const answer = await cluster.ask(
        `find the ${typeof at === 'number' ? '' : `${at} `}offset of ${topic}/${partition}`,
        async () => {
          const leader = await cluster.leader({ topic, partition })
          if (leader instanceof Again) return leader
          return {
            node: leader,
            request: { api: 'ListOffsets', isolation, partitions: [{ topic, partition, at }] },
          }
        },
        ({ partitions: [found] }) => {
          const code = found?.errorCode ?? CODE.UNKNOWN_SERVER_ERROR
          if (code === CODE.NONE) return CODE.NONE
          cluster.forgetTopic(topic)
          // Leaders move; a topic made a moment ago is not known everywhere.
          return CODE.LEADER_NOT_AVAILABLE
        },
      )
      offsets.set(partitionKey({ topic, partition }), answer.partitions[0]?.offset as number)
    }),
  )
  return offsets
}

export interface CommittedOffset extends TopicPartition {
  /** Undefined: nothing is committed. `unstable`: a transaction that holds an offset for it has not ended yet. */
  readonly offset: number | 'unstable' | undefined
  readonly metadata: string
}

export async function committedOffsets(
  cluster: Cluster,
  groupId: string,
  partitions: readonly TopicPartition[],
  budgetMs?: number,
): Promise<readonly CommittedOffset[]> {
  if (partitions.length === 0) return []
  const what = `read the committed offsets of group '${groupId}'`
  const answer = await cluster.ask(
    what,
    async () => ({
      node: await cluster.coordinator('group', groupId, budgetMs),
      request: { api: 'OffsetFetch', groupId, partitions, requireStable: true },
    }),
    ({ errorCode }) => {
      if (errorCode !== CODE.NOT_COORDINATOR) return errorCode
      cluster.forgetCoordinator('group', groupId)
      return CODE.COORDINATOR_NOT_AVAILABLE
    },
    budgetMs,
  )
  if (answer.errorCode !== CODE.NONE) throw unexpected(what, answer.errorCode)
  return answer.partitions.map(({ topic, partition, errorCode, offset, metadata }) => {
    if (errorCode === CODE.UNSTABLE_OFFSET_COMMIT)
      return { topic, partition, offset: 'unstable', metadata: '' }
    if (errorCode !== CODE.NONE) throw unexpected(what, errorCode)
    return { topic, partition, offset: offset < 0 ? undefined : offset, metadata }
  })
}
