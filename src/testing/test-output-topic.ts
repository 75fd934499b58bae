import type { Codec, Serde } from '../ports.ts'
import { StreamRecord } from '../topology/record.ts'
import type { CommittedRecord, CommittedTail } from './committed-tail.ts'
import type { World } from './world.ts'

export interface OutputTopicOptions<K, V> {
  readonly key: Serde<K>
  readonly value: Serde<V>
}

interface Opened<K, V> {
  readonly key: Codec<K>
  readonly value: Codec<V>
  readonly tail: CommittedTail
}

/**
 * Reads what is committed in a topic, from its beginning, each record once. Before it looks it lets the application work
 * until nothing is left to do. Of several partitions, records come partition by partition, each in order.
 *
 * Every method that reads rejects with the error of a task that has stopped (see `TestDriver`), and with TOPIC_MISSING
 * and DECODE_FAILED; the records are still there then.
 */
export class TestOutputTopic<K, V> {
  readonly topic: string
  readonly #world: World
  readonly #options: OutputTopicOptions<K, V>
  #opened: Opened<K, V> | undefined
  #queue: CommittedRecord[] = []

  /** @internal See `TestDriver.createOutputTopic`. */
  constructor(world: World, topic: string, options: OutputTopicOptions<K, V>) {
    this.topic = topic
    this.#world = world
    this.#options = options
  }

  /** The next record; undefined: there is none, and none will come by itself. */
  async readRecord(): Promise<StreamRecord<K, V> | undefined> {
    return (await this.#read(1))[0]
  }

  /** The next record's key and value; undefined as with `readRecord`. */
  async readKeyValue(): Promise<[key: K, value: V] | undefined> {
    const record = await this.readRecord()
    return record && [record.key, record.value]
  }

  /** The next record's value; undefined as with `readRecord`. */
  async readValue(): Promise<V | undefined> {
    return (await this.readRecord())?.value
  }

  /** All records that have not been read. */
  readRecordsToList(): Promise<StreamRecord<K, V>[]> {
    return this.#read(Number.POSITIVE_INFINITY)
  }

  /** Keys and values of all records that have not been read. */
  async readKeyValuesToList(): Promise<[key: K, value: V][]> {
    return (await this.readRecordsToList()).map(({ key, value }) => [key, value])
  }

  /** The last value per key of all records that have not been read. */
  async readKeyValuesToMap(): Promise<Map<K, V>> {
    return new Map(await this.readKeyValuesToList())
  }

  /** Values of all records that have not been read. */
  async readValuesToList(): Promise<V[]> {
    return (await this.readRecordsToList()).map(({ value }) => value)
  }

  /** How many records have not been read. */
  getQueueSize(): Promise<number> {
    return this.#world.inTurn(async () => {
      await this.#fill()
      return this.#queue.length
    })
  }

  /** Whether all records have been read. */
  async isEmpty(): Promise<boolean> {
    return (await this.getQueueSize()) === 0
  }

  #read(most: number): Promise<StreamRecord<K, V>[]> {
    const world = this.#world
    return world.inTurn(async () => {
      const opened = await this.#fill()
      const taken = this.#queue.slice(0, most)
      const records = await world.run(Promise.all(taken.map((record) => decoded(opened, record))))
      this.#queue = this.#queue.slice(taken.length)
      return records
    })
  }

  async #fill(): Promise<Opened<K, V>> {
    const world = this.#world
    await world.untilIdle()
    this.#opened ??= await world.run(this.#open())
    this.#queue.push(...(await world.run(this.#opened.tail.next())))
    return this.#opened
  }

  async #open(): Promise<Opened<K, V>> {
    const tail = await this.#world.tail(this.topic)
    const at = { topic: this.topic, registry: this.#world.registry, writes: false }
    const { key, value } = this.#options
    return {
      tail,
      key: await key.open({ ...at, part: 'key' }),
      value: await value.open({ ...at, part: 'value' }),
    }
  }
}

async function decoded<K, V>(
  { key, value }: Opened<K, V>,
  { topic, partition, raw }: CommittedRecord,
): Promise<StreamRecord<K, V>> {
  const { timestamp, headers, offset } = raw
  const k = raw.key === null ? null : await decode(key, raw.key)
  const v = raw.value === null ? null : await decode(value, raw.value)
  return new StreamRecord(k as K, v as V, timestamp, headers, topic, partition, offset)
}

async function decode<T>(codec: Codec<T>, bytes: Uint8Array): Promise<T> {
  await codec.prepare?.(bytes)
  return codec.decode(bytes)
}
