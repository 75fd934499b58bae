/** Answers per partition: a broker that has carried out a request for some of them and not for others. */
import { CODE } from '../../src/kafka/error-codes.ts'
import type { Request, Responses } from '../../src/ports.ts'
import type { RequestFate } from '../../src/testing/network.ts'

/** All but the last partition; undefined for other requests and where there is but one. */
export function inPart(
  request: Request,
  errorCode: number = CODE.COORDINATOR_LOAD_IN_PROGRESS,
): RequestFate | undefined {
  if (request.api !== 'TxnOffsetCommit') return undefined
  const left = request.partitions.at(-1)
  if (left === undefined || request.partitions.length < 2) return undefined
  const { topic, partition } = left
  return {
    instead: { ...request, partitions: request.partitions.slice(0, -1) },
    answered: (response) => {
      const { partitions } = response as Responses['TxnOffsetCommit']
      return { partitions: [...partitions, { topic, partition, errorCode }] }
    },
  }
}
