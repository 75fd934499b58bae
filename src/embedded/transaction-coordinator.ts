/**
 * The transaction coordinator: who may write under a transactional id, and how each transaction ends.
 * Kafka's TransactionCoordinator with transactions of version 1 (no epoch bump per transaction).
 *
 *                    ┌───────────────────────── InitProducerId ──────────────────────────┐
 *                    ▼                                                                   │
 *     (new) ──▶ Empty ──add──▶ Ongoing ──EndTxn(commit)──▶ PrepareCommit ──markers──▶ CompleteCommit
 *                                │ ▲ ▲                                                   │
 *                                │ │ └──────────────────────── add ──────────────────────┤
 *                                │ └────────────────────────── add ──────────────────┐   │
 *                                └─EndTxn(abort), fence, time-out─▶ PrepareAbort ──▶ CompleteAbort
 *
 * EndTxn is answered once the Prepare state is in the store. Only then do the markers follow, one partition at a time,
 * each as an event of its own, in any order; when all stand, the state is Complete. Until then everything that would
 * change the transaction answers CONCURRENT_TRANSACTIONS. A broker that opens finds Prepare states and finishes them.
 */

import { CODE } from '../kafka/error-codes.ts'
import type { Producing, Requests, Responses } from '../ports.ts'
import type { TopicPartition } from '../types.ts'
import type { ControlType } from './batch-entry.ts'
import type { Journal } from './journal.ts'
import { textKey, toJson } from './keys.ts'
import type { Context } from './settings.ts'

type State =
  /** Initialised, no transaction yet. */
  | 'Empty'
  /** Partitions or groups have been added. */
  | 'Ongoing'
  /** Will be committed, whatever happens: markers are being written. */
  | 'PrepareCommit'
  /** Will be aborted: markers are being written. */
  | 'PrepareAbort'
  /** The last transaction was committed. */
  | 'CompleteCommit'
  /** The last transaction was aborted. */
  | 'CompleteAbort'

const MOVES: Readonly<Record<State, readonly State[]>> = {
  Empty: ['Empty', 'Ongoing'],
  Ongoing: ['Ongoing', 'PrepareCommit', 'PrepareAbort'],
  PrepareCommit: ['CompleteCommit'],
  PrepareAbort: ['CompleteAbort'],
  CompleteCommit: ['Empty', 'Ongoing'],
  CompleteAbort: ['Empty', 'Ongoing'],
}

interface Transaction {
  readonly id: string
  producerId: bigint
  /** -1: never initialised. */
  epoch: number
  timeoutMs: number
  state: State
  /** By `placeName`. */
  partitions: Map<string, TopicPartition>
  groups: Set<string>
  /** Of the wall clock: when the first partition or group was added. */
  startedAtMs: number
}

/** A transaction in the store. */
export interface TransactionRecord {
  readonly id: string
  readonly producerId: string
  readonly epoch: number
  readonly timeoutMs: number
  readonly state: State
  readonly partitions: readonly TopicPartition[]
  readonly groups: readonly string[]
  readonly startedAtMs: number
}

/** Where the end of a transaction is written down. */
export interface MarkerTargets {
  /** Nothing happens where the topic has gone. */
  endInPartition(place: TopicPartition, producerId: bigint, epoch: number, control: ControlType): void
  endInGroup(groupId: string, producerId: bigint, control: ControlType): void
  /** Whether the producer's transaction is open there. */
  isOpenInPartition(place: TopicPartition, producerId: bigint): boolean
}

const EPOCH_MAX = 32_767

export class TransactionCoordinator {
  readonly #context: Context
  readonly #journal: Journal
  readonly #targets: MarkerTargets
  readonly #nextProducerId: () => bigint
  readonly #transactions = new Map<string, Transaction>()
  readonly #openedAtMs: number
  #isCleanUpDue = false

  constructor(parts: {
    readonly context: Context
    readonly journal: Journal
    readonly targets: MarkerTargets
    readonly nextProducerId: () => bigint
  }) {
    this.#context = parts.context
    this.#journal = parts.journal
    this.#targets = parts.targets
    this.#nextProducerId = parts.nextProducerId
    this.#openedAtMs = parts.context.clock.monotonicMs()
  }

