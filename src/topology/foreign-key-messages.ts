/**
 * What travels between the two sides of a foreign-key join, and what the foreign side remembers.
 *
 *   subscription  format (1), instruction (1), partition (4), length of the version (2), version, the row's key
 *   response      format (1): 1 with a foreign value, 0 without; length of the version (2), version, foreign value
 *   subscriber    length of the foreign key (4), foreign key, the row's key: what a region has as its key
 *   versions      01 and the row's key, or 00 for the last version that was given: likewise
 *
 * A version is text; an empty one stands for a row that was deleted. Numbers are big-endian.
 */
import { DruseError } from '../errors.ts'
import type { Codec, CodecContext, Serde } from '../ports.ts'

/** What a row of the left table asks of the foreign side. */
export type Instruction =
  /** Remember me; answer if there is a foreign value. */
  | 'subscribe'
  /** Remember me; answer in any case. */
  | 'subscribeAndAnswer'
  /** Forget me. */
  | 'unsubscribe'
  /** Forget me; answer that there is no foreign value. */
  | 'unsubscribeAndAnswer'

const INSTRUCTIONS: readonly Instruction[] = [
  'subscribe',
  'subscribeAndAnswer',
  'unsubscribe',
  'unsubscribeAndAnswer',
]

/** Which state of a row is meant: what comes for an older one is out of date. */
export interface Subscription<K = unknown> {
  readonly instruction: Instruction
  /** Of the task that keeps the row: answers go there. */
  readonly partition: number
  readonly version: string
  readonly key: K
}

export interface Response<V = unknown> {
  readonly version: string
  /** Null: there is none. */
  readonly foreignValue: V | null
  /** Where it goes. Not part of its bytes. */
  readonly partition: number
}

/** Without a row's key it stands for all subscribers of a foreign key. */
export interface Subscriber<KO = unknown, K = unknown> {
  readonly foreignKey: KO
  readonly key?: K
}

const FORMAT = 1

export function subscriptionSerde<K>(keys: Serde<K>): Serde<Subscription<K>> {
  return {
    kind: `subscription:${keys.kind}`,
    stableBytes: false,
    open: async (context) => {
      const codec = await keys.open(context)
      return {
        encode: ({ instruction, partition, version, key }) => {
          const head = Buffer.alloc(6)
          head[0] = FORMAT
          head[1] = INSTRUCTIONS.indexOf(instruction)
          head.writeUInt32BE(partition, 2)
          return Buffer.concat([head, ...versionBytes(version), codec.encode(key)])
        },
        decode: (bytes) => {
          const buffer = viewOf(bytes)
          const instruction = INSTRUCTIONS[buffer[1] ?? INSTRUCTIONS.length]
          if (buffer[0] !== FORMAT || instruction === undefined) throw undecodable(context, 'subscription')
          const { version, rest } = readVersion(buffer, 6, context, 'subscription')
          return { instruction, partition: buffer.readUInt32BE(2), version, key: codec.decode(rest) }
        },
      }
    },
  }
}

export function responseSerde<V>(values: Serde<V>): Serde<Response<V>> {
  return {
    kind: `response:${values.kind}`,
    stableBytes: false,
    open: async (context) => {
      const codec = await values.open(context)
      const { prepare } = codec
      const read = (bytes: Uint8Array): { version: string; value: Buffer | undefined } => {
        const buffer = viewOf(bytes)
        if (buffer[0] !== 0 && buffer[0] !== 1) throw undecodable(context, 'response')
        const { version, rest } = readVersion(buffer, 1, context, 'response')
        return { version, value: buffer[0] === 1 ? rest : undefined }
      }
      return {
        encode: ({ version, foreignValue }) => {
          const value = foreignValue === null ? [] : [codec.encode(foreignValue)]
          return Buffer.concat([Buffer.of(value.length), ...versionBytes(version), ...value])
        },
        decode: (bytes) => {
          const { version, value } = read(bytes)
          return { version, foreignValue: value === undefined ? null : codec.decode(value), partition: -1 }
        },
        ...(prepare && {
          prepare: (bytes) => {
            const { value } = read(bytes)
            return value === undefined ? undefined : prepare.call(codec, value)
          },
        }),
      }
    },
  }
}

