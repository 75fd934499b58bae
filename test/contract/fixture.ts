/** What the contract needs of a cluster, and how its tests speak to it. Nothing here knows which broker answers. */

import type { Compression } from '../../src/kafka/compression.ts'
import { CODE } from '../../src/kafka/error-codes.ts'
import { BatchWriter, readBatchHeader } from '../../src/kafka/record-batch.ts'
import {
  type AbortedTransaction,
  ANY_NODE,
  type Connection,
  type FetchedPartition,
  type Isolation,
  type Outcome,
  type Purpose,
  type Request,
  type Requests,
  type Responses,
  type Wire,
} from '../../src/ports.ts'
import type { TopicPartition } from '../../src/types.ts'
import { decodeRecords } from '../decode-records.ts'

/** A cluster under test. */
export interface Cluster {
  readonly wire: Wire
  /** Makes the broker compact this topic, and resolves when it has. Absent: the tests about compaction are skipped. */
  compact?(topic: string): Promise<void>
  close(): Promise<void>
}

/** What the tests may rely on beforehand. */
export interface Traits {
  /** `group.min.session.timeout.ms`: tests that wait for a session to end wait this long. */
  readonly sessionTimeoutMs: number
  /** At least the interval at which the broker looks for timed out transactions, or the time a test may wait. */
  readonly patienceMs: number
  readonly canCompact: boolean
  /**
   * Up to Kafka 3.9, whose group coordinator knows pending offsets by producer id alone: it notes those of a
   * TxnOffsetCommit before it verifies the transaction, and on a refusal strikes out whatever is noted for that
   * partition, also what a newer epoch has stored. The transaction of the newer epoch then commits without them.
   */
  readonly losesPendingOfRefusedCommit?: boolean
}

export interface Producer {
  readonly transactionalId: string
  readonly producerId: bigint
  readonly producerEpoch: number
}

export type Pair = readonly [key: string | null, value: string | null]

const REQUEST_TIMEOUT_MS = 30_000
/** What a client retries without a second thought while a cluster settles. */
const SETTLING: readonly number[] = [
  CODE.COORDINATOR_LOAD_IN_PROGRESS,
  CODE.COORDINATOR_NOT_AVAILABLE,
  CODE.NOT_COORDINATOR,
  CODE.LEADER_NOT_AVAILABLE,
  CODE.NOT_LEADER_OR_FOLLOWER,
]
/** Kafka cleans segments that are closed. With this one is closed by any record that comes with a later time. */
export const COMPACTED = {
  'cleanup.policy': 'compact',
  'segment.ms': '1',
  'min.cleanable.dirty.ratio': '0',
}
export const NO_OWNER = { producerId: -1n, producerEpoch: -1, baseSequence: -1, isTransactional: false }

export class Session {
  readonly cluster: Cluster
  readonly traits: Traits
  readonly #names: string
  readonly #connections: Connection[] = []
  #count = 0
  #shared: Connection | undefined

  constructor(cluster: Cluster, traits: Traits, names: string) {
    this.cluster = cluster
    this.traits = traits
    this.#names = names
  }

  /** A name nobody else uses, also not in an earlier run against the same cluster. */
  name(what: string): string {
    this.#count += 1
    return `${what}-${this.#names}-${this.#count}`
  }

  connect(purpose: Purpose): Connection {
    const connection = this.cluster.wire.connect(purpose)
    this.#connections.push(connection)
    return connection
  }

