/**
 * A registry of schemas in one file, for those who run no registry service: development, tests, a single process.
 */
import { DruseError } from '../errors.ts'
import type { Disk, Registry } from '../ports.ts'
import { AvroSchema } from './avro-schema.ts'

const VERSION = 1

interface Contents {
  readonly version: typeof VERSION
  /** In the order of their ids, from 1 up. */
  readonly schemas: readonly { readonly id: number; readonly schema: string | object }[]
  /** The ids that a subject has had, the newest last. */
  readonly subjects: Readonly<Record<string, readonly number[]>>
}

/**
 * Ids from the text file `path` of a disk. Losing this file means losing the meaning of every Avro byte in Kafka:
 * back it up with the topics.
 *
 * As with Confluent's registry in its default mode, a new schema of a subject must be able to read the one before it
 * (SCHEMA_REJECTED), and a schema has one id under all its subjects. Errors besides: SCHEMA_INVALID, SCHEMA_UNKNOWN,
 * STORE_CORRUPT when the file is not as it was written, and the disk's.
 *
 * Calls through one registry wait for each other. Several registries on one file read it again before they assign an
 * id, but do not lock it: two processes that register *at the same moment* may assign an id twice. Start one first.
 */
export function localRegistry(disk: Disk, path = 'schemas.json'): Registry {
  return new LocalRegistry(disk, path)
}

class LocalRegistry implements Registry {
  readonly #disk: Disk
  readonly #path: string
  #last: Promise<unknown> = Promise.resolve()

  constructor(disk: Disk, path: string) {
    this.#disk = disk
    this.#path = path
  }

  idOf(subject: string, schema: string): Promise<number> {
    const id = this.#last.then(() => this.#register(subject, new AvroSchema(schema)))
    this.#last = id.catch(() => undefined)
    return id
  }

  async schemaOf(id: number): Promise<string> {
    const known = (await this.#read()).schemas.find((entry) => entry.id === id)
    if (known !== undefined) return JSON.stringify(known.schema)
    throw new DruseError(
      'SCHEMA_UNKNOWN',
      `${this.#place} has no schema with id ${id}: were the records written with another registry?`,
      { id, place: this.#place },
    )
  }

  async #register(subject: string, schema: AvroSchema): Promise<number> {
    const contents = await this.#read()
    const { canonical } = schema
    const known = contents.schemas.find((entry) => new AvroSchema(entry.schema).canonical === canonical)
    const versions = new Map(Object.entries(contents.subjects)).get(subject) ?? []
    if (known !== undefined && versions.includes(known.id)) return known.id
    this.#assertReadsLatest(subject, schema, contents, versions.at(-1))

    const id = known?.id ?? Math.max(0, ...contents.schemas.map((entry) => entry.id)) + 1
    const added = known === undefined ? [{ id, schema: JSON.parse(schema.text) }] : []
    const next: Contents = {
      version: VERSION,
      schemas: [...contents.schemas, ...added],
      subjects: Object.fromEntries([...Object.entries(contents.subjects), [subject, [...versions, id]]]),
    }
    await this.#disk.writeText(this.#path, `${JSON.stringify(next, null, 2)}\n`)
    return id
  }

  #assertReadsLatest(
    subject: string,
    schema: AvroSchema,
    contents: Contents,
    latestId: number | undefined,
  ): void {
    const latest = contents.schemas.find((entry) => entry.id === latestId)
    if (latest === undefined) return
    try {
      schema.resolverOf(new AvroSchema(latest.schema))
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new DruseError(
        'SCHEMA_REJECTED',
        `The schema ${schema.name} does not fit subject "${subject}" (id ${latest.id}): ${why}`,
        { subject, latestId: latest.id, cause },
      )
    }
  }

  async #read(): Promise<Contents> {
    const text = await this.#disk.readText(this.#path)
    if (text === undefined) return { version: VERSION, schemas: [], subjects: {} }
    let contents: unknown
    try {
      contents = JSON.parse(text)
    } catch (cause) {
      throw this.#corrupt('it is not JSON', cause)
    }
    if (!isContents(contents)) throw this.#corrupt(`it is not of version ${VERSION}`)
    return contents
  }

  #corrupt(what: string, cause?: unknown): DruseError {
    return new DruseError(
      'STORE_CORRUPT',
      `The schema registry ${this.#place} cannot be read: ${what}. Restore it from a copy; without it no Avro record can be read`,
      { place: this.#place, cause },
    )
  }

  get #place(): string {
    return `${this.#disk.root}/${this.#path}`
  }
}

function isContents(value: unknown): value is Contents {
  return (
    typeof value === 'object' &&
    value !== null &&
    'version' in value &&
    value.version === VERSION &&
    'schemas' in value &&
    Array.isArray(value.schemas) &&
    'subjects' in value &&
    typeof value.subjects === 'object' &&
    value.subjects !== null
  )
}
