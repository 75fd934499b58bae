/**
 * What is measured. The input is the same for both programs: records in 4 partitions by key, values of about 100 bytes
 * of JSON, everything a function of the record's number, so that the output can be checked against it.
 *
 *   pass    the value in upper case
 *   count   how many records the key has had, per record
 */
export const KINDS = ['pass', 'count'] as const
export type Kind = (typeof KINDS)[number]

export const PARTITIONS = 4

export interface Workload {
  readonly kind: Kind
  readonly records: number
  readonly keys: number
}

export interface InputRecord {
  readonly key: string
  readonly value: string
  readonly timestampMs: number
}

const FIRST_TIMESTAMP_MS = 1_795_000_000_000

/** The n-th record of the input. */
export function inputRecord(n: number, keys: number): InputRecord {
  const key = `user-${String(scattered(n) % keys).padStart(6, '0')}`
  const amount = scattered(~n) % 10_000
  const timestampMs = FIRST_TIMESTAMP_MS + n
  const value = `{"id":${n},"user":"${key}","amount":${amount},"at":${timestampMs},"note":"lorem ipsum dolor"}`
  return { key, value, timestampMs }
}

/** A number of 32 bits that looks like chance: the last steps of MurmurHash3. */
function scattered(n: number): number {
  let hash = Math.imul(n ^ (n >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
