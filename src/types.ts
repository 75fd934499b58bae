/** Data without behaviour, shared by every folder. Times are milliseconds, offsets are safe integers. */

export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

/** A record header. The same key may stand in a record several times; order is kept. */
export interface Header {
  readonly key: string
  readonly value: Uint8Array | null
}

/** How Druse answers a record that cannot be decoded, or whose processing throws; so too what was held until its time had come, and a timer. */
export type ErrorPolicy =
  /** Stop the task at this record; nothing after it is committed. */
  | 'fail'
  /** Drop the record and its effects, log it, go on. */
  | 'skip'
  /** Drop the record's effects and write its original bytes to this topic, in the same transaction. */
  | { readonly deadLetter: string }

/** What becomes of records that come after their window has closed. They are counted in any case (`app.health`). */
export type LatePolicy =
  /** Nothing, as in Kafka Streams. */
  | 'drop'
  /** Their original bytes are written to this topic, in the same transaction. */
  | { readonly deadLetter: string }

/** Where a source starts when nothing is committed for it. */
export type OffsetReset = 'earliest' | 'latest' | 'none'
