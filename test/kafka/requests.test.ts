import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Answers, CODECS, decodeResponse, encodeRequest } from '../../src/kafka/requests.ts'
import type { Api, Requests } from '../../src/ports.ts'

/** Written by Kafka's own classes: see the `source` of the file and DumpRequests.java beside it. */
const fixtures: Record<
  Api,
  { key: number; version: number; flexible: boolean; request: string; responses: string[] }
> = JSON.parse(readFileSync(new URL('./fixtures/requests.json', import.meta.url), 'utf8')).requests

const at = (topic: string, partition: number) => ({ topic, partition })
const producing = { transactionalId: 'tx', producerId: 4611686018427387905n, producerEpoch: 3 }

/** What the fixtures say, in the port's words. */
const stories: { [A in Api]: { request: Requests[A]; answers: Answers[A][] } } = {
  Produce: {
    request: {
      transactionalId: 'tx',
      acks: -1,
      timeoutMs: 1500,
      partitions: [
        { ...at('a', 0), records: Buffer.from([1, 2, 3]) },
        // Out of order: one entry per topic all the same.
        { ...at('b', 1), records: Buffer.from([5, 6]) },
        { ...at('a', 2), records: Buffer.from([4]) },
      ],
    },
    answers: [
      {
        partitions: [
          { ...at('a', 0), errorCode: 0, baseOffset: 5_000_000_000 },
          { ...at('a', 2), errorCode: 47, baseOffset: -1 },
          { ...at('b', 1), errorCode: 0, baseOffset: 0 },
        ],
      },
    ],
  },
  Fetch: {
    request: {
      maxWaitMs: 500,
      minBytes: 1,
      maxBytes: 1_000_000,
      isolation: 'read_committed',
      partitions: [
        { ...at('a', 0), offset: 5_000_000_000, maxBytes: 1000 },
        { ...at('a', 3), offset: 0, maxBytes: 2000 },
      ],
    },
    answers: [
      {
        errorCode: 0,
        partitions: [
          {
            ...at('a', 0),
            errorCode: 0,
            highWatermark: 5_000_000_010,
            lastStableOffset: 5_000_000_009,
            logStartOffset: 2,
            abortedTransactions: [
              { producerId: 4611686018427387905n, firstOffset: 5_000_000_001 },
              { producerId: 2n, firstOffset: 1 },
            ],
            records: Buffer.from([9, 8, 7]),
          },
          {
            ...at('a', 3),
            errorCode: 1,
            highWatermark: -1,
            lastStableOffset: -1,
            logStartOffset: -1,
            abortedTransactions: null,
            records: Buffer.alloc(0),
          },
        ],
      },
      { errorCode: -1, partitions: [] },
    ],
  },
  ListOffsets: {
    request: {
      isolation: 'read_committed',
      partitions: [
        { ...at('a', 0), at: 'earliest' },
        { ...at('a', 1), at: 'latest' },
        { ...at('a', 2), at: 1_700_000_000_123 },
      ],
    },
    answers: [
      {
        partitions: [
          { ...at('a', 0), errorCode: 0, offset: 5_000_000_000 },
          { ...at('a', 1), errorCode: 6, offset: -1 },
        ],
      },
    ],
  },
  Metadata: {
    request: { topics: ['a', 'gone'] },
    answers: [
      {
        clusterId: '5L6g3nShT-eMCtK--X86sw',
        controllerId: 2,
        brokers: [
          { nodeId: 1, host: 'one', port: 9092 },
          { nodeId: 2, host: 'two', port: 9093 },
        ],
        topics: [
          {
            topic: 'a',
            errorCode: 0,
            topicId: 'NOSQlTkoTOahtl2giVjULA',
            partitions: [
              { partition: 1, errorCode: 0, leader: 2, leaderEpoch: 5, replicas: [1, 2] },
              { partition: 0, errorCode: 5, leader: -1, leaderEpoch: 6, replicas: [1] },
            ],
          },
          { topic: 'gone', errorCode: 3, topicId: 'AAAAAAAAAAAAAAAAAAAAAA', partitions: [] },
        ],
      },
    ],
  },
  FindCoordinator: {
    request: { key: 'tx', keyType: 'transaction' },
    answers: [
      { errorCode: 0, nodeId: 2, host: 'two', port: 9093 },
      { errorCode: 15, nodeId: -1, host: '', port: -1 },
    ],
  },
  JoinGroup: {
    request: {
      groupId: 'g',
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 60_000,
      memberId: 'm',
      groupInstanceId: 'i',
      protocolType: 'consumer',
      protocols: [{ name: 'druse', metadata: Buffer.from([1, 2]) }],
    },
    answers: [
      {
        errorCode: 0,
        generationId: 3,
        protocolName: 'druse',
        leader: 'm',
        memberId: 'm',
        members: [
          { memberId: 'm', groupInstanceId: 'i', metadata: Buffer.from([1, 2]) },
          { memberId: 'n', groupInstanceId: null, metadata: Buffer.alloc(0) },
        ],
      },
    ],
  },
  Heartbeat: {
    request: { groupId: 'g', generationId: 3, memberId: 'm', groupInstanceId: null },
    answers: [{ errorCode: 27 }],
  },
  LeaveGroup: {
    request: {
      groupId: 'g',
      members: [
        { memberId: 'm', groupInstanceId: 'i' },
        { memberId: 'n', groupInstanceId: null },
      ],
    },
    // The first is the code of the second member, the other that of the whole request.
    answers: [{ errorCode: 25 }, { errorCode: 16 }],
  },
  SyncGroup: {
    request: {
      groupId: 'g',
      generationId: 3,
      memberId: 'm',
      groupInstanceId: 'i',
      assignments: [{ memberId: 'n', assignment: Buffer.from([5, 6]) }],
    },
    answers: [{ errorCode: 0, assignment: Buffer.from([5, 6]) }],
  },
  CreateTopics: {
    request: {
      topics: [
        { topic: 'a', partitions: 3, replicationFactor: -1, configs: { 'cleanup.policy': 'compact' } },
      ],
      timeoutMs: 1500,
    },
    answers: [
      {
        topics: [
          { topic: 'a', errorCode: 36, errorMessage: 'exists' },
          { topic: 'b', errorCode: 0, errorMessage: null },
        ],
      },
    ],
  },
  DeleteTopics: {
    request: { topics: ['a', 'b'], timeoutMs: 1500 },
    answers: [
      {
        topics: [
          { topic: 'a', errorCode: 3, errorMessage: 'none' },
          { topic: 'b', errorCode: 0, errorMessage: null },
        ],
      },
    ],
  },
  DeleteRecords: {
    request: { partitions: [{ ...at('a', 1), offset: 5_000_000_000 }], timeoutMs: 1500 },
    answers: [{ partitions: [{ ...at('a', 1), errorCode: 0, lowWatermark: 5_000_000_000 }] }],
  },
  InitProducerId: {
    request: { transactionalId: 'tx', transactionTimeoutMs: 10_000 },
    answers: [{ errorCode: 0, producerId: 4611686018427387905n, producerEpoch: 3 }],
  },
  AddPartitionsToTxn: {
    request: { ...producing, partitions: [at('a', 0), at('a', 2), at('b', 1)] },
    answers: [
      {
        partitions: [
          { ...at('a', 0), errorCode: 51 },
          { ...at('a', 2), errorCode: 0 },
        ],
      },
    ],
  },
  AddOffsetsToTxn: { request: { ...producing, groupId: 'g' }, answers: [{ errorCode: 51 }] },
  EndTxn: { request: { ...producing, committed: true }, answers: [{ errorCode: 48 }] },
  TxnOffsetCommit: {
    request: {
      ...producing,
      groupId: 'g',
      generationId: 4,
      memberId: 'm',
      groupInstanceId: 'i',
      partitions: [
        { ...at('a', 0), offset: 5_000_000_000, metadata: 'm'.repeat(200) },
        { ...at('a', 1), offset: 7, metadata: '' },
      ],
    },
    answers: [
      {
        partitions: [
          { ...at('a', 0), errorCode: 0 },
          { ...at('a', 1), errorCode: 22 },
        ],
      },
    ],
  },
  OffsetCommit: {
    request: {
      groupId: 'g',
      generationId: 4,
      memberId: 'm',
      groupInstanceId: null,
      partitions: [
        { ...at('a', 0), offset: 5_000_000_000, metadata: 'm'.repeat(200) },
        { ...at('b', 1), offset: 7, metadata: '' },
      ],
    },
    answers: [
      {
        partitions: [
          { ...at('a', 0), errorCode: 0 },
          { ...at('b', 1), errorCode: 27 },
        ],
      },
    ],
  },
  OffsetFetch: {
    request: { groupId: 'g', partitions: [at('a', 0), at('a', 1)], requireStable: true },
    answers: [
      {
        errorCode: 0,
        partitions: [
          { ...at('a', 0), errorCode: 0, offset: 5_000_000_000, metadata: 'm'.repeat(200) },
          { ...at('a', 1), errorCode: 88, offset: -1, metadata: '' },
        ],
      },
      { errorCode: 16, partitions: [] },
    ],
  },
  DescribeGroups: {
    request: { groups: ['g', 'h'] },
    answers: [
      {
        groups: [
          {
            groupId: 'g',
            errorCode: 0,
            state: 'Stable',
            protocolName: 'druse',
            members: [
              { memberId: 'm', groupInstanceId: 'i', clientId: 'c', clientHost: '/10.0.0.1' },
              { memberId: 'n', groupInstanceId: null, clientId: 'd', clientHost: '/10.0.0.2' },
            ],
          },
          { groupId: 'h', errorCode: 16, state: '', protocolName: '', members: [] },
        ],
      },
    ],
  },
  DescribeConfigs: {
    request: { topics: ['a'] },
    answers: [
      {
        topics: [
          { topic: 'a', errorCode: 0, errorMessage: null, configs: { 'cleanup.policy': 'compact' } },
          { topic: 'gone', errorCode: 3, errorMessage: 'none', configs: {} },
        ],
      },
    ],
  },
}

