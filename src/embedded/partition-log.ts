/**
 * The log of one partition: batches, an index of them, the states of its producers.
 *
 *     start            last stable offset        high watermark = end
 *       │ committed, aborted, markers │ from the first open transaction on │
 *       ▼                             ▼                                    ▼
 *
 * There is one replica, so that all that is appended is below the high watermark; that nobody hears of it before it
 * is in the store is seen to where requests are answered.
 *
 * The index covers each offset from `start` to `end` at most once, in order. Gaps are what compaction left.
 */

import { type BatchHeader, controlBatch, placeBatch, readBatchHeader } from '../kafka/record-batch.ts'
import type { AbortedTransaction } from '../ports.ts'
import type { BatchCache } from './batch-cache.ts'
import {
  type BatchEntry,
  type BatchOrigin,
  type ControlType,
  decodeEntry,
  encodeEntry,
  originOf,
} from './batch-entry.ts'
import type { Journal } from './journal.ts'
import { batchKey, snapshotKey, toJson } from './keys.ts'
import { type ProducerSnapshot, ProducerState } from './producer-state.ts'

/** Producer states of all batches below `end`, and where the log starts: what the index alone cannot tell. */
export interface LogSnapshot extends ProducerSnapshot {
  readonly start: number
  readonly end: number
  readonly cleanedTo: number
}

/** What a fetch found: batches in order, of which the last may have to be cut. */
export interface Slice {
  readonly entries: readonly BatchEntry[]
  readonly sizeBytes: number
  /** The offset after the last of the batches. */
  readonly nextOffset: number
}

export interface Rewritten {
  readonly bytes: Buffer
  readonly header: BatchHeader
  readonly control: ControlType | undefined
  readonly deleteHorizonMs: number
}

export interface LogPlace {
  readonly topicNumber: number
  readonly partition: number
}

const EMPTY_SLICE: Slice = { entries: [], sizeBytes: 0, nextOffset: 0 }

export class PartitionLog {
  readonly producers = new ProducerState()
  readonly #place: LogPlace
  readonly #journal: Journal
  readonly #cache: BatchCache
  #entries: BatchEntry[] = []
  #start = 0
  #end = 0
  #sizeBytes = 0
  /** Of batches that compaction has not seen. */
  #dirtyBytes = 0
  #isDeleted = false
  /** Up to where compaction has seen the log. */
  #cleanedTo = 0
  readonly #watchers = new Set<() => void>()

  constructor(place: LogPlace, journal: Journal, cache: BatchCache) {
    this.#place = place
    this.#journal = journal
    this.#cache = cache
  }

  get start(): number {
    return this.#start
  }

  get highWatermark(): number {
    return this.#end
  }

