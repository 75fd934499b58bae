/**
 * What a broker has accepted, as seen from its wire: transactions, what they hold, and what was committed, with the laws
 * that hold at every moment. It knows nothing of the instances.
 */
import {
  type BatchHeader,
  type RawRecord,
  RecordCursor,
  readBatchHeader,
} from '../../src/kafka/record-batch.ts'
import type { Request, Responses } from '../../src/ports.ts'
import { decodeMetadata, regionKey, type TaskMetadata } from '../../src/runtime/task-metadata.ts'
import { APPLICATION, changelogOf, EXTRA, INPUT, REGIONS } from './workload.ts'

export interface Appended {
  readonly topic: string
  readonly partition: number
  readonly records: readonly RawRecord[]
}

interface Open {
  epoch: number
  appended: Appended[]
  offsets: Map<string, { offset: number; metadata: string }>
}

/** Of a changelog's committed records, in order. */
interface Change {
  readonly offset: number
  readonly key: string
  readonly value: Buffer | null
}

/** Looks, and does to the broker what others do: none of it is the application's. */
const TOOL = 'observer'
const FED = [INPUT, EXTRA]

export class Ledger {
  readonly committed = new Map<string, TaskMetadata>()
  /** Newest committed sequence by incarnation. */
  readonly sequences = new Map<string, number>()
  readonly changes = new Map<string, Change[]>()
  /** Records committed so far, by topic. */
  readonly counts = new Map<string, number>()
  /** Their timestamps. */
  readonly ids = new Map<string, Set<number>>()
  transactions = 0
  /** Transactions that instances have committed, by their names. */
  readonly commits = new Map<string, number>()
  /** All values that a key of a changelog has had, as hex. */
  readonly values = new Map<string, Set<string>>()
  /** Told of what was committed, when all of it is known here. */
  onCommitted: (appended: readonly Appended[]) => void = () => {}
  readonly #open = new Map<bigint, Open>()
  readonly #seen = new Set<string>()
  readonly #broken: (law: string) => void
  readonly #isExact: boolean

  /** `isExact`: under exactly-once; else nothing is told of transactions. */
  constructor(broken: (law: string) => void, isExact: boolean) {
    this.#broken = broken
    this.#isExact = isExact
  }

  carriedOut(who: string, request: Request, response: unknown): void {
    switch (request.api) {
      case 'Produce':
        this.#produced(who, request, response as Responses['Produce'])
        return
      case 'TxnOffsetCommit': {
        const { partitions } = response as Responses['TxnOffsetCommit']
        if (partitions.every(({ errorCode }) => errorCode !== 0)) return
        const open = this.#of(request.producerId, request.producerEpoch)
        for (const [i, { topic, partition, offset, metadata }] of request.partitions.entries()) {
          if (partitions[i]?.errorCode === 0) open.offsets.set(`${topic}/${partition}`, { offset, metadata })
        }
        return
      }
      case 'OffsetCommit': {
        // A tool's are its own.
        if (request.groupId !== APPLICATION || who === TOOL) return
        if (!this.#isExact) return
        this.#broken('offsets were committed outside of a transaction')
        const offsets: Open['offsets'] = new Map()
        const { partitions } = response as Responses['OffsetCommit']
        for (const [i, { topic, partition, offset, metadata }] of request.partitions.entries()) {
          if (partitions[i]?.errorCode === 0) offsets.set(`${topic}/${partition}`, { offset, metadata })
        }
        this.#commitOffsets(offsets, new Map())
        return
      }
      case 'EndTxn': {
        const { errorCode } = response as Responses['EndTxn']
        const open = this.#open.get(request.producerId)
        if (errorCode !== 0 || open === undefined) return
        this.#open.delete(request.producerId)
        if (!request.committed) return
        this.commits.set(who, (this.commits.get(who) ?? 0) + 1)
        this.#commit(open)
        return
      }
      case 'InitProducerId': {
        const { errorCode, producerId } = response as Responses['InitProducerId']
        if (errorCode === 0) this.#open.delete(producerId)
      }
    }
  }

  /** Committed entries of a region's part up to a position. */
  fold(changelog: string, to: number): Map<string, Buffer> {
    const entries = new Map<string, Buffer>()
    for (const { offset, key, value } of this.changes.get(changelog) ?? []) {
      if (offset >= to) break
      if (value === null) entries.delete(key)
      else entries.set(key, value)
    }
    return entries
  }

  #of(producerId: bigint, epoch: number): Open {
    let open = this.#open.get(producerId)
    if (open === undefined || open.epoch !== epoch) {
      open = { epoch, appended: [], offsets: new Map() }
      this.#open.set(producerId, open)
    }
    return open
  }