const apis = Object.keys(stories) as Api[]
/** Flexible versions have tagged fields at the end of either header: none, so one byte of 0. */
const tags = (api: Api): string => (fixtures[api].flexible ? '00' : '')
const responses = (api: Api): Buffer[] =>
  fixtures[api].responses.map((body) => Buffer.from(tags(api) + body, 'hex'))

describe.each(apis)('%s', (api) => {
  test('key, version and kind are those of the fixture', () => {
    const { key, version, flexible } = CODECS[api]
    expect({ key, version, flexible }).toMatchObject({
      key: fixtures[api].key,
      version: fixtures[api].version,
      flexible: fixtures[api].flexible,
    })
  })

  test('is written as Kafka writes it', () => {
    expect(encodeRequest(api, stories[api].request).toString('hex')).toBe(tags(api) + fixtures[api].request)
  })

  test('its answers are read as Kafka wrote them', () => {
    expect(responses(api).map((bytes) => decodeResponse(api, bytes))).toEqual(stories[api].answers)
  })

  test('an answer that is cut off or goes on is none', () => {
    for (const bytes of responses(api)) {
      for (let length = 0; length < bytes.length; length++) {
        expect(() => decodeResponse(api, bytes.subarray(0, length)), `at ${length}`).toThrow(RangeError)
      }
      expect(() => decodeResponse(api, Buffer.concat([bytes, Buffer.alloc(1)]))).toThrow(RangeError)
    }
  })
})

