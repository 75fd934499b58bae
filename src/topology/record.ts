import type { Header } from '../types.ts'

/** A record on its way through the operators. Read-only: an operator that changes something makes a new one. */
export class StreamRecord<K = unknown, V = unknown> {
  /** Null when the record has none. */
  readonly key: K
  /** Null for a tombstone. */
  readonly value: V
  /** Event time in milliseconds since 1970. */
  readonly timestamp: number
  readonly headers: readonly Header[]
  /** Where the input record came from; the same through the whole chain of operators. */
  readonly topic: string
  readonly partition: number
  readonly offset: number

  constructor(
    key: K,
    value: V,
    timestamp: number,
    headers: readonly Header[],
    topic: string,
    partition: number,
    offset: number,
  ) {
    this.key = key
    this.value = value
    this.timestamp = timestamp
    this.headers = headers
    this.topic = topic
    this.partition = partition
    this.offset = offset
  }

  with<K2, V2>(key: K2, value: V2, timestamp = this.timestamp, headers = this.headers): StreamRecord<K2, V2> {
    return new StreamRecord(key, value, timestamp, headers, this.topic, this.partition, this.offset)
  }
}
