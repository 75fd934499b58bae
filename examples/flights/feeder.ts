/**
 * Feeds the topics from lists, exactly once: records and the position in the list are committed in one transaction,
 * so that after a kill the next feeder goes on where the last committed transaction ended.
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

const TRANSACTION_RECORDS = 250

export interface Feed<V> {
  readonly topic: string
  readonly value: Serde<V>
  readonly records: readonly Omit<ProducedRecord<string, V>, 'headers'>[]
}

export class Feeder {
  readonly #producer: TransactionalProducer

  private constructor(producer: TransactionalProducer) {
    this.#producer = producer
  }

  /** Ends what a feeder that was killed had left open. */
  static async open(wire: Wire, registry: Registry, transactionalId: string): Promise<Feeder> {
    return new Feeder(await TransactionalProducer.open({ wire, registry, transactionalId }))
  }

  /** How many records of a topic's list were fed, by all feeders so far. */
  async position(topic: string): Promise<number> {
    return (await this.#producer.position({ topic, partition: 0 })) ?? 0
  }

  /** Feeds the rest of a list; between transactions it tells how many are fed, and stops if it is asked to. */
  async feed<V>(
    { topic, value, records }: Feed<V>,
    onFed: (fed: number) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const target = await this.#producer.topic(topic, { key: string, value })
    for (let from = await this.position(topic); from < records.length && !signal.aborted; ) {
      const to = Math.min(from + TRANSACTION_RECORDS, records.length)
      await this.#producer.transact({ topic, partition: 0 }, to, (transaction) => {
        for (const [i, record] of records.slice(from, to).entries()) {
          const index = { key: INDEX_HEADER, value: Buffer.from(String(from + i)) }
          transaction.send(target, { ...record, headers: [index] })
        }
      })
      from = to
      onFed(from)
    }
  }

  close(): void {
    this.#producer.close()
  }
}
