/** The records of one input partition that wait for their task: batches as fetched, decoded one record at a time. */

import { DruseError } from '../errors.ts'
import type { Cluster } from '../kafka/cluster.ts'
import type { Delivery } from '../kafka/fetcher.ts'
import { openBatch, recordsOf, unreadable, type VisibleBatch } from '../kafka/read-committed.ts'
import type { RawRecord, RecordCursor } from '../kafka/record-batch.ts'
import type { Codec } from '../ports.ts'
import { storable } from '../region/layout.ts'
import { StreamRecord } from '../topology/record.ts'
import type { TopicPartition } from '../types.ts'
import type { InputPosition } from './agreement.ts'
import { preparationOf, prepared } from './preparation.ts'
import type { TimestampOf } from './timestamps.ts'

export interface InputCodecs {
  readonly key: Codec<unknown>
  readonly value: Codec<unknown>
}

export interface InputReading extends InputCodecs {
  readonly timestamp: TimestampOf
  /** Of a changelog: what is none is passed over, as if it were not there. Undefined: every record is one. */
  readonly isEntry: ((raw: RawRecord) => boolean) | undefined
}

/** The next record: decoded, or why it cannot be. */
export interface Head {
  readonly raw: RawRecord
  readonly timestamp: number
  readonly record: StreamRecord | undefined
  readonly error: DruseError | undefined
  /** Why it is passed over: that is no failure. */
  readonly skipped?: string
}

export class InputQueue {
  readonly topic: string
  readonly partition: number
  readonly #codecs: InputReading
  /** Of the records taken so far. */
  #partitionTimeMs: number
  readonly #batches: VisibleBatch[] = []
  #cursor: RecordCursor | undefined
  #raw: RawRecord | undefined
  #head: Head | undefined
  /** Behind the head, as far as somebody has looked. */
  readonly #behind: Head[] = []
  /** The newest timestamp of the records decoded so far. */
  #decodedTimeMs: number
  #fetched: number
  /** Where the input ended when it was last asked. */
  #end: number | undefined
  #answeredAtMs: number | undefined
  /** Behind the last record that was decoded. */
  #next = 0
  #waiting: Promise<void> | undefined
  /** Why nothing more can be read, and where. */
  #damage: { readonly error: unknown; readonly offset: number } | undefined
  /** Records not yet taken, or a little more: a batch counts whole. */
  #buffered = 0
  readonly #closing = new AbortController()
  #waitingFor: DruseError | undefined

  constructor(at: TopicPartition, { offset, partitionTimeMs }: InputPosition, reading: InputReading) {
    this.topic = at.topic
    this.partition = at.partition
    this.#fetched = offset
    this.#partitionTimeMs = partitionTimeMs
    this.#decodedTimeMs = partitionTimeMs
    this.#codecs = reading
  }

  /** The newest timestamp of the records taken; -1 before the first one. */
  get partitionTimeMs(): number {
    return this.#partitionTimeMs
  }

  get buffered(): number {
    return this.#buffered
  }

  /** Why nothing comes out of it although records have been fetched: a schema registry that is down. */
  get waitingFor(): DruseError | undefined {
    return this.#waitingFor
  }

  /** When a broker last said that there is nothing more; undefined: there may be. */
  get emptyAtMs(): number | undefined {
    return this.isCaughtUp && this.#buffered === 0 ? this.#answeredAtMs : undefined
  }

  /** Whether everything that there was when the broker was last asked has been fetched. */
  get isCaughtUp(): boolean {
    return this.#end !== undefined && this.#waiting === undefined && this.#fetched >= this.#end
  }

  /** What a commit says: the next record to process, else what will be fetched next, control records passed. */
  get position(): number {
    return this.#head?.raw.offset ?? this.#peekRaw()?.offset ?? this.#damage?.offset ?? this.#fetched
  }

