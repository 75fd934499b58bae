/**
 * Changes of a table on their way through a repartition topic.
 *
 *   format (1)   1: new value; 2: old value; 3: both
 *   length of the new value (4), big-endian; of format 3 only
 *   new value, old value
 */
import { DruseError } from '../errors.ts'
import type { Codec, Serde } from '../ports.ts'
import { Change } from './change.ts'

const NEW = 1
const OLD = 2
const BOTH = 3
const FORMAT_BYTES = 1
const LENGTH_BYTES = 4

export function changeSerde<V>(values: Serde<V>): Serde<Change<V>> {
  return {
    kind: `change:${values.kind}`,
    stableBytes: values.stableBytes,
    open: async (context) => codecOf(await values.open(context), context.topic),
  }
}

function codecOf<V>(values: Codec<V>, topic: string): Codec<Change<V>> {
  const { prepare } = values
  return {
    encode({ newValue, oldValue }) {
      const added = newValue === null ? undefined : values.encode(newValue)
      const taken = oldValue === null ? undefined : values.encode(oldValue)
      if (added === undefined) return Buffer.concat([Buffer.of(OLD), taken ?? Buffer.alloc(0)])
      if (taken === undefined) return Buffer.concat([Buffer.of(NEW), added])
      const head = Buffer.alloc(FORMAT_BYTES + LENGTH_BYTES)
      head[0] = BOTH
      head.writeUInt32BE(added.length, FORMAT_BYTES)
      return Buffer.concat([head, added, taken])
    },
    decode(bytes) {
      const [added, taken] = halvesOf(bytes, topic)
      return new Change(added ? values.decode(added) : null, taken ? values.decode(taken) : null)
    },
    ...(prepare && {
      prepare(bytes) {
        const pending = halvesOf(bytes, topic).flatMap((half) => (half && prepare.call(values, half)) ?? [])
        return pending.length === 0 ? undefined : Promise.all(pending).then(() => {})
      },
    }),
  }
}

type Halves = readonly [added: Uint8Array | undefined, taken: Uint8Array | undefined]

function halvesOf(bytes: Uint8Array, topic: string): Halves {
  const format = bytes[0]
  if (format === NEW) return [bytes.subarray(FORMAT_BYTES), undefined]
  if (format === OLD) return [undefined, bytes.subarray(FORMAT_BYTES)]
  const head = FORMAT_BYTES + LENGTH_BYTES
  if (format === BOTH && bytes.length >= head) {
    const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(FORMAT_BYTES)
    if (bytes.length >= head + length) {
      return [bytes.subarray(head, head + length), bytes.subarray(head + length)]
    }
  }
  throw new DruseError('DECODE_FAILED', `Cannot decode a value of topic "${topic}" as a change of a table`, {
    topic,
    part: 'value',
    kind: 'change',
  })
}