  initProducerId(request: Requests['InitProducerId']): Responses['InitProducerId'] {
    const { transactionalId, transactionTimeoutMs } = request
    if (transactionalId === null) {
      return { errorCode: CODE.NONE, producerId: this.#nextProducerId(), producerEpoch: 0 }
    }
    if (transactionalId === '') return notInitialised(CODE.INVALID_REQUEST)
    if (transactionTimeoutMs <= 0 || transactionTimeoutMs > this.#context.settings.transactionMaxTimeoutMs) {
      return notInitialised(CODE.INVALID_TRANSACTION_TIMEOUT)
    }
    const transaction = this.#transactions.get(transactionalId) ?? this.#create(transactionalId)
    switch (transaction.state) {
      case 'PrepareCommit':
      case 'PrepareAbort':
        return notInitialised(CODE.CONCURRENT_TRANSACTIONS)
      case 'Ongoing':
        this.#fence(transaction)
        return notInitialised(CODE.CONCURRENT_TRANSACTIONS)
      case 'Empty':
      case 'CompleteCommit':
      case 'CompleteAbort':
        // The highest epoch is kept back, so that the last producer can still be fenced.
        if (transaction.epoch >= EPOCH_MAX - 1) {
          transaction.producerId = this.#nextProducerId()
          transaction.epoch = 0
        } else {
          transaction.epoch += 1
        }
        transaction.timeoutMs = transactionTimeoutMs
        this.#move(transaction, 'Empty')
        return {
          errorCode: CODE.NONE,
          producerId: transaction.producerId,
          producerEpoch: transaction.epoch,
        }
    }
  }

  addPartitions(
    request: Requests['AddPartitionsToTxn'],
    exists: (place: TopicPartition) => boolean,
  ): Responses['AddPartitionsToTxn'] {
    const { partitions } = request
    const isComplete = partitions.every(exists)
    // One unknown partition, and none is added.
    const code = isComplete ? this.#add(request, partitions, []) : CODE.OPERATION_NOT_ATTEMPTED
    return {
      partitions: partitions.map((place) => ({
        topic: place.topic,
        partition: place.partition,
        errorCode: isComplete || exists(place) ? code : CODE.UNKNOWN_TOPIC_OR_PARTITION,
      })),
    }
  }

  addOffsets(request: Requests['AddOffsetsToTxn']): Responses['AddOffsetsToTxn'] {
    return { errorCode: this.#add(request, [], [request.groupId]) }
  }

  endTxn(request: Requests['EndTxn']): Responses['EndTxn'] {
    const transaction = this.#transactions.get(request.transactionalId)
    const code = faultOf(transaction, request)
    if (transaction === undefined || code !== CODE.NONE) return { errorCode: code }
    const { committed } = request
    switch (transaction.state) {
      case 'Ongoing':
        this.#end(transaction, committed ? 'PrepareCommit' : 'PrepareAbort')
        return { errorCode: CODE.NONE }
      case 'PrepareCommit':
      case 'PrepareAbort':
        // Whichever result is asked for: Kafka looks at what is under way before it looks at the state.
        return { errorCode: CODE.CONCURRENT_TRANSACTIONS }
      case 'CompleteCommit':
        return { errorCode: committed ? CODE.NONE : CODE.INVALID_TXN_STATE }
      case 'CompleteAbort':
        return { errorCode: committed ? CODE.INVALID_TXN_STATE : CODE.NONE }
      case 'Empty':
        return { errorCode: CODE.INVALID_TXN_STATE }
    }
  }

  /** Whether a partition, or a group's offsets, may be written to: what a partition leader asks the coordinator. */
  verify(producing: Producing, target: TopicPartition | { readonly groupId: string }): number {
    const transaction = this.#transactions.get(producing.transactionalId)
    const code = faultOf(transaction, producing)
    if (transaction === undefined || code !== CODE.NONE) return code
    if (isPrepared(transaction.state)) return CODE.CONCURRENT_TRANSACTIONS
    const isAdded =
      'groupId' in target
        ? transaction.groups.has(target.groupId)
        : transaction.partitions.has(placeName(target))
    return isAdded ? CODE.NONE : CODE.INVALID_TXN_STATE
  }

  /** While opening. */
  restore(record: TransactionRecord): void {
    this.#transactions.set(record.id, {
      ...record,
      producerId: BigInt(record.producerId),
      partitions: new Map(record.partitions.map((place) => [placeName(place), place])),
      groups: new Set(record.groups),
    })
  }

  /** Once everything is restored: ends what was decided before the broker stopped. */
  resume(): void {
    for (const transaction of this.#transactions.values()) {
      if (transaction.state === 'Ongoing') this.#scheduleCleanUp()
      if (!isPrepared(transaction.state)) continue
      // Partitions that have their marker are not given a second one.
      for (const [name, place] of transaction.partitions) {
        if (!this.#targets.isOpenInPartition(place, transaction.producerId))
          transaction.partitions.delete(name)
      }
      this.#writeMarkers(transaction)
    }
  }

  #create(id: string): Transaction {
    const transaction: Transaction = {
      id,
      producerId: this.#nextProducerId(),
      epoch: -1,
      timeoutMs: 0,
      state: 'Empty',
      partitions: new Map(),
      groups: new Set(),
      startedAtMs: -1,
    }
    this.#transactions.set(id, transaction)
    return transaction
  }

