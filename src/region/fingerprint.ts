/**
 * What all entries of a region are together, whatever their order: how many, and the sum of their checks. It is kept with
 * each write, in the same batch, so a store that lacks a batch, holds one too many, or has an entry that was never
 * written does not fit it.
 */
import { DruseError } from '../errors.ts'
import type { Store, Write } from '../ports.ts'
import { readCheck } from './layout.ts'
import type { StoredEntries } from './range.ts'

export interface Fingerprint {
  readonly entries: number
  /** Modulo 2^52, so that it is exact. */
  readonly sum: number
}

export const OF_NOTHING: Fingerprint = { entries: 0, sum: 0 }

const MODULUS = 2 ** 52

/** A fingerprint that follows its region, or what changes in it. */
export class RunningFingerprint {
  #entries: number
  #sum: number

  constructor({ entries, sum }: Fingerprint) {
    this.#entries = entries
    this.#sum = sum
  }

  get now(): Fingerprint {
    return { entries: this.#entries, sum: this.#sum }
  }

  /** As if both had been one. */
  add({ entries, sum }: Fingerprint): void {
    this.#entries += entries
    this.#sum = (this.#sum + sum) % MODULUS
  }

  /** Undefined: there was nothing, or will be nothing. */
  replace(before: number | undefined, after: number | undefined): void {
    if (before !== undefined) {
      this.#entries -= 1
      this.#sum -= before
      if (this.#sum < 0) this.#sum += MODULUS
    }
    if (after !== undefined) {
      this.#entries += 1
      this.#sum += after
      if (this.#sum >= MODULUS) this.#sum -= MODULUS
    }
  }
}

/** Entries to be written, as `TypedEntries.write` makes them: each key once, with its last value. */
export class EntryWrites {
  readonly #byKey = new Map<string, Write>()

  get size(): number {
    return this.#byKey.size
  }

  add(write: Write): void {
    const [key] = write
    this.#byKey.set(Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1'), write)
  }

  get writes(): Write[] {
    return [...this.#byKey.values()]
  }

  /** What the region's fingerprint is after them. Nothing else may be written to the region meanwhile. */
  async fingerprintAfter(store: Store, entries: StoredEntries, before: Fingerprint): Promise<Fingerprint> {
    const running = new RunningFingerprint(before)
    const { writes } = this
    const replaced = await store.getMany(writes.map(([key]) => key))
    for (const [i, [key, value]] of writes.entries()) {
      const old = replaced[i]
      if (old !== undefined) entries.assertStored(store, key, old)
      running.replace(old && readCheck(old), value === null ? undefined : readCheck(value))
    }
    return running.now
  }
}

/** Reads every entry of a region. Errors: STORE_CORRUPT when they are not what the fingerprint says. */
export async function assertFingerprint(
  store: Store,
  entries: StoredEntries,
  expected: Fingerprint,
): Promise<void> {
  const running = new RunningFingerprint(OF_NOTHING)
  for await (const [key, value] of store.range({ gte: entries.prefix, lt: entries.end })) {
    entries.assertStored(store, key, value)
    running.replace(undefined, readCheck(value))
  }
  const { entries: found, sum } = running.now
  if (found === expected.entries && sum === expected.sum) return
  throw new DruseError(
    'STORE_CORRUPT',
    found === expected.entries
      ? `Entries of region '${entries.name}' are not those that were written last`
      : `Region '${entries.name}' has ${found} entries, ${expected.entries} were written`,
    { region: entries.name },
  )
}

/**
 * Point reads and ranges find the same under a key that every batch writes. They would not if LevelDB had been given an
 * old log again: a point read then answers with what came into it last, a range with what was written last.
 * Errors: STORE_CORRUPT.
 */
export async function assertFoundAlike(store: Store, key: Uint8Array): Promise<void> {
  const found = store.getSync(key)
  let listed: Uint8Array | undefined
  for await (const [, value] of store.range({ gte: key, lte: key })) listed = value
  if (found === undefined && listed === undefined) return
  if (found !== undefined && listed !== undefined && Buffer.compare(found, listed) === 0) return
  throw new DruseError('STORE_CORRUPT', 'It holds an old log beside its own')
}
