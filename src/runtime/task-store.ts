/**
 * What stands in a task's store beside the entries: which committed state it is.
 *
 * `sequence` is null while a replay runs: the entries are then a prefix of the changelog, but no commit's state.
 */
import { DruseError } from '../errors.ts'
import type { Store, Write } from '../ports.ts'
import type { Fingerprint } from '../region/fingerprint.ts'
import { META_KEY, readStatement, statementWrite } from '../region/layout.ts'

const FORMAT = 2

export interface StoreMeta {
  readonly cluster: string
  readonly incarnation: string
  readonly sequence: number | null
  /** Wall clock: when the entries were last known to be all that the changelogs hold up to the positions. */
  readonly asOfMs: number
  /** By `regionKey`. */
  readonly regions: Readonly<Record<string, StoredRegion>>
}

export interface StoredRegion {
  /** L. */
  readonly position: number
  /** Hash of the id of the topic that L counts in. */
  readonly changelog: string
  readonly fingerprint: Fingerprint
}

/** Errors: STORE_CORRUPT, METADATA_NEWER. */
export function readMeta(store: Store): StoreMeta | undefined {
  const bytes = store.getSync(META_KEY)
  if (bytes === undefined) return undefined
  const meta = readStatement<StoreMeta & { format: number }>(META_KEY, bytes)
  if (meta.format === FORMAT) return meta
  throw new DruseError(
    'METADATA_NEWER',
    `A task store has format ${meta.format}, this Druse knows ${FORMAT}; run the version that wrote it`,
  )
}

export function metaWrite({ cluster, incarnation, sequence, asOfMs, regions }: StoreMeta): Write {
  const kept = Object.entries(regions).map(([key, { position, changelog, fingerprint }]) => [
    key,
    { position, changelog, fingerprint },
  ])
  return statementWrite(META_KEY, {
    format: FORMAT,
    cluster,
    incarnation,
    sequence,
    asOfMs,
    regions: Object.fromEntries(kept),
  })
}