  get lastStableOffset(): number {
    const first = this.producers.firstUnstableOffset()
    return first === undefined ? this.#end : Math.max(first, this.#start)
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  get isDeleted(): boolean {
    return this.#isDeleted
  }

  get entries(): readonly BatchEntry[] {
    return this.#entries
  }

  get dirtyBytes(): number {
    return this.#dirtyBytes
  }

  get cleanedTo(): number {
    return this.#cleanedTo
  }

  /** Calls back whenever there may be more to fetch. Returns how to stop. */
  watch(callback: () => void): () => void {
    this.#watchers.add(callback)
    return () => this.#watchers.delete(callback)
  }

  /** Takes the bytes as its own and gives them their offsets. Returns the base offset. */
  append(bytes: Buffer, header: BatchHeader): number {
    const baseOffset = this.#end
    const lastOffset = baseOffset + (header.lastOffset - header.baseOffset)
    const origin = originOf(header, undefined)
    this.#add(bytes, origin, baseOffset, lastOffset)
    this.producers.onData(origin, baseOffset, lastOffset)
    this.#changed()
    return baseOffset
  }

  appendMarker(producerId: bigint, producerEpoch: number, control: ControlType, timestampMs: number): void {
    const bytes = controlBatch({ type: control, producerId, producerEpoch, coordinatorEpoch: 0, timestampMs })
    const header = readBatchHeader(bytes, 0) as BatchHeader
    const origin = originOf(header, control)
    const offset = this.#end
    this.#add(bytes, origin, offset, offset)
    this.producers.onMarker(origin, control, offset)
    this.#changed()
  }

  /** Batches from the one that holds `offset` up to `limit`, of about `maxBytes`: the last one may pass it. */
  slice(offset: number, limit: number, maxBytes: number): Slice {
    const entries: BatchEntry[] = []
    let sizeBytes = 0
    let nextOffset = offset
    for (let i = this.#indexOf(offset); i < this.#entries.length; i++) {
      const entry = this.#entries[i] as BatchEntry
      if (entry.baseOffset >= limit || sizeBytes >= maxBytes) break
      entries.push(entry)
      sizeBytes += entry.sizeBytes
      nextOffset = entry.lastOffset + 1
    }
    return entries.length === 0 ? EMPTY_SLICE : { entries, sizeBytes, nextOffset }
  }

  /** The bytes of batches; undefined for those that have gone in the meantime. */
  read(entries: readonly BatchEntry[]): (Buffer | undefined)[] | Promise<(Buffer | undefined)[]> {
    const missing = entries.filter((entry) => entry.bytes === undefined)
    if (missing.length === 0) return entries.map((entry) => entry.bytes)
    return this.#readStore(entries, missing)
  }

  abortedBetween(from: number, to: number): AbortedTransaction[] {
    return this.producers.abortedBetween(from, to)
  }

  /** Everything below goes; whole batches are forgotten, one that holds the offset stays. */
  deleteRecords(before: number): void {
    if (before <= this.#start) return
    this.#start = before
    let count = 0
    for (const entry of this.#entries) {
      if (entry.lastOffset >= before) break
      this.#forget(entry)
      if (entry.baseOffset >= this.#cleanedTo) this.#dirtyBytes -= entry.sizeBytes
      count += 1
    }
    this.#entries.splice(0, count)
    this.producers.forgetAborted(({ lastOffset }) => lastOffset < before)
    this.#cleanedTo = Math.max(this.#cleanedTo, before)
    this.saveSnapshot()
    this.#changed()
  }

  /** Puts what compaction left of some batches in their place. Those that have gone in the meantime stay gone. */
  rewrite(changes: ReadonlyMap<BatchEntry, Rewritten | 'removed'>): void {
    const entries: BatchEntry[] = []
    for (const entry of this.#entries) {
      const change = changes.get(entry)
      if (change === undefined) {
        entries.push(entry)
        continue
      }
      this.#forget(entry)
      if (change === 'removed') continue
      const { bytes, header, control, deleteHorizonMs } = change
      const left = this.#entry(bytes, entry.baseOffset, entry.lastOffset, deleteHorizonMs)
      this.#save(left, originOf(header, control))
      entries.push(left)
    }
    this.#entries = entries
  }

  onCleaned(to: number): void {
    this.#cleanedTo = to
    this.#dirtyBytes = 0
    for (let i = this.#entries.length - 1; i >= 0; i--) {
      const entry = this.#entries[i] as BatchEntry
      if (entry.baseOffset < to) break
      this.#dirtyBytes += entry.sizeBytes
    }
  }

  /** The topic has gone. What is left in the store is purged in time, not at once. */
  delete(): BatchEntry[] {
    const entries = this.#entries
    this.#entries = []
    this.#isDeleted = true
    for (const entry of entries) this.#cache.release(entry)
    this.#changed()
    return entries
  }

  saveSnapshot(): void {
    const { topicNumber, partition } = this.#place
    const snapshot: LogSnapshot = {
      start: this.#start,
      end: this.#end,
      cleanedTo: this.#cleanedTo,
      ...this.producers.snapshot(),
    }
    this.#journal.put(snapshotKey(topicNumber, partition), toJson(snapshot))
  }

  /** While opening: before any entry. */
  restoreSnapshot(snapshot: LogSnapshot): void {
    this.#start = snapshot.start
    this.#end = snapshot.end
    this.#cleanedTo = snapshot.cleanedTo
    this.producers.restore(snapshot)
  }

  /** While opening: in the order of offsets. */
  restoreEntry(baseOffset: number, value: Uint8Array): void {
    const { entry, origin } = decodeEntry(baseOffset, value)
    this.#entries.push(entry)
    this.#sizeBytes += entry.sizeBytes
    if (baseOffset >= this.#cleanedTo) this.#dirtyBytes += entry.sizeBytes
    // What the snapshot covers is in its producer states.
    if (baseOffset < this.#end) return
    this.#end = entry.lastOffset + 1
    if (origin.control === undefined) this.producers.onData(origin, baseOffset, entry.lastOffset)
    else this.producers.onMarker(origin, origin.control, baseOffset)
  }

  #add(bytes: Buffer, origin: BatchOrigin, baseOffset: number, lastOffset: number): void {
    placeBatch(bytes, 0, baseOffset, 0)
    const entry = this.#entry(bytes, baseOffset, lastOffset, -1)
    this.#entries.push(entry)
    this.#end = lastOffset + 1
    this.#dirtyBytes += entry.sizeBytes
    this.#save(entry, origin)
  }

  #entry(bytes: Buffer, baseOffset: number, lastOffset: number, deleteHorizonMs: number): BatchEntry {
    const sequence = this.#journal.sequence + 1
    return { baseOffset, lastOffset, sizeBytes: bytes.length, deleteHorizonMs, bytes, sequence }
  }

  #save(entry: BatchEntry, origin: BatchOrigin): void {
    this.#sizeBytes += entry.sizeBytes
    if (this.#journal.store !== undefined) {
      const { topicNumber, partition } = this.#place
      this.#journal.put(batchKey('b', topicNumber, partition, entry.baseOffset), entry.bytes as Buffer)
      this.#journal.put(batchKey('i', topicNumber, partition, entry.baseOffset), encodeEntry(entry, origin))
    }
    this.#cache.hold(entry)
  }

  #forget(entry: BatchEntry): void {
    this.#cache.release(entry)
    this.#sizeBytes -= entry.sizeBytes
    if (this.#journal.store === undefined) return
    const { topicNumber, partition } = this.#place
    this.#journal.remove(batchKey('b', topicNumber, partition, entry.baseOffset))
    this.#journal.remove(batchKey('i', topicNumber, partition, entry.baseOffset))
  }

  async #readStore(
    entries: readonly BatchEntry[],
    missing: readonly BatchEntry[],
  ): Promise<(Buffer | undefined)[]> {
    const { topicNumber, partition } = this.#place
    // Taken now: the cache may give some of them up while the store is read.
    const read = entries.map((entry) => entry.bytes)
    const keys = missing.map((entry) => batchKey('b', topicNumber, partition, entry.baseOffset))
    const found = (await this.#journal.store?.getMany(keys)) ?? []
    let next = 0
    for (let i = 0; i < read.length; i++) {
      if (read[i] !== undefined) continue
      const bytes = found[next++]
      if (bytes !== undefined) read[i] = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    }
    return read
  }

  /** Index of the first entry that ends at or after the offset. */
  #indexOf(offset: number): number {
    let low = 0
    let high = this.#entries.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#entries[middle] as BatchEntry).lastOffset < offset) low = middle + 1
      else high = middle
    }
    return low
  }

  #changed(): void {
    for (const watcher of [...this.#watchers]) watcher()
  }
}
