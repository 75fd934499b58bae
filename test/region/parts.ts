/** A part of a region over a store of either body, and what its task does with it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bytes, int64, levelDisk, memoryDisk, type Serde, type Store, string } from '../../src/index.ts'
import type { TimedEntries } from '../../src/region/definition.ts'
import type { EntryCache } from '../../src/region/entry-cache.ts'
import type { EntryTable } from '../../src/region/entry-table.ts'
import { assertFingerprint, type Fingerprint, OF_NOTHING } from '../../src/region/fingerprint.ts'
import { RegionPart } from '../../src/region/part.ts'
import { TypedEntries } from '../../src/region/typed.ts'

export interface Bodies {
  open(): Promise<Store>
  close(): Promise<void>
}

export const BODIES: Readonly<Record<string, () => Promise<Bodies>>> = {
  memory: async () => {
    const disk = memoryDisk()
    let n = 0
    return { open: () => disk.open(`store-${n++}`), close: async () => {} }
  },
  level: async () => {
    const root = await mkdtemp(join(tmpdir(), 'druse-region-'))
    const disk = levelDisk(root)
    const open: Store[] = []
    return {
      async open() {
        const store = await disk.open(`store-${open.length}`)
        open.push(store)
        return store
      },
      async close() {
        for (const store of open) await store.close()
        await rm(root, { recursive: true })
      },
    }
  },
}

export interface PartOptions {
  readonly name?: string
  readonly maxRecordBytes?: number
  readonly undoable?: boolean
  readonly now?: () => number
  readonly cache?: EntryCache | undefined
  readonly timed?: TimedEntries
  /** Of what stands in the store. */
  readonly fingerprint?: Fingerprint
}

export async function entriesOf<K, V>(
  name: string,
  key: Serde<K>,
  value: Serde<V>,
  timed?: TimedEntries,
): Promise<TypedEntries<K, V>> {
  const context = { topic: 'changelog', registry: undefined, writes: true }
  return new TypedEntries(
    name,
    key,
    await key.open({ ...context, part: 'key' }),
    await value.open({ ...context, part: 'value' }),
    timed,
  )
}

export async function partOf<K, V>(
  store: Store,
  key: Serde<K>,
  value: Serde<V>,
  {
    name = 'part',
    maxRecordBytes = 1_000_000,
    undoable = true,
    now = () => 1_000,
    cache,
    timed,
    fingerprint = OF_NOTHING,
  }: PartOptions = {},
): Promise<RegionPart<K, V>> {
  const entries = await entriesOf(name, key, value, timed)
  return new RegionPart({ entries, store, cache, maxRecordBytes, now, undoable, fingerprint })
}

export const numbered = (store: Store, options?: PartOptions) => partOf(store, string, int64, options)

/** What follows an answered commit. */
export async function apply<K, V>(part: RegionPart<K, V>, sealed: EntryTable, store: Store): Promise<void> {
  await part.fingerprintSealed()
  await store.write([...part.writes(sealed), ...(await part.removals(sealed))])
  part.applied()
  // That of the names and bytes alone: what they mean is nothing to it.
  await assertFingerprint(store, await entriesOf(part.name, bytes, bytes), part.fingerprint)
}

/** Everything at rest in the store. */
export async function settle<K, V>(part: RegionPart<K, V>, store: Store): Promise<void> {
  const sealed = part.seal()
  part.committed(0)
  await apply(part, sealed, store)
}

export async function all<T>(entries: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const entry of entries) found.push(entry)
  return found
}
