/**
 * Dead letters: records that could not be processed, with key, value and headers as they came, and `druse.error.*`
 * headers, texts in UTF-8, that tell what happened.
 *
 *   code, message               what stopped it; LATE: it came after its window had closed
 *   cause                       of ..._FAILED: the code of what the operator met, if it has one
 *   operator                    where, if an operator did
 *   topic, partition, offset    where the record stood
 *   timestamp                   the record's own
 *   keySchemaId, valueSchemaId  of Avro
 *   windowEnd, streamTime       of LATE
 *   windowStart, windowEnd      of EMISSION_FAILED, where the operator keeps windows
 *
 * What an operator has kept until its time had come, and time itself could not bring about, becomes a dead letter as well:
 * its key and value are those that it would have gone on with, and it has no topic and offset, but the task's partition.
 */
import { DruseError, type ErrorCode } from '../errors.ts'
import type { Serde } from '../ports.ts'
import type { LateRecord } from '../topology/graph.ts'
import type { KeptUnit } from '../topology/unit.ts'
import type { Header, TopicPartition } from '../types.ts'
import type { Head } from './input-queue.ts'
import { detailsOf } from './units.ts'

export const DEAD_LETTER_HEADER = 'druse.error.'

/** What a dead letter's headers say, by their names. */
export type Reason = Readonly<Record<string, string | number | undefined>>

export function reasonOfError(error: unknown): Reason {
  if (!(error instanceof DruseError)) {
    return { code: 'OPERATOR_FAILED', message: error instanceof Error ? error.message : String(error) }
  }
  const { code, message, details } = error
  const { operator } = details
  return {
    code,
    message,
    cause: AROUND.has(code) ? innermost(error) : undefined,
    operator: typeof operator === 'string' ? operator : undefined,
  }
}

/** They tell where something went wrong, and have what it was as their cause. */
const AROUND: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'OPERATOR_FAILED',
  'EMISSION_FAILED',
  'TIMER_FAILED',
])

function innermost(error: DruseError): ErrorCode | undefined {
  let code: ErrorCode | undefined
  for (let at = error.cause; at instanceof DruseError; at = at.cause) {
    code = at.code
    if (!AROUND.has(code)) break
  }
  return code
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
  return [
    ...raw.headers,
    ...headersOf({
      ...{ code, message, topic, partition },
      offset: raw.offset,
      timestamp: raw.timestamp,
      ...more,
      keySchemaId: schemaId(serdes.key, raw.key),
      valueSchemaId: schemaId(serdes.value, raw.value),
    }),
  ]
}

/** Of what an operator has kept: it is in no topic. */
export function unitHeaders(unit: KeptUnit, partition: number, { code, message, ...more }: Reason): Header[] {
  const { key: _, ...place } = detailsOf(unit) as Readonly<Record<string, string | number>>
  const own = unit.kind === 'emission' ? (unit.headers ?? []) : []
  return [...own, ...headersOf({ code, message, partition, ...place, ...more })]
}

function headersOf(told: Reason): Header[] {
  return Object.entries(told).flatMap(([name, value]) =>
    value === undefined ? [] : { key: DEAD_LETTER_HEADER + name, value: Buffer.from(String(value), 'utf8') },
  )
}

const FRAME_BYTES = 5

/** By Confluent's framing: a zero byte, then the id. */
function schemaId({ kind }: Serde<unknown>, bytes: Uint8Array | null): number | undefined {
  if (!kind.startsWith('avro:') || bytes === null || bytes.length < FRAME_BYTES || bytes[0] !== 0) {
    return undefined
  }
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(1)
}
