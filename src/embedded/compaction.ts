/**
 * Compaction of a log, as Kafka's cleaner does it, up to the last stable offset:
 *
 * - of each key the last committed record stays, at its offset; what is older goes, what was aborted goes;
 * - tombstones, and markers of transactions of which nothing is left, go `delete.retention.ms` after the first round
 *   that saw them;
 * - a batch that has become empty goes too, unless it is the last of its producer or the last of the round: it stays
 *   without records, so that sequences and positions go on.
 *
 * It is done in place, batch by batch, in chunks that are durable one after the other; wherever a crash cuts it off,
 * the log is whole. There are no segments, hence no active one: a round takes what Kafka would take right after a roll.
 */
import { DruseError } from '../errors.ts'
import {
  type BatchHeader,
  controlTypeOf,
  RecordCursor,
  readBatchHeader,
  recordBytes,
  withRecords,
} from '../kafka/record-batch.ts'
import type { BatchEntry, ControlType } from './batch-entry.ts'
import type { Journal } from './journal.ts'
import type { PartitionLog, Rewritten } from './partition-log.ts'
import type { Aborted } from './producer-state.ts'
import type { Context } from './settings.ts'
import type { LogConfig } from './topic-configs.ts'

/** Read, and held in memory, at once. */
const CHUNK_BYTES = 4 * 1024 * 1024

interface Batch {
  readonly entry: BatchEntry
  readonly bytes: Buffer
  readonly header: BatchHeader
}

export class Cleaner {
  readonly #context: Context
  readonly #journal: Journal
  readonly #running = new Map<PartitionLog, Promise<void>>()

  constructor(context: Context, journal: Journal) {
    this.#context = context
    this.#journal = journal
  }

  /** Starts a round when enough is dirty. */
  maybeClean(log: PartitionLog, config: LogConfig): void {
    const { cleanableBytesMin } = this.#context.settings
    if (!config.isCompacted || log.dirtyBytes < cleanableBytesMin || this.#running.has(log)) return
    if (log.dirtyBytes / log.sizeBytes < config.minCleanableRatio) return
    this.clean(log, config).catch((cause: unknown) => {
      if (DruseError.is(cause, 'BROKER_CLOSED')) return
      this.#context.log.error({ cause }, 'Compaction failed')
    })
  }

  /** One round; durable when it resolves. A round that is under way is waited for first. */
  async clean(log: PartitionLog, config: LogConfig): Promise<void> {
    for (;;) {
      const running = this.#running.get(log)
      if (running === undefined) break
      await running.catch(() => {})
    }
    const round = this.#round(log, config).finally(() => this.#running.delete(log))
    this.#running.set(log, round)
    await round
  }

  async #round(log: PartitionLog, config: LogConfig): Promise<void> {
    const to = log.lastStableOffset
    const entries = log.entries.filter((entry) => entry.lastOffset < to)
    if (entries.length === 0) return

    const latest = new Map<string, number>()
    const dirtyFrom = log.cleanedTo
    const firstWalk = new TransactionWalk(log.producers.aborted)
    for await (const chunk of this.#read(log, entries)) {
      for (const batch of chunk) {
        if (batch.header.isControl) firstWalk.onMarker(batch)
        else if (!firstWalk.isAborted(batch.header)) noteKeys(batch, dirtyFrom, latest)
      }
    }

    // From here on the index no longer tells the producer states below `to`.
    log.saveSnapshot()
    const nowMs = this.#context.clock.wallMs()
    const walk = new TransactionWalk(log.producers.aborted)
    const round: Round = {
      log,
      latest,
      nowMs,
      horizonMs: nowMs + config.deleteRetentionMs,
      lastOffset: entries.at(-1)?.lastOffset ?? -1,
    }
    for await (const chunk of this.#read(log, entries)) {
      const changes = new Map<BatchEntry, Rewritten | 'removed'>()
      const markersGone = new Set<number>()
      for (const batch of chunk) {
        const change = batch.header.isControl
          ? cleanMarker(batch, walk, round)
          : cleanData(batch, walk, round)
        if (change !== undefined) changes.set(batch.entry, change)
        if (change !== undefined && batch.header.isControl && isGone(change)) {
          markersGone.add(batch.entry.baseOffset)
        }
      }
      log.rewrite(changes)
      // Without its marker an aborted transaction would have no end.
      if (markersGone.size > 0) log.producers.forgetAborted(({ lastOffset }) => markersGone.has(lastOffset))
      if (markersGone.size > 0) log.saveSnapshot()
      await this.#journal.settled()
    }
    if (log.isDeleted) return
    log.onCleaned(to)
    log.saveSnapshot()
    await this.#journal.settled()
  }

  async *#read(log: PartitionLog, entries: readonly BatchEntry[]): AsyncGenerator<Batch[]> {
    let from = 0
    while (from < entries.length && !log.isDeleted) {
      let to = from
      for (let bytes = 0; to < entries.length && bytes < CHUNK_BYTES; to++) {
        bytes += (entries[to] as BatchEntry).sizeBytes
      }
      const part = entries.slice(from, to)
      const read = await log.read(part)
      const chunk: Batch[] = []
      part.forEach((entry, i) => {
        const bytes = read[i]
        // Gone by DeleteRecords in the meantime.
        if (bytes === undefined) return
        const header = readBatchHeader(bytes, 0)
        if (header !== undefined) chunk.push({ entry, bytes, header })
      })
      yield chunk
      from = to
      await this.#context.turn()
    }
  }
}

interface Round {
  readonly log: PartitionLog
  /** The last committed offset of each key in the dirty part. */
  readonly latest: ReadonlyMap<string, number>
  readonly nowMs: number
  /** When what is first seen to be deletable may go. */
  readonly horizonMs: number
  /** Of the last batch of the round. */
  readonly lastOffset: number
}

