/** Metadata, CreateTopics, DeleteTopics, DescribeConfigs, FindCoordinator. */
import { describe, expect, test } from 'vitest'
import { CODE } from '../../src/kafka/error-codes.ts'
import type { NewTopic } from '../../src/ports.ts'
import { only, type Session } from './fixture.ts'
import type { GetSession } from './wire.contract.ts'

export function topicContract(session: GetSession): void {
  describe('Metadata', () => {
    test('of a topic: its id, and a leader for each partition', async () => {
      const s = session()
      const topic = await s.topic(3)
      const { brokers, topics } = await s.send('Metadata', { topics: [topic] })
      const { errorCode, topicId, partitions } = only(topics)
      expect(errorCode).toBe(CODE.NONE)
      expect(topicId).toMatch(/^[A-Za-z0-9_-]{22}$/)
      expect(partitions.map(({ partition }) => partition).sort()).toEqual([0, 1, 2])
      const nodes = brokers.map(({ nodeId }) => nodeId)
      for (const { leader, errorCode: code, leaderEpoch } of partitions) {
        expect(code).toBe(CODE.NONE)
        expect(nodes).toContain(leader)
        expect(leaderEpoch).toBeGreaterThanOrEqual(0)
      }
    })

    test('of an unknown topic: 3, and it is not created', async () => {
      const s = session()
      const topic = s.name('never')
      for (let i = 0; i < 2; i++) {
        const { topics } = await s.send('Metadata', { topics: [topic] })
        expect(only(topics).errorCode).toBe(CODE.UNKNOWN_TOPIC_OR_PARTITION)
      }
    })

    test('of a name that no topic can have: 17', async () => {
      const { topics } = await session().send('Metadata', { topics: ['not/a topic'] })
      expect(only(topics).errorCode).toBe(CODE.INVALID_TOPIC_EXCEPTION)
    })

    test('of known and unknown topics: each for itself', async () => {
      const s = session()
      const known = await s.topic()
      const unknown = s.name('never')
      const { topics } = await s.send('Metadata', { topics: [known, unknown] })
      const codes = new Map(topics.map(({ topic, errorCode }) => [topic, errorCode]))
      expect(codes.get(known)).toBe(CODE.NONE)
      expect(codes.get(unknown)).toBe(CODE.UNKNOWN_TOPIC_OR_PARTITION)
    })

    test('of all topics: every topic there is', async () => {
      const s = session()
      const topic = await s.topic()
      const { topics } = await s.send('Metadata', { topics: null })
      expect(topics.map(({ topic: name }) => name)).toContain(topic)
    })

    test('the cluster id stays the same', async () => {
      const s = session()
      const first = await s.send('Metadata', { topics: [] })
      const second = await s.send('Metadata', { topics: [] })
      expect(first.clusterId).not.toBe('')
      expect(second.clusterId).toBe(first.clusterId)
    })
  })

  describe('CreateTopics', () => {
    const create = async (s: Session, ...topics: Partial<NewTopic>[]) => {
      const whole = topics.map((topic) => ({
        topic: s.name('topic'),
        partitions: 1,
        replicationFactor: -1,
        configs: {},
        ...topic,
      }))
      return (await s.send('CreateTopics', { topics: whole, timeoutMs: 30_000 })).topics
    }

    test('a new topic: 0', async () => {
      const s = session()
      expect(only(await create(s, {})).errorCode).toBe(CODE.NONE)
    })

    test('a topic that exists: 36', async () => {
      const s = session()
      const topic = await s.topic()
      expect(only(await create(s, { topic })).errorCode).toBe(CODE.TOPIC_ALREADY_EXISTS)
    })

    test('no partitions: 37', async () => {
      expect(only(await create(session(), { partitions: 0 })).errorCode).toBe(CODE.INVALID_PARTITIONS)
    })

    test('partitions left to the broker', async () => {
      const s = session()
      const topic = s.name('topic')
      expect(only(await create(s, { topic, partitions: -1 })).errorCode).toBe(CODE.NONE)
      const { topics } = await s.retry('Metadata', { topics: [topic] }, [CODE.UNKNOWN_TOPIC_OR_PARTITION])
      expect(only(topics).partitions.length).toBeGreaterThan(0)
    })

    test.each(['', '.', '..', 'a b', 'a/b', 'x'.repeat(250)])('the name %j: 17', async (topic) => {
      const code = only(await create(session(), { topic })).errorCode
      expect(code).toBe(CODE.INVALID_TOPIC_EXCEPTION)
    })

    test('a name that differs from a topic only by . and _: 17', async () => {
      const s = session()
      const name = s.name('a')
      await create(s, { topic: `${name}.x` })
      const code = only(await create(s, { topic: `${name}_x` })).errorCode
      expect(code).toBe(CODE.INVALID_TOPIC_EXCEPTION)
    })

    test('a setting that is not known: 40', async () => {
      const code = only(await create(session(), { configs: { 'no.such.setting': '1' } })).errorCode
      expect(code).toBe(CODE.INVALID_CONFIG)
    })

    test('a setting of a wrong value: 40', async () => {
      const code = only(await create(session(), { configs: { 'cleanup.policy': 'shred' } })).errorCode
      expect(code).toBe(CODE.INVALID_CONFIG)
    })

    test('more replicas than brokers: 38', async () => {
      const code = only(await create(session(), { replicationFactor: 99 })).errorCode
      expect(code).toBe(CODE.INVALID_REPLICATION_FACTOR)
    })

    test('the same topic twice in a request: 42', async () => {
      const s = session()
      const topic = s.name('topic')
      for (const { errorCode } of await create(s, { topic }, { topic })) {
        expect(errorCode).toBe(CODE.INVALID_REQUEST)
      }
    })

    test('good and bad topics: each for itself', async () => {
      const s = session()
      const good = s.name('topic')
      const topics = await create(s, { topic: good }, { partitions: 0 })
      const codes = topics.map(({ topic, errorCode }) => [topic === good, errorCode])
      expect(codes).toContainEqual([true, CODE.NONE])
      expect(codes).toContainEqual([false, CODE.INVALID_PARTITIONS])
    })
  })

  describe('DeleteTopics', () => {
    test('a topic: 0, and then it is unknown', async () => {
      const s = session()
      const topic = await s.topic()
      const deleted = await s.send('DeleteTopics', { topics: [topic], timeoutMs: 30_000 })
      expect(only(deleted.topics).errorCode).toBe(CODE.NONE)
      const { topics } = await s.until(
        () => s.send('Metadata', { topics: [topic] }),
        (answer) => only(answer.topics).errorCode !== CODE.NONE,
      )
      expect(only(topics).errorCode).toBe(CODE.UNKNOWN_TOPIC_OR_PARTITION)
    })

    test('an unknown topic: 3', async () => {
      const s = session()
      const { topics } = await s.send('DeleteTopics', { topics: [s.name('never')], timeoutMs: 30_000 })
      expect(only(topics).errorCode).toBe(CODE.UNKNOWN_TOPIC_OR_PARTITION)
    })

    test('a topic created again: another id, an empty log', async () => {
      const s = session()
      const topic = await s.topic()
      const before = only((await s.send('Metadata', { topics: [topic] })).topics)
      await s.send('DeleteTopics', { topics: [topic], timeoutMs: 30_000 })
      await s.until(
        () => s.send('Metadata', { topics: [topic] }),
        (answer) => only(answer.topics).errorCode !== CODE.NONE,
      )
      await s.retry(
        'CreateTopics',
        { topics: [{ topic, partitions: 1, replicationFactor: -1, configs: {} }], timeoutMs: 30_000 },
        [CODE.TOPIC_ALREADY_EXISTS],
      )
      const { topics } = await s.retry('Metadata', { topics: [topic] }, [CODE.UNKNOWN_TOPIC_OR_PARTITION])
      expect(only(topics).topicId).not.toBe(before.topicId)
      const { partitions } = await s.retry(
        'ListOffsets',
        { isolation: 'read_uncommitted', partitions: [{ topic, partition: 0, at: 'latest' }] },
        [CODE.UNKNOWN_TOPIC_OR_PARTITION],
      )
      expect(only(partitions).offset).toBe(0)
    })
  })

  describe('DescribeConfigs', () => {
    test('of a topic: every setting, those not given with their defaults', async () => {
      const s = session()
      const topic = await s.topic(1, { 'cleanup.policy': 'compact', 'delete.retention.ms': '12345' })
      const { errorCode, configs } = only((await s.send('DescribeConfigs', { topics: [topic] })).topics)
      expect(errorCode).toBe(CODE.NONE)
      expect(configs).toMatchObject({
        'cleanup.policy': 'compact',
        'delete.retention.ms': '12345',
        'min.insync.replicas': '1',
        'unclean.leader.election.enable': 'false',
        'message.timestamp.type': 'CreateTime',
        'max.message.bytes': '1048588',
        'retention.ms': '604800000',
      })
    })

    test('of an unknown topic: 3', async () => {
      const s = session()
      const { topics } = await s.send('DescribeConfigs', { topics: [s.name('never')] })
      expect(only(topics).errorCode).toBe(CODE.UNKNOWN_TOPIC_OR_PARTITION)
    })
  })

  describe('FindCoordinator', () => {
    test.each(['group', 'transaction'] as const)('of a %s: a broker of the cluster', async (keyType) => {
      const s = session()
      const found = await s.retry('FindCoordinator', { key: s.name('key'), keyType })
      expect(found.errorCode).toBe(CODE.NONE)
      const { brokers } = await s.send('Metadata', { topics: [] })
      expect(brokers.map(({ nodeId }) => nodeId)).toContain(found.nodeId)
    })
  })
}
