import type { Header } from '../types.ts'

const NO_HEADERS: readonly Header[] = []

/** A record on its way through the operators. Read-only: an operator that changes something makes a new one. */
export class StreamRecord<K = unknown, V = unknown> {
  /** Null when the record has none. */
  readonly key: K
  /** Null for a tombstone. */
  readonly value: V
  /** Event time in milliseconds since 1970. */
  readonly timestamp: number
  readonly headers: readonly Header[]
  /**
   * Where the input record came from; the same through the whole chain of operators. '', -1 and -1 of what came because
   * its time had come: from a window that closed, a timer, a punctuator, what was held back.
   */
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

/** Of no record of a topic: its time has come. */
export function recordOfTime<K, V>(
  key: K,
  value: V,
  timestamp: number,
  headers: readonly Header[] = NO_HEADERS,
): StreamRecord<K, V> {
  return new StreamRecord(key, value, timestamp, headers, '', -1, -1)
}