  #produced(
    who: string,
    request: Extract<Request, { api: 'Produce' }>,
    { partitions }: Responses['Produce'],
  ): void {
    for (const [i, { topic, partition, records: bytes }] of request.partitions.entries()) {
      const answer = partitions[i]
      if (answer === undefined || answer.errorCode !== 0) continue
      const place = `${topic}/${partition}@${answer.baseOffset}`
      // Sent again, and already there.
      if (this.#seen.has(place)) continue
      this.#seen.add(place)
      const buffer = Buffer.from(bytes)
      const header = readBatchHeader(buffer, 0) as BatchHeader
      const shift = answer.baseOffset - header.baseOffset
      const records = Array.from(recordsIn(buffer, header), (record) => ({
        ...record,
        offset: record.offset + shift,
      }))
      if (!header.isTransactional) {
        if (who === TOOL) continue
        if (this.#isExact) this.#broken(`records in ${place} are of no transaction`)
        this.#publish([{ topic, partition, records }])
        continue
      }
      this.#of(header.producerId, header.producerEpoch).appended.push({ topic, partition, records })
    }
  }

  #commit({ appended, offsets }: Open): void {
    this.transactions += 1
    const ends = this.#publish(appended)
    // The feeder's own writes to inputs alone.
    if (
      offsets.size === 0 &&
      [...ends.keys()].some((place) => !FED.some((topic) => place.startsWith(`${topic}/`)))
    ) {
      this.#broken('a transaction of the application carries no offsets')
    }
    this.#commitOffsets(offsets, ends)
    this.onCommitted(appended)
  }

  /** Visible from now on. Returns where they end. */
  #publish(appended: readonly Appended[]): ReadonlyMap<string, number> {
    const ends = new Map<string, number>()
    for (const { topic, partition, records } of appended) {
      this.counts.set(topic, (this.counts.get(topic) ?? 0) + records.length)
      const ids = this.ids.get(topic) ?? new Set()
      this.ids.set(topic, ids)
      for (const { timestamp } of records) ids.add(timestamp)
      ends.set(`${topic}/${partition}`, (records.at(-1)?.offset ?? -1) + 1)
      if (!topic.endsWith('-changelog')) continue
      const place = `${topic}/${partition}`
      const list = this.changes.get(place) ?? []
      this.changes.set(place, list)
      for (const { offset, key, value } of records) {
        if (offset <= (list.at(-1)?.offset ?? -1))
          this.#broken(`${place}@${offset} is committed out of order`)
        const name = (key as Buffer).toString('latin1')
        list.push({ offset, key: name, value })
        const had = this.values.get(`${topic} ${name}`) ?? new Set()
        this.values.set(`${topic} ${name}`, had.add(value?.toString('hex') ?? ''))
      }
    }
    return ends
  }

  #commitOffsets(offsets: Open['offsets'], ends: ReadonlyMap<string, number>): void {
    const sequences = new Map<string, number>()
    for (const [place, { offset, metadata }] of offsets) {
      const next = decodeMetadata(metadata, place)
      const before = this.committed.get(place)
      const { incarnation, sequence } = next
      if (next.offset !== offset) this.#broken(`${place}: offset ${offset}, its metadata says ${next.offset}`)
      if (before !== undefined) {
        if (before.incarnation !== incarnation) this.#broken(`${place}: begun anew at sequence ${sequence}`)
        if (sequence !== before.sequence + 1)
          this.#broken(`${place}: sequence ${sequence} is committed after ${before.sequence}`)
        if (offset < before.offset)
          this.#broken(`${place}: offset ${offset} is committed after ${before.offset}`)
        for (const [key, { position }] of Object.entries(before.regions)) {
          const then = next.regions[key]?.position ?? -1
          if (then < position) this.#broken(`${place}: a region goes back from ${position} to ${then}`)
        }
      } else if (sequence !== 0) this.#broken(`${place}: its first commit has sequence ${sequence}`)
      for (const region of REGIONS) {
        const changelog = `${changelogOf(region)}/${place.split('/')[1]}`
        const at = next.regions[regionKey(region)]
        const end = ends.get(changelog)
        if (at !== undefined && end !== undefined && at.position !== end)
          this.#broken(
            `${place}: region ${region} is said to stand at ${at.position}, its changes end at ${end}`,
          )
      }
      this.committed.set(place, next)
      sequences.set(incarnation, sequence)
    }
    for (const [incarnation, sequence] of sequences) this.sequences.set(incarnation, sequence)
  }
}

export function* recordsIn(bytes: Buffer, header: BatchHeader, at = 0): Generator<RawRecord> {
  const cursor = new RecordCursor(bytes, at, header)
  for (let record = cursor.next(); record !== undefined; record = cursor.next()) yield record
}
