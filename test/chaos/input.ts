/**
 * What is fed: the n-th transaction follows from a seed, so that a feeder that asks how far it got knows the rest, and
 * a checker knows what has to be there.
 */
import { INPUTS, type InputName } from './names.ts'

export interface FeedPlan {
  readonly seed: number
  readonly recordsPerTransaction: number
  /** Whether Avro is among the inputs. */
  readonly orders: boolean
}

export interface FedHeader {
  readonly key: string
  readonly value: Buffer | null
}

export interface FedRecord {
  readonly input: InputName
  /** Also its header `id`. Those of transactions that are aborted on purpose begin with x. */
  readonly id: string
  readonly key: Buffer | null
  /** Of an order that is to be encoded: its JSON, see `order`. */
  readonly value: Buffer | null
  readonly headers: readonly FedHeader[]
  readonly timestamp: number
  /** Undefined: by the key, as Kafka's producer does. */
  readonly partition: number | undefined
  /** Why it cannot be processed. */
  readonly poison: Poison | undefined
  /** Under which schema the value is to be encoded; undefined: the bytes are final. */
  readonly order: { readonly id: string; readonly amount: number; readonly note?: string } | undefined
}

/** Bytes that no serde reads, as key or value; what an operator throws at; an id that the registry does not have. */
export type Poison = 'key' | 'value' | 'throws' | 'schema'

/** Long ago, so that no clock of a broker thinks it the future. */
const FIRST_MS = 1_600_000_000_000
const TRANSACTION_MS = 100
const POISONED = 0.006
const BRANCHES = 8
const INSIDE_ACCOUNTS = 4
const AWAY_ACCOUNTS = 3
const COUNTED_KEYS = 500
/** So many transactions fill the same lists. */
const LIST_TRANSACTIONS = 40
const LISTS = 6
const LARGE_VALUE_BYTES = 900_000
const LARGE_KEY_BYTES = 65_536
const SHARES: readonly (readonly [InputName, number])[] = [
  ['numbers', 28],
  ['transfers', 18],
  ['items', 14],
  ['pairs', 14],
  ['changes', 16],
  ['raw', 10],
  ['orders', 10],
]

/** `aborted`: the records of a transaction that is to be aborted before the n-th. */
export function transactionOf(plan: FeedPlan, n: number, aborted = false): readonly FedRecord[] {
  const random = new Chance(plan.seed * 2 + (aborted ? 1 : 0), n)
  const count = Math.max(1, Math.round(plan.recordsPerTransaction * (0.5 + random.next())))
  const shares = SHARES.filter(([name]) => plan.orders || name !== 'orders')
  return Array.from({ length: count }, (_, i) => {
    const id = `${aborted ? 'x' : ''}${n}.${i}`
    const timestamp = FIRST_MS + n * TRANSACTION_MS + Math.min(i, TRANSACTION_MS - 1)
    const input = random.weighted(shares)
    const poison = random.next() < POISONED ? random.pick(POISONS[input]) : undefined
    const headers = [{ key: 'id', value: Buffer.from(id) }]
    if (aborted) headers.push({ key: 'fate', value: Buffer.from('aborted') })
    if (poison !== undefined) headers.push({ key: 'poison', value: Buffer.from(poison) })
    const base = { input, id, headers, timestamp, partition: undefined, poison, order: undefined }
    return { ...base, ...RECORDS[input](random, id, n, poison, base.headers) }
  })
}

const POISONS: Readonly<Record<InputName, readonly Poison[]>> = {
  numbers: ['key', 'value'],
  transfers: ['value', 'throws'],
  items: ['value', 'throws'],
  pairs: [],
  changes: [],
  raw: [],
  orders: ['value', 'schema'],
}

type Made = Pick<FedRecord, 'key' | 'value'> & Partial<FedRecord>
type Make = (
  random: Chance,
  id: string,
  n: number,
  poison: Poison | undefined,
  headers: readonly FedHeader[],
) => Made

const NO_UTF8 = Buffer.from('fffe80', 'hex')
const NO_JSON = Buffer.from('{"id":')
const text = (value: string): Buffer => Buffer.from(value)

