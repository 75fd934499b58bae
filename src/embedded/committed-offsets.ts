/**
 * Committed offsets of groups, and those of open transactions, which become committed with the group's marker.
 * Where several transactions have offsets for a partition, the one that was stored last wins, whichever ends first.
 */

import { CODE } from '../kafka/error-codes.ts'
import type { Clock, PartitionCode, Requests, Responses } from '../ports.ts'
import type { TopicPartition } from '../types.ts'
import type { ControlType } from './batch-entry.ts'
import type { Journal } from './journal.ts'
import { textKey, toJson } from './keys.ts'
import type { BrokerSettings } from './settings.ts'

interface Committed {
  readonly offset: number
  readonly metadata: string
  /** Grows with every commit that is stored. */
  readonly order: number
}

/** A committed offset in the store. */
export interface OffsetRecord extends TopicPartition, Committed {
  readonly groupId: string
}

/** Offsets of an open transaction in the store. */
export interface PendingRecord {
  readonly groupId: string
  readonly producerId: string
  readonly epoch: number
  readonly offsets: readonly (TopicPartition & Committed)[]
}

interface Pending {
  readonly epoch: number
  readonly offsets: Map<string, TopicPartition & Committed>
}

interface GroupOffsets {
  readonly committed: Map<string, TopicPartition & Committed>
  readonly pending: Map<bigint, Pending>
  /** Of transactions that have ended, and not yet seen. */
  readonly settling: Set<Pending>
  /** Of what is committed in the store, be it seen or not. */
  readonly newest: Map<string, number>
}

type CommitRequest = Requests['TxnOffsetCommit']

export class CommittedOffsets {
  readonly #journal: Journal
  readonly #settings: BrokerSettings
  readonly #clock: Clock
  readonly #groups = new Map<string, GroupOffsets>()
  #order = 0

  constructor(journal: Journal, settings: BrokerSettings, clock: Clock) {
    this.#journal = journal
    this.#settings = settings
    this.#clock = clock
  }

  /** The epoch under which a producer's offsets are pending; undefined: none are. */
  pendingEpoch(groupId: string, producerId: bigint): number | undefined {
    return this.#groups.get(groupId)?.pending.get(producerId)?.epoch
  }

  /** Keeps offsets back until the transaction ends. */
  store(request: CommitRequest, places: CommitRequest['partitions']): PartitionCode[] {
    const { groupId, producerId, producerEpoch } = request
    const { stored, codes } = this.#take(places)
    if (stored.length > 0) {
      const { pending } = this.#group(groupId)
      const before = pending.get(producerId)
      const offsets = before?.offsets ?? new Map<string, TopicPartition & Committed>()
      for (const place of stored) offsets.set(placeName(place), place)
      pending.set(producerId, { epoch: producerEpoch, offsets })
      this.#savePending(groupId, producerId)
    }
    return codes
  }

  /** At once. Offsets that are pending stay so, and win if they were stored later. */
  commit(groupId: string, places: CommitRequest['partitions']): PartitionCode[] {
    const { stored, codes } = this.#take(places)
    for (const place of stored) this.#commitOne(groupId, place)
    return codes
  }

  end(groupId: string, producerId: bigint, control: ControlType): void {
    const group = this.#groups.get(groupId)
    const pending = group?.pending.get(producerId)
    if (group === undefined || pending === undefined) return
    group.pending.delete(producerId)
    this.#savePending(groupId, producerId)
    const offsets = control === 'abort' ? [] : [...pending.offsets]
    const newer = offsets.filter(([name, { order }]) => order > (group.newest.get(name) ?? 0))
    for (const [, place] of newer) this.#save(groupId, place)
    const see = (): void => {
      group.settling.delete(pending)
      for (const [name, place] of newer) {
        const isGone = !pending.offsets.has(name)
        if (!isGone && (group.committed.get(name)?.order ?? 0) < place.order) group.committed.set(name, place)
      }
    }
    if (this.#settings.asynchronousOffsets) {
      group.settling.add(pending)
      this.#clock.wake(0, see)
    } else see()
  }