/** In the region of versions, in place of a row's key. */
export const LAST_VERSION = Symbol('last version')

export function versionKey<K>(keys: Serde<K>): Serde<K | typeof LAST_VERSION> {
  return {
    kind: `version:${keys.kind}`,
    stableBytes: keys.stableBytes,
    open: async (context) => {
      const codec = await keys.open(context)
      return {
        encode: (key) =>
          key === LAST_VERSION ? Buffer.of(0) : Buffer.concat([Buffer.of(1), codec.encode(key as K)]),
        decode: (bytes) => (bytes[0] === 0 ? LAST_VERSION : codec.decode(bytes.subarray(1))),
      }
    },
  }
}

/** Subscribers of one foreign key stand together, in the order of the rows' keys. */
export function subscriberSerde<KO, K>(foreignKeys: Serde<KO>, keys: Serde<K>): Serde<Subscriber<KO, K>> {
  const { ordered } = keys
  /** Turns the row's key, if there is one, and leaves what is in front of it. */
  const turned = (turn: (bytes: Uint8Array) => Uint8Array) => (bytes: Uint8Array) => {
    const buffer = viewOf(bytes)
    const end = 4 + buffer.readUInt32BE(0)
    if (buffer.length === end) return buffer
    return Buffer.concat([buffer.subarray(0, end), turn(buffer.subarray(end))])
  }
  return {
    kind: `subscriber:${foreignKeys.kind}:${keys.kind}`,
    stableBytes: foreignKeys.stableBytes && keys.stableBytes,
    ...(ordered && {
      ordered: { toOrdered: turned(ordered.toOrdered), fromOrdered: turned(ordered.fromOrdered) },
    }),
    open: async (context): Promise<Codec<Subscriber<KO, K>>> => {
      const foreignCodec = await foreignKeys.open(context)
      const codec = await keys.open(context)
      return {
        encode: ({ foreignKey, key }) => {
          const foreign = foreignCodec.encode(foreignKey)
          const length = Buffer.alloc(4)
          length.writeUInt32BE(foreign.length)
          return Buffer.concat([length, foreign, ...(key === undefined ? [] : [codec.encode(key)])])
        },
        decode: (bytes) => {
          const buffer = viewOf(bytes)
          if (buffer.length < 4) throw undecodable(context, 'subscriber')
          const end = 4 + buffer.readUInt32BE(0)
          if (buffer.length < end) throw undecodable(context, 'subscriber')
          return {
            foreignKey: foreignCodec.decode(buffer.subarray(4, end)),
            key: codec.decode(buffer.subarray(end)),
          }
        },
      }
    },
  }
}

function versionBytes(version: string): [length: Buffer, text: Buffer] {
  const text = Buffer.from(version, 'utf8')
  const length = Buffer.alloc(2)
  length.writeUInt16BE(text.length)
  return [length, text]
}

function readVersion(
  buffer: Buffer,
  at: number,
  context: CodecContext,
  what: string,
): { readonly version: string; readonly rest: Buffer } {
  if (buffer.length < at + 2) throw undecodable(context, what)
  const end = at + 2 + buffer.readUInt16BE(at)
  if (buffer.length < end) throw undecodable(context, what)
  return { version: buffer.toString('utf8', at + 2, end), rest: buffer.subarray(end) }
}

function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function undecodable({ topic, part }: CodecContext, kind: string): DruseError {
  return new DruseError(
    'DECODE_FAILED',
    `Cannot decode a ${part} of topic "${topic}" as a ${kind} of a join`,
    {
      topic,
      part,
      kind,
    },
  )
}
