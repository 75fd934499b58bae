/**
 * Feeds a chaos run, in a process of its own if need be:
 *
 *     node test/chaos/feed.ts --brokers 127.0.0.1:9092 --prefix run1- --seed 7 --ledger ledger.jsonl --rate 300
 *
 * until SIGTERM or SIGINT. Each transaction holds its own number as a committed offset, so that after a lost answer, or a
 * restart, Kafka says which was the last. Some are aborted on purpose, some stay open for a while, some records are
 * poison (input.ts).
 */
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { avro, type Codec, DruseError, schemaRegistry, silentLogger, systemClock } from '../../src/index.ts'
import { Cluster } from '../../src/kafka/cluster.ts'
import { NO_MEMBERSHIP } from '../../src/kafka/commit-writer.ts'
import { kafkaWire } from '../../src/kafka/kafkajs.ts'
import { partitionFor } from '../../src/kafka/partitioner.ts'
import { committedOffsets } from '../../src/kafka/topics.ts'
import { TransactionBatches } from '../../src/kafka/transaction-batches.ts'
import { TransactionalWriter } from '../../src/kafka/transactional-writer.ts'
import { type FedRecord, type FeedPlan, transactionOf } from './input.ts'
import { readLedger, writeLedger } from './ledger.ts'
import { INPUTS } from './names.ts'
import { ORDER } from './workloads.ts'

export interface FeedOptions {
  /** host:port,host:port */
  readonly brokers: string
  readonly prefix: string
  readonly seed: number
  /** A path. One that exists is gone on with, by the plan that it holds. */
  readonly ledger: string
  /** While nothing is in the way. */
  readonly recordsPerSecond: number
  /** Then Avro is among the inputs. */
  readonly registryUrl?: string | undefined
}

const INTERVAL_MS = 100
const LATE_MS_MAX = 2_000
const ABORTED = 0.1
const LINGERING = 0.02
const LINGER_MS_MAX = 1_500
const TRANSACTION_TIMEOUT_MS = 10_000
const BUDGET_MS = 5_000
const RETRY_MS = 200
/**
 * Kafka's coordinator may answer offsets of long ago, or none, while it loads (see src/runtime/taker.ts): what was
 * committed is asked for until it is said.
 */
const OLD_ANSWERS_MS = 90_000
/** After it was told to stop: what is under way has to be known. */
const LAST_WORD_MS = 180_000
const MESSAGE_BYTES_MAX = 1_048_588

/**
 * Topics have to exist. Resolves after the signal, when it is known what was committed: brokers that are away then are
 * waited for. Errors: they did not come back.
 */
export async function feed(options: FeedOptions, signal: AbortSignal): Promise<void> {
  const { brokers, prefix, ledger, seed, recordsPerSecond, registryUrl } = options
  const before = await readLedger(ledger)
  const plan: FeedPlan = before?.plan ?? {
    seed,
    recordsPerTransaction: (recordsPerSecond * INTERVAL_MS) / 1000,
    orders: registryUrl !== undefined,
  }
  if (before === undefined) await writeLedger(ledger, { plan })
  const cluster = new Cluster({
    wire: kafkaWire({ brokers: brokers.split(','), clientId: 'feeder' }),
    clock: systemClock,
    log: silentLogger,
    requestTimeoutMs: BUDGET_MS,
    retryBudgetMs: BUDGET_MS,
  })
  const orders = registryUrl === undefined ? undefined : await openOrders(prefix, registryUrl)
  let deadlineMs = Number.POSITIVE_INFINITY
  signal.addEventListener('abort', () => {
    deadlineMs = Date.now() + LAST_WORD_MS
  })
  const feeder = new Feeder(cluster, prefix, plan, ledger, orders, before?.transactions ?? 0)
  try {
    for (;;) {
      try {
        await feeder.begin()
        while (!signal.aborted) await feeder.next(signal)
        await writeLedger(ledger, { ended: feeder.position })
        return
      } catch (error) {
        // Fenced, too: by a request of its own that came late.
        if (!(error instanceof DruseError) || Date.now() > deadlineMs) throw error
        await writeLedger(ledger, { asked: feeder.position, because: `${error.code}: ${error.message}` })
        await pause(RETRY_MS)
      }
    }
  } finally {
    feeder.close()
    cluster.close()
  }
}

class Feeder {
  /** The number of the next transaction. */
  position: number
  readonly #cluster: Cluster
  readonly #writer: TransactionalWriter
  readonly #prefix: string
  readonly #group: string
  readonly #plan: FeedPlan
  readonly #ledger: string
  readonly #orders: Encode | undefined
  #dueMs = Date.now()

