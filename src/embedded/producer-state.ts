/**
 * What a partition knows of the producers that write to it: epoch, the last batches, and the transactions that are
 * open in it. Kafka's ProducerStateManager and ProducerAppendInfo.
 */

import { CODE } from '../kafka/error-codes.ts'
import type { AbortedTransaction } from '../ports.ts'
import type { BatchOrigin, ControlType } from './batch-entry.ts'

/** A retry of any of this many last batches is recognised. */
const BATCHES_KEPT = 5
const SEQUENCE_MAX = 0x7fffffff

interface KeptBatch {
  readonly firstSequence: number
  readonly lastSequence: number
  readonly baseOffset: number
  readonly lastOffset: number
}

interface ProducerEntry {
  epoch: number
  batches: KeptBatch[]
}

export interface Aborted extends AbortedTransaction {
  /** Of the abort marker. */
  readonly lastOffset: number
  /** Of the partition, when the marker was written. */
  readonly lastStableOffset: number
}

export type Verdict =
  | { readonly kind: 'append' }
  /** Already in the log, there. */
  | { readonly kind: 'duplicate'; readonly baseOffset: number }
  | { readonly kind: 'refuse'; readonly errorCode: number }

/** Producer ids as strings, since JSON knows no bigint. */
export interface ProducerSnapshot {
  readonly producers: readonly (readonly [id: string, epoch: number, batches: readonly KeptBatch[]])[]
  readonly open: readonly (readonly [id: string, firstOffset: number])[]
  readonly aborted: readonly (readonly [
    id: string,
    firstOffset: number,
    lastOffset: number,
    lastStableOffset: number,
  ])[]
}

const APPEND: Verdict = { kind: 'append' }

export class ProducerState {
  #producers = new Map<bigint, ProducerEntry>()
  /** First offsets of open transactions. Inserted as the log grows, so the first is the lowest. */
  #open = new Map<bigint, number>()
  /** By last offset, as markers come. */
  #aborted: Aborted[] = []

  hasOpenTransaction(producerId: bigint): boolean {
    return this.#open.has(producerId)
  }

