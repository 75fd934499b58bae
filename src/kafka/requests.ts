/**
 * How each request of the port lies on the wire: key, version, body and answer. Versions are the lowest that say all
 * the port does, so that brokers from Kafka 2.8 on and the 4.x line speak them.
 */
import type { Api, Requests, Responses } from '../ports.ts'
import {
  readCode,
  readPartitionCodes,
  readTopicMetadata,
  readTopicResult,
  readTopics,
  writeProducing,
  writeTopics,
} from './request-parts.ts'
import { WireReader, WireWriter } from './wire-bytes.ts'

export interface ApiCodec<A extends Api> {
  readonly key: number
  readonly version: number
  readonly flexible: boolean
  encode(writer: WireWriter, request: Requests[A]): void
  decode(reader: WireReader): Answers[A]
}

/** What the bytes say, where that is more than the port asks for. */
export type Answers = Omit<Responses, 'FindCoordinator'> & {
  FindCoordinator: Responses['FindCoordinator'] & { readonly host: string; readonly port: number }
}

/** The body of a request, what flexible versions put before it included. */
export function encodeRequest<A extends Api>(api: A, request: Requests[A]): Buffer {
  const codec: ApiCodec<A> = CODECS[api]
  const writer = new WireWriter(codec.flexible)
  writer.tags() // of the request's header
  codec.encode(writer, request)
  return writer.written
}

/** Reads what follows the correlation id of a response. Throws when the bytes are not such an answer. */
export function decodeResponse<A extends Api>(api: A, bytes: Buffer): Answers[A] {
  const codec: ApiCodec<A> = CODECS[api]
  const reader = new WireReader(bytes, codec.flexible)
  reader.tags() // of the response's header
  const answer = codec.decode(reader)
  if (reader.left !== 0) throw new RangeError(`${reader.left} bytes follow the answer`)
  return answer
}

