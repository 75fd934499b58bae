/**
 * A Kafka broker in this process: a body of the `Wire` port for development, demos, tests and the simulator. One node,
 * id 0. It answers what Kafka answers, in Kafka's order; where they differ, this one is wrong (test/contract).
 *
 * In memory, or durable on a store: then topics, logs, producer states, transactions and committed offsets outlive a
 * kill -9 of the process, while members of groups do not, so that a restart waits for nobody. Whatever has been
 * answered is in the store, and so is everything that an answer tells of. Power loss is not its promise.
 */

import { DruseError } from '../errors.ts'
import { CODE } from '../kafka/error-codes.ts'
import type { Api, Connection, Purpose, Request, Requests, ResponseOf, Responses, Wire } from '../ports.ts'
import type { TopicPartition } from '../types.ts'
import { BatchCache } from './batch-cache.ts'
import { CommittedOffsets } from './committed-offsets.ts'
import { Cleaner } from './compaction.ts'
import { EmbeddedConnection } from './connection.ts'
import { Fetching } from './fetch.ts'
import { GroupCoordinator } from './group-coordinator.ts'
import { type Journal, MEMORY_JOURNAL, StoreJournal } from './journal.ts'
import { offsetAtTime } from './offset-at-time.ts'
import { Producing } from './produce.ts'
import { readMeta, recover } from './recovery.ts'
import { type BrokerOptions, type Context, NO_LOG, settingsOf } from './settings.ts'
import { purge, Topics } from './topics.ts'
import { TransactionCoordinator } from './transaction-coordinator.ts'
import { Wakes } from './wakes.ts'

type Handlers = { readonly [A in Api]: (request: Requests[A]) => Responses[A] | Promise<Responses[A]> }

export class EmbeddedBroker {
  readonly #context: Context
  readonly #wakes: Wakes
  readonly #journal: Journal
  readonly #cache: BatchCache
  readonly #topics: Topics
  readonly #offsets: CommittedOffsets
  readonly #transactions: TransactionCoordinator
  readonly #groups: GroupCoordinator
  readonly #cleaner: Cleaner
  readonly #handlers: Handlers
  readonly #connections = new Set<EmbeddedConnection>()
  #isOpen = true

