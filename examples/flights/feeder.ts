/**
 * Feeds topics from lists, exactly once: records and the position in the list are committed in one transaction, so
 * that after a kill the next feeder goes on where the last committed transaction ended.
 */
import {
  type ProducedRecord,
  type Registry,
  type Serde,
  string,
  TransactionalProducer,
  type Wire,
} from '../../src/index.ts'

/** Says which record of its list it is; operators hand it on, so that sinks can be checked record by record. */
export const INDEX_HEADER = 'index'

export interface Feed<V> {
  readonly topic: string
  readonly value: Serde<V>
  /** The list from a position on; each group becomes a transaction. */
  from(position: number): AsyncIterable<readonly Omit<ProducedRecord<string, V>, 'headers'>[]>
}

export class Feeder {
  readonly #producer: TransactionalProducer

  private constructor(producer: TransactionalProducer) {
    this.#producer = producer
  }

  /** Ends what a feeder that was killed had left open, and fences one that is alive. */
  static async open(wire: Wire, registry: Registry, transactionalId: string): Promise<Feeder> {
    return new Feeder(await TransactionalProducer.open({ wire, registry, transactionalId }))
  }

  /** How many records of a topic's list were fed, by all feeders so far. */
  async position(topic: string): Promise<number> {
    return (await this.#producer.position({ topic, partition: 0 })) ?? 0
  }

  /** Feeds the rest of a list; between transactions it tells how many are fed, and stops if it is asked to. */
  async feed<V>(
    { topic, value, from }: Feed<V>,
    onFed: (fed: number) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const target = await this.#producer.topic(topic, { key: string, value })
    let position = await this.position(topic)
    onFed(position)
    for await (const records of from(position)) {
      if (signal.aborted) return
      const begin = position
      position += records.length
      await this.#producer.transact({ topic, partition: 0 }, position, (transaction) => {
        for (const [i, record] of records.entries()) {
          const index = { key: INDEX_HEADER, value: Buffer.from(String(begin + i)) }
          transaction.send(target, { ...record, headers: [index] })
        }
      })
      onFed(position)
    }
  }

  close(): void {
    this.#producer.close()
  }
}
