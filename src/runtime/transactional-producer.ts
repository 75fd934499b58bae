/** Feeding topics exactly once from a source that can be read again from a position. */
import { DruseError } from '../errors.ts'
import { Cluster } from '../kafka/cluster.ts'
import { NO_MEMBERSHIP } from '../kafka/commit-writer.ts'
import type { Compression } from '../kafka/compression.ts'
import { partitionFor } from '../kafka/partitioner.ts'
import { pause } from '../kafka/retry.ts'
import { committedOffsets, describeTopics } from '../kafka/topics.ts'
import { TransactionBatches } from '../kafka/transaction-batches.ts'
import { TransactionalWriter } from '../kafka/transactional-writer.ts'
import type { Codec, Logger, Registry, Serde, Wire } from '../ports.ts'
import { silentLogger, systemClock } from '../system.ts'
import type { Header, TopicPartition } from '../types.ts'
import { compressionOf } from './options.ts'

export interface TransactionalProducerOptions {
  readonly wire: Wire
  /** One producer at a time has it: opening it again fences the one before. */
  readonly transactionalId: string
  /** Default 10 000 ms. */
  readonly transactionTimeoutMs?: number
  /** Of the batches. Default `'none'` (`compression.type`). */
  readonly compression?: Compression
  readonly registry?: Registry
  readonly logger?: Logger
}

export interface ProducedRecord<K, V> {
  readonly key: K
  readonly value: V
  /** Milliseconds since 1970. Default: now. */
  readonly timestamp?: number
  readonly headers?: readonly Header[]
}

interface Target {
  readonly key: Codec<unknown>
  readonly value: Codec<unknown>
  /** Of a key's bytes: what chooses the partition. */
  partitionBytes(key: Uint8Array): Uint8Array
  readonly partitions: number
  readonly maxBatchBytes: number
}

/**
 * Writes records and its own position in one transaction, so that a restart goes on where the last one that was
 * committed ended: nothing is lost and nothing repeated. The position is kept as the committed offset of a topic
 * partition (`positionAt`) under the group `transactionalId`; it is the caller's number, not one of that topic.
 *
 * @example
 * const feeder = await TransactionalProducer.open({ wire, transactionalId: 'feeder' })
 * const lines = await feeder.topic('lines', { key: string, value: string })
 * for (let at = (await feeder.position({ topic: 'lines', partition: 0 })) ?? 0; at < input.length; at += 100) {
 *   const batch = input.slice(at, at + 100)
 *   await feeder.transact({ topic: 'lines', partition: 0 }, at + batch.length, (t) => batch.forEach((r) => t.send(lines, r)))
 * }
 * feeder.close()
 */
export class TransactionalProducer {
  readonly #cluster: Cluster
  readonly #writer: TransactionalWriter
  readonly #group: string
  readonly #registry: Registry | undefined
  readonly #targets = new Map<string, Target>()
  #roundRobin = 0

  private constructor(options: TransactionalProducerOptions) {
    const { wire, transactionalId, transactionTimeoutMs = 10_000, registry, logger = silentLogger } = options
    const compression = compressionOf(options.compression)
    this.#cluster = new Cluster({ wire, clock: systemClock, log: logger })
    this.#writer = new TransactionalWriter(this.#cluster, {
      transactionalId: () => transactionalId,
      transactionTimeoutMs,
      compression,
    })
    this.#group = transactionalId
    this.#registry = registry
  }

  /** Fences the producer before, and ends what it left open. Errors: OPTION_INVALID, BROKER_UNAVAILABLE, KAFKA_REFUSED. */
  static async open(options: TransactionalProducerOptions): Promise<TransactionalProducer> {
    const producer = new TransactionalProducer(options)
    await producer.#writer.open()
    return producer
  }

  /** Makes a topic known. Errors: TOPIC_MISSING, those of the serdes. */
  async topic<K, V>(
    topic: string,
    serdes: { readonly key: Serde<K>; readonly value: Serde<V> },
  ): Promise<ProducerTopic<K, V>> {
    const found = (await describeTopics(this.#cluster, [topic])).get(topic)
    if (found === undefined) throw new DruseError('TOPIC_MISSING', `There is no topic '${topic}'`, { topic })
    const registry = this.#registry
    this.#targets.set(topic, {
      key: (await serdes.key.open({ topic, part: 'key', registry, writes: true })) as Codec<unknown>,
      value: (await serdes.value.open({ topic, part: 'value', registry, writes: true })) as Codec<unknown>,
      partitionBytes: (bytes) => serdes.key.partitionBytes?.(bytes) ?? bytes,
      partitions: found.partitions,
      maxBatchBytes: Number(found.configs['max.message.bytes'] ?? MESSAGE_BYTES_MAX),
    })
    return { topic } as ProducerTopic<K, V>
  }

  /** The position that was committed last; undefined when none was. Waits while a transaction holds it. */
  async position(at: TopicPartition): Promise<number | undefined> {
    for (;;) {
      const [committed] = await committedOffsets(this.#cluster, this.#group, [at])
      if (committed?.offset !== 'unstable') return committed?.offset
      await pause(this.#cluster.clock, 20)
    }
  }

  /**
   * One transaction: what `fill` sends, and the new position.
   * Errors: PRODUCER_FENCED (another has taken over), TRANSACTION_INDEFINITE and TRANSACTION_ABORTED: open a new
   * producer and ask for the position.
   */
  async transact(
    positionAt: TopicPartition,
    position: number,
    fill: (transaction: { send<K, V>(to: ProducerTopic<K, V>, record: ProducedRecord<K, V>): void }) => void,
  ): Promise<void> {
    const batches = new TransactionBatches()
    fill({ send: ({ topic }, record) => this.#add(batches, topic, record) })
    const { partitions } = batches
    await this.#writer.begin(partitions)
    await Promise.all([this.#writer.produce(partitions), this.#writer.addOffsets(this.#group)])
    await this.#writer.commitOffsets(this.#group, NO_MEMBERSHIP, [
      [{ ...positionAt, offset: position, metadata: '' }],
    ])
    await this.#writer.end()
  }

  /** Ends no transaction: one that is under way is aborted by the next producer or by its time-out. */
  close(): void {
    this.#writer.close()
    this.#cluster.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #add(
    batches: TransactionBatches,
    topic: string,
    { key, value, timestamp = this.#cluster.clock.wallMs(), headers }: ProducedRecord<unknown, unknown>,
  ): void {
    const target = this.#targets.get(topic) as Target
    const keyBytes = key === null ? null : target.key.encode(key)
    const valueBytes = value === null ? null : target.value.encode(value)
    const { partitions, maxBatchBytes } = target
    const partition =
      keyBytes === null
        ? this.#roundRobin++ % partitions
        : partitionFor(target.partitionBytes(keyBytes), partitions)
    batches.add({ topic, partition }, maxBatchBytes, timestamp, keyBytes, valueBytes, headers)
  }
}

/** Kafka's default of max.message.bytes, for brokers that do not tell. */
const MESSAGE_BYTES_MAX = 1_048_588

/** A topic that a producer knows. */
export interface ProducerTopic<K, V> {
  readonly topic: string
  /** Only a type. */
  readonly record?: ProducedRecord<K, V>
}
