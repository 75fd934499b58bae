/**
 * What runs in a chaos run: workloads whose results tell a duplicate from a loss, and either from a wrong order.
 *
 * Whatever an operator sends on carries the headers of its input, and so its id.
 */
import {
  avro,
  bytes,
  ensureTopics,
  int32,
  int64,
  json,
  string,
  Topology,
  type Wire,
} from '../../src/index.ts'
import { applicationOf, topicsOf } from './names.ts'

export interface Transfer {
  readonly id: string
  readonly from: string
  readonly to: string
  /** Of the account that is paid. Another one than the key: the money travels. */
  readonly toBranch: string
  /** Negative: the operator throws, after it has written and forwarded. */
  readonly amount: number
}

export interface Statement {
  readonly id: string
  readonly kind: 'inside' | 'debit' | 'credit' | 'refused'
  readonly from: string
  readonly to: string
  readonly toBranch: string
  readonly amount: number
  /** After it, as far as the account is of this branch. */
  readonly fromBalance: number | null
  readonly toBalance: number | null
}

/** What every account has before its first transfer. */
const OPENING = 1_000
/** An entry is live for so long, by the timestamps of records. */
const TIME_TO_LIVE_MS = 20_000
/** Some processors wait for something else before they go on. */
const isSlow = (id: string): boolean => id.endsWith('7')
const asideMs = 2

export const ORDER = {
  type: 'record',
  name: 'Order',
  fields: [
    { name: 'id', type: 'string' },
    { name: 'amount', type: 'long' },
    { name: 'note', type: ['null', 'string'], default: null },
  ],
}
const SPEND = {
  type: 'record',
  name: 'Spend',
  fields: [
    { name: 'orders', type: 'int' },
    { name: 'amount', type: 'long' },
    { name: 'last', type: 'string' },
  ],
}

/**
 * One topology; its application is `applicationOf(prefix)`. With a registry's address Avro is among the workloads: then
 * the Druse that runs it needs that registry.
 */
export function workloads({ prefix, registryUrl }: { prefix: string; registryUrl?: string }): Topology {
  const topology = new Topology(applicationOf(prefix))
  const named = (name: string): string => `${prefix}${name}`
  const refused = { deadLetter: named('refused') }
  count(topology, named)
  bank(topology, named, refused)
  append(topology, named, refused)
  twoSinks(topology, named)
  changes(topology, named)
  topology.stream(named('raw'), { key: bytes, value: bytes }).to(named('copies'))
  if (registryUrl !== undefined) orders(topology, named, refused)
  return topology
}

type Named = (name: string) => string
type DeadLetters = { readonly deadLetter: string }

/** W1: per key the numbers 1, 2, 3… Records that cannot be read are skipped. */
function count(topology: Topology, named: Named): void {
  topology
    .stream(named('numbers'), { key: string, value: int64, onUndecodable: 'skip' })
    .groupByKey()
    .count('counts')
    .toStream()
    .to(named('counts'))
}

/** W2: transfers between accounts of a branch, or to another branch, through a repartition topic, into the same region. */
function bank(topology: Topology, named: Named, refused: DeadLetters): void {
  const balances = topology.region('balances', { key: string, value: int64 })
  const source = { key: string, value: json<Transfer>(), onUndecodable: refused, onFailure: refused }
  const booked = topology
    .stream(named('transfers'), source)
    .process('debit', { regions: [balances], value: json<Statement>() }, (record, context) => {
      const { id, from, to, toBranch, amount } = record.value
      const has = context.balances.get(from) ?? OPENING
      const statement = { id, from, to, toBranch, amount, toBalance: null }
      if (amount > has) {
        context.forward(record.key, { ...statement, kind: 'refused', fromBalance: has })
        return
      }
      context.balances.put(from, has - amount)
      if (toBranch !== record.key) {
        context.forward(record.key, { ...statement, kind: 'debit', fromBalance: has - amount })
        return
      }
      const toBalance = (context.balances.get(to) ?? OPENING) + amount
      context.balances.put(to, toBalance)
      context.forward(record.key, { ...statement, kind: 'inside', fromBalance: has - amount, toBalance })
      if (amount < 0) throw new Error(`transfer ${id} is of ${amount}`)
    })
  const credited = booked
    .filter(({ kind }) => kind === 'debit')
    .selectKey(({ toBranch }) => toBranch)
    .repartition('credits', { key: string })
    .process('credit', { regions: [balances] }, (record, context) => {
      const { to, amount } = record.value
      const toBalance = (context.balances.get(to) ?? OPENING) + amount
      context.balances.put(to, toBalance)
      context.forward(record.key, { ...record.value, kind: 'credit', fromBalance: null, toBalance })
    })
  booked.to(named('statements'))
  credited.to(named('statements'))
}

