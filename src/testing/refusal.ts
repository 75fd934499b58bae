/** Answers of brokers that have done nothing of what they were asked. */
import type { PartitionCode, Request, Responses } from '../ports.ts'
import type { TopicPartition } from '../types.ts'

const NOBODY = { generationId: -1, protocolName: '', leader: '', members: [] } as const
const NOTHING = new Uint8Array(0)

/** The answer of the request's kind in which everything has this code. */
export function refusal(request: Request, errorCode: number): unknown {
  switch (request.api) {
    case 'Produce':
      return each<'Produce'>(request.partitions, errorCode, { baseOffset: -1 })
    case 'ListOffsets':
      return each<'ListOffsets'>(request.partitions, errorCode, { offset: -1 })
    case 'DeleteRecords':
      return each<'DeleteRecords'>(request.partitions, errorCode, { lowWatermark: -1 })
    case 'Fetch': {
      const abortedTransactions = request.isolation === 'read_committed' ? [] : null
      const marks = { highWatermark: -1, lastStableOffset: -1, logStartOffset: -1 }
      const rest = { ...marks, abortedTransactions, records: NOTHING }
      return { errorCode: 0, ...each<'Fetch'>(request.partitions, errorCode, rest) }
    }
    case 'AddPartitionsToTxn':
    case 'TxnOffsetCommit':
    case 'OffsetCommit':
      return each<'OffsetCommit'>(request.partitions, errorCode, {})
    case 'InitProducerId':
      return { errorCode, producerId: -1n, producerEpoch: -1 }
    case 'OffsetFetch':
      return { errorCode, partitions: [] }
    case 'FindCoordinator':
      return { errorCode, nodeId: -1 }
    case 'JoinGroup':
      return { errorCode, memberId: request.memberId, ...NOBODY }
    case 'SyncGroup':
      return { errorCode, assignment: NOTHING }
    case 'DescribeGroups':
      return {
        groups: request.groups.map((groupId) => ({
          groupId,
          errorCode,
          state: '',
          protocolName: '',
          members: [],
        })),
      }
    case 'AddOffsetsToTxn':
    case 'EndTxn':
    case 'Heartbeat':
    case 'LeaveGroup':
      return { errorCode }
    case 'Metadata':
    case 'CreateTopics':
    case 'DeleteTopics':
    case 'DescribeConfigs':
      throw new Error(`${request.api} is answered by every node`)
  }
}

type PartitionApi = 'Produce' | 'ListOffsets' | 'DeleteRecords' | 'Fetch' | 'OffsetCommit'
type PartOf<A extends PartitionApi> = Responses[A]['partitions'][number]

function each<A extends PartitionApi>(
  places: readonly TopicPartition[],
  errorCode: number,
  rest: Omit<PartOf<A>, keyof PartitionCode>,
): { partitions: readonly unknown[] } {
  return { partitions: places.map(({ topic, partition }) => ({ topic, partition, errorCode, ...rest })) }
}
