import type { TopicPartition } from '../types.ts'

/** For maps. Unambiguous, for '/' is not allowed in topic names. */
export function partitionKey({ topic, partition }: TopicPartition): string {
  return `${topic}/${partition}`
}