  /** Use `open`. */
  private constructor(options: BrokerOptions) {
    const { store, clock, random, log = NO_LOG } = options
    this.#wakes = new Wakes(clock)
    this.#context = {
      clock: this.#wakes,
      turn: () => this.#wakes.turn(),
      random,
      log,
      settings: settingsOf(options),
    }
    this.#journal =
      store === undefined ? MEMORY_JOURNAL : new StoreJournal(store, (cause) => this.#onStoreFailed(cause))
    const context = this.#context
    const journal = this.#journal
    this.#cache = new BatchCache(context.settings.cacheBytesMax, journal)
    this.#offsets = new CommittedOffsets(journal, context.settings, context.clock)
    this.#topics = new Topics({
      context,
      journal,
      cache: this.#cache,
      meta: store === undefined ? undefined : readMeta(store),
      onDeleted: ({ name }) => this.#offsets.forgetTopic(name),
    })
    this.#transactions = new TransactionCoordinator({
      context,
      journal,
      nextProducerId: () => this.#topics.nextProducerId(),
      targets: {
        endInPartition: (place, producerId, epoch, control) => {
          const topic = this.#topics.get(place.topic)
          const partition = topic?.logs[place.partition]
          if (topic === undefined || partition === undefined) return
          partition.appendMarker(producerId, epoch, control, clock.wallMs())
          this.#cleaner.maybeClean(partition, topic.config)
        },
        endInGroup: (groupId, producerId, control) => this.#offsets.end(groupId, producerId, control),
        isOpenInPartition: (place, producerId) =>
          this.#topics.log(place)?.producers.hasOpenTransaction(producerId) === true,
      },
    })
    this.#groups = new GroupCoordinator({
      context,
      journal,
      offsets: this.#offsets,
      transactions: this.#transactions,
    })
    this.#cleaner = new Cleaner(context, journal)
    this.#handlers = this.#makeHandlers()
  }

  /**
   * Opens a broker: a new cluster, or the one that the store holds. Transactions whose end was decided are brought to
   * it. The broker owns the store from now on and closes it.
   * Errors: those of the store.
   */
  static async open(options: BrokerOptions): Promise<EmbeddedBroker> {
    const broker = new EmbeddedBroker(options)
    await broker.#recover(options)
    return broker
  }

  /** A way to this broker. All wires and connections of a process may share one broker. */
  wire(): Wire {
    return { connect: (_: Purpose): Connection => this.#connect() }
  }

  /**
   * Carries out one request now, as one that has arrived: for whoever stands between clients and the broker. Between
   * connections there is no order, and of a connection this knows nothing.
   * Errors: BROKER_CLOSED. A broker that is closed meanwhile may never answer.
   */
  carryOut<R extends Request>(request: R): Promise<ResponseOf<R>> {
    if (!this.#isOpen)
      return Promise.reject(new DruseError('BROKER_CLOSED', 'The embedded broker has been closed'))
    // The answer to a request is of its kind.
    return this.#handle(request.api, request) as Promise<ResponseOf<R>>
  }

  /**
   * The coordinator of these groups moves: what waits there is refused with NOT_COORDINATOR, and the groups go on as they
   * were when their last rebalance was over, which is what Kafka keeps of them.
   */
  reloadGroups(isMeant: (groupId: string) => boolean): void {
    this.#groups.reload(isMeant)
  }

  /**
   * Compacts the logs of these topics, or of all, up to their last stable offsets, if their `cleanup.policy` says so.
   * It happens by itself too, when the dirty part of a log is large. Durable when it resolves.
   * Errors: BROKER_CLOSED, and those of the store.
   */
  async compact(topics?: readonly string[]): Promise<void> {
    for (const topic of [...this.#topics.all()]) {
      if (!topic.config.isCompacted || topics?.includes(topic.name) === false) continue
      for (const log of topic.logs) await this.#cleaner.clean(log, topic.config)
    }
  }

  /** Bytes of record batches held in memory beside the store; 0 without a store. */
  get cachedBytes(): number {
    return this.#cache.bytes
  }

  /** Answers `disconnect` to all that is under way, and closes the store once what has happened is in it. */
  async close(): Promise<void> {
    if (!this.#isOpen) return
    this.#shut()
    // A store that has failed has said so before.
    await this.#journal.settled()?.catch(() => {})
    await this.#journal.store?.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #recover({ store }: BrokerOptions): Promise<void> {
    if (store !== undefined) {
      const orphans = await recover(store, {
        topics: this.#topics,
        transactions: this.#transactions,
        groups: this.#groups,
        offsets: this.#offsets,
      })
      purge(this.#journal, orphans, this.#context)
    }
    this.#transactions.resume()
    await this.#journal.settled()
  }

  #connect(): Connection {
    const connection: EmbeddedConnection = new EmbeddedConnection(
      {
        clock: this.#wakes,
        isOpen: () => this.#isOpen,
        handle: (request) => this.#handle(request.api, request),
      },
      () => this.#connections.delete(connection),
    )
    this.#connections.add(connection)
    return connection
  }

  async #handle<A extends Api>(api: A, request: Request): Promise<Responses[A]> {
    // A request is of the kind that its name says.
    const response = await this.#handlers[api](request as unknown as Requests[A])
    // Whatever the answer tells of must outlive the process.
    await this.#journal.settled()
    return response
  }

  #makeHandlers(): Handlers {
    const exists = (place: TopicPartition): boolean => this.#topics.log(place) !== undefined
    const producing = new Producing({
      context: this.#context,
      topics: this.#topics,
      transactions: this.#transactions,
      onAppended: (log, config) => this.#cleaner.maybeClean(log, config),
    })
    const fetching = new Fetching(this.#context, this.#topics)
    return {
      Metadata: (request) => this.#topics.metadata(request),
      FindCoordinator: () => ({ errorCode: CODE.NONE, nodeId: 0 }),
      CreateTopics: (request) => this.#topics.create(request),
      DeleteTopics: (request) => this.#topics.delete(request),
      DescribeConfigs: (request) => this.#topics.describeConfigs(request),
      DeleteRecords: (request) => this.#deleteRecords(request),
      ListOffsets: (request) => this.#listOffsets(request),
      Produce: (request) => producing.produce(request),
      Fetch: (request) => fetching.fetch(request),
      InitProducerId: (request) => this.#transactions.initProducerId(request),
      AddPartitionsToTxn: (request) => this.#transactions.addPartitions(request, exists),
      AddOffsetsToTxn: (request) => this.#transactions.addOffsets(request),
      TxnOffsetCommit: (request) => this.#groups.commit(request, exists),
      EndTxn: (request) => this.#transactions.endTxn(request),
      JoinGroup: (request) => this.#groups.join(request),
      SyncGroup: (request) => this.#groups.sync(request),
      Heartbeat: (request) => this.#groups.heartbeat(request),
      LeaveGroup: (request) => this.#groups.leave(request),
      OffsetCommit: (request) => this.#groups.commitPlainly(request, exists),
      DescribeGroups: (request) => this.#groups.describe(request),
      OffsetFetch: (request) => this.#offsets.fetch(request),
    }
  }

  #deleteRecords({ partitions }: Requests['DeleteRecords']): Responses['DeleteRecords'] {
    return {
      partitions: partitions.map(({ topic: name, partition, offset }) => {
        const place = { topic: name, partition }
        const topic = this.#topics.get(name)
        const log = topic?.logs[partition]
        const failed = (errorCode: number) => ({ ...place, errorCode, lowWatermark: -1 })
        if (topic === undefined || log === undefined) return failed(CODE.UNKNOWN_TOPIC_OR_PARTITION)
        if (!topic.config.isDeleted) return failed(CODE.POLICY_VIOLATION)
        const before = offset === -1 ? log.highWatermark : offset
        if (before < 0 || before > log.highWatermark) return failed(CODE.OFFSET_OUT_OF_RANGE)
        log.deleteRecords(before)
        return { ...place, errorCode: CODE.NONE, lowWatermark: log.start }
      }),
    }
  }

  async #listOffsets({ partitions, isolation }: Requests['ListOffsets']): Promise<Responses['ListOffsets']> {
    const answers = partitions.map(async ({ topic, partition, at }) => {
      const log = this.#topics.log({ topic, partition })
      if (log === undefined) {
        return { topic, partition, errorCode: CODE.UNKNOWN_TOPIC_OR_PARTITION, offset: -1 }
      }
      const latest = isolation === 'read_committed' ? log.lastStableOffset : log.highWatermark
      const offset =
        at === 'earliest' ? log.start : at === 'latest' ? latest : await offsetAtTime(log, at, latest)
      return { topic, partition, errorCode: CODE.NONE, offset }
    })
    return { partitions: await Promise.all(answers) }
  }

  #onStoreFailed(cause: unknown): void {
    this.#context.log.error({ cause }, 'The store of the embedded broker has failed; it answers no more')
    this.#shut()
  }

  #shut(): void {
    this.#isOpen = false
    for (const connection of [...this.#connections]) connection.destroy()
    this.#wakes.close()
  }
}