/** Which batches belong to aborted transactions, and which markers still have anything to end. */
class TransactionWalk {
  /** By first offset. */
  readonly #ahead: Aborted[]
  readonly #aborted = new Map<bigint, { hasBatches: boolean }>()
  readonly #committed = new Set<bigint>()

  constructor(aborted: readonly Aborted[]) {
    this.#ahead = [...aborted].sort((a, b) => b.firstOffset - a.firstOffset)
  }

  isAborted(header: BatchHeader): boolean {
    this.#consume(header.lastOffset)
    if (!header.isTransactional) return false
    const aborted = this.#aborted.get(header.producerId)
    if (aborted === undefined) {
      this.#committed.add(header.producerId)
      return false
    }
    aborted.hasBatches = true
    return true
  }

  /** Whether nothing is left for the marker to end. */
  onMarker({ bytes, header }: Batch): boolean {
    this.#consume(header.lastOffset)
    const type = controlTypeOf(bytes, 0, header)
    if (type === 'commit') return !this.#committed.delete(header.producerId)
    if (type === 'other') return true
    const aborted = this.#aborted.get(header.producerId)
    this.#aborted.delete(header.producerId)
    return aborted?.hasBatches !== true
  }

  #consume(offset: number): void {
    for (let next = this.#ahead.at(-1); next !== undefined; next = this.#ahead.at(-1)) {
      if (next.firstOffset > offset) return
      this.#ahead.pop()
      if (!this.#aborted.has(next.producerId)) this.#aborted.set(next.producerId, { hasBatches: false })
    }
  }
}

function noteKeys({ bytes, header }: Batch, dirtyFrom: number, latest: Map<string, number>): void {
  if (header.lastOffset < dirtyFrom) return
  const cursor = new RecordCursor(bytes, 0, header)
  for (let record = cursor.next(); record !== undefined; record = cursor.next()) {
    if (record.key !== null && record.offset >= dirtyFrom)
      latest.set(record.key.toString('latin1'), record.offset)
  }
}

function cleanMarker(batch: Batch, walk: TransactionWalk, round: Round): Rewritten | 'removed' | undefined {
  const { entry, bytes, header } = batch
  if (!walk.onMarker(batch)) return undefined
  const control = controlOf(batch)
  if (entry.deleteHorizonMs < 0) return { bytes, header, control, deleteHorizonMs: round.horizonMs }
  if (entry.deleteHorizonMs > round.nowMs || header.recordCount === 0) return undefined
  return mustStay(batch, round) ? emptied(batch, []) : 'removed'
}

function cleanData(batch: Batch, walk: TransactionWalk, round: Round): Rewritten | 'removed' | undefined {
  const { entry, bytes, header } = batch
  const isAborted = walk.isAborted(header)
  const kept: Buffer[] = []
  let hasTombstone = false
  if (!isAborted) {
    const isPastHorizon = entry.deleteHorizonMs >= 0 && entry.deleteHorizonMs <= round.nowMs
    const slices = rawRecords(recordBytes(bytes, 0, header), header.recordCount)
    const cursor = new RecordCursor(bytes, 0, header)
    for (const raw of slices) {
      const record = cursor.next()
      if (record === undefined || record.key === null) continue
      const latest = round.latest.get(record.key.toString('latin1'))
      if (latest !== undefined && record.offset < latest) continue
      if (record.value === null) {
        if (isPastHorizon) continue
        hasTombstone = true
      }
      kept.push(raw)
    }
  }
  if (kept.length === 0) {
    if (!mustStay(batch, round)) return 'removed'
    return header.recordCount === 0 ? undefined : emptied(batch, [])
  }
  const isNewHorizon = hasTombstone && entry.deleteHorizonMs < 0
  const deleteHorizonMs = isNewHorizon ? round.horizonMs : entry.deleteHorizonMs
  if (kept.length === header.recordCount) {
    return isNewHorizon ? { bytes, header, control: undefined, deleteHorizonMs } : undefined
  }
  return { ...emptied(batch, kept), deleteHorizonMs }
}

/** Whether the batch stays even without records, for its producer's sequence and epoch or for the end of the log. */
function mustStay({ header, entry }: Batch, { log, lastOffset }: Round): boolean {
  if (entry.lastOffset === lastOffset) return true
  if (header.producerId < 0n) return false
  const lastData = log.producers.lastDataOffset(header.producerId)
  if (lastData !== undefined) return lastData === entry.lastOffset
  return header.isControl && log.producers.epochOf(header.producerId) === header.producerEpoch
}

/** The same batch with only these records, at their old offsets. */
function emptied(batch: Batch, kept: readonly Buffer[]): Rewritten {
  const { bytes, entry } = batch
  const left = withRecords(bytes, batch.header, kept)
  const header = readBatchHeader(left, 0) as BatchHeader
  return { bytes: left, header, control: controlOf(batch), deleteHorizonMs: entry.deleteHorizonMs }
}

function controlOf({ bytes, header }: Batch): ControlType | undefined {
  const type = controlTypeOf(bytes, 0, header)
  return type === 'other' ? undefined : type
}

function isGone(change: Rewritten | 'removed'): boolean {
  return change === 'removed' || change.header.recordCount === 0
}

/** The bytes of each record, its length included. */
function rawRecords(bytes: Buffer, count: number): Buffer[] {
  const records: Buffer[] = []
  let at = 0
  for (let i = 0; i < count; i++) {
    const from = at
    let zigzag = 0
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++] as number
      zigzag |= (byte & 0x7f) << shift
      if (byte < 0x80) break
    }
    at += (zigzag >>> 1) ^ -(zigzag & 1)
    records.push(bytes.subarray(from, at))
  }
  return records
}
