/** What came out, read record by record from the broker's logs, without any of the application's own reading. */
import { partitionFor } from '../../src/kafka/partitioner.ts'
import { controlTypeOf, type RawRecord, readBatchHeader } from '../../src/kafka/record-batch.ts'
import type { Responses } from '../../src/ports.ts'
import type { Fed } from './feeder.ts'
import { recordsIn } from './ledger.ts'
import {
  asksForKeys,
  COPIES,
  changelogOf,
  decodeTally,
  groupOf,
  INPUT,
  REGIONS,
  TALLIES,
} from './workload.ts'
import type { World } from './world.ts'

/** Records of committed transactions by offset. A transaction ends with the next marker of its producer. */
async function readCommitted(world: World, topic: string, partition: number): Promise<RawRecord[]> {
  const connection = world.wire.connect('fetch')
  const open = new Map<bigint, RawRecord[]>()
  const committed: RawRecord[] = []
  for (let offset = 0; ; ) {
    const partitions = [{ topic, partition, offset, maxBytes: 1 << 24 }]
    const request = {
      api: 'Fetch',
      maxWaitMs: 0,
      minBytes: 1,
      maxBytes: 1 << 24,
      isolation: 'read_uncommitted',
      partitions,
    } as const
    const outcome = await connection.send(0, request, 60_000)
    if (!outcome.ok) throw new Error(`Reading ${topic}/${partition}: ${outcome.reason}`)
    const [found] = outcome.response.partitions as [Responses['Fetch']['partitions'][number]]
    const bytes = Buffer.from(found.records)
    for (let at = 0; at < bytes.length; ) {
      const header = readBatchHeader(bytes, at)
      if (header === undefined) break
      const { producerId } = header
      if (!header.isTransactional) committed.push(...recordsIn(bytes, header, at))
      else if (header.isControl) {
        if (controlTypeOf(bytes, at, header) === 'commit') committed.push(...(open.get(producerId) ?? []))
        open.delete(producerId)
      } else open.set(producerId, [...(open.get(producerId) ?? []), ...recordsIn(bytes, header, at)])
      at += header.sizeBytes
      offset = header.lastOffset + 1
    }
    if (offset >= found.highWatermark) {
      if (open.size > 0) world.broken(`a transaction in ${topic}/${partition} has not ended`)
      break
    }
  }
  connection.destroy()
  return committed.sort((a, b) => a.offset - b.offset)
}

/** By partition. */
export function readParts(world: World, topic: string): Promise<RawRecord[][]> {
  const partitions = Array.from({ length: world.partitions }, (_, i) => i)
  return Promise.all(partitions.map((partition) => readCommitted(world, topic, partition)))
}

/**
 * Under at-least-once: nothing is lost, nothing is made up, and what comes for the first time comes in order. With the
 * counts of groups, which may count twice, and never too little. `isFenced`: nobody has appended after others had taken
 * over; else regions may have gone back.
 */
export async function checkAtLeastOnce(world: World, fed: readonly Fed[], isFenced: boolean): Promise<void> {
  const check = (topic: string, parts: readonly RawRecord[][], wanted: readonly Fed[]): void => {
    const left = new Map(wanted.map((record) => [record.id, record]))
    const known = new Map(left)
    for (const [partition, records] of parts.entries()) {
      const newest = new Map<string, number>()
      const counted = new Map<string, Set<number>>()
      for (const { timestamp: id, key, value, offset } of records) {
        const where = `${topic}/${partition}@${offset}: ${id}`
        const input = known.get(id)
        if (input === undefined) {
          world.broken(`${where} was never fed`)
          continue
        }
        const isFirst = left.delete(id)
        if (topic === COPIES && (!same(input.key, key) || !same(input.value, value)))
          world.broken(`${where} is not what was fed`)
        if (topic === TALLIES) {
          const group = String(key)
          const ids = counted.get(group) ?? new Set()
          counted.set(group, ids.add(id))
          const { count } = decodeTally(value as Buffer)
          if (isFenced && count < ids.size)
            world.broken(`${where} has count ${count}, ${ids.size} of ${group} are there`)
        }
        if (key === null || !isFirst) continue
        const source = `${key.toString('hex')} ${input.topic}/${input.partition}`
        if ((newest.get(source) ?? -1) > id) world.broken(`${where} comes after ${newest.get(source)}`)
        newest.set(source, id)
      }
    }
    if (left.size > 0) world.broken(`${topic} lacks ${[...left.keys()].join(' ')}`)
  }
  check(
    COPIES,
    await readParts(world, COPIES),
    fed.filter((record) => isCopied(world, record)),
  )
  check(
    TALLIES,
    await readParts(world, TALLIES),
    fed.filter((record) => !world.isRefused(record)),
  )
  world.assertLaws()
}