/** W3: a list per key; each record comes out as the whole list. */
function append(topology: Topology, named: Named, refused: DeadLetters): void {
  const lists = topology.region('lists', { key: string, value: json<readonly string[]>() })
  topology
    .stream(named('items'), {
      key: string,
      value: json<{ readonly id: string; readonly throws?: true }>(),
      onUndecodable: refused,
      onFailure: refused,
    })
    .process(
      'append',
      { regions: [lists], value: json<readonly string[]>() },
      ({ key, value }, context): void | Promise<void> => {
        const list = [...(context.lists.get(key) ?? []), value.id]
        context.lists.put(key, list)
        const done = (): void => {
          context.forward(key, list)
          if (value.throws) throw new Error(`item ${value.id} is refused`)
        }
        if (!isSlow(value.id)) return done()
        return new Promise((resolve) => setTimeout(resolve, asideMs)).then(done)
      },
    )
    .to(named('lists'))
}

/** W4: the same record to two topics. */
function twoSinks(topology: Topology, named: Named): void {
  const pairs = topology.stream(named('pairs'), { key: string, value: string })
  pairs.to(named('left'))
  pairs.to(named('right'))
}

/** W5: entries come, go, and are swept when they are old: ranges, deletes and tombstones. */
function changes(topology: Topology, named: Named): void {
  const live = topology.region('live', { key: int32, value: string })
  topology
    .stream(named('changes'), { key: int32, value: string })
    .process(
      'live',
      { regions: [live], value: string },
      ({ key, value, timestamp }, context): void | Promise<void> => {
        const text = value as string | null
        if (text === null) {
          context.live.delete(key)
          // A tombstone, as the input was.
          context.forward(key, null as unknown as string)
          return
        }
        if (text !== 'sweep') {
          context.live.put(key, `${timestamp + TIME_TO_LIVE_MS} ${text}`)
          context.forward(key, text)
          return
        }
        return (async () => {
          const old: number[] = []
          let below = 0
          for await (const [entry, until] of context.live.range()) {
            if (Number.parseInt(until, 10) <= timestamp) old.push(entry)
          }
          for await (const _ of context.live.range({ lt: 0 })) below += 1
          for (const entry of old) context.live.delete(entry)
          context.forward(key, `swept ${old.join()}; ${below} below zero`)
        })()
      },
    )
    .to(named('live'))
}

/** W7: Avro in, Avro in the region, Avro out. */
function orders(topology: Topology, named: Named, refused: DeadLetters): void {
  interface Order {
    readonly id: string
    readonly amount: number
    readonly note: string | null
  }
  interface Spend {
    readonly orders: number
    readonly amount: number
    readonly last: string
  }
  const spend = topology.region('spend', { key: string, value: avro<Spend>(SPEND) })
  topology
    .stream(named('orders'), { key: string, value: avro<Order>(ORDER), onUndecodable: refused })
    .process('spend', { regions: [spend], value: avro<Spend>(SPEND) }, ({ key, value }, context) => {
      const before = context.spend.get(key) ?? { orders: 0, amount: 0 }
      const last = `${value.id} ${value.note ?? '-'}`
      const after = { orders: before.orders + 1, amount: before.amount + value.amount, last }
      context.spend.put(key, after)
      context.forward(key, after)
    })
    .to(named('totals'))
}

/** Of inputs and sinks; those that exist are left as they are. */
export async function makeTopics(wire: Wire, prefix: string): Promise<void> {
  // Timestamps are made up and old: Kafka would delete the records.
  const configs = { 'retention.ms': '-1' }
  await ensureTopics(
    wire,
    topicsOf(prefix).all.map((topic) => ({ ...topic, configs })),
  )
}
