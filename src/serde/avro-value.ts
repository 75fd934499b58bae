/** Values of an Avro schema as a type: what `avro` reads and writes, worked out from the schema as a literal. */
import type { AvroSchemaOptions } from './avro-schema.ts'

interface Primitives<Long> {
  null: null
  boolean: boolean
  int: number
  long: Long
  float: number
  double: number
  bytes: Buffer
  string: string
}

type Primitive = keyof Primitives<never>

/** A schema of which the type is known. One that was widened (`type: string`) is none. */
export type AvroSchemaLiteral =
  | Primitive
  | readonly unknown[]
  | { readonly type: Primitive | 'record' | 'error' | 'enum' | 'array' | 'map' | 'fixed' }

/**
 * What `avro(schema, options)` reads and writes. Fields with a default are there when read, so they have to be written.
 * What is not known from the literal is `unknown`.
 *
 * ```ts
 * const SCHEMA = { type: 'record', name: 'Flight', fields: [{ name: 'origin', type: 'string' }] } as const
 * type Flight = AvroValue<typeof SCHEMA> // { readonly origin: string }
 * ```
 */
export type AvroValue<Schema, Options extends AvroSchemaOptions = object> = 0 extends 1 & Schema
  ? Schema
  : Value<Schema, { space: ''; named: Named<Schema, ''>; options: Options }>

/** A named type, and the namespace around its definition. */
interface Definition<Name, Schema, Space> {
  readonly name: Name
  readonly schema: Schema
  readonly space: Space
}

/** What a part of a schema means depends on where it stands. */
interface At {
  readonly space: string
  readonly named: unknown
  readonly options: AvroSchemaOptions
}

type Within<A extends At, Space> = Space extends string
  ? { space: Space; named: A['named']; options: A['options'] }
  : never

type Value<S, A extends At> = string extends S
  ? unknown
  : S extends Primitive
    ? Primitives<A['options'] extends { readonly longs: infer L } ? LongAs<L> : number>[S]
    : S extends string
      ? ValueOf<Referred<S, A>, A>
      : S extends readonly unknown[]
        ? Union<S, A>
        : S extends { readonly type: infer T }
          ? Complex<T, S, A>
          : unknown

type LongAs<L> = L extends 'bigint' ? bigint : number

/** Of a type that is referred to by its name. */
type ValueOf<D, A extends At> = [D] extends [never]
  ? unknown
  : D extends Definition<unknown, infer S, infer Space>
    ? Value<S, Within<A, Space>>
    : unknown

type Complex<T, S, A extends At> = string extends T
  ? unknown
  : T extends 'record' | 'error'
    ? S extends { readonly fields: readonly (infer F)[] }
      ? Fields<F, Within<A, SpaceOf<S, A['space']>>>
      : unknown
    : T extends 'enum'
      ? S extends { readonly symbols: readonly (infer Symbols)[] }
        ? Symbols
        : unknown
      : T extends 'array'
        ? S extends { readonly items: infer Items }
          ? readonly Value<Items, A>[]
          : unknown
        : T extends 'map'
          ? S extends { readonly values: infer Values }
            ? { readonly [key: string]: Value<Values, A> }
            : unknown
          : T extends 'fixed'
            ? Buffer
            : T extends Primitive
              ? Value<T, A>
              : unknown

interface Field {
  readonly name: string
  readonly type: unknown
}

type Fields<F, A extends At> = [F] extends [Field]
  ? string extends F['name']
    ? unknown
    : { readonly [Each in F as Each['name']]: Value<Each['type'], A> }
  : unknown

/** Branches as they are, or each in an object under its name: avsc's `wrapUnions`. */
type Union<S extends readonly unknown[], A extends At> = A['options'] extends {
  readonly wrapUnions: infer W
}
  ? UnionAs<W, S, A>
  : UnionAs<'auto', S, A>

type UnionAs<W, S extends readonly unknown[], A extends At> = W extends 'always'
  ? Wrapped<S[number], A>
  : W extends 'never'
    ? Value<S[number], A>
    : Ambiguous<S, A> extends true
      ? Wrapped<S[number], A>
      : Value<S[number], A>

type Wrapped<Branch, A extends At> = Branch extends 'null' | { readonly type: 'null' }
  ? null
  : string extends Branch
    ? unknown
    : { readonly [Name in BranchName<Branch, A>]: Value<Branch, A> }

type BranchName<B, A extends At> = B extends Primitive
  ? B
  : B extends string
    ? FullName<B, A['space']>
    : B extends { readonly name: infer Name extends string }
      ? FullName<Name, OwnSpace<B, A['space']>>
      : B extends { readonly type: infer T extends string }
        ? T
        : never

type Ambiguous<S, A extends At, Seen = never> = S extends readonly [infer First, ...infer Rest]
  ? [Bucket<First, A>] extends [Seen]
    ? true
    : Ambiguous<Rest, A, Seen | Bucket<First, A>>
  : false

/** Two branches of one bucket cannot be told apart by their values. */
type Bucket<S, A extends At> = S extends 'int' | 'float' | 'double'
  ? 'number'
  : S extends 'long'
    ? A['options'] extends { readonly longs: 'bigint' }
      ? 'bigint'
      : 'number'
    : S extends 'bytes' | 'fixed'
      ? 'buffer'
      : S extends 'string' | 'enum'
        ? 'string'
        : S extends 'record' | 'error' | 'map'
          ? 'object'
          : S extends Primitive | 'array'
            ? S
            : S extends string
              ? Referred<S, A> extends Definition<unknown, infer D, unknown>
                ? Bucket<D, A>
                : 'unknown'
              : S extends { readonly type: infer T extends string }
                ? Bucket<T, A>
                : 'unknown'

type Referred<Name extends string, A extends At> = Extract<
  A['named'],
  Definition<FullName<Name, A['space']>, unknown, unknown>
>

/** Every named type that a schema defines. */
type Named<S, Space extends string> = S extends string
  ? never
  : S extends readonly unknown[]
    ? Named<S[number], Space>
    : S extends { readonly type: 'array'; readonly items: infer Items }
      ? Named<Items, Space>
      : S extends { readonly type: 'map'; readonly values: infer Values }
        ? Named<Values, Space>
        : S extends { readonly type: 'record' | 'error' | 'enum' | 'fixed' }
          ?
              | (S extends { readonly name: infer Name extends string }
                  ? Definition<FullName<Name, OwnSpace<S, Space>>, S, Space>
                  : never)
              | (S extends { readonly fields: readonly { readonly type: infer Types }[] }
                  ? Named<Types, SpaceOf<S, Space>>
                  : never)
          : never

/** In which a type's own name stands, if that has no dots. */
type OwnSpace<S, Space extends string> = S extends { readonly namespace: infer Own extends string }
  ? Own
  : Space

/** In which the names within a type stand. */
type SpaceOf<S, Space extends string> = S extends { readonly namespace: infer Own extends string }
  ? Own
  : S extends { readonly name: infer Name extends `${string}.${string}` }
    ? BeforeLastDot<Name>
    : Space

type FullName<Name extends string, Space extends string> = Name extends `.${infer Absolute}`
  ? Absolute
  : Name extends `${string}.${string}`
    ? Name
    : Space extends ''
      ? Name
      : `${Space}.${Name}`

type BeforeLastDot<Name extends string> = Name extends `${infer Head}.${infer Tail}`
  ? Tail extends `${string}.${string}`
    ? `${Head}.${BeforeLastDot<Tail>}`
    : Head
  : never
