/** An embedded broker with what a test of one application needs around it: topics, records in, records out, offsets. */
import { crc32c } from '@node-rs/crc32'
import {
  type EmbeddedBroker,
  embeddedBroker,
  ensureTopics,
  type Header,
  readTopic,
  type Serde,
  string,
  type TopicPartition,
  type Topology,
  TransactionalProducer,
  type WantedTopic,
  type Wire,
} from '../../src/index.ts'
import { Cluster } from '../../src/kafka/cluster.ts'
import { NO_MEMBERSHIP } from '../../src/kafka/commit-writer.ts'
import { BatchWriter } from '../../src/kafka/record-batch.ts'
import { committedOffsets, listOffsets } from '../../src/kafka/topics.ts'
import { TransactionalWriter } from '../../src/kafka/transactional-writer.ts'
import type { Registry, Request, ResponseOf } from '../../src/ports.ts'
import { silentLogger, systemClock } from '../../src/system.ts'
import { inputTopics, subTopologies } from '../../src/topology/subtopologies.ts'
import { Instance, type InstanceOptions, QUICK_BROKER } from './instance.ts'

export interface Sent<K, V> {
  readonly key: K
  readonly value: V
  readonly timestamp?: number
  readonly headers?: readonly Header[]
}

/** Bytes as they are, at a place of choice. */
export interface RawSent {
  readonly key?: Uint8Array | null
  readonly value: Uint8Array | null
  readonly timestamp?: number
  readonly headers?: readonly Header[]
}

interface Pair<K, V> {
  readonly key: Serde<K>
  readonly value: Serde<V>
  readonly registry?: Registry
}

export const strings = { key: string, value: string }

export class Stage {
  readonly broker: EmbeddedBroker
  readonly wire: Wire
  readonly cluster: Cluster
  readonly #instances: Instance[] = []
  #senders = 0

  private constructor(broker: EmbeddedBroker) {
    this.broker = broker
    this.wire = broker.wire()
    this.cluster = new Cluster({ wire: this.wire, clock: systemClock, log: silentLogger })
  }

  static async open(): Promise<Stage> {
    return new Stage(await embeddedBroker(QUICK_BROKER))
  }

  async close(): Promise<void> {
    for (const instance of this.#instances) {
      instance.thaw()
      await instance.close()
    }
    this.cluster.close()
    await this.broker.close()
  }

  /** One partition unless said otherwise. */
  async topics(...topics: (string | (Partial<WantedTopic> & { topic: string }))[]): Promise<void> {
    await ensureTopics(
      this.wire,
      topics.map((topic) => ({ partitions: 1, ...(typeof topic === 'string' ? { topic } : topic) })),
    )
  }

  /** Not started. */
  instance(topology: () => Topology, options: Partial<InstanceOptions> = {}): Instance {
    const made = new Instance({ wire: this.wire, topology, ...options })
    this.#instances.push(made)
    return made
  }

  /** Started, its tasks running or failed. */
  async run(topology: () => Topology, options: Partial<InstanceOptions> = {}): Promise<Instance> {
    const made = this.instance(topology, options)
    await made.start()
    await made.app.untilRunning()
    return made
  }

  async send<K, V>(topic: string, records: readonly Sent<K, V>[], serdes: Pair<K, V>): Promise<void> {
    const { registry } = serdes
    const producer = await TransactionalProducer.open({
      wire: this.wire,
      transactionalId: `sender-${this.#senders++}`,
      ...(registry && { registry }),
    })
    const to = await producer.topic(topic, serdes)
    await producer.transact({ topic, partition: 0 }, 0, (transaction) => {
      for (const record of records) transaction.send(to, record)
    })
    producer.close()
  }

  /** Strings, each as [key, value]. */
  async say(
    topic: string,
    ...records: (readonly [key: string | null, value: string | null])[]
  ): Promise<void> {
    await this.send(
      topic,
      records.map(([key, value]) => ({ key, value })),
      strings as Pair<string | null, string | null>,
    )
  }

  async produce(to: TopicPartition, records: readonly RawSent[]): Promise<void> {
    await this.produceBatch(to, batchOf(records))
  }

  /** Outside of any transaction. */
  async produceBatch(to: TopicPartition, records: Uint8Array): Promise<void> {
    const answer = await this.ask(to, {
      api: 'Produce',
      transactionalId: null,
      acks: -1,
      timeoutMs: 1_000,
      partitions: [{ ...to, records }],
    })
    const code = answer.partitions[0]?.errorCode
    if (code !== 0) throw new Error(`not produced: ${code}`)
  }

  /** A request to the broker that leads a partition. */
  async ask<R extends Request>(at: TopicPartition, request: R): Promise<ResponseOf<R>> {
    return this.cluster.ask('ask', async () => ({ node: (await this.cluster.leader(at)) as number, request }))
  }

  /** What is committed in a topic: [key, value] of each record, in order of partitions. */
  async read<K = string, V = string>(topic: string, serdes?: Pair<K, V>): Promise<(readonly [K, V])[]> {
    return (await this.records(topic, serdes)).map(({ key, value }) => [key, value] as const)
  }

  async records<K = string, V = string>(topic: string, serdes?: Pair<K, V>) {
    return readTopic(this.wire, topic, serdes ?? (strings as unknown as Pair<K, V>))
  }

  async committed(group: string, at: TopicPartition) {
    return (await committedOffsets(this.cluster, group, [at]))[0]
  }

  /** As a tool would, by a plain transaction of its own. Offset -1 is no offset. */
  async commitOffset(group: string, at: TopicPartition, offset: number, metadata: string): Promise<void> {
    const transactionalId = `tool-${this.#senders++}`
    const writer = new TransactionalWriter(this.cluster, {
      transactionalId: () => transactionalId,
      transactionTimeoutMs: 1_000,
    })
    await writer.open()
    await writer.begin([])
    await writer.addOffsets(group)
    await writer.commitOffsets(group, NO_MEMBERSHIP, [[{ ...at, offset, metadata }]])
    await writer.end()
    writer.close()
  }

  /** Resolves when the application has committed all that there is to read, internal topics included. */
  async drained(topology: () => Topology, except: readonly string[] = []): Promise<void> {
    const graph = topology().build()
    const topics = subTopologies(graph)
      .flatMap(inputTopics)
      .filter((topic) => !except.includes(topic))
    const partitions: TopicPartition[] = []
    for (const topic of topics) {
      const found = await this.cluster.topic(topic)
      for (const { partition } of found?.partitions ?? []) partitions.push({ topic, partition })
    }
    for (;;) {
      const committed = await committedOffsets(this.cluster, graph.application, partitions)
      const ends = await listOffsets(this.cluster, partitions, 'latest')
      const isDone = committed.every(
        ({ topic, partition, offset }) => offset === ends.get(`${topic}/${partition}`),
      )
      if (isDone) return
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
}

/** One batch, outside of any transaction, changed after it was made and its checksum mended. */
export function batchOf(records: readonly RawSent[], change: (batch: Buffer) => void = () => {}): Uint8Array {
  const writer = new BatchWriter()
  for (const { key = null, value, timestamp = 1_000, headers = [] } of records) {
    writer.add(timestamp, key, value, headers)
  }
  const owner = { producerId: -1n, producerEpoch: -1, baseSequence: -1, isTransactional: false }
  const batch = Buffer.from(writer.build(owner))
  change(batch)
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17)
  return batch
}
