/**
 * A worker whose transactions can be told from outside to be whole: transaction n writes n to both partitions of a
 * topic and commits n as the offset of both in a group; every fourth is aborted instead. One transactional id per worker.
 */

import { CODE } from '../../src/kafka/error-codes.ts'
import { visibleBatches } from '../../src/kafka/read-committed.ts'
import { batch, type Session } from '../contract/fixture.ts'
import { decodeRecords } from '../decode-records.ts'

export const TOPIC = 'story'
const PARTITIONS = [0, 1]

export interface Told {
  readonly worker: string
  readonly n: number
  readonly committed: boolean
}

export async function createTopic(s: Session): Promise<void> {
  const topics = [{ topic: TOPIC, partitions: PARTITIONS.length, replicationFactor: -1, configs: {} }]
  await s.send('CreateTopics', { topics, timeoutMs: 10_000 })
}

/** Transactions one after the other, from `n` on, until a request fails; `onEnded` after each answered EndTxn. */
export async function work(
  s: Session,
  worker: string,
  n: number,
  onEnded: (told: Told) => void,
): Promise<void> {
  const producer = await s.producer(worker)
  const connection = s.connect('produce')
  const groupId = `group-${worker}`
  const places = PARTITIONS.map((partition) => ({ topic: TOPIC, partition }))
  for (let sequence = 0; ; n++, sequence++) {
    const committed = n % 4 !== 3
    await s.begin(producer, ...places)
    const records = batch([[worker, String(n)]], { ...producer, baseSequence: sequence })
    const partitions = places.map((place) => ({ ...place, records }))
    const { transactionalId } = producer
    const request = { transactionalId, acks: -1, timeoutMs: 10_000, partitions } as const
    const produced = await s.send('Produce', request, connection)
    expectNone(produced.partitions)
    await s.addOffsets(producer, groupId)
    for (const place of places) {
      const errorCode = await s.commitOffset(producer, groupId, place, n, { metadata: `n=${n}` })
      expectNone([{ errorCode }])
    }
    await s.end(producer, committed)
    onEnded({ worker, n, committed })
  }
}

/** Everything that a later reader finds, after every open transaction was ended. */
export interface Found {
  /** By worker, the numbers in both partitions. */
  readonly records: Map<string, number[][]>
  readonly offsets: Map<string, number[]>
}

/** Ends what the workers left open, and reads all that is committed. */
export async function read(s: Session, workers: readonly string[]): Promise<Found> {
  const records = new Map<string, number[][]>(workers.map((worker) => [worker, [[], []]]))
  const offsets = new Map<string, number[]>()
  for (const worker of workers) await s.producer(worker)
  for (const partition of PARTITIONS) {
    const place = { topic: TOPIC, partition }
    await s.until(
      async () => [
        await s.offset(place, 'latest', 'read_committed'),
        await s.offset(place, 'latest', 'read_uncommitted'),
      ],
      ([stable, end]) => stable === end,
    )
    const end = await s.offset(place, 'latest', 'read_committed')
    for (let offset = 0; offset < end; ) {
      const fetched = await s.fetch(place, offset, 'read_committed', { partitionBytes: 3_000 })
      const visible = visibleBatches(fetched, offset, 'read_committed')
      for (const { bytes, at, header } of visible.batches) {
        for (const { key, value } of decodeRecords(bytes, at, header)) {
          records.get(String(key))?.[partition]?.push(Number(String(value)))
        }
      }
      offset = visible.nextOffset
    }
    for (const worker of workers) {
      const committed = await s.committedOffset(`group-${worker}`, place, true)
      expectNone([committed])
      offsets.set(worker, [...(offsets.get(worker) ?? []), committed.offset])
    }
  }
  return { records, offsets }
}

/** What was told must be there; each transaction is there wholly or not at all; the offset is that of the last one. */
export function faults(found: Found, told: readonly Told[]): string[] {
  const faulty: string[] = []
  for (const [worker, [first = [], second = []]] of found.records) {
    if (first.join() !== second.join())
      faulty.push(`${worker}: ${first.join()} in one, ${second.join()} in the other`)
    if (first.some((n, i) => n % 4 === 3 || n <= (first[i - 1] ?? -1)))
      faulty.push(`${worker}: ${first.join()}`)
    const last = first.at(-1) ?? -1
    for (const offset of found.offsets.get(worker) ?? []) {
      if (offset !== last) faulty.push(`${worker}: offset ${offset}, last record ${last}`)
    }
    const there = new Set(first)
    for (const { n, committed } of told.filter((one) => one.worker === worker)) {
      if (there.has(n) !== committed) faulty.push(`${worker}: ${n} was told committed: ${committed}`)
    }
  }
  return faulty
}

function expectNone(answers: readonly { readonly errorCode: number }[]): void {
  for (const { errorCode } of answers) {
    if (errorCode !== CODE.NONE) throw new Error(`The answer is ${errorCode}`)
  }
}
