/** Puts records into the inputs, in transactions of which some are aborted, while the application runs. */
import { CODE } from '../../src/kafka/error-codes.ts'
import { partitionFor as partitionOf } from '../../src/kafka/partitioner.ts'
import { BatchWriter } from '../../src/kafka/record-batch.ts'
import {
  ANY_NODE,
  type Api,
  type Connection,
  type Requests,
  type Responses,
  type Wire,
} from '../../src/ports.ts'
import type { SeededRandom } from '../../src/testing/seeded-random.ts'
import type { SimProcess } from '../../src/testing/simulation.ts'
import { EXTRA, groupOf, INPUT } from './workload.ts'

export interface Fed {
  /** Its timestamp. */
  readonly id: number
  readonly topic: string
  readonly partition: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
}

export interface FeedPlan {
  readonly transactions: number
  readonly recordsMax: number
  /** Before the n-th transaction. */
  pauseMs(n: number): number
  readonly partitions: number
  isAborted(n: number): boolean
}

/** Keys of all kinds; the second is what a client takes for an abort marker that looks at keys alone. */
const KEYS: readonly (Uint8Array | null)[] = [
  null,
  Buffer.alloc(4),
  Buffer.alloc(0),
  Buffer.from('00000001', 'hex'),
  Buffer.from('key'),
  Buffer.alloc(70, 'x'),
]
const TIMEOUT_MS = 60_000

export class Feeder {
  readonly committed: Fed[] = []
  isDone = false
  readonly #process: SimProcess
  readonly #connection: Connection
  readonly #random: SeededRandom
  readonly #plan: FeedPlan
  readonly #sequences = new Map<string, number>()
  #producing = { transactionalId: 'feeder', producerId: -1n, producerEpoch: -1 }
  #id = 1_000

  constructor(process: SimProcess, wire: Wire, random: SeededRandom, plan: FeedPlan) {
    this.#process = process
    this.#connection = wire.connect('produce')
    this.#random = random
    this.#plan = plan
  }

  async run(): Promise<void> {
    await this.open()
    const { transactions } = this.#plan
    for (let n = 0; n < transactions; n++) {
      await new Promise<void>((resolve) => {
        this.#process.clock.wake(this.#plan.pauseMs(n), resolve)
      })
      await this.transact(n)
    }
    this.isDone = true
  }

  /** Once, before the first transaction. */
  async open(): Promise<void> {
    const started = await this.#again('InitProducerId', {
      transactionalId: 'feeder',
      transactionTimeoutMs: TIMEOUT_MS,
    })
    this.#producing = {
      ...this.#producing,
      producerId: started.producerId,
      producerEpoch: started.producerEpoch,
    }
  }

  /** The n-th transaction, until it is ended. */
  async transact(n: number): Promise<void> {
    const random = this.#random
    const records = Array.from({ length: random.between(1, this.#plan.recordsMax) }, () => this.#record())
    const places = new Map<string, Fed[]>()
    for (const record of records) {
      const place = `${record.topic}/${record.partition}`
      places.set(place, [...(places.get(place) ?? []), record])
    }
    const partitions = Array.from(places.values(), ([first]) => {
      const { topic, partition } = first as Fed
      return { topic, partition }
    })
    await this.#again('AddPartitionsToTxn', { ...this.#producing, partitions })
    for (const [place, list] of places) await this.#produce(place, list)
    const committed = !this.#plan.isAborted(n)
    await this.#again('EndTxn', { ...this.#producing, committed })
    if (committed) this.committed.push(...records)
  }

  async #produce(place: string, list: readonly Fed[]): Promise<void> {
    const { topic, partition } = list[0] as Fed
    const writer = new BatchWriter()
    for (const { id, key, value } of list) writer.add(id, key, value)
    const baseSequence = this.#sequences.get(place) ?? 0
    this.#sequences.set(place, baseSequence + list.length)
    const { transactionalId, producerId, producerEpoch } = this.#producing
    const records = writer.build({ producerId, producerEpoch, baseSequence, isTransactional: true })
    await this.#again('Produce', {
      transactionalId,
      acks: -1,
      timeoutMs: TIMEOUT_MS,
      partitions: [{ topic, partition, records }],
    })
  }

  #record(): Fed {
    const random = this.#random
    const id = this.#id++
    const kind = random.below(8)
    const value = kind === 0 ? null : kind === 1 ? Buffer.alloc(0) : Buffer.from(`v${id}`)
    if (random.chance(0.3)) {
      const key = Buffer.from(groupOf(id))
      return { id, topic: EXTRA, partition: partitionOf(key, this.#plan.partitions), key, value }
    }
    const key = random.pick(KEYS)
    const { partitions } = this.#plan
    const partition = key === null ? random.below(partitions) : (key.length + (key[3] ?? 0)) % partitions
    return { id, topic: INPUT, partition, key, value }
  }

  /** Until the broker takes it: the transaction before may still be ending, or the broker restart. All may be sent twice. */
  async #again<A extends Api>(api: A, request: Requests[A]): Promise<Responses[A]> {
    for (;;) {
      const outcome = await this.#connection.send(ANY_NODE, { api, ...request } as never, TIMEOUT_MS)
      if (outcome.ok) {
        const response = outcome.response as {
          errorCode?: number
          partitions?: readonly { errorCode: number }[]
        }
        const { errorCode, partitions = [] } = response
        const code = errorCode ?? partitions.find((place) => place.errorCode !== CODE.NONE)?.errorCode
        if (code === CODE.NONE || code === undefined) return outcome.response as Responses[A]
        if (code !== CODE.CONCURRENT_TRANSACTIONS && code !== CODE.NOT_ENOUGH_REPLICAS)
          throw new Error(`The feeder's ${api}: ${code}`)
      }
      await new Promise<void>((resolve) => {
        this.#process.clock.wake(5, resolve)
      })
    }
  }
}
