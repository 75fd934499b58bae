import { DruseError } from '../errors.ts'
import { partitionFor } from '../kafka/partitioner.ts'
import type { TopicDescription } from '../kafka/topics.ts'
import { TransactionBatches } from '../kafka/transaction-batches.ts'
import type { Codec, Serde } from '../ports.ts'
import type { Header } from '../types.ts'
import type { World } from './world.ts'

export interface InputTopicOptions<K, V> {
  readonly key: Serde<K>
  readonly value: Serde<V>
  /**
   * Event time of the first record that has no timestamp of its own, in milliseconds since 1970; the topic's event time
   * moves with `autoAdvanceMs` and `advanceTime` only. Default: each record has the driver's wall-clock time.
   */
  readonly startTimestamp?: number
  /** How far the topic's event time moves with each record that has no timestamp of its own. Default 0. */
  readonly autoAdvanceMs?: number
  /**
   * False: `pipe…` only puts records into the topic, and `untilIdle`, `advanceWallClockTime` or a read lets the
   * application work. Default true: when it resolves, everything is processed and committed.
   */
  readonly waitForIdle?: boolean
}

export interface TestRecordOptions {
  /** Event time in milliseconds since 1970. Default: see `InputTopicOptions`. */
  readonly timestamp?: number
  readonly headers?: readonly Header[]
  /** Default: Kafka's choice, by the key's bytes; in turn without a key. */
  readonly partition?: number
}

export interface TestRecord<K, V> extends TestRecordOptions {
  readonly key: K | null
  /** Null: a tombstone. */
  readonly value: V | null
}

interface Opened<K, V> {
  readonly key: Codec<K>
  readonly value: Codec<V>
  readonly described: TopicDescription
}

/** Kafka's default of max.message.bytes. */
const MESSAGE_BYTES_MAX = 1_048_588

/**
 * Writes into a topic of the test. Every method that writes rejects with the error of a task that has stopped (see
 * `TestDriver`), and with TOPIC_MISSING, PARTITION_INVALID and ENCODE_FAILED, without having written anything then.
 */
export class TestInputTopic<K, V> {
  readonly topic: string
  readonly #world: World
  readonly #options: InputTopicOptions<K, V>
  #opened: Opened<K, V> | undefined
  /** Undefined: the wall clock's. */
  #timestamp: number | undefined
  #roundRobin = 0

  /** @internal See `TestDriver.createInputTopic`. */
  constructor(world: World, topic: string, options: InputTopicOptions<K, V>) {
    this.topic = topic
    this.#world = world
    this.#options = options
    this.#timestamp = options.startTimestamp
  }

  /** Writes a record, and lets the application process and commit it. */
  pipeInput(key: K | null, value: V | null, options: TestRecordOptions = {}): Promise<void> {
    return this.pipeRecordList([{ ...options, key, value }])
  }

  /** As `pipeRecordList`, of pairs. */
  pipeKeyValueList(records: readonly (readonly [key: K | null, value: V | null])[]): Promise<void> {
    return this.pipeRecordList(records.map(([key, value]) => ({ key, value })))
  }

  /** Writes records, all of them before the first one is processed, and lets the application process and commit them. */
  pipeRecordList(records: readonly TestRecord<K, V>[]): Promise<void> {
    const world = this.#world
    return world.inTurn(async () => {
      this.#opened ??= await world.run(this.#open())
      const { partitions } = this.#batches(this.#opened, records)
      await world.run(world.append(partitions))
      if (this.#options.waitForIdle !== false) await world.untilIdle()
    })
  }

  /** Moves the event time of records to come: from the driver's wall-clock time on, if the topic has none of its own. */
  advanceTime(ms: number): void {
    this.#timestamp = this.#now() + ms
  }

  async #open(): Promise<Opened<K, V>> {
    const described = await this.#world.describe(this.topic)
    const at = { topic: this.topic, registry: this.#world.registry, writes: true }
    const { key, value } = this.#options
    return {
      described,
      key: await key.open({ ...at, part: 'key' }),
      value: await value.open({ ...at, part: 'value' }),
    }
  }

  #batches(
    { key, value, described }: Opened<K, V>,
    records: readonly TestRecord<K, V>[],
  ): TransactionBatches {
    const { topic } = this
    const batches = new TransactionBatches()
    const bytesMax = Number(described.configs['max.message.bytes'] ?? MESSAGE_BYTES_MAX)
    for (const record of records) {
      const keyBytes = record.key === null ? null : key.encode(record.key)
      const valueBytes = record.value === null ? null : value.encode(record.value)
      const partition = record.partition ?? this.#partitionOf(keyBytes, described.partitions)
      if (!Number.isSafeInteger(partition) || partition < 0 || partition >= described.partitions) {
        throw new DruseError(
          'PARTITION_INVALID',
          `Topic '${topic}' has ${described.partitions} partitions, and no partition ${partition}`,
          { topic, partition },
        )
      }
      const timestamp = record.timestamp ?? this.#nextTimestamp()
      batches.add({ topic, partition }, bytesMax, timestamp, keyBytes, valueBytes, record.headers)
    }
    return batches
  }

  #partitionOf(key: Uint8Array | null, partitions: number): number {
    if (key === null) return this.#roundRobin++ % partitions
    return partitionFor(this.#options.key.partitionBytes?.(key) ?? key, partitions)
  }

  #now(): number {
    return this.#timestamp ?? this.#world.nowMs
  }

  #nextTimestamp(): number {
    const timestamp = this.#now()
    if (this.#timestamp !== undefined) this.#timestamp += this.#options.autoAdvanceMs ?? 0
    return timestamp
  }
}
