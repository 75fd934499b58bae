/** An Avro schema: parsed, compared, and asked whether it reads what another has written. */
import avsc, { type Type } from 'avsc'
import { DruseError } from '../errors.ts'
import { strictType, strictTypeOfBigLongs } from './avro-types.ts'

type AvscSchema = Parameters<typeof avsc.Type.forSchema>[0]

/** What avsc needs to read a writer's bytes as another type; undefined when both are the same. */
export type Resolver = ReturnType<Type['createResolver']> | undefined

export interface AvroSchemaOptions {
  /**
   * How the values of a union are given. `auto`: as they are (`5`), unless two branches could not be told apart, then
   * wrapped (`{ int: 5 }`). `never` refuses such unions. Default: auto.
   */
  readonly wrapUnions?: 'auto' | 'always' | 'never'
  /** How `long` is given. As number a value beyond ±(2⁵³-1) fails. Default: number. */
  readonly longs?: 'number' | 'bigint'
}

export class AvroSchema {
  readonly type: Type
  /** JSON, as it goes to a registry. */
  readonly text: string

  /** `schema`: JSON text, a parsed schema, or the name of a primitive type. Error: SCHEMA_INVALID. */
  constructor(schema: string | object, options: AvroSchemaOptions = {}) {
    try {
      const parsed: unknown =
        typeof schema === 'string' && /^\s*[[{"]/.test(schema) ? JSON.parse(schema) : schema
      this.type = avsc.Type.forSchema(parsed as AvscSchema, {
        wrapUnions: options.wrapUnions ?? 'auto',
        omitRecordMethods: true,
        typeHook: options.longs === 'bigint' ? strictTypeOfBigLongs : strictType,
      })
      this.text = JSON.stringify(parsed)
    } catch (cause) {
      throw new DruseError('SCHEMA_INVALID', `An Avro schema is not valid: ${messageOf(cause)}. Correct it`, {
        schema,
        cause,
      })
    }
  }

  /** Of a named type its full name, else its type's. */
  get name(): string {
    return this.type.branchName ?? 'union'
  }

  get isRecord(): boolean {
    return this.type.typeName === 'record'
  }

  /** Equal for schemas that differ in spelling only: white space, order of members, how namespaces are given. */
  get canonical(): string {
    return JSON.stringify(this.type.schema({ exportAttrs: true }))
  }

  /** To read with this schema what `writer` has written. Error: SCHEMA_INVALID, with both names and avsc's reason. */
  resolverOf(writer: AvroSchema): Resolver {
    if (this.type.equals(writer.type)) return undefined
    try {
      return this.type.createResolver(writer.type)
    } catch (cause) {
      throw new DruseError(
        'SCHEMA_INVALID',
        `The schema ${this.name} cannot read what ${writer.name} wrote: ${messageOf(cause)}. Give new fields a default, and renamed ones an alias`,
        { reader: this.name, writer: writer.name, cause },
      )
    }
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