test('fixtures and requests are the same set', () => {
  expect(Object.keys(fixtures).sort()).toEqual(Object.keys(CODECS).sort())
  expect([...apis].sort()).toEqual(Object.keys(CODECS).sort())
})

test('all topics are null, not an empty list', () => {
  expect(encodeRequest('Metadata', { topics: null }).toString('hex')).toBe('000000000000')
  expect(encodeRequest('Metadata', { topics: [] }).toString('hex')).toBe('000100000000')
})

test('tagged fields that a newer broker adds are passed over', () => {
  const plain = (responses('TxnOffsetCommit')[0] as Buffer).toString('hex')
  expect(plain.endsWith('00')).toBe(true)
  const tagged = Buffer.from(`${plain.slice(0, -2)}0205020102070163`, 'hex')
  expect(decodeResponse('TxnOffsetCommit', tagged)).toEqual(stories.TxnOffsetCommit.answers[0])
})

test('damage throws, and never hangs or grows', () => {
  const changes = fc.array(fc.tuple(fc.nat(), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)), {
    minLength: 1,
    maxLength: 6,
  })
  fc.assert(
    fc.property(fc.constantFrom(...apis), fc.nat(), changes, (api, which, damages) => {
      const all = responses(api)
      const bytes = all[which % all.length] as Buffer
      for (const [place, value] of damages) bytes[place % bytes.length] = value
      try {
        decodeResponse(api, bytes)
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError)
      }
    }),
    { numRuns: 3000 },
  )
})
