/** The records of one input partition that wait for their task: batches as fetched, decoded one record at a time. */

import { DruseError } from '../errors.ts'
import type { Cluster } from '../kafka/cluster.ts'
import type { Delivery } from '../kafka/fetcher.ts'
import { openBatch, recordsOf, unreadable, type VisibleBatch } from '../kafka/read-committed.ts'
import type { RawRecord, RecordCursor } from '../kafka/record-batch.ts'
import { pause } from '../kafka/retry.ts'
import type { Codec } from '../ports.ts'
import { isTimestamp, storable } from '../region/layout.ts'
import type { SourceNode } from '../topology/graph.ts'
import { StreamRecord } from '../topology/record.ts'
import type { TopicPartition } from '../types.ts'

export interface InputCodecs {
  readonly key: Codec<unknown>
  readonly value: Codec<unknown>
}

/** The next record: decoded, or why it cannot be. */
export interface Head {
  readonly raw: RawRecord
  readonly timestamp: number
  readonly record: StreamRecord | undefined
  readonly error: DruseError | undefined
}

const REGISTRY_RETRY_MS = 500

export class InputQueue {
  readonly topic: string
  readonly partition: number
  readonly #codecs: InputCodecs
  readonly #timestamp: SourceNode['timestamp']
  readonly #batches: VisibleBatch[] = []
  #cursor: RecordCursor | undefined
  #raw: RawRecord | undefined
  #head: Head | undefined
  #fetched: number
  /** Behind the last record that was taken. */
  #next = 0
  #waiting: Promise<void> | undefined
  /** Why nothing more can be read, and where. */
  #damage: { readonly error: unknown; readonly offset: number } | undefined
  /** Records not yet taken, or a little more: a batch counts whole. */
  #buffered = 0
  #closed = false

  constructor(at: TopicPartition, offset: number, codecs: InputCodecs, timestamp: SourceNode['timestamp']) {
    this.topic = at.topic
    this.partition = at.partition
    this.#fetched = offset
    this.#codecs = codecs
    this.#timestamp = timestamp
  }

  get buffered(): number {
    return this.#buffered
  }

  /** What a commit says: the next record to process, else what will be fetched next, control records passed. */
  get position(): number {
    return this.#peekRaw()?.offset ?? this.#damage?.offset ?? this.#fetched
  }

  /**
   * Takes a delivery in, once everything that its decoding needs is at hand. Returns a promise only when there is
   * something to wait for; deliveries keep their order.
   */
  append(delivery: Delivery, cluster: Cluster): Promise<void> | undefined {
    for (const { header } of delivery.batches) this.#buffered += header.recordCount
    if (this.#waiting === undefined) {
      const preparing = this.#codecs.key.prepare || this.#codecs.value.prepare
      if (!preparing) return this.#add(delivery)
    }
    const before = this.#waiting
    const waiting = (async () => {
      await before
      await this.#prepare(delivery, cluster)
      this.#add(delivery)
    })()
    this.#waiting = waiting
    return waiting.finally(() => {
      if (this.#waiting === waiting) this.#waiting = undefined
    })
  }

  /**
   * The next record, decoded once; undefined when there is none.
   * Errors: BATCH_CORRUPT, BATCH_UNSUPPORTED, BATCH_TOO_LARGE: no policy passes over what cannot even be told apart.
   */
  head(): Head | undefined {
    if (this.#head !== undefined) return this.#head
    const raw = this.#peekRaw()
    if (raw === undefined) {
      if (this.#damage !== undefined) throw this.#damage.error
      return undefined
    }
    this.#head = this.#decode(raw)
    return this.#head
  }

  /** Takes the head off. */
  shift(): void {
    if (this.#raw !== undefined) this.#next = this.#raw.offset + 1
    this.#head = undefined
    this.#raw = undefined
    this.#buffered -= 1
  }

  close(): void {
    this.#closed = true
  }

  #add({ batches, nextOffset }: Delivery): undefined {
    this.#batches.push(...batches)
    this.#fetched = nextOffset
  }

  #peekRaw(): RawRecord | undefined {
    while (this.#raw === undefined && this.#damage === undefined) {
      const [batch] = this.#batches
      if (batch === undefined) {
        // Records below the asked offset were counted with their batch and never taken.
        if (this.#waiting === undefined) this.#buffered = 0
        return undefined
      }
      try {
        this.#cursor ??= openBatch(batch)
        this.#raw = this.#cursor.next()
      } catch (error) {
        const offset = Math.max(this.#next, batch.header.baseOffset, batch.fromOffset)
        this.#damage = { error: unreadable(error, this, offset), offset }
        return undefined
      }
      if (this.#raw !== undefined) break
      this.#cursor = undefined
      this.#batches.shift()
    }
    return this.#raw
  }

  #decode(raw: RawRecord): Head {
    const { topic, partition } = this
    const { offset, headers } = raw
    try {
      const key = raw.key === null ? null : this.#codecs.key.decode(raw.key)
      const value = raw.value === null ? null : this.#codecs.value.decode(raw.value)
      const record = new StreamRecord(key, value, raw.timestamp, headers, topic, partition, offset)
      const timestamp = this.#timestamp === undefined ? raw.timestamp : this.#timestamp(value, key, record)
      // Old producers write -1 for none.
      if (!isTimestamp(timestamp) && (this.#timestamp !== undefined || timestamp !== -1)) {
        const whose = this.#timestamp === undefined ? 'Its timestamp is' : 'The timestamp function gave'
        throw new DruseError('TIMESTAMP_INVALID', `${whose} ${timestamp}: no time in milliseconds since 1970`)
      }
      if (timestamp === raw.timestamp) return { raw, timestamp, record, error: undefined }
      return { raw, timestamp, record: record.with(key, value, timestamp), error: undefined }
    } catch (cause) {
      const code = DruseError.is(cause, 'TIMESTAMP_INVALID') ? cause.code : 'RECORD_UNDECODABLE'
      const reason = cause instanceof Error ? cause.message : String(cause)
      const message = `Record ${topic}/${partition}@${offset} cannot be read: ${reason}. Choose with onUndecodable what shall become of such records`
      const error = new DruseError(code, message, { cause, topic, partition, offset })
      return { raw, timestamp: storable(raw.timestamp), record: undefined, error }
    }
  }

  /** A registry that is down is waited for: that is no fault of the records. */
  async #prepare(delivery: Delivery, { clock, log }: Cluster): Promise<void> {
    for (const raw of recordsOf(delivery.batches)) {
      for (const [codec, bytes] of [
        [this.#codecs.key, raw.key],
        [this.#codecs.value, raw.value],
      ] as const) {
        if (bytes === null) continue
        while (!this.#closed) {
          try {
            const pending = codec.prepare?.(bytes)
            if (pending !== undefined) await pending
            break
          } catch (error) {
            // What is wrong with the record itself is found, and told, at the head. A registry that is down, or a
            // disk that does not take what it said, is no fault of the record's.
            if (!(error instanceof DruseError) || error.kind === 'user') break
            log.warn(
              { topic: this.topic, partition: this.partition, error },
              'input: waiting for the schema registry',
            )
            await pause(clock, REGISTRY_RETRY_MS)
          }
        }
      }
    }
  }
}
