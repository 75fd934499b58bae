/** The errors of serdes, in one wording. `what` says what was expected and what was found. */
import { inspect } from 'node:util'
import { DruseError } from '../errors.ts'
import type { CodecContext } from '../ports.ts'

export function decodeFailed(context: CodecContext, kind: string, what: string, cause?: unknown): DruseError {
  const { topic, part } = context
  return new DruseError('DECODE_FAILED', `Cannot decode a ${part} of topic "${topic}" as ${kind}: ${what}`, {
    topic,
    part,
    kind,
    cause,
  })
}

export function encodeFailed(context: CodecContext, kind: string, what: string, cause?: unknown): DruseError {
  const { topic, part } = context
  return new DruseError('ENCODE_FAILED', `Cannot encode a ${part} for topic "${topic}" as ${kind}: ${what}`, {
    topic,
    part,
    kind,
    cause,
  })
}

/** `8 bytes expected, 5 found`, or nothing when there are as many. */
export function sizeMismatch(bytes: Uint8Array, expected: number): string | undefined {
  if (bytes.length === expected) return undefined
  return `${expected} ${expected === 1 ? 'byte' : 'bytes'} expected, ${bytes.length} found`
}

/** A value for a message: on one line, and short however large the value is. */
export function shown(value: unknown): string {
  const text = inspect(value, {
    depth: 1,
    breakLength: Number.POSITIVE_INFINITY,
    maxStringLength: 80,
    maxArrayLength: 5,
  })
  return text.length <= 120 ? text : `${text.slice(0, 120)}…`
}