export async function checkOutcome(world: World, fed: readonly Fed[]): Promise<void> {
  const read = (topic: string): Promise<RawRecord[][]> => readParts(world, topic)
  checkCopies(
    world,
    await read(COPIES),
    fed.filter((record) => isCopied(world, record)),
  )
  const tallied = fed.filter((record) => !world.isRefused(record))
  const lasts = checkTallies(world, await read(TALLIES), tallied)
  for (const [i, region] of REGIONS.entries()) {
    const parts = await read(changelogOf(region))
    for (const [partition, records] of parts.entries()) {
      const entries = new Map<string, string>()
      for (const { key, value } of records) {
        if (value === null) entries.delete(String(key))
        else entries.set(String(key), value.toString('hex'))
      }
      const expected = (lasts[partition] as [Map<string, string>, Map<string, string>])[i] as Map<
        string,
        string
      >
      const isSame = entries.size === expected.size && [...expected].every(([k, v]) => entries.get(k) === v)
      if (!isSame) {
        world.broken(
          `${changelogOf(region)}/${partition} folds to ${text(entries)}, expected is ${text(expected)}`,
        )
      }
    }
  }
  world.assertLaws()
}

/** Dead letters are copies, too. */
function isCopied(world: World, record: Fed): boolean {
  return record.topic === INPUT || world.isRefused(record)
}

function checkCopies(world: World, parts: readonly RawRecord[][], fed: readonly Fed[]): void {
  const left = new Map(fed.map((record) => [record.id, record]))
  for (const [partition, records] of parts.entries()) {
    const newest = new Map<string, number>()
    for (const { timestamp: id, key, value, offset } of records) {
      const where = `${COPIES}/${partition}@${offset}: ${id}`
      const input = left.get(id)
      if (!left.delete(id) || input === undefined) {
        world.broken(`${where} is there twice, or was never fed`)
        continue
      }
      if (!same(input.key, key) || !same(input.value, value)) world.broken(`${where} is not what was fed`)
      if (key === null) continue
      if (partition !== partitionFor(key, world.partitions)) world.broken(`${where} is of another partition`)
      const name = key.toString('hex')
      if ((newest.get(name) ?? -1) > id) world.broken(`${where} comes after ${newest.get(name)}`)
      newest.set(name, id)
    }
  }
  if (left.size > 0) world.broken(`${COPIES} lacks ${[...left.keys()].join(' ')}`)
}

/** Replays the order in which the tasks say that they have worked. Returns what their regions have to hold. */
function checkTallies(
  world: World,
  parts: readonly RawRecord[][],
  fed: readonly Fed[],
): [Map<string, string>, Map<string, string>][] {
  const left = new Map(fed.map((record) => [record.id, record]))
  const states = parts.map((records, partition): [Map<string, string>, Map<string, string>] => {
    const counts = new Map<string, number>()
    const lasts = new Map<string, string>()
    const newest = new Map<string, number>()
    for (const { timestamp: id, key, value, offset } of records) {
      const where = `${TALLIES}/${partition}@${offset}: ${id}`
      const input = left.get(id)
      if (!left.delete(id) || input === undefined) {
        world.broken(`${where} is there twice, or was never fed`)
        continue
      }
      const group = String(key)
      if (group !== groupOf(id)) world.broken(`${where} has key ${group}`)
      const source = `${group} ${input.topic}/${input.partition}`
      if ((newest.get(source) ?? -1) > id) world.broken(`${where} comes after ${newest.get(source)}`)
      newest.set(source, id)
      const count = (counts.get(group) ?? 0) + 1
      counts.set(group, count)
      if (input.value === null) lasts.delete(group)
      else lasts.set(group, Buffer.from(input.value).toString('hex'))
      const told = decodeTally(value as Buffer)
      if (told.count !== count)
        world.broken(`${where} has count ${told.count}, it is the ${count}th of ${group}`)
      const keys = asksForKeys(id) ? lasts.size : -1
      if (told.keys !== keys) world.broken(`${where} saw ${told.keys} keys, there were ${keys}`)
    }
    return [new Map(Array.from(counts, ([group, count]) => [group, int64(count)])), lasts]
  })
  if (left.size > 0) world.broken(`${TALLIES} lacks ${[...left.keys()].join(' ')}`)
  return states
}

function int64(value: number): string {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(value))
  return bytes.toString('hex')
}

function same(a: Uint8Array | null, b: Buffer | null): boolean {
  return a === null || b === null ? a === b : b.equals(a)
}

function text(entries: ReadonlyMap<string, string>): string {
  return `{${Array.from(entries, ([key, value]) => `${key}: ${value}`)
    .sort()
    .join(', ')}}`
}
