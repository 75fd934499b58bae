/** A registry whose answers are kept in a file, so that state can be read again when the registry cannot be asked. */
import { DruseError } from '../errors.ts'
import type { Disk, Logger, Registry } from '../ports.ts'
import { silentLogger } from '../system.ts'
import { AvroSchema } from './avro-schema.ts'

const VERSION = 1

export interface CachedRegistryOptions {
  /** The text file on the disk. Default `schema-cache.json`. */
  readonly path?: string
  readonly logger?: Logger
}

interface Contents {
  readonly schemas: Map<number, string>
  /** The last schema that was written under each subject. */
  readonly subjects: Map<string, { readonly schema: string; readonly id: number }>
}

/**
 * Keeps every schema that `registry` has told, in a text file, before it is used: `cached` then has it in later runs
 * too. While the registry is down, `idOf` answers for the schema that the subject had last.
 *
 * The ids are those of this registry alone. Errors besides the registry's and the disk's: REGISTRY_CHANGED when it gives
 * an id to another schema than before, STORE_CORRUPT when the file is not as it was written.
 */
export async function cachedRegistry(
  registry: Registry,
  disk: Disk,
  { path = 'schema-cache.json', logger = silentLogger }: CachedRegistryOptions = {},
): Promise<Registry> {
  const place = `${disk.root}/${path}`
  const { schemas, subjects } = await read(disk, path)
  let writing: Promise<void> = Promise.resolve()
  /** Then nobody waits for it again as long as the answer is at hand. */
  let isDown = false

  const write = (): Promise<void> => {
    const written = writing.then(() => {
      const contents = {
        version: VERSION,
        schemas: Object.fromEntries(schemas),
        subjects: Object.fromEntries(subjects),
      }
      return disk.writeText(path, `${JSON.stringify(contents, null, 2)}\n`)
    })
    writing = written.catch(() => undefined)
    return written
  }
  const keep = async (id: number, schema: string): Promise<void> => {
    if (schemas.has(id)) return
    schemas.set(id, schema)
    try {
      await write()
    } catch (error) {
      schemas.delete(id)
      throw error
    }
  }
  const keepSubject = async (subject: string, id: number, schema: string): Promise<void> => {
    const before = schemas.get(id)
    if (before !== undefined && !isSame(before, schema)) {
      throw new DruseError(
        'REGISTRY_CHANGED',
        `The schema registry gives id ${id} to the schema of subject "${subject}", but according to ${place} it was that of another schema: it is another registry, or it has lost its schemas. Restore it; records and state with the old ids cannot be read with this one`,
        { id, subject, place },
      )
    }
    await keep(id, schema)
    const last = subjects.get(subject)
    if (last?.id === id && last.schema === schema) return
    subjects.set(subject, { id, schema })
    await write()
  }

  return {
    cached: (id) => schemas.get(id),
    async idOf(subject, schema) {
      const last = subjects.get(subject)
      const known = last?.schema === schema ? last.id : undefined
      if (known !== undefined && isDown) return known
      let id: number
      try {
        id = await registry.idOf(subject, schema)
      } catch (error) {
        if (known === undefined || !DruseError.is(error, 'REGISTRY_UNAVAILABLE')) throw error
        isDown = true
        logger.warn({ error, place }, 'schema registry: down, going on with the ids of an earlier run')
        return known
      }
      isDown = false
      await keepSubject(subject, id, schema)
      return id
    },
    async schemaOf(id) {
      const known = schemas.get(id)
      if (known !== undefined) {
        // Another caller may still be writing it.
        await writing
        return known
      }
      const schema = await registry.schemaOf(id)
      await keep(id, schema)
      return schema
    },
  }
}

/** But for its spelling, which registries change. */
function isSame(one: string, other: string): boolean {
  if (one === other) return true
  try {
    return new AvroSchema(one).canonical === new AvroSchema(other).canonical
  } catch {
    return false
  }
}

async function read(disk: Disk, path: string): Promise<Contents> {
  const text = await disk.readText(path)
  if (text === undefined) return { schemas: new Map(), subjects: new Map() }
  try {
    const { version, schemas, subjects = {} } = JSON.parse(text)
    if (version === VERSION) {
      return {
        schemas: new Map(Object.entries<string>(schemas).map(([id, schema]) => [Number(id), schema])),
        subjects: new Map(Object.entries<{ schema: string; id: number }>(subjects)),
      }
    }
  } catch {
    // Told below, as any other content that is not ours.
  }
  throw new DruseError(
    'STORE_CORRUPT',
    `The schema cache ${disk.root}/${path} cannot be read; delete it together with the state beside it, and both are rebuilt from Kafka and the registry`,
    { place: `${disk.root}/${path}` },
  )
}
