/** What tests of faults rely on: nodes die when they are told to, and come back with what they had. */
import { ConfigResourceTypes, Kafka, logLevel } from 'kafkajs'
import { expect, test } from 'vitest'
import { describeOnClusters } from './cluster.ts'
import { isListening } from './listening.ts'

/** Nodes start up to three times in a test, on a machine that may have other things to do. */
const LIMIT = { timeout: 180_000 }

const client = (brokers: readonly string[]) =>
  new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING })

async function onAdmin<T>(
  brokers: readonly string[],
  act: (admin: ReturnType<Kafka['admin']>) => Promise<T>,
): Promise<T> {
  const admin = client(brokers).admin()
  await admin.connect()
  try {
    return await act(admin)
  } finally {
    await admin.disconnect()
  }
}

async function produce(brokers: readonly string[], topic: string, value: string): Promise<void> {
  const producer = client(brokers).producer()
  await producer.connect()
  await producer.send({ topic, messages: [{ value }], acks: -1 })
  await producer.disconnect()
}

const ends = (brokers: readonly string[], topic: string) =>
  onAdmin(brokers, async (admin) => (await admin.fetchTopicOffsets(topic)).map(({ high }) => high))

describeOnClusters('a cluster of its own', (startCluster) => {
  test('three nodes: one dies, two go on, the third comes back and takes the lead', LIMIT, async () => {
    const configs = { 'broker.session.timeout.ms': '2000', 'broker.heartbeat.interval.ms': '200' }
    await using cluster = await startCluster({ nodes: 3, configs })
    const { brokers } = cluster
    const [one, two, three] = brokers as [string, string, string]
    await onAdmin(brokers, (admin) =>
      admin.createTopics({
        topics: [{ topic: 'words', replicaAssignment: [{ partition: 0, replicas: [1, 2, 3] }] }],
      }),
    )
    await produce(brokers, 'words', 'to')
    await cluster.kill(1)
    expect(await isListening(one)).toBe(false)
    await produce([two, three], 'words', 'be')
    await cluster.start(1)
    await cluster.stop(2)
    await produce([one, three], 'words', 'or')
    expect(await ends([one], 'words')).toEqual(['3'])
  })

  test('one node: what it was sent outlives it', LIMIT, async () => {
    await using cluster = await startCluster({ configs: { 'auto.create.topics.enable': 'false' } })
    const { brokers } = cluster
    const resources = [
      { type: ConfigResourceTypes.BROKER, name: '1', configNames: ['auto.create.topics.enable'] },
    ]
    const described = await onAdmin(brokers, (admin) =>
      admin.describeConfigs({ resources, includeSynonyms: false }),
    )
    expect(described.resources[0]?.configEntries[0]?.configValue).toBe('false')
    await onAdmin(brokers, (admin) => admin.createTopics({ topics: [{ topic: 'words', numPartitions: 2 }] }))
    await produce(brokers, 'words', 'to')
    await cluster.kill(1)
    await cluster.start(1)
    expect((await ends(brokers, 'words')).sort()).toEqual(['0', '1'])
    await cluster.close()
    expect(await isListening(brokers[0] as string)).toBe(false)
  })
})
