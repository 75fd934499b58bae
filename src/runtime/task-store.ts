/**
 * What stands in a task's store beside the entries: which committed state it is.
 *
 * `sequence` is null while a replay runs: the entries are then a prefix of the changelog, but no commit's state.
 */
import { DruseError } from '../errors.ts'
import type { Store, Write } from '../ports.ts'
import { META_KEY } from '../region/layout.ts'

const FORMAT = 1

export interface StoreMeta {
  readonly cluster: string
  readonly incarnation: string
  readonly sequence: number | null
  /** Wall clock: when the entries were last known to be all that the changelogs hold up to the positions. */
  readonly asOfMs: number
  /** By `regionKey`: L, and the hash of the changelog's topic id that it counts in. */
  readonly regions: Readonly<Record<string, { readonly position: number; readonly changelog: string }>>
}

/** Errors: STORE_CORRUPT, METADATA_NEWER. */
export function readMeta(store: Store): StoreMeta | undefined {
  const bytes = store.getSync(META_KEY)
  if (bytes === undefined) return undefined
  let meta: (StoreMeta & { format: number }) | undefined
  try {
    meta = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch (cause) {
    throw new DruseError('STORE_CORRUPT', 'What a task store says of itself cannot be read', { cause })
  }
  if (meta?.format === FORMAT) return meta
  throw new DruseError(
    'METADATA_NEWER',
    `A task store has format ${meta?.format}, this Druse knows ${FORMAT}; run the version that wrote it`,
  )
}

export function metaWrite({ cluster, incarnation, sequence, asOfMs, regions }: StoreMeta): Write {
  const kept = Object.entries(regions).map(([key, { position, changelog }]) => [key, { position, changelog }])
  const meta = { format: FORMAT, cluster, incarnation, sequence, asOfMs, regions: Object.fromEntries(kept) }
  return [META_KEY, Buffer.from(JSON.stringify(meta), 'utf8')]
}
