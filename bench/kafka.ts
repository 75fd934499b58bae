/** What the driver asks of the broker: topics, the input, how far a group and a topic have come. */
import { CompressionTypes, Kafka, logLevel, type Message } from 'kafkajs'
import { type Isolation, kafkaWire, silentLogger, systemClock } from '../src/index.ts'
import { Cluster } from '../src/kafka/cluster.ts'
import { listOffsets } from '../src/kafka/topics.ts'
import { inputRecord, PARTITIONS, type Workload } from './workload.ts'

/** Of one send, over all partitions: batches as a producer with some linger makes them. */
const RECORDS_PER_SEND = 2_000

export class BenchKafka implements AsyncDisposable {
  readonly brokers: readonly string[]
  readonly #admin
  readonly #kafka: Kafka
  readonly #cluster: Cluster

  private constructor(brokers: readonly string[]) {
    this.brokers = brokers
    this.#kafka = new Kafka({ brokers: [...brokers], clientId: 'druse-bench', logLevel: logLevel.NOTHING })
    this.#admin = this.#kafka.admin()
    this.#cluster = new Cluster({ wire: kafkaWire({ brokers }), clock: systemClock, log: silentLogger })
  }

  static async connect(brokers: readonly string[]): Promise<BenchKafka> {
    const kafka = new BenchKafka(brokers)
    await kafka.#admin.connect()
    return kafka
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cluster.close()
    await this.#admin.disconnect()
  }

  async createTopic(topic: string): Promise<void> {
    // Its records carry times of their own, by which the broker would delete them.
    const configEntries = [{ name: 'retention.ms', value: '-1' }]
    await this.#admin.createTopics({
      waitForLeaders: true,
      topics: [{ topic, numPartitions: PARTITIONS, configEntries }],
    })
  }

  /** Everything that a run has left behind. A group whose members did not leave it stays until the broker drops it. */
  async forget(application: string): Promise<void> {
    const topics = (await this.#admin.listTopics()).filter((topic) => topic.startsWith(application))
    await this.#admin.deleteTopics({ topics })
    await this.#admin.deleteGroups([application]).catch(() => {})
  }

  /** The input topic of a workload, filled; one that an earlier call has filled is taken as it is. */
  async input({ records, keys }: Workload): Promise<string> {
    const topic = `druse-bench-input-${records}-${keys}`
    const exists = (await this.#admin.listTopics()).includes(topic)
    if (exists && (await this.end(topic)) === records) return topic
    if (exists) throw new Error(`topic ${topic} is not what it should be: delete it and try again`)
    await this.createTopic(topic)
    const producer = this.#kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    for (let from = 0; from < records; from += RECORDS_PER_SEND) {
      const messages: Message[] = []
      for (let n = from; n < Math.min(records, from + RECORDS_PER_SEND); n++) {
        const { key, value, timestampMs } = inputRecord(n, keys)
        messages.push({ key, value, timestamp: String(timestampMs) })
      }
      await producer.send({ topic, messages, acks: -1, compression: CompressionTypes.None })
    }
    await producer.disconnect()
    const end = await this.end(topic)
    if (end !== records) throw new Error(`${topic} was given ${records} records and has ${end}`)
    return topic
  }

  /** The last stable offsets (or high watermarks) of all partitions, summed up: markers count. */
  async end(topic: string, isolation: Isolation = 'read_committed'): Promise<number> {
    const partitions = Array.from({ length: PARTITIONS }, (_, partition) => ({ topic, partition }))
    const ends = await listOffsets(this.#cluster, partitions, 'latest', isolation)
    return sum(ends.values())
  }

  /** The group's committed offsets of a topic, summed up; 0 while a new broker sets up its coordinators. */
  async committed(groupId: string, topic: string): Promise<number> {
    const [found] = await this.#admin.fetchOffsets({ groupId, topics: [topic] }).catch(() => [])
    return sum((found?.partitions ?? []).map(({ offset }) => Math.max(0, Number(offset))))
  }
}

function sum(numbers: Iterable<number>): number {
  let total = 0
  for (const number of numbers) total += number
  return total
}