export const CODECS: { readonly [A in Api]: ApiCodec<A> } = {
  Produce: {
    key: 0,
    version: 7,
    flexible: false,
    encode(writer, request) {
      writer.text(request.transactionalId)
      writer.int16(request.acks)
      writer.int32(request.timeoutMs)
      writeTopics(writer, request.partitions, ({ partition, records }) => {
        writer.int32(partition)
        writer.bytes(records)
      })
    },
    decode(reader) {
      const partitions = readTopics(reader, (topic) => {
        const found = {
          topic,
          partition: reader.int32(),
          errorCode: reader.int16(),
          baseOffset: reader.offset(),
        }
        reader.int64() // log append time
        reader.int64() // log start offset
        return found
      })
      reader.int32() // throttle time
      return { partitions }
    },
  },

  Fetch: {
    key: 1,
    version: 11,
    flexible: false,
    encode(writer, request) {
      writer.int32(-1) // replica id: a consumer
      writer.int32(request.maxWaitMs)
      writer.int32(request.minBytes)
      writer.int32(request.maxBytes)
      writer.int8(request.isolation === 'read_committed' ? 1 : 0)
      writer.int32(0) // session id
      writer.int32(-1) // session epoch: no session
      writeTopics(writer, request.partitions, ({ partition, offset, maxBytes }) => {
        writer.int32(partition)
        writer.int32(-1) // current leader epoch: not checked
        writer.int64(offset)
        writer.int64(-1) // log start offset: of followers only
        writer.int32(maxBytes)
      })
      writer.array([], () => {}) // forgotten topics
      writer.text('') // rack
    },
    decode(reader) {
      reader.int32() // throttle time
      const errorCode = reader.int16()
      reader.int32() // session id
      const partitions = readTopics(reader, (topic) => {
        const partition = reader.int32()
        const code = reader.int16()
        const highWatermark = reader.offset()
        const lastStableOffset = reader.offset()
        const logStartOffset = reader.offset()
        const abortedTransactions = reader.arrayOrNull(() => ({
          producerId: reader.int64(),
          firstOffset: reader.offset(),
        }))
        reader.int32() // preferred read replica
        const records = reader.bytes()
        return {
          topic,
          partition,
          errorCode: code,
          highWatermark,
          lastStableOffset,
          logStartOffset,
          abortedTransactions,
          records,
        }
      })
      return { errorCode, partitions }
    },
  },

  ListOffsets: {
    key: 2,
    version: 5,
    flexible: false,
    encode(writer, request) {
      writer.int32(-1) // replica id: a consumer
      writer.int8(request.isolation === 'read_committed' ? 1 : 0)
      writeTopics(writer, request.partitions, ({ partition, at }) => {
        writer.int32(partition)
        writer.int32(-1) // current leader epoch: not checked
        writer.int64(at === 'earliest' ? -2 : at === 'latest' ? -1 : at)
      })
    },
    decode(reader) {
      reader.int32() // throttle time
      const partitions = readTopics(reader, (topic) => {
        const partition = reader.int32()
        const errorCode = reader.int16()
        reader.int64() // timestamp
        const offset = reader.offset()
        reader.int32() // leader epoch
        return { topic, partition, errorCode, offset }
      })
      return { partitions }
    },
  },

  Metadata: {
    key: 3,
    version: 10,
    flexible: true,
    encode(writer, request) {
      writer.array(request.topics, (topic) => {
        writer.noId()
        writer.text(topic)
        writer.tags()
      })
      writer.bool(false) // allow automatic creation
      writer.bool(false) // authorized operations of the cluster
      writer.bool(false) // and of the topics
      writer.tags()
    },
    decode(reader) {
      reader.int32() // throttle time
      const brokers = reader.array(() => {
        const broker = { nodeId: reader.int32(), host: reader.text(), port: reader.int32() }
        reader.textOrNull() // rack
        reader.tags()
        return broker
      })
      const clusterId = reader.textOrNull() ?? ''
      const controllerId = reader.int32()
      const topics = reader.array(() => readTopicMetadata(reader))
      reader.int32() // authorized operations
      reader.tags()
      return { clusterId, controllerId, brokers, topics }
    },
  },

  FindCoordinator: {
    key: 10,
    version: 1,
    flexible: false,
    encode(writer, request) {
      writer.text(request.key)
      writer.int8(request.keyType === 'group' ? 0 : 1)
    },
    decode(reader) {
      reader.int32() // throttle time
      const errorCode = reader.int16()
      reader.textOrNull() // error message
      return { errorCode, nodeId: reader.int32(), host: reader.text(), port: reader.int32() }
    },
  },

  JoinGroup: {
    key: 11,
    version: 5,
    flexible: false,
    encode(writer, request) {
      writer.text(request.groupId)
      writer.int32(request.sessionTimeoutMs)
      writer.int32(request.rebalanceTimeoutMs)
      writer.text(request.memberId)
      writer.text(request.groupInstanceId)
      writer.text(request.protocolType)
      writer.array(request.protocols, ({ name, metadata }) => {
        writer.text(name)
        writer.bytes(metadata)
      })
    },
    decode(reader) {
      reader.int32() // throttle time
      return {
        errorCode: reader.int16(),
        generationId: reader.int32(),
        protocolName: reader.text(),
        leader: reader.text(),
        memberId: reader.text(),
        members: reader.array(() => ({
          memberId: reader.text(),
          groupInstanceId: reader.textOrNull(),
          metadata: reader.bytes(),
        })),
      }
    },
  },

  Heartbeat: {
    key: 12,
    version: 3,
    flexible: false,
    encode(writer, request) {
      writer.text(request.groupId)
      writer.int32(request.generationId)
      writer.text(request.memberId)
      writer.text(request.groupInstanceId)
    },
    decode: readCode,
  },

  LeaveGroup: {
    key: 13,
    version: 3,
    flexible: false,
    encode(writer, request) {
      writer.text(request.groupId)
      writer.array(request.members, ({ memberId, groupInstanceId }) => {
        writer.text(memberId)
        writer.text(groupInstanceId)
      })
    },
    decode(reader) {
      const { errorCode } = readCode(reader)
      const codes = reader.array(() => {
        reader.text() // member id
        reader.textOrNull() // group instance id
        return reader.int16()
      })
      return { errorCode: errorCode !== 0 ? errorCode : (codes.find((code) => code !== 0) ?? 0) }
    },
  },

  SyncGroup: {
    key: 14,
    version: 3,
    flexible: false,
    encode(writer, request) {
      writer.text(request.groupId)
      writer.int32(request.generationId)
      writer.text(request.memberId)
      writer.text(request.groupInstanceId)
      writer.array(request.assignments, ({ memberId, assignment }) => {
        writer.text(memberId)
        writer.bytes(assignment)
      })
    },
    decode(reader) {
      const { errorCode } = readCode(reader)
      return { errorCode, assignment: reader.bytes() }
    },
  },

  DescribeGroups: {
    key: 15,
    version: 4,
    flexible: false,
    encode(writer, request) {
      writer.array(request.groups, (group) => writer.text(group))
      writer.bool(false) // authorized operations
    },
    decode(reader) {
      reader.int32() // throttle time
      const groups = reader.array(() => {
        const errorCode = reader.int16()
        const groupId = reader.text()
        const state = reader.text()
        reader.text() // protocol type
        const protocolName = reader.text()
        const members = reader.array(() => {
          const member = {
            memberId: reader.text(),
            groupInstanceId: reader.textOrNull(),
            clientId: reader.text(),
            clientHost: reader.text(),
          }
          reader.bytes() // what it told the leader
          reader.bytes() // assignment
          return member
        })
        reader.int32() // authorized operations
        return { groupId, errorCode, state, protocolName, members }
      })
      return { groups }
    },
  },

  CreateTopics: {
    key: 19,
    version: 4,
    flexible: false,
    encode(writer, request) {
      writer.array(request.topics, ({ topic, partitions, replicationFactor, configs }) => {
        writer.text(topic)
        writer.int32(partitions)
        writer.int16(replicationFactor)
        writer.array([], () => {}) // assignments
        writer.array(Object.entries(configs), ([name, value]) => {
          writer.text(name)
          writer.text(value)
        })
      })
      writer.int32(request.timeoutMs)
      writer.bool(false) // validate only
    },
    decode(reader) {
      reader.int32() // throttle time
      return { topics: reader.array(() => readTopicResult(reader)) }
    },
  },

  DeleteTopics: {
    key: 20,
    version: 5,
    flexible: true,
    encode(writer, request) {
      writer.array(request.topics, (topic) => writer.text(topic))
      writer.int32(request.timeoutMs)
      writer.tags()
    },
    decode(reader) {
      reader.int32() // throttle time
      const topics = reader.array(() => {
        const result = readTopicResult(reader)
        reader.tags()
        return result
      })
      reader.tags()
      return { topics }
    },
  },

  DeleteRecords: {
    key: 21,
    version: 1,
    flexible: false,
    encode(writer, request) {
      writeTopics(writer, request.partitions, ({ partition, offset }) => {
        writer.int32(partition)
        writer.int64(offset)
      })
      writer.int32(request.timeoutMs)
    },
    decode(reader) {
      reader.int32() // throttle time
      const partitions = readTopics(reader, (topic) => ({
        topic,
        partition: reader.int32(),
        lowWatermark: reader.offset(),
        errorCode: reader.int16(),
      }))
      return { partitions }
    },
  },

  InitProducerId: {
    key: 22,
    version: 1,
    flexible: false,
    encode(writer, request) {
      writer.text(request.transactionalId)
      writer.int32(request.transactionTimeoutMs)
    },
    decode(reader) {
      reader.int32() // throttle time
      return { errorCode: reader.int16(), producerId: reader.int64(), producerEpoch: reader.int16() }
    },
  },

  AddPartitionsToTxn: {
    key: 24,
    version: 1,
    flexible: false,
    encode(writer, request) {
      writeProducing(writer, request)
      writeTopics(writer, request.partitions, ({ partition }) => writer.int32(partition))
    },
    decode(reader) {
      reader.int32() // throttle time
      return { partitions: readPartitionCodes(reader) }
    },
  },

  AddOffsetsToTxn: {
    key: 25,
    version: 1,
    flexible: false,
    encode(writer, request) {
      writeProducing(writer, request)
      writer.text(request.groupId)
    },
    decode: readCode,
  },

  EndTxn: {
    key: 26,
    version: 1,
    flexible: false,
    encode(writer, request) {
      writeProducing(writer, request)
      writer.bool(request.committed)
    },
    decode: readCode,
  },

  TxnOffsetCommit: {
    key: 28,
    version: 3,
    flexible: true,
    encode(writer, request) {
      writer.text(request.transactionalId)
      writer.text(request.groupId)
      writer.int64(request.producerId)
      writer.int16(request.producerEpoch)
      writer.int32(request.generationId)
      writer.text(request.memberId)
      writer.text(request.groupInstanceId)
      writeTopics(writer, request.partitions, ({ partition, offset, metadata }) => {
        writer.int32(partition)
        writer.int64(offset)
        writer.int32(-1) // leader epoch: not known
        writer.text(metadata)
        writer.tags()
      })
      writer.tags()
    },
    decode(reader) {
      reader.int32() // throttle time
      const partitions = readPartitionCodes(reader)
      reader.tags()
      return { partitions }
    },
  },

  OffsetCommit: {
    key: 8,
    version: 7,
    flexible: false,
    encode(writer, request) {
      writer.text(request.groupId)
      writer.int32(request.generationId)
      writer.text(request.memberId)
      writer.text(request.groupInstanceId)
      writeTopics(writer, request.partitions, ({ partition, offset, metadata }) => {
        writer.int32(partition)
        writer.int64(offset)
        writer.int32(-1) // leader epoch: not known
        writer.text(metadata)
      })
    },
    decode(reader) {
      reader.int32() // throttle time
      return { partitions: readPartitionCodes(reader) }
    },
  },

  OffsetFetch: {
    key: 9,
    version: 7,
    flexible: true,
    encode(writer, request) {
      writer.text(request.groupId)
      writeTopics(writer, request.partitions, ({ partition }) => writer.int32(partition))
      writer.bool(request.requireStable)
      writer.tags()
    },
    decode(reader) {
      reader.int32() // throttle time
      const partitions = readTopics(reader, (topic) => {
        const partition = reader.int32()
        const offset = reader.offset()
        reader.int32() // leader epoch
        const metadata = reader.textOrNull() ?? ''
        const errorCode = reader.int16()
        reader.tags()
        return { topic, partition, errorCode, offset, metadata }
      })
      const errorCode = reader.int16()
      reader.tags()
      return { errorCode, partitions }
    },
  },

  DescribeConfigs: {
    key: 32,
    version: 2,
    flexible: false,
    encode(writer, request) {
      writer.array(request.topics, (topic) => {
        writer.int8(RESOURCE_TOPIC)
        writer.text(topic)
        writer.array(null, () => {}) // all settings
      })
      writer.bool(false) // synonyms
    },
    decode(reader) {
      reader.int32() // throttle time
      const topics = reader.array(() => {
        const errorCode = reader.int16()
        const errorMessage = reader.textOrNull() || null // '' when there is no error
        reader.int8() // resource type
        const topic = reader.text()
        const settings = reader.array(() => {
          const setting = [reader.text(), reader.textOrNull()] as const
          reader.bool() // read only
          reader.int8() // source
          reader.bool() // sensitive
          reader.array(() => [reader.text(), reader.textOrNull(), reader.int8()]) // synonyms
          return setting
        })
        const configs: Record<string, string> = {}
        for (const [name, value] of settings) if (value !== null) configs[name] = value
        return { topic, errorCode, errorMessage, configs }
      })
      return { topics }
    },
  },
}

const RESOURCE_TOPIC = 2
