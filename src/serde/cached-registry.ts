/** A registry whose answers are kept in a file, so that state can be read again when the registry cannot be asked. */
import { DruseError } from '../errors.ts'
import type { Disk, Registry } from '../ports.ts'

const VERSION = 1

/**
 * Keeps every schema that `registry` has told, in the text file `path` of a disk, before it is used: `cached` then has
 * it in later runs too. Ids of this registry alone: a registry with other ids needs another file.
 * Errors: STORE_CORRUPT when the file is not as it was written (deleting it costs nothing but questions), the disk's.
 */
export async function cachedRegistry(
  registry: Registry,
  disk: Disk,
  path = 'schema-cache.json',
): Promise<Registry> {
  const schemas = await readSchemas(disk, path)
  let writing: Promise<void> = Promise.resolve()
  const keep = async (id: number, schema: string): Promise<void> => {
    if (schemas.has(id)) return
    schemas.set(id, schema)
    const written = writing.then(() => {
      const contents = { version: VERSION, schemas: Object.fromEntries(schemas) }
      return disk.writeText(path, `${JSON.stringify(contents, null, 2)}\n`)
    })
    writing = written.catch(() => undefined)
    try {
      await written
    } catch (error) {
      schemas.delete(id)
      throw error
    }
  }
  return {
    cached: (id) => schemas.get(id),
    async idOf(subject, schema) {
      const id = await registry.idOf(subject, schema)
      await keep(id, schema)
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

async function readSchemas(disk: Disk, path: string): Promise<Map<number, string>> {
  const text = await disk.readText(path)
  if (text === undefined) return new Map()
  try {
    const { version, schemas } = JSON.parse(text) as { version: number; schemas: Record<string, string> }
    if (version === VERSION)
      return new Map(Object.entries(schemas).map(([id, schema]) => [Number(id), schema]))
  } catch {
    // Told below, as any other content that is not ours.
  }
  throw new DruseError(
    'STORE_CORRUPT',
    `The schema cache ${disk.root}/${path} cannot be read; delete it, and the registry is asked again`,
    { place: `${disk.root}/${path}` },
  )
}