const RECORDS: Readonly<Record<InputName, Make>> = {
  numbers: (random, id, n, poison) => ({
    key: poison === 'key' ? NO_UTF8 : text(`k${random.skewed(COUNTED_KEYS)}`),
    // Not eight bytes.
    value: poison === 'value' ? text(id) : int64Of(n),
  }),
  transfers: (random, id, _n, poison) => {
    const branch = `b${random.skewed(BRANCHES)}`
    const isInside = poison === 'throws' || random.next() < 0.5
    const amount = (poison === 'throws' ? -1 : 1) * (1 + random.below(400))
    const account = (of: string, kind: string, count: number): string => `${of}/${kind}${random.below(count)}`
    let transfer = {
      id,
      from: account(branch, 'away', AWAY_ACCOUNTS),
      toBranch: `b${random.below(BRANCHES)}`,
      to: '',
      amount,
    }
    if (isInside || transfer.toBranch === branch) {
      const from = account(branch, 'in', INSIDE_ACCOUNTS)
      transfer = { ...transfer, from, toBranch: branch, to: account(branch, 'in', INSIDE_ACCOUNTS) }
    } else transfer = { ...transfer, to: account(transfer.toBranch, 'away', AWAY_ACCOUNTS) }
    return { key: text(branch), value: poison === 'value' ? NO_JSON : text(JSON.stringify(transfer)) }
  },
  items: (random, id, n, poison) => {
    const item = poison === 'throws' ? { id, throws: true } : { id }
    return {
      key: text(`l${Math.floor(n / LIST_TRANSACTIONS)}-${random.skewed(LISTS)}`),
      value: poison === 'value' ? NO_JSON : text(JSON.stringify(item)),
    }
  },
  pairs: (random, id) => ({ key: text(`p${random.skewed(100)}`), value: text(id) }),
  changes: (random, id) => {
    const kind = random.next()
    const value = kind < 0.15 ? null : text(kind < 0.25 ? 'sweep' : id)
    return { key: int32Of(random.below(61) - 20), value }
  },
  raw: (random, id, _n, _poison, headers) => {
    const key = rawKey(random, id)
    const partition = key === null ? random.below(INPUTS.raw) : undefined
    const more = random.next() < 0.2 ? RAW_HEADERS : []
    return { key, value: rawValue(random, id), partition, headers: [...headers, ...more] }
  },
  orders: (random, id, _n, poison) => {
    const order = { id, amount: random.below(1_000_000_000) - 500_000_000 }
    const key = text(`c${random.skewed(20)}`)
    // Framed as Confluent's serializers do it: a zero byte, the schema's id.
    if (poison === 'value') return { key, value: text('no frame') }
    if (poison === 'schema') return { key, value: Buffer.from('007fffffff00', 'hex') }
    const noted = random.next() < 0.5 ? order : { ...order, note: `note ${id}` }
    return { key, value: text(JSON.stringify(noted)), order: noted }
  },
}

const RAW_HEADERS: readonly FedHeader[] = [
  { key: 'nothing', value: null },
  { key: 'twice', value: Buffer.from([0, 255]) },
  { key: 'twice', value: Buffer.alloc(0) },
  { key: '', value: Buffer.from('no name') },
]

/** The second and third are what a client takes for a marker that looks at keys alone. */
function rawKey(random: Chance, id: string): Buffer | null {
  const kind = random.below(200)
  if (kind === 0) return Buffer.alloc(LARGE_KEY_BYTES, id)
  return random.pick([
    null,
    int32Of(0),
    int32Of(1),
    int32Of(-1),
    int32Of(random.below(50)),
    Buffer.alloc(0),
    text(`r${random.below(20)}`),
  ])
}

function rawValue(random: Chance, id: string): Buffer | null {
  const kind = random.below(400)
  if (kind === 0) return Buffer.alloc(LARGE_VALUE_BYTES, id)
  if (kind < 40) return null
  if (kind < 80) return Buffer.alloc(0)
  return Buffer.alloc(1 + random.below(200), id)
}

function int32Of(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function int64Of(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(value))
  return bytes
}

/** Mulberry32, begun anew for each transaction. */
class Chance {
  #state: number

  constructor(seed: number, n: number) {
    this.#state = Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(n + 1, 0x85ebca6b)
    this.next()
  }

  /** From 0 to below 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  below(end: number): number {
    return Math.floor(this.next() * end)
  }

  /** A few often, most seldom. */
  skewed(end: number): number {
    return Math.floor(this.next() ** 3 * end)
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }

  weighted<T>(shares: readonly (readonly [T, number])[]): T {
    let left = this.next() * shares.reduce((sum, [, share]) => sum + share, 0)
    for (const [value, share] of shares) {
      left -= share
      if (left < 0) return value
    }
    return (shares.at(-1) as readonly [T, number])[0]
  }
}