  /** Too much metadata keeps only that partition out. */
  #take(places: CommitRequest['partitions']) {
    const stored: (TopicPartition & Committed)[] = []
    const codes = places.map(({ topic, partition, offset, metadata }): PartitionCode => {
      if (metadata.length > this.#settings.offsetMetadataMaxBytes) {
        return { topic, partition, errorCode: CODE.OFFSET_METADATA_TOO_LARGE }
      }
      this.#order += 1
      stored.push({ topic, partition, offset, metadata, order: this.#order })
      return { topic, partition, errorCode: CODE.NONE }
    })
    return { stored, codes }
  }

  #commitOne(groupId: string, place: TopicPartition & Committed): void {
    this.#group(groupId).committed.set(placeName(place), place)
    this.#save(groupId, place)
  }

  #save(groupId: string, place: TopicPartition & Committed): void {
    this.#group(groupId).newest.set(placeName(place), place.order)
    const record: OffsetRecord = { groupId, ...place }
    this.#journal.put(offsetKey(groupId, place), toJson(record))
  }

  fetch({ groupId, partitions, requireStable }: Requests['OffsetFetch']): Responses['OffsetFetch'] {
    const group = this.#groups.get(groupId)
    return {
      errorCode: CODE.NONE,
      partitions: partitions.map(({ topic, partition }) => {
        const name = placeName({ topic, partition })
        const nothing = { topic, partition, errorCode: CODE.NONE, offset: -1, metadata: '' }
        if (group === undefined) return nothing
        const open = [...group.pending.values(), ...group.settling]
        if (requireStable && open.some(({ offsets }) => offsets.has(name))) {
          return { ...nothing, errorCode: CODE.UNSTABLE_OFFSET_COMMIT }
        }
        const committed = group.committed.get(name)
        if (committed === undefined) return nothing
        return { ...nothing, offset: committed.offset, metadata: committed.metadata }
      }),
    }
  }

  /** The topic has gone, and its offsets with it. */
  forgetTopic(topic: string): void {
    for (const [groupId, { committed, pending, settling, newest }] of this.#groups) {
      for (const { offsets } of settling) {
        for (const [name, place] of offsets) if (place.topic === topic) offsets.delete(name)
      }
      for (const [name, place] of committed) {
        if (place.topic !== topic) continue
        committed.delete(name)
        newest.delete(name)
        this.#journal.remove(offsetKey(groupId, place))
      }
      for (const [producerId, { offsets }] of pending) {
        const names = [...offsets].filter(([, place]) => place.topic === topic).map(([name]) => name)
        for (const name of names) offsets.delete(name)
        if (names.length > 0) this.#savePending(groupId, producerId)
      }
    }
  }

  /** While opening. */
  restoreCommitted({ groupId, ...place }: OffsetRecord): void {
    const group = this.#group(groupId)
    group.committed.set(placeName(place), place)
    group.newest.set(placeName(place), place.order)
    this.#order = Math.max(this.#order, place.order)
  }

  /** While opening. */
  restorePending({ groupId, producerId, epoch, offsets }: PendingRecord): void {
    const pending: Pending = { epoch, offsets: new Map(offsets.map((place) => [placeName(place), place])) }
    this.#group(groupId).pending.set(BigInt(producerId), pending)
    for (const { order } of offsets) this.#order = Math.max(this.#order, order)
  }

  #group(groupId: string): GroupOffsets {
    let group = this.#groups.get(groupId)
    if (group === undefined) {
      group = { committed: new Map(), pending: new Map(), settling: new Set(), newest: new Map() }
      this.#groups.set(groupId, group)
    }
    return group
  }

  #savePending(groupId: string, producerId: bigint): void {
    const key = textKey('q', JSON.stringify([groupId, String(producerId)]))
    const pending = this.#groups.get(groupId)?.pending.get(producerId)
    if (pending === undefined) {
      this.#journal.remove(key)
      return
    }
    const { epoch, offsets } = pending
    const record: PendingRecord = {
      groupId,
      producerId: String(producerId),
      epoch,
      offsets: [...offsets.values()],
    }
    this.#journal.put(key, toJson(record))
  }
}

function offsetKey(groupId: string, { topic, partition }: TopicPartition): Uint8Array {
  return textKey('o', JSON.stringify([groupId, topic, partition]))
}

function placeName({ topic, partition }: TopicPartition): string {
  return `${topic}/${partition}`
}