  #add(producing: Producing, partitions: readonly TopicPartition[], groups: readonly string[]): number {
    if (producing.transactionalId === '') return CODE.INVALID_REQUEST
    const transaction = this.#transactions.get(producing.transactionalId)
    const code = faultOf(transaction, producing)
    if (transaction === undefined || code !== CODE.NONE) return code
    if (isPrepared(transaction.state)) return CODE.CONCURRENT_TRANSACTIONS
    const isNew = (): boolean =>
      partitions.some((place) => !transaction.partitions.has(placeName(place))) ||
      groups.some((group) => !transaction.groups.has(group))
    if (transaction.state === 'Ongoing' && !isNew()) return CODE.NONE
    if (transaction.state !== 'Ongoing') transaction.startedAtMs = this.#context.clock.wallMs()
    for (const { topic, partition } of partitions) {
      transaction.partitions.set(placeName({ topic, partition }), { topic, partition })
    }
    for (const group of groups) transaction.groups.add(group)
    this.#move(transaction, 'Ongoing')
    this.#scheduleCleanUp()
    return CODE.NONE
  }

  /** Ends an open transaction over the head of its producer, whose epoch is worth nothing from now on. */
  #fence(transaction: Transaction): void {
    transaction.epoch += 1
    this.#end(transaction, 'PrepareAbort')
  }

  #end(transaction: Transaction, state: 'PrepareCommit' | 'PrepareAbort'): void {
    this.#move(transaction, state)
    const settled = this.#journal.settled()
    if (settled === undefined) this.#writeMarkers(transaction)
    // A store that fails ends the broker: whoever opens it next finds the transaction, or does not.
    else settled.then(() => this.#writeMarkers(transaction)).catch(() => {})
  }

  /** One event per partition and group, and one more to complete. */
  #writeMarkers(transaction: Transaction): void {
    const { producerId, epoch, partitions, groups, state } = transaction
    const control: ControlType = state === 'PrepareCommit' ? 'commit' : 'abort'
    const { clock } = this.#context
    let left = partitions.size + groups.size
    const step = (write: () => void): void => {
      clock.wake(0, () => {
        write()
        left -= 1
        if (left === 0) clock.wake(0, () => this.#complete(transaction))
      })
    }
    if (left === 0) clock.wake(0, () => this.#complete(transaction))
    for (const place of partitions.values()) {
      step(() => this.#targets.endInPartition(place, producerId, epoch, control))
    }
    for (const group of groups) step(() => this.#targets.endInGroup(group, producerId, control))
  }

  #complete(transaction: Transaction): void {
    transaction.partitions = new Map()
    transaction.groups = new Set()
    this.#move(transaction, transaction.state === 'PrepareCommit' ? 'CompleteCommit' : 'CompleteAbort')
  }

  #move(transaction: Transaction, to: State): void {
    if (!MOVES[transaction.state].includes(to)) {
      throw new Error(`Transaction ${transaction.id} cannot go from ${transaction.state} to ${to}`)
    }
    transaction.state = to
    const record: TransactionRecord = {
      ...transaction,
      producerId: String(transaction.producerId),
      partitions: [...transaction.partitions.values()],
      groups: [...transaction.groups],
    }
    this.#journal.put(textKey('x', transaction.id), toJson(record))
  }

  /** Kafka looks at fixed intervals; this looks at the same times, but only while a transaction is open. */
  #scheduleCleanUp(): void {
    if (this.#isCleanUpDue) return
    this.#isCleanUpDue = true
    const { clock, settings } = this.#context
    const interval = settings.transactionCleanUpIntervalMs
    const sinceLast = (clock.monotonicMs() - this.#openedAtMs) % interval
    clock.wake(interval - sinceLast, () => this.#cleanUp())
  }

  #cleanUp(): void {
    this.#isCleanUpDue = false
    const now = this.#context.clock.wallMs()
    for (const transaction of this.#transactions.values()) {
      if (transaction.state !== 'Ongoing') continue
      if (transaction.startedAtMs + transaction.timeoutMs < now) {
        this.#context.log.info(
          { transactionalId: transaction.id },
          'A transaction has timed out and is aborted',
        )
        this.#fence(transaction)
      } else {
        this.#scheduleCleanUp()
      }
    }
  }
}

function isPrepared(state: State): boolean {
  return state === 'PrepareCommit' || state === 'PrepareAbort'
}

/** Of the request versions this broker speaks: later ones say 90 PRODUCER_FENCED for a wrong epoch. */
function faultOf(transaction: Transaction | undefined, { producerId, producerEpoch }: Producing): number {
  if (transaction === undefined || transaction.producerId !== producerId) {
    return CODE.INVALID_PRODUCER_ID_MAPPING
  }
  return transaction.epoch === producerEpoch ? CODE.NONE : CODE.INVALID_PRODUCER_EPOCH
}

function notInitialised(errorCode: number): Responses['InitProducerId'] {
  return { errorCode, producerId: -1n, producerEpoch: -1 }
}

function placeName({ topic, partition }: TopicPartition): string {
  return `${topic}/${partition}`
}
