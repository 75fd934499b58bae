/** Committed records as the laws look at them. No code is shared with what is tested. */
import { createHash } from 'node:crypto'
import type { CommittedRecord } from '../stack/committed.ts'

/** Of a topic by its name without the prefix. Changelogs: by their region, with `-changelog` behind. */
export type Topics = (name: string) => readonly CommittedRecord[]

export function headerOf({ headers }: CommittedRecord, name: string): string | undefined {
  return headers.find(({ key }) => key === name)?.value?.toString()
}

/** The name of what it was made from; '?' where there is none. */
export const idOf = (record: CommittedRecord): string => headerOf(record, 'id') ?? '?'
/** Whatever is made of a record has its time, too. */
export const timedIdOf = (record: CommittedRecord): string => `${idOf(record)} of ${record.timestamp}`
export const isPoison = (record: CommittedRecord): boolean => headerOf(record, 'poison') !== undefined
export const keyOf = ({ key }: CommittedRecord): string => (key === null ? 'null' : key.toString('hex'))
export const textOf = (bytes: Buffer | null): string => (bytes === null ? 'null' : bytes.toString())
export const jsonOf = <T>({ value }: CommittedRecord): T => JSON.parse(textOf(value)) as T
export const int64Of = (bytes: Buffer | null): string =>
  bytes?.length === 8 ? String(bytes.readBigInt64BE()) : `no int64 (${bytes?.toString('hex')})`

export function grouped<T>(list: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of list) {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [item])
    else group.push(item)
  }
  return groups
}

export const byPartition = (records: readonly CommittedRecord[]): Map<string, CommittedRecord[]> =>
  grouped(records, ({ partition }) => String(partition))

/** Everything about it but where it stands. */
export function contentOf({ timestamp, key, value, headers }: CommittedRecord): string {
  const parts = headers.map(({ key, value }) => `${key}=${value?.toString('hex') ?? 'null'}`)
  return `${timestamp} ${digest(key)} ${digest(value)} ${parts.join()}`
}

function digest(bytes: Buffer | null): string {
  if (bytes === null) return 'null'
  return bytes.length < 64 ? `#${bytes.toString('hex')}` : createHash('sha256').update(bytes).digest('hex')
}

/** Bytes of keys to what their values mean. */
export type Entries = Map<string, string>

/** What a compacted topic says in the end. */
export function fold(
  records: readonly CommittedRecord[],
  meaning: (value: Buffer) => string = (value) => value.toString('hex'),
): Entries {
  const entries: Entries = new Map()
  for (const record of records) {
    if (record.value === null) entries.delete(keyOf(record))
    else entries.set(keyOf(record), meaning(record.value))
  }
  return entries
}
