/** What a refused or unanswered step of a commit means, as errors. */
import { DruseError, type ErrorCode } from '../errors.ts'
import type { PartitionCode } from '../ports.ts'
import type { TopicPartition } from '../types.ts'
import { CODE, classifyTransactional, nameOf } from './error-codes.ts'
import { partitionKey } from './partition-key.ts'

/** Nobody knows whether it was carried out. */
export function strike(what: string, reason: string): DruseError {
  return new DruseError(
    'TRANSACTION_INDEFINITE',
    `Could not ${what}: ${reason}. Whether it was committed is read from Kafka`,
    { what, reason },
  )
}

export function failed(
  what: string,
  kafkaCode: number,
  { topic, partition }: Partial<TopicPartition>,
): DruseError {
  const failure = classifyTransactional(kafkaCode)
  if (failure === 'indefinite' || failure === 'ok' || failure === 'retry') {
    return strike(what, nameOf(kafkaCode))
  }
  return new DruseError(
    FAILURES[failure],
    `Could not ${what}: Kafka answered ${nameOf(kafkaCode)} (${kafkaCode})`,
    // A producer that is gone is no partition's fault, although each of them says so.
    failure === 'abortable' ? { what, kafkaCode, topic, partition } : { what, kafkaCode },
  )
}

/** The code that decides, and the partition that it is about. */
export type Verdict = { readonly errorCode: number } & Partial<TopicPartition>

const FAILURES = {
  'producer-gone': 'PRODUCER_FENCED',
  reinitialise: 'TRANSACTION_ABORTED',
  'membership-gone': 'MEMBERSHIP_LOST',
  'instance-fenced': 'INSTANCE_FENCED',
  abortable: 'TRANSACTION_ABORTED',
  refused: 'KAFKA_REFUSED',
} as const satisfies Record<string, ErrorCode>

/** One that forbids a retry before one that allows it; a partition left out is unknown. */
export function worst(asked: readonly TopicPartition[], answered: readonly PartitionCode[]): Verdict {
  const codes = new Map(answered.map((p) => [partitionKey(p), p.errorCode]))
  let found: Verdict = { errorCode: CODE.NONE }
  for (const { topic, partition } of asked) {
    const errorCode = codes.get(partitionKey({ topic, partition })) ?? CODE.UNKNOWN_SERVER_ERROR
    // Not attempted because of another partition, whose code tells why.
    if (errorCode === CODE.NONE || errorCode === CODE.OPERATION_NOT_ATTEMPTED) continue
    if (found.errorCode === CODE.NONE || classifyTransactional(found.errorCode) === 'retry') {
      found = { errorCode, topic, partition }
    }
  }
  return found
}