  openProducers(): bigint[] {
    return [...this.#open.keys()]
  }

  /** Undefined when no transaction is open. */
  firstUnstableOffset(): number | undefined {
    for (const offset of this.#open.values()) return offset
    return undefined
  }

  /** The last offset with data of this producer; undefined when it has none, or only markers. */
  lastDataOffset(producerId: bigint): number | undefined {
    return this.#producers.get(producerId)?.batches.at(-1)?.lastOffset
  }

  epochOf(producerId: bigint): number | undefined {
    return this.#producers.get(producerId)?.epoch
  }

  /**
   * What Kafka decides about a client's batch, in Kafka's order: duplicate, epoch, sequence, transaction. That a
   * transaction which begins with it is known to the coordinator has been seen to before.
   */
  judge(origin: BatchOrigin, recordCount: number): Verdict {
    const { producerId, producerEpoch, baseSequence, isTransactional } = origin
    if (producerId < 0n) return APPEND
    const entry = this.#producers.get(producerId)
    const lastSequence = sequenceAfter(baseSequence, recordCount - 1)
    if (entry !== undefined && entry.epoch === producerEpoch) {
      const same = entry.batches.find(
        (batch) => batch.firstSequence === baseSequence && batch.lastSequence === lastSequence,
      )
      if (same !== undefined) return { kind: 'duplicate', baseOffset: same.baseOffset }
    }
    if (entry !== undefined) {
      if (producerEpoch < entry.epoch) return refuse(CODE.INVALID_PRODUCER_EPOCH)
      const expected =
        producerEpoch === entry.epoch ? sequenceAfter(entry.batches.at(-1)?.lastSequence ?? -1, 1) : 0
      if (baseSequence !== expected) return refuse(CODE.OUT_OF_ORDER_SEQUENCE_NUMBER)
    }
    if (!isTransactional && this.#open.has(producerId)) return refuse(CODE.INVALID_TXN_STATE)
    return APPEND
  }

  onData(origin: BatchOrigin, baseOffset: number, lastOffset: number): void {
    const { producerId, producerEpoch, baseSequence } = origin
    if (producerId < 0n) return
    const entry = this.#entry(producerId, producerEpoch)
    const lastSequence = sequenceAfter(baseSequence, lastOffset - baseOffset)
    entry.batches.push({ firstSequence: baseSequence, lastSequence, baseOffset, lastOffset })
    if (entry.batches.length > BATCHES_KEPT) entry.batches.shift()
    if (origin.isTransactional && !this.#open.has(producerId)) this.#open.set(producerId, baseOffset)
  }

  onMarker(origin: BatchOrigin, control: ControlType, offset: number): void {
    const { producerId, producerEpoch } = origin
    this.#entry(producerId, producerEpoch)
    const firstOffset = this.#open.get(producerId)
    // A marker without data before it leaves no trace among the aborted, as in Kafka.
    if (firstOffset === undefined) return
    this.#open.delete(producerId)
    if (control === 'commit') return
    const lastStableOffset = this.firstUnstableOffset() ?? offset + 1
    this.#aborted.push({ producerId, firstOffset, lastOffset: offset, lastStableOffset })
  }

  /** The aborted transactions that a reader of [from, to) has to know, in the order of their markers. */
  abortedBetween(from: number, to: number): AbortedTransaction[] {
    const found: AbortedTransaction[] = []
    for (let i = this.#firstAbortedFrom(from); i < this.#aborted.length; i++) {
      const { producerId, firstOffset, lastStableOffset } = this.#aborted[i] as Aborted
      if (firstOffset < to) found.push({ producerId, firstOffset })
      // All that follows began at or after this offset.
      if (lastStableOffset >= to) break
    }
    return found
  }

  /** All of them, by last offset. */
  get aborted(): readonly Aborted[] {
    return this.#aborted
  }

  /** Forgets aborted transactions of which nothing is left in the log. */
  forgetAborted(gone: (aborted: Aborted) => boolean): void {
    this.#aborted = this.#aborted.filter((aborted) => !gone(aborted))
  }

  snapshot(): ProducerSnapshot {
    return {
      producers: [...this.#producers].map(([id, { epoch, batches }]) => [String(id), epoch, [...batches]]),
      open: [...this.#open].map(([id, offset]) => [String(id), offset]),
      aborted: this.#aborted.map((aborted) => [
        String(aborted.producerId),
        aborted.firstOffset,
        aborted.lastOffset,
        aborted.lastStableOffset,
      ]),
    }
  }

  restore(snapshot: ProducerSnapshot): void {
    this.#producers = new Map(
      snapshot.producers.map(([id, epoch, batches]) => [BigInt(id), { epoch, batches: [...batches] }]),
    )
    this.#open = new Map(snapshot.open.map(([id, offset]) => [BigInt(id), offset]))
    this.#aborted = snapshot.aborted.map(([id, firstOffset, lastOffset, lastStableOffset]) => ({
      producerId: BigInt(id),
      firstOffset,
      lastOffset,
      lastStableOffset,
    }))
  }

  /** A new epoch begins without batches: its first sequence has to be 0. */
  #entry(producerId: bigint, epoch: number): ProducerEntry {
    let entry = this.#producers.get(producerId)
    if (entry === undefined) {
      entry = { epoch, batches: [] }
      this.#producers.set(producerId, entry)
    } else if (entry.epoch !== epoch) {
      entry.epoch = epoch
      entry.batches = []
    }
    return entry
  }

  /** Index of the first aborted transaction whose marker stands at `offset` or later. */
  #firstAbortedFrom(offset: number): number {
    let low = 0
    let high = this.#aborted.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#aborted[middle] as Aborted).lastOffset < offset) low = middle + 1
      else high = middle
    }
    return low
  }
}

function refuse(errorCode: number): Verdict {
  return { kind: 'refuse', errorCode }
}

/** Sequences wrap from 2^31 - 1 to 0. */
export function sequenceAfter(sequence: number, count: number): number {
  const next = sequence + count
  return next > SEQUENCE_MAX ? next - SEQUENCE_MAX - 1 : next
}