  close(): void {
    for (const connection of this.#connections) connection.destroy()
  }

  /** One request on the shared connection. */
  send<A extends Request['api']>(
    api: A,
    request: Requests[A],
    connection = this.#connection(),
  ): Promise<Responses[A]> {
    return ask(connection, api, request)
  }

  /** The same, again and again while any code in the answer is one of these, or of a cluster that settles. */
  async retry<A extends Request['api']>(
    api: A,
    request: Requests[A],
    codes: readonly number[] = [],
  ): Promise<Responses[A]> {
    return this.until(
      () => this.send(api, request),
      (response) => !codesOf(response).some((code) => SETTLING.includes(code) || codes.includes(code)),
    )
  }

  /** Asks until the answer is as wished. */
  async until<T>(get: () => Promise<T>, isDone: (value: T) => boolean): Promise<T> {
    const deadline = performance.now() + this.traits.patienceMs
    for (;;) {
      const value = await get()
      if (isDone(value)) return value
      if (performance.now() > deadline) {
        throw new Error(`Still waiting after ${this.traits.patienceMs} ms, the last answer is ${show(value)}`)
      }
    }
  }

  /** Kafka makes the topics of its coordinators when somebody first asks for one, and answers 15 or 16 until then. */
  async settle(): Promise<void> {
    for (const keyType of ['group', 'transaction'] as const) {
      await this.retry('FindCoordinator', { key: this.name(keyType), keyType })
    }
  }

  // --- Topics and records ---------------------------------------------------------------------------------------

  /** A new topic whose partitions answer. */
  async topic(partitions = 1, configs: Readonly<Record<string, string>> = {}): Promise<string> {
    const topic = this.name('topic')
    const { topics } = await this.send('CreateTopics', {
      topics: [{ topic, partitions, replicationFactor: -1, configs }],
      timeoutMs: REQUEST_TIMEOUT_MS,
    })
    if (topics[0]?.errorCode !== CODE.NONE) throw new Error(`No topic: ${show(topics)}`)
    const places = Array.from({ length: partitions }, (_, partition) => ({ topic, partition }))
    await this.retry(
      'ListOffsets',
      {
        isolation: 'read_committed',
        partitions: places.map((place) => ({ ...place, at: 'latest' as const })),
      },
      [CODE.UNKNOWN_TOPIC_OR_PARTITION],
    )
    return topic
  }

  async produce(
    place: TopicPartition,
    records: Uint8Array,
    transactionalId: string | null = null,
  ): Promise<{ errorCode: number; baseOffset: number }> {
    const request = {
      transactionalId,
      acks: -1,
      timeoutMs: REQUEST_TIMEOUT_MS,
      partitions: [{ ...place, records }],
    } as const
    // While markers of the last transaction are on their way, the broker cannot tell, and says 19.
    const { partitions } = await this.retry('Produce', request, [CODE.NOT_ENOUGH_REPLICAS])
    const { errorCode, baseOffset } = only(partitions)
    return { errorCode, baseOffset }
  }

  async fetch(
    place: TopicPartition,
    offset: number,
    isolation: Isolation = 'read_committed',
    options: Partial<Requests['Fetch']> & { readonly partitionBytes?: number } = {},
    connection = this.#connection(),
  ): Promise<FetchedPartition> {
    const { partitionBytes = 1_000_000, ...rest } = options
    const request: Requests['Fetch'] = {
      maxWaitMs: 0,
      minBytes: 1,
      maxBytes: 10_000_000,
      isolation,
      partitions: [{ ...place, offset, maxBytes: partitionBytes }],
      ...rest,
    }
    const { partitions } = await this.send('Fetch', request, connection)
    return only(partitions)
  }

  /** All there is to read from an offset on, in as many fetches as it takes: one does not go beyond a segment. */
  async fetchAll(
    place: TopicPartition,
    offset: number,
    isolation: Isolation = 'read_committed',
  ): Promise<FetchedPartition> {
    let all = await this.fetch(place, offset, isolation)
    for (let part = all; ; ) {
      const last = batches(part).at(-1)?.header
      if (last === undefined) return all
      part = await this.fetch(place, last.lastOffset + 1, isolation)
      all = { ...part, ...joined(all, part) }
    }
  }

  async offset(
    place: TopicPartition,
    at: 'earliest' | 'latest' | number,
    isolation: Isolation,
  ): Promise<number> {
    const { partitions } = await this.send('ListOffsets', { isolation, partitions: [{ ...place, at }] })
    return only(partitions).offset
  }

  // --- Transactions ---------------------------------------------------------------------------------------------

  async producer(
    transactionalId = this.name('producer'),
    transactionTimeoutMs = this.traits.patienceMs,
  ): Promise<Producer> {
    const { producerId, producerEpoch } = await this.retry(
      'InitProducerId',
      { transactionalId, transactionTimeoutMs },
      [CODE.CONCURRENT_TRANSACTIONS],
    )
    return { transactionalId, producerId, producerEpoch }
  }

  async begin(producer: Producer, ...partitions: TopicPartition[]): Promise<void> {
    const added = await this.retry('AddPartitionsToTxn', { ...producer, partitions }, [
      CODE.CONCURRENT_TRANSACTIONS,
      CODE.UNKNOWN_TOPIC_OR_PARTITION,
    ])
    for (const { errorCode } of added.partitions) if (errorCode !== 0) throw new Error(show(added))
  }

  async addOffsets(producer: Producer, groupId: string): Promise<void> {
    const { errorCode } = await this.retry('AddOffsetsToTxn', { ...producer, groupId }, [
      CODE.CONCURRENT_TRANSACTIONS,
    ])
    if (errorCode !== 0) throw new Error(`AddOffsetsToTxn answers ${errorCode}`)
  }

  async end(producer: Producer, committed: boolean): Promise<void> {
    const { errorCode } = await this.retry('EndTxn', { ...producer, committed })
    if (errorCode !== 0) throw new Error(`EndTxn answers ${errorCode}`)
  }

  /** Ends it and waits until every marker stands: the same request then answers 0 again. */
  async finish(producer: Producer, committed: boolean): Promise<void> {
    await this.end(producer, committed)
    await this.retry('EndTxn', { ...producer, committed }, [CODE.CONCURRENT_TRANSACTIONS])
  }

  /** A whole transaction of one batch. Returns its base offset. */
  async transaction(
    producer: Producer,
    place: TopicPartition,
    baseSequence: number,
    pairs: readonly Pair[],
    committed: boolean,
  ): Promise<number> {
    await this.begin(producer, place)
    const records = batch(pairs, { ...producer, baseSequence })
    const { errorCode, baseOffset } = await this.produce(place, records, producer.transactionalId)
    if (errorCode !== 0) throw new Error(`Produce answers ${errorCode}`)
    await this.finish(producer, committed)
    return baseOffset
  }

  /** TxnOffsetCommit from outside of a group, retried while the coordinator settles. */
  async commitOffset(
    producer: Producer,
    groupId: string,
    place: TopicPartition,
    offset: number,
    more: Partial<Requests['TxnOffsetCommit']> & { readonly metadata?: string } = {},
  ): Promise<number> {
    const { metadata = '', ...rest } = more
    const { partitions } = await this.retry(
      'TxnOffsetCommit',
      {
        ...producer,
        groupId,
        generationId: -1,
        memberId: '',
        groupInstanceId: null,
        partitions: [{ ...place, offset, metadata }],
        ...rest,
      },
      [CODE.CONCURRENT_TRANSACTIONS],
    )
    return only(partitions).errorCode
  }

  async committedOffset(groupId: string, place: TopicPartition, requireStable = true) {
    const { partitions } = await this.retry('OffsetFetch', { groupId, requireStable, partitions: [place] })
    const { errorCode, offset, metadata } = only(partitions)
    return { errorCode, offset, metadata }
  }

  #connection(): Connection {
    this.#shared ??= this.connect('admin')
    return this.#shared
  }
}

