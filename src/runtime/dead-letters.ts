/**
 * Dead letters: records that could not be processed, with key, value and headers as they came, and `druse.error.*`
 * headers, texts in UTF-8, that tell what happened.
 *
 *   code, message               what stopped it; LATE: it came after its window had closed
 *   cause                       of OPERATOR_FAILED: the code of what the operator met, if it has one
 *   operator                    where, if an operator did
 *   topic, partition, offset    where the record stood
 *   timestamp                   the record's own
 *   keySchemaId, valueSchemaId  of Avro
 *   windowEnd, streamTime       of LATE
 */
import { DruseError } from '../errors.ts'
import type { Serde } from '../ports.ts'
import type { LateRecord } from '../topology/graph.ts'
import type { Header, TopicPartition } from '../types.ts'
import type { Head } from './input-queue.ts'

export const DEAD_LETTER_HEADER = 'druse.error.'

/** What a dead letter's headers say, by their names. */
export type Reason = Readonly<Record<string, string | number | undefined>>

export function reasonOfError(error: unknown): Reason {
  if (!(error instanceof DruseError)) {
    return { code: 'OPERATOR_FAILED', message: error instanceof Error ? error.message : String(error) }
  }
  const { code, message, cause, details } = error
  const { operator } = details
  return {
    code,
    message,
    cause: code === 'OPERATOR_FAILED' && cause instanceof DruseError ? cause.code : undefined,
    operator: typeof operator === 'string' ? operator : undefined,
  }
}

export function reasonOfLate({ operator, streamTimeMs, windowEnd }: LateRecord): Reason {
  const message = `The record came to operator '${operator}' when its window had closed: the window ended at ${windowEnd}, stream time was ${streamTimeMs}`
  return { code: 'LATE', message, operator, windowEnd, streamTime: streamTimeMs }
}

/** Behind those that the record came with. */
export function deadLetterHeaders(
  { raw }: Head,
  { topic, partition }: TopicPartition,
  serdes: { readonly key: Serde<unknown>; readonly value: Serde<unknown> },
  reason: Reason,
): Header[] {
  const { code, message, ...more } = reason
  const told = {
    ...{ code, message, topic, partition },
    offset: raw.offset,
    timestamp: raw.timestamp,
    ...more,
    keySchemaId: schemaId(serdes.key, raw.key),
    valueSchemaId: schemaId(serdes.value, raw.value),
  }
  const headers = [...raw.headers]
  for (const [name, value] of Object.entries(told)) {
    if (value === undefined) continue
    headers.push({ key: DEAD_LETTER_HEADER + name, value: Buffer.from(String(value), 'utf8') })
  }
  return headers
}

const FRAME_BYTES = 5

/** By Confluent's framing: a zero byte, then the id. */
function schemaId({ kind }: Serde<unknown>, bytes: Uint8Array | null): number | undefined {
  if (!kind.startsWith('avro:') || bytes === null || bytes.length < FRAME_BYTES || bytes[0] !== 0) {
    return undefined
  }
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(1)
}
