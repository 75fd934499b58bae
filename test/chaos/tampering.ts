/** Records of a topic as they would be if one thing had gone wrong: what happens to the last of them that is meant. */
import { expect } from 'vitest'
import type { CommittedRecord } from '../stack/committed.ts'
import { grouped, headerOf, jsonOf, keyOf } from './records.ts'
import type { Statement } from './workloads.ts'

export type Records = readonly CommittedRecord[]
export type Change = (records: Records) => Records
type Which = (record: CommittedRecord) => boolean
type Pair = (a: CommittedRecord, b: CommittedRecord) => boolean

export const any: Which = () => true
export const hasNoValue: Which = ({ value }) => value === null
export const hasNoKey: Which = ({ key }) => key === null
export const hasEmptyKey: Which = ({ key }) => key?.length === 0
export const isSweep: Which = ({ value }) => String(value).startsWith('swept')
export const isPoison: Which = (record) => headerOf(record, 'poison') !== undefined
/** Between two accounts. */
export const isOf =
  (kind: Statement['kind']): Which =>
  (record) => {
    const statement = jsonOf<Statement>(record)
    return statement.kind === kind && statement.from !== statement.to
  }
export const sameKey: Pair = (a, b) => a.key !== null && keyOf(a) === keyOf(b)
export const samePlace: Pair = (a, b) => a.partition === b.partition
export const bothInside: Pair = (a, b) => sameKey(a, b) && isOf('inside')(a) && isOf('inside')(b)

export const header = (key: string, value: string) => ({ key, value: Buffer.from(value) })

export const without =
  (which: Which): Change =>
  (records) =>
    records.toSpliced(place(records, which), 1)

export const twice =
  (which: Which): Change =>
  (records) => {
    const at = place(records, which)
    return records.toSpliced(at, 0, records[at] as CommittedRecord)
  }

export const changed =
  (which: Which, by: Partial<CommittedRecord> | ((record: CommittedRecord) => object)): Change =>
  (records) => {
    const at = place(records, which)
    const record = records[at] as CommittedRecord
    return records.with(at, { ...record, ...(typeof by === 'function' ? by(record) : by) })
  }

/** One more, much like another, behind all. */
export const added =
  (which: Which, by: Partial<CommittedRecord>): Change =>
  (records) => [...records, { ...(records[place(records, which)] as CommittedRecord), ...by }]

/** Two that are alike have changed places. */
export const swapped =
  (pair: Pair): Change =>
  (records) => {
    for (const [at, a] of records.entries()) {
      const other = records.findIndex((b, i) => i > at && pair(a, b))
      if (other < 0) continue
      const b = records[other] as CommittedRecord
      return records.with(at, { ...b, offset: a.offset }).with(other, { ...a, offset: b.offset })
    }
    throw new Error('There are no two such records')
  }

export const reheaded = (name: string, value: string): Change =>
  changed(any, ({ headers }) => ({
    headers: headers.map((one) => (one.key === name ? header(name, value) : one)),
  }))

export const restated = (kind: Statement['kind'], by: Partial<Statement>): Change =>
  changed(isOf(kind), (record) => ({
    value: Buffer.from(JSON.stringify({ ...jsonOf<Statement>(record), ...by })),
  }))

/** A list of several. */
export const relisted = (by: (ids: string[]) => string[]): Change =>
  changed(
    (record) => jsonOf<string[]>(record).length > 1,
    (record) => ({ value: Buffer.from(JSON.stringify(by(jsonOf<string[]>(record)))) }),
  )

/** To another partition; one whose key there is several times. */
export const moved: Change = (records) => {
  const [first] = [...grouped(records, keyOf).values()].filter((list) => list.length > 1 && list[0]?.key)
  return changed(
    (record) => record === first?.at(-1),
    ({ partition }) => ({ partition: partition === 0 ? 1 : 0 }),
  )(records)
}

/** An entry stays that was deleted. */
export const undeleted: Change = (records) => {
  const gone = [...grouped(records, keyOf).values()].find(
    (list) => list.at(-1)?.value === null && list.at(-2)?.value != null,
  )
  return without((record) => record === gone?.at(-1))(records)
}

/** Of two accounts that a transfer changes, one. */
export const halved: Change = (records) => {
  const one = [...grouped(records, keyOf).values()].find(
    (list) => String(list[0]?.key).includes('/in') && differ(list.at(-1), list.at(-2)),
  )
  return without((record) => record === one?.at(-1))(records)
}

const differ = (a: CommittedRecord | undefined, b: CommittedRecord | undefined): boolean =>
  a?.value != null && b?.value != null && !a.value.equals(b.value)

function place(records: Records, which: Which): number {
  const at = records.findLastIndex(which)
  expect(at, 'no such record').toBeGreaterThanOrEqual(0)
  return at
}