/** One request; anything but an answer is an error. */
export async function ask<A extends Request['api']>(
  connection: Connection,
  api: A,
  request: Requests[A],
): Promise<Responses[A]> {
  const whole = { api, ...request } as unknown as Request
  const outcome = (await connection.send(ANY_NODE, whole, REQUEST_TIMEOUT_MS)) as Outcome<Responses[A]>
  if (!outcome.ok) throw new Error(`${api}: ${outcome.reason}`)
  return outcome.response
}

export function only<T>(items: readonly T[]): T {
  const [item] = items
  if (items.length !== 1 || item === undefined) throw new Error(`Expected one, got ${items.length}`)
  return item
}

/** A record batch as a producer sends it; the defaults are those of a producer without an id. */
export function batch(
  pairs: readonly Pair[],
  owner: {
    readonly producerId?: bigint
    readonly producerEpoch?: number
    readonly baseSequence?: number
    readonly transactionalId?: string
    readonly timestamp?: number
    readonly compression?: Compression
  } = {},
): Buffer {
  const writer = new BatchWriter()
  // Not some time long ago: Kafka begins a segment when a marker comes a week after the first record of the log.
  const { timestamp = Date.now(), transactionalId, compression, ...rest } = owner
  for (const [key, value] of pairs) writer.add(timestamp, bytes(key), bytes(value))
  const whose = { ...NO_OWNER, ...rest, isTransactional: transactionalId !== undefined }
  return Buffer.from(writer.build(whose, compression))
}

export interface Seen {
  readonly offset: number
  readonly key: string | null
  readonly value: string | null
}

/** Data records of the whole batches from an offset on, in order; markers are left out. */
export function seen(fetched: FetchedPartition, from = 0): Seen[] {
  const found: Seen[] = []
  for (const { header, at, bytes: whole } of batches(fetched)) {
    if (header.isControl) continue
    for (const { offset, key, value } of decodeRecords(whole, at, header)) {
      if (offset >= from) found.push({ offset, key: text(key), value: text(value) })
    }
  }
  return found
}

export function batches({ records }: FetchedPartition) {
  const whole = Buffer.from(records.buffer, records.byteOffset, records.byteLength)
  const found = []
  let at = 0
  for (let header = readBatchHeader(whole, at); header !== undefined; header = readBatchHeader(whole, at)) {
    found.push({ header, at, bytes: whole })
    at += header.sizeBytes
  }
  return found
}

function bytes(value: string | null): Buffer | null {
  return value === null ? null : Buffer.from(value)
}

function text(value: Buffer | null): string | null {
  return value === null ? null : value.toString()
}

function joined(one: FetchedPartition, next: FetchedPartition) {
  const records = Buffer.concat([one.records, next.records])
  if (one.abortedTransactions === null) return { records, abortedTransactions: null }
  // One that reaches into both parts is told with each.
  const isNew = (aborted: AbortedTransaction): boolean =>
    !one.abortedTransactions?.some(
      (known) => known.producerId === aborted.producerId && known.firstOffset === aborted.firstOffset,
    )
  const more = next.abortedTransactions?.filter(isNew) ?? []
  return { records, abortedTransactions: [...one.abortedTransactions, ...more] }
}

/** Every errorCode anywhere in an answer. */
function codesOf(value: unknown): number[] {
  if (Array.isArray(value)) return value.flatMap(codesOf)
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return []
  return Object.entries(value).flatMap(([name, inner]) =>
    name === 'errorCode' && typeof inner === 'number' ? [inner] : codesOf(inner),
  )
}

function show(value: unknown): string {
  return JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? String(inner) : inner))
}
