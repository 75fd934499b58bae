/**
 * Avro in Confluent's framing: a zero byte, the id of the writer's schema (4 bytes, big-endian), then Avro's binary
 * encoding: https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/#wire-format
 */
import { DruseError } from '../errors.ts'
import type { Codec, CodecContext, Registry, Serde } from '../ports.ts'
import { AvroSchema, type AvroSchemaOptions, messageOf, type Resolver } from './avro-schema.ts'
import type { AvroSchemaLiteral, AvroValue } from './avro-value.ts'
import { decodeFailed, encodeFailed, shown } from './failure.ts'
import { asBuffer } from './utf8.ts'

const MAGIC = 0
const FRAMING_BYTES = 5
/** A codec keeps one buffer to encode into, which grows up to this; larger values get their own each. */
const SCRATCH_BYTES_MIN = 1024
const SCRATCH_BYTES_MAX = 256 * 1024

/** Of how many ids without a schema it is remembered why. */
const REFUSALS_MAX = 1_000

/**
 * Under which subject a schema is registered, by the names of Confluent's serializers: `<topic>-key` or
 * `<topic>-value`; the record's full name; or `<topic>-<full name>`.
 */
export type SubjectNameStrategy = 'TopicNameStrategy' | 'RecordNameStrategy' | 'TopicRecordNameStrategy'

export interface AvroOptions extends AvroSchemaOptions {
  /** All but the default are for records alone. Default: TopicNameStrategy. */
  readonly subjectNameStrategy?: SubjectNameStrategy
}

/**
 * Values of an Avro schema. Records written with other versions of the schema are read as this one, by Avro's rules.
 *
 * The type of the values follows from a schema that is written out (or `as const`): see `AvroValue`. Of any other schema
 * it is what you say: `avro<Flight>(schema)` is believed. Values are what avsc gives: records as objects, `bytes` and
 * `fixed` as Buffer, `long` as number (see `longs`), enums as strings, unions see `wrapUnions`. Logical types are read as
 * what is below them: a `timestamp-millis` is a number. `bytes` must be a Buffer when encoded.
 *
 * The schema is registered where the topic is written, not where it is only read; changelogs and repartition topics are
 * written, too.
 *
 * Errors: SCHEMA_INVALID here; when opened, REGISTRY_MISSING without a registry, and those of its `idOf`, for instance
 * SCHEMA_REJECTED if the schema does not fit its predecessors. `prepare` rejects with those of `schemaOf`; a schema that
 * this one cannot read is DECODE_FAILED at `decode`, like any value that cannot be read.
 *
 * ```ts
 * const flight = avro({
 *   type: 'record', name: 'Flight',
 *   fields: [{ name: 'origin', type: 'string' }, { name: 'delayMinutes', type: 'int', default: 0 }],
 * }) // Serde<{ readonly origin: string; readonly delayMinutes: number }>
 * ```
 */
export function avro<const S extends AvroSchemaLiteral, const O extends AvroOptions = object>(
  schema: S,
  options?: O,
): Serde<AvroValue<S, O>>
export function avro<T>(schema: string | object, options?: AvroOptions): Serde<T>
export function avro<T>(schema: string | object, options: AvroOptions = {}): Serde<T> {
  const ours = new AvroSchema(schema, options)
  const { subjectNameStrategy = 'TopicNameStrategy' } = options
  if (subjectNameStrategy !== 'TopicNameStrategy' && !ours.isRecord) {
    throw new DruseError(
      'SCHEMA_INVALID',
      `${subjectNameStrategy} names subjects after records, and ${ours.name} is none: use TopicNameStrategy`,
      { subjectNameStrategy },
    )
  }
  return {
    kind: kindOf(ours),
    // The bytes begin with a schema's id, which a new version of the schema changes.
    stableBytes: false,
    async open(context) {
      const { topic, part, registry, writes } = context
      if (registry === undefined) {
        throw new DruseError(
          'REGISTRY_MISSING',
          `The ${part} of topic "${topic}" is Avro (${ours.name}) and there is no schema registry: give one`,
          { topic, part },
        )
      }
      const id = writes
        ? await registry.idOf(subjectOf(subjectNameStrategy, context, ours), ours.text)
        : undefined
      return new AvroCodec<T>(ours, context, registry, id)
    },
  }
}

function subjectOf(
  strategy: SubjectNameStrategy,
  { topic, part }: CodecContext,
  { name }: AvroSchema,
): string {
  if (strategy === 'RecordNameStrategy') return name
  return `${topic}-${strategy === 'TopicRecordNameStrategy' ? name : part}`
}

const kindOf = (schema: AvroSchema): string => `avro:${schema.name}`

/** How the bytes of one writer's schema are read, or why they cannot be: schemas do not change, so neither does this. */
type Reader = { readonly resolver: Resolver } | { readonly refusal: DruseError }

class AvroCodec<T> implements Codec<T> {
  readonly #schema: AvroSchema
  readonly #context: CodecContext
  readonly #registry: Registry
  readonly #id: number | undefined
  readonly #readers = new Map<number, Reader>()
  readonly #loading = new Map<number, Promise<void>>()
  /** Why the registry gave no schema, when it was last asked. */
  readonly #refusals = new Map<number, DruseError>()
  #scratch: Buffer

  constructor(schema: AvroSchema, context: CodecContext, registry: Registry, id: number | undefined) {
    this.#schema = schema
    this.#context = context
    this.#registry = registry
    this.#id = id
    this.#scratch = this.#framed(SCRATCH_BYTES_MIN)
    if (id !== undefined) this.#readers.set(id, { resolver: undefined })
  }