  /** `position`: all before it was committed, as the ledger says. */
  constructor(
    cluster: Cluster,
    prefix: string,
    plan: FeedPlan,
    ledger: string,
    orders: Encode | undefined,
    position: number,
  ) {
    this.position = position
    this.#cluster = cluster
    this.#prefix = prefix
    this.#group = `${prefix}feeder`
    this.#plan = plan
    this.#ledger = ledger
    this.#orders = orders
    this.#writer = new TransactionalWriter(cluster, {
      transactionalId: () => this.#group,
      transactionTimeoutMs: TRANSACTION_TIMEOUT_MS,
    })
  }

  /** Ends what is open, and asks what was committed. */
  async begin(): Promise<void> {
    await this.#writer.open()
    const untilMs = performance.now() + OLD_ANSWERS_MS
    for (;;) {
      const [committed] = await committedOffsets(this.#cluster, this.#group, [this.#place])
      const { offset = 0 } = committed ?? {}
      if (offset !== 'unstable' && offset >= this.position) {
        this.position = offset
        break
      }
      if (performance.now() > untilMs) {
        throw new Error(`The feeder has committed ${this.position}, Kafka goes on saying ${offset}`)
      }
      await pause(20)
    }
    await writeLedger(this.#ledger, { committed: this.position })
  }

  async next(signal: AbortSignal): Promise<void> {
    const n = this.position
    if (Math.random() < ABORTED) {
      await writeLedger(this.#ledger, { aborted: n })
      await this.#send(transactionOf(this.#plan, n, true), n + 1_000_000_000, signal)
      // A new epoch ends what the old one has left open.
      await this.#writer.open()
    }
    await this.#send(transactionOf(this.#plan, n), n + 1, signal)
    await this.#writer.end()
    this.position = n + 1
    await writeLedger(this.#ledger, { committed: this.position })
    // What it was held up by is made up for, in part.
    this.#dueMs = Math.max(this.#dueMs + INTERVAL_MS, Date.now() - LATE_MS_MAX)
    await pause(Math.max(0, this.#dueMs - Date.now()), undefined, { signal }).catch(() => {})
  }

  close(): void {
    this.#writer.close()
  }

  /** The position is kept as a committed offset of this place: any will do. */
  get #place() {
    return { topic: `${this.#prefix}numbers`, partition: 0 }
  }

  async #send(records: readonly FedRecord[], position: number, signal: AbortSignal): Promise<void> {
    const batches = new TransactionBatches()
    for (const { input, key, value, headers, timestamp, partition, order } of records) {
      const to = {
        topic: `${this.#prefix}${input}`,
        partition: partition ?? partitionFor(key ?? Buffer.alloc(0), INPUTS[input]),
      }
      const bytes = order === undefined ? value : (this.#orders?.(order) ?? null)
      batches.add(to, MESSAGE_BYTES_MAX, timestamp, key, bytes, headers)
    }
    const { partitions } = batches
    await this.#writer.begin(partitions)
    await Promise.all([this.#writer.produce(partitions), this.#writer.addOffsets(this.#group)])
    await this.#writer.commitOffsets(this.#group, NO_MEMBERSHIP, [
      [{ ...this.#place, offset: position, metadata: '' }],
    ])
    if (Math.random() < LINGERING) {
      await pause(Math.random() * LINGER_MS_MAX, undefined, { signal }).catch(() => {})
    }
  }
}

type Encode = (order: NonNullable<FedRecord['order']>) => Uint8Array

/** Those without a note are written under the schema that had none. */
async function openOrders(prefix: string, url: string): Promise<Encode> {
  const registry = schemaRegistry({ url })
  const at = { topic: `${prefix}orders`, part: 'value', registry, writes: true } as const
  const first = { ...ORDER, fields: ORDER.fields.filter(({ name }) => name !== 'note') }
  const before: Codec<object> = await avro<object>(first).open(at)
  const now: Codec<object> = await avro<object>(ORDER).open(at)
  return (order) => (order.note === undefined ? before : now).encode(order)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      brokers: { type: 'string' },
      prefix: { type: 'string' },
      seed: { type: 'string', default: '1' },
      ledger: { type: 'string' },
      rate: { type: 'string', default: '300' },
      registry: { type: 'string' },
    },
  })
  const { brokers, prefix, ledger, seed, rate, registry } = values
  if (brokers === undefined || prefix === undefined || ledger === undefined) {
    throw new Error('--brokers, --prefix and --ledger are needed')
  }
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort())
  const numbers = { seed: Number(seed), recordsPerSecond: Number(rate) }
  await feed({ brokers, prefix, ledger, registryUrl: registry, ...numbers }, stop.signal)
}
