/**
 * The demo's directory, of one process:
 *
 *   flights-demo.json   says that the directory is the demo's, and of which job
 *   broker/             topics, transactions and committed offsets of the embedded broker, unless Kafka has them
 *   state/              regions
 *   schemas.json        ids of the Avro schemas, unless a registry has them
 */
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isDeepStrictEqual } from 'node:util'
import {
  type Disk,
  DruseError,
  embeddedBroker,
  levelDisk,
  localRegistry,
  type Registry,
} from '../../src/index.ts'

const MARKER = 'flights-demo.json'
const BROKER = 'broker'
const STATE = 'state'
const SCHEMAS = 'schemas.json'

export const DEFAULT_DIRECTORY = fileURLToPath(new URL('../../data/flights', import.meta.url))

/** What a directory belongs to: nothing in it fits anything else. */
export interface Job {
  readonly application: string
  readonly topics: 'embedded' | 'kafka'
  readonly schemas: 'file' | 'registry'
}

export interface Directory {
  readonly path: string
  readonly broker: string
  readonly state: string
  readonly registry: Registry
  readonly isRegistryShared: boolean
  /** By which the group knows the process again when it comes back. */
  readonly instance: string
  /** Whether ids of schemas are known here that were given by an earlier run. */
  hasSchemas(): Promise<boolean>
}

/** Shared by feeder, application and report, so that an id means one schema to all of them. */
export function registryIn(path: string): Registry {
  return localRegistry(levelDisk(path), SCHEMAS)
}

/** Makes the directory, or finds the one of an earlier run; `fresh` empties it first. Refuses one that is not its own. */
export async function openDirectory(
  given: string,
  job: Job,
  { fresh, registry }: { readonly fresh: boolean; readonly registry: Registry | undefined },
): Promise<Directory> {
  const path = resolve(given)
  await mkdir(path, { recursive: true })
  // What begins with ~ is a marker that a kill has cut off.
  const names = (await readdir(path)).filter((name) => !name.startsWith('~'))
  if (names.length > 0 && !names.includes(MARKER)) {
    throw new Error(
      `${path} is not empty and not of this demo: ${MARKER} is missing. Choose another directory with --data-dir`,
    )
  }
  const disk = levelDisk(path)
  if (fresh && names.includes(MARKER)) await empty(path)
  const instance = (fresh ? undefined : await instanceIn(disk, job)) ?? randomBytes(4).toString('hex')
  // First of all, so that a directory that was begun and then cut off is known again.
  await disk.writeText(MARKER, `${JSON.stringify({ demo: 'druse flights', version: 2, job, instance })}\n`)
  return {
    path,
    broker: join(path, BROKER),
    state: join(path, STATE),
    registry: registry ?? registryIn(path),
    isRegistryShared: registry !== undefined,
    instance,
    hasSchemas: async () => registry !== undefined || (await disk.readText(SCHEMAS)) !== undefined,
  }
}

/** Of an earlier run, which has to be of the same job. */
async function instanceIn(disk: Disk, job: Job): Promise<string | undefined> {
  const text = await disk.readText(MARKER)
  if (text === undefined) return undefined
  const { job: found, instance } = JSON.parse(text) as { readonly job?: Job; readonly instance?: string }
  if (isDeepStrictEqual(found, job)) return instance
  const shown = (of: Job | undefined): string =>
    of === undefined ? 'an older version' : `${of.application}, topics: ${of.topics}, schemas: ${of.schemas}`
  throw new Error(
    `${disk.root} is of another job (${shown(found)}) than this one (${shown(job)}). Choose another directory with --data-dir`,
  )
}

/** Only what the demo has made: whatever else lies there stays. */
async function empty(path: string): Promise<void> {
  await assertUnused(path)
  for (const name of [BROKER, STATE, SCHEMAS]) await rm(join(path, name), { recursive: true, force: true })
}

/** A broker that opens is used by nobody else; one that is damaged is no reason to keep it. */
async function assertUnused(path: string): Promise<void> {
  try {
    const broker = await embeddedBroker({ dir: join(path, BROKER) })
    await broker.close()
  } catch (error) {
    if (DruseError.is(error, 'DISK_LOCKED')) throw error
  }
}