  encode(value: T): Uint8Array {
    if (this.#id === undefined) throw this.#encodeFailed('the serde was opened for reading only')
    const end = this.#encodeInto(this.#scratch, value)
    if (end >= 0) {
      const bytes = Buffer.allocUnsafe(end)
      this.#scratch.copy(bytes, 0, 0, end)
      return bytes
    }
    const needed = this.#scratch.length - end
    if (needed <= SCRATCH_BYTES_MAX) {
      this.#scratch = this.#framed(2 ** Math.ceil(Math.log2(needed)))
      return this.encode(value)
    }
    const bytes = this.#framed(needed)
    if (this.#encodeInto(bytes, value) !== needed)
      throw this.#encodeFailed('its size changes while it is read')
    return bytes
  }

  decode(bytes: Uint8Array): T {
    const id = writerIdOf(bytes)
    if (id === undefined) throw this.#decodeFailed(framingMismatch(bytes))
    const reader = this.#readers.get(id) ?? this.#readerFromCache(id)
    if (reader === undefined) {
      const refusal = this.#refusals.get(id)
      throw this.#decodeFailed(refusal?.message ?? `schema id ${id} was not prepared`, refusal)
    }
    if ('refusal' in reader)
      throw this.#decodeFailed(`schema id ${id}: ${reader.refusal.message}`, reader.refusal)
    let found: { readonly value: T; readonly offset: number }
    try {
      found = this.#schema.type.decode(asBuffer(bytes), FRAMING_BYTES, reader.resolver)
    } catch (cause) {
      throw this.#decodeFailed(messageOf(cause), cause)
    }
    if (found.offset < 0) throw this.#decodeFailed(`its ${bytes.length} bytes end in the middle of the value`)
    if (found.offset < bytes.length) {
      throw this.#decodeFailed(`${bytes.length - found.offset} bytes are left after the value`)
    }
    return found.value
  }

  prepare(bytes: Uint8Array): Promise<void> | undefined {
    const id = writerIdOf(bytes)
    // Without an id there is nothing to wait for: decode says what is wrong.
    if (id === undefined || this.#readers.has(id)) return undefined
    const loading = this.#loading.get(id) ?? this.#load(id).finally(() => this.#loading.delete(id))
    this.#loading.set(id, loading)
    return loading
  }

  /** State that an earlier run has written: its schemas were kept beside it. */
  #readerFromCache(id: number): Reader | undefined {
    const text = this.#registry.cached?.(id)
    if (text === undefined) return undefined
    const reader = readerOf(this.#schema, text)
    this.#readers.set(id, reader)
    return reader
  }

  async #load(id: number): Promise<void> {
    let text: string
    try {
      text = await this.#registry.schemaOf(id)
    } catch (error) {
      if (error instanceof DruseError && error.kind === 'user') this.#remember(id, error)
      throw error
    }
    this.#readers.set(id, readerOf(this.#schema, text))
  }

  /** Anything may stand where records have an id: what is kept of that has an end. */
  #remember(id: number, refusal: DruseError): void {
    const oldest = this.#refusals.keys().next()
    if (this.#refusals.size >= REFUSALS_MAX && !oldest.done) this.#refusals.delete(oldest.value)
    this.#refusals.set(id, refusal)
  }

  /** The end of the value, or how many bytes are missing, as a negative number. */
  #encodeInto(buffer: Buffer, value: T): number {
    try {
      return this.#schema.type.encode(value, buffer, FRAMING_BYTES)
    } catch (cause) {
      throw this.#encodeFailed(this.#mismatchIn(value) ?? messageOf(cause), cause)
    }
  }

  /** Where a value does not fit the schema; avsc's own message does not tell. */
  #mismatchIn(value: T): string | undefined {
    let mismatch: string | undefined
    try {
      this.#schema.type.isValid(value, {
        errorHook(path, found, type) {
          const expected = type.branchName ?? 'member of the union'
          mismatch ??= `${path.length > 0 ? `${path.join('.')}: ` : ''}${shown(found)} is no ${expected}`
        },
      })
    } catch {
      // It was called for a better message only.
    }
    return mismatch
  }

  #framed(size: number): Buffer {
    const buffer = Buffer.allocUnsafeSlow(size)
    buffer[0] = MAGIC
    buffer.writeInt32BE(this.#id ?? 0, 1)
    return buffer
  }

  #encodeFailed(what: string, cause?: unknown): DruseError {
    return encodeFailed(this.#context, kindOf(this.#schema), what, cause)
  }

  #decodeFailed(what: string, cause?: unknown): DruseError {
    return decodeFailed(this.#context, kindOf(this.#schema), what, cause)
  }
}

function readerOf(ours: AvroSchema, writer: string): Reader {
  try {
    return { resolver: ours.resolverOf(new AvroSchema(writer)) }
  } catch (error) {
    if (DruseError.is(error, 'SCHEMA_INVALID')) return { refusal: error }
    throw error
  }
}

function writerIdOf(bytes: Uint8Array): number | undefined {
  if (bytes.length < FRAMING_BYTES || bytes[0] !== MAGIC) return undefined
  return asBuffer(bytes).readInt32BE(1)
}

function framingMismatch(bytes: Uint8Array): string {
  if (bytes.length < FRAMING_BYTES) {
    return `${FRAMING_BYTES} bytes of framing expected, ${bytes.length} found`
  }
  return `byte ${MAGIC} expected first, as Confluent's framing has it, ${bytes[0]} found`
}
