/** W7: what each customer spent, in Avro. */
import avsc from 'avsc'
import type { CommittedRecord } from '../stack/committed.ts'
import { transactionOf } from './input.ts'
import type { Ledger } from './ledger.ts'
import { type Entries, grouped, idOf, isPoison, keyOf, type Topics } from './records.ts'
import type { Verdict } from './verdict.ts'

const LAW = 'C1 totals'
const FRAME_BYTES = 5

/** Values framed as Confluent's serializers do it, by the schemas that a registry has for them. */
export class AvroValues {
  readonly #url: string
  readonly #types = new Map<number, avsc.Type>()

  constructor(url: string) {
    this.#url = url
  }

  /** Before `read`: asks for the schemas of these records. */
  async prepare(records: readonly CommittedRecord[]): Promise<void> {
    const ids = new Set(records.filter((record) => !isPoison(record)).map(({ value }) => schemaOf(value)))
    for (const id of ids) {
      if (id === undefined || this.#types.has(id)) continue
      const answer = await fetch(`${this.#url}/schemas/ids/${id}`)
      if (!answer.ok) throw new Error(`The registry answers ${answer.status} for schema ${id}`)
      const { schema } = (await answer.json()) as { schema: string }
      this.#types.set(id, avsc.Type.forSchema(JSON.parse(schema)))
    }
  }

  /** As JSON with its members in order. */
  read(value: Buffer | null): string {
    const type = this.#types.get(schemaOf(value) ?? -1)
    if (value === null || type === undefined) return `no Avro (${value?.subarray(0, 20).toString('hex')})`
    return JSON.stringify({ ...type.fromBuffer(value.subarray(FRAME_BYTES)) })
  }
}

function schemaOf(value: Buffer | null): number | undefined {
  return value !== null && value.length >= FRAME_BYTES && value[0] === 0 ? value.readInt32BE(1) : undefined
}

/** `values` has been prepared with the records of `orders`, `totals` and the changelog. */
export function judgeOrders(ledger: Ledger, topics: Topics, values: AvroValues, verdict: Verdict): Entries {
  const notes = new Map<string, string | undefined>()
  for (let n = 0; n < ledger.transactions + 2; n++) {
    for (const { id, order } of transactionOf(ledger.plan, n)) if (order) notes.set(id, order.note)
  }
  const inputs = grouped(
    topics('orders').filter((record) => !isPoison(record)),
    keyOf,
  )
  const outputs = grouped(topics('totals'), keyOf)
  const entries: Entries = new Map()
  for (const key of new Set([...inputs.keys(), ...outputs.keys()])) {
    const spend = { orders: 0, amount: 0, last: '' }
    const expected = (inputs.get(key) ?? []).map((record) => {
      const { id, amount } = JSON.parse(values.read(record.value)) as { id: string; amount: number }
      if (id !== idOf(record)) verdict.say(LAW, `order ${idOf(record)} says that it is ${id}`)
      spend.orders += 1
      spend.amount += amount
      spend.last = `${id} ${notes.get(id) ?? '-'}`
      return `${id}: ${JSON.stringify(spend)}`
    })
    const found = (outputs.get(key) ?? []).map((record) => `${idOf(record)}: ${values.read(record.value)}`)
    verdict.same(LAW, `customer ${Buffer.from(key, 'hex')}`, expected, found)
    if (expected.length > 0) entries.set(key, JSON.stringify(spend))
  }
  return entries
}
