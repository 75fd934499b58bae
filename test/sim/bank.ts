/**
 * A second application: every record fed is a transfer, which becomes two entries that travel through a repartition topic
 * to the accounts' tasks. What is there of money, in balances and under way between them, is nothing at each moment. Each
 * entry goes to two sinks, which say the same at each moment.
 */
import { bytes, int64, string, Topology } from '../../src/index.ts'
import type { RawRecord } from '../../src/kafka/record-batch.ts'
import type { Fed } from './feeder.ts'
import type { Ledger } from './ledger.ts'
import { readParts } from './outcome.ts'
import {
  APPLICATION,
  COPIES,
  changelogOf,
  EXTRA,
  groupOf,
  INPUT,
  type RegionName,
  TALLIES,
} from './workload.ts'
import type { World } from './world.ts'

const ENTRIES = `${APPLICATION}-by-account-repartition`

interface Transfer {
  readonly from: string
  readonly to: string
  readonly amount: number
}

/** What a fed record means. */
function transferOf(id: number): Transfer {
  return { from: groupOf(id), to: groupOf(id + 1 + (id % 4)), amount: 1 + (id % 9) }
}

export function bank() {
  const topology = new Topology(APPLICATION)
  const counts = topology.region('counts', { key: string, value: int64 })
  const lasts = topology.region('lasts', { key: string, value: bytes })
  const booked = topology
    .stream(INPUT, { key: bytes, value: bytes })
    .merge(topology.stream(EXTRA, { key: bytes, value: bytes }))
    .flatMap((_value, _key, { timestamp }) => {
      const { from, to, amount } = transferOf(timestamp)
      return [[from, -amount] as const, [to, amount] as const]
    })
    .repartition('by-account', { key: string, value: int64 })
    .process('book', { regions: [counts, lasts], key: string, value: int64 }, (record, context) => {
      const { key, value, timestamp } = record
      const balance = (context.counts.get(key) ?? 0) + (value ?? 0)
      context.counts.put(key, balance)
      context.lasts.put(key, Buffer.from(String(timestamp)))
      context.forward(key, balance)
    })
  booked.to(COPIES)
  booked.to(TALLIES)
  return { topology, regions: { counts, lasts } }
}

/** Judges each transaction of the application as soon as it is committed. */
export function watchBank(ledger: Ledger, broken: (law: string) => void): void {
  const balances = new Map<string, bigint>()
  let underWay: { readonly place: string; readonly offset: number; readonly amount: bigint }[] = []
  ledger.onCommitted = (appended) => {
    const sinks = new Map<string, string[]>([
      [COPIES, []],
      [TALLIES, []],
    ])
    for (const { topic, partition, records } of appended) {
      const place = `${topic}/${partition}`
      for (const { offset, key, value, timestamp } of records) {
        if (topic === ENTRIES) underWay.push({ place, offset, amount: (value as Buffer).readBigInt64BE(0) })
        else if (topic === changelogOf('counts'))
          balances.set(String(key), (value as Buffer).readBigInt64BE(0))
        else sinks.get(topic)?.push(`${partition} ${timestamp} ${key} ${(value as Buffer).toString('hex')}`)
      }
    }
    underWay = underWay.filter(({ place, offset }) => offset >= (ledger.committed.get(place)?.offset ?? 0))
    let total = 0n
    for (const balance of balances.values()) total += balance
    for (const { amount } of underWay) total += amount
    if (total !== 0n) broken(`accounts and entries under way hold ${total} after a commit`)
    const [copies, tallies] = [...sinks.values()].map((lines) => lines.sort().join('; '))
    if (copies !== tallies) broken(`a commit shows ${copies} in one sink and ${tallies} in the other`)
  }
}

/** What came out, by the account's order. */
export async function checkBank(world: World, fed: readonly Fed[]): Promise<void> {
  const [copies, tallies] = [await readParts(world, COPIES), await readParts(world, TALLIES)]
  const inputs = new Map(fed.map((record) => [record.id, record]))
  const left = new Set<string>()
  for (const { id } of fed) {
    const { from, to } = transferOf(id)
    left.add(`${id} ${from}`).add(`${id} ${to}`)
  }
  const balances = new Map<string, bigint>()
  const lasts = new Map<string, number>()
  const newest = new Map<string, number>()
  for (const [partition, records] of copies.entries()) {
    const same = tallies[partition] ?? []
    if (records.map(told).join() !== same.map(told).join())
      world.broken(`the sinks differ in partition ${partition}`)
    for (const { timestamp: id, key, value, offset } of records) {
      const account = String(key)
      const where = `${COPIES}/${partition}@${offset}: ${id} of ${account}`
      const input = inputs.get(id)
      if (!left.delete(`${id} ${account}`) || input === undefined) {
        world.broken(`${where} is there twice, or was never fed`)
        continue
      }
      const source = `${account} ${input.topic}/${input.partition}`
      if ((newest.get(source) ?? -1) > id) world.broken(`${where} comes after ${newest.get(source)}`)
      newest.set(source, id)
      const { from, amount } = transferOf(id)
      const balance = (balances.get(account) ?? 0n) + BigInt(account === from ? -amount : amount)
      balances.set(account, balance)
      lasts.set(account, id)
      const said = (value as Buffer).readBigInt64BE(0)
      if (said !== balance) world.broken(`${where} says ${said}, it has ${balance}`)
    }
  }
  if (left.size > 0) world.broken(`${COPIES} lacks ${[...left].join(', ')}`)
  await checkRegion(world, 'counts', balances, (value) => String(value.readBigInt64BE(0)))
  await checkRegion(world, 'lasts', lasts, String)
  world.assertLaws()
}

async function checkRegion(
  world: World,
  region: RegionName,
  expected: ReadonlyMap<string, bigint | number>,
  shown: (value: Buffer) => string,
): Promise<void> {
  const found = new Map<string, string>()
  for (const records of await readParts(world, changelogOf(region)))
    for (const { key, value } of records) found.set(String(key), shown(value as Buffer))
  for (const [account, value] of expected) {
    if (found.get(account) !== String(value))
      world.broken(`${region} of ${account} folds to ${found.get(account)}, expected is ${value}`)
  }
  if (found.size !== expected.size) world.broken(`${region} has accounts that nobody knows`)
}

function told({ timestamp, key, value }: RawRecord): string {
  return `${timestamp} ${key} ${value?.toString('hex')}`
}