  /**
   * Takes a delivery in, once everything that its decoding needs is at hand. Returns a promise only when there is
   * something to wait for; deliveries keep their order.
   */
  append(delivery: Delivery, cluster: Cluster): Promise<void> | undefined {
    for (const { header } of delivery.batches) this.#buffered += header.recordCount
    this.#answeredAtMs = cluster.clock.monotonicMs()
    const before = this.#waiting
    const begun = before === undefined ? this.#preparing(delivery) : undefined
    if (begun?.size === 0) return this.#add(delivery)
    const waiting = (async () => {
      if (before !== undefined) await before
      await this.#prepare(delivery, begun, cluster)
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
    this.#head = this.#decodeNext()
    if (this.#head === undefined && this.#damage !== undefined) throw this.#damage.error
    return this.#head
  }

  /** The record so far behind the head, decoded too; undefined when there is none, or nothing that can be read. */
  ahead(distance: number): Head | undefined {
    if (distance === 0) return this.head()
    while (this.#behind.length < distance) {
      const next = this.#decodeNext()
      if (next === undefined) return undefined
      this.#behind.push(next)
    }
    return this.#behind[distance - 1]
  }

  /** Takes the head off. */
  shift(): void {
    const timestamp = this.#head?.record?.timestamp
    if (timestamp !== undefined && timestamp > this.#partitionTimeMs) this.#partitionTimeMs = timestamp
    this.#head = this.#behind.length === 0 ? undefined : this.#behind.shift()
    this.#buffered -= 1
  }

  close(): void {
    this.#closing.abort()
  }

  #add({ batches, nextOffset, lastStableOffset }: Delivery): undefined {
    this.#batches.push(...batches)
    this.#fetched = nextOffset
    this.#end = lastStableOffset
  }

  #peekRaw(): RawRecord | undefined {
    while (this.#raw === undefined && this.#damage === undefined) {
      const [batch] = this.#batches
      if (batch === undefined) {
        // Records below the asked offset were counted with their batch and never taken.
        if (this.#waiting === undefined) {
          this.#buffered = this.#head === undefined ? 0 : 1 + this.#behind.length
        }
        return undefined
      }
      try {
        this.#cursor ??= openBatch(batch)
        do this.#raw = this.#cursor.next()
        while (this.#raw !== undefined && !this.#isEntry(this.#raw))
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

  #isEntry(raw: RawRecord): boolean {
    return this.#codecs.isEntry === undefined || this.#codecs.isEntry(raw)
  }

  #decodeNext(): Head | undefined {
    const raw = this.#peekRaw()
    if (raw === undefined) return undefined
    this.#raw = undefined
    this.#next = raw.offset + 1
    const head = this.#decode(raw)
    const timestamp = head.record?.timestamp
    if (timestamp !== undefined && timestamp > this.#decodedTimeMs) this.#decodedTimeMs = timestamp
    return head
  }

  #decode(raw: RawRecord): Head {
    const { topic, partition } = this
    const { offset, headers } = raw
    try {
      const key = raw.key === null ? null : this.#codecs.key.decode(raw.key)
      const value = raw.value === null ? null : this.#codecs.value.decode(raw.value)
      const record = new StreamRecord(key, value, raw.timestamp, headers, topic, partition, offset)
      const timestamp = this.#codecs.timestamp(record, this.#decodedTimeMs)
      if (timestamp === undefined) {
        const skipped = 'its timestamp is negative'
        return { raw, timestamp: storable(raw.timestamp), record: undefined, error: undefined, skipped }
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

  async #prepare(
    delivery: Delivery,
    begun: Iterable<Promise<void>> | undefined,
    { clock, log }: Cluster,
  ): Promise<void> {
    let first = begun
    const begin = (): Iterable<Promise<void>> => {
      const preparing = first ?? this.#preparing(delivery)
      first = undefined
      return preparing
    }
    await prepared(begin, {
      clock,
      signal: this.#closing.signal,
      waiting: (error) => {
        this.#waitingFor = error
        const { topic, partition } = this
        log.warn({ topic, partition, error }, 'input: waiting for the schema registry')
      },
    })
    this.#waitingFor = undefined
  }

  /** What decoding has to wait for. */
  #preparing({ batches }: Delivery): Set<Promise<void>> {
    const preparing = new Set<Promise<void>>()
    const { key, value } = this.#codecs
    if (!key.prepare && !value.prepare) return preparing
    try {
      for (const raw of recordsOf(batches)) {
        if (!this.#isEntry(raw)) continue
        for (const pending of [preparationOf(key, raw.key), preparationOf(value, raw.value)]) {
          if (pending !== undefined) preparing.add(pending)
        }
      }
    } catch {
      // Nothing behind it will be decoded: `head` says so when its turn comes.
    }
    return preparing
  }
}
