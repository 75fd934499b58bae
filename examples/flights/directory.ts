/**
 * The demo's directory:
 *
 *   flights-demo.json   says that the directory is the demo's
 *   broker/             topics, transactions and committed offsets of the embedded broker, if it is that
 *   state/              regions
 *   schemas.json        ids of the Avro schemas
 */
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DruseError, embeddedBroker, levelDisk, localRegistry, type Registry } from '../../src/index.ts'

const MARKER = 'flights-demo.json'
const BROKER = 'broker'
const STATE = 'state'
const SCHEMAS = 'schemas.json'

export const DEFAULT_DIRECTORY = fileURLToPath(new URL('../../data/flights', import.meta.url))
/** State and schema ids of a job on Kafka: those of another cluster do not fit. */
export const KAFKA_DIRECTORY = fileURLToPath(new URL('../../data/flights-kafka', import.meta.url))

export interface Directory {
  readonly path: string
  readonly broker: string
  readonly state: string
  readonly registry: Registry
}

/** Shared by feeder, application and report, so that an id means one schema to all of them. */
export function registryIn(path: string): Registry {
  return localRegistry(levelDisk(path), SCHEMAS)
}

/** Makes the directory, or finds the one of an earlier run; `fresh` empties it first. Refuses one that is not its own. */
export async function openDirectory(given: string, fresh: boolean): Promise<Directory> {
  const path = resolve(given)
  await mkdir(path, { recursive: true })
  // What begins with ~ is a marker that a kill has cut off.
  const names = (await readdir(path)).filter((name) => !name.startsWith('~'))
  if (names.length > 0 && !names.includes(MARKER)) {
    throw new Error(
      `${path} is not empty and not of this demo: ${MARKER} is missing. Choose another directory with --data-dir`,
    )
  }
  if (fresh && names.includes(MARKER)) await empty(path)
  const disk = levelDisk(path)
  // First of all, so that a directory that was begun and then cut off is known again.
  await disk.writeText(MARKER, `${JSON.stringify({ demo: 'druse flights', version: 1 })}\n`)
  return { path, broker: join(path, BROKER), state: join(path, STATE), registry: registryIn(path) }
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
