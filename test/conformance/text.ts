/** Between the text that recordings are made of and what operators see. Null is null on both sides. */
import { int64, type Serde, string, Windowed } from '../../src/index.ts'
import type { CaseEntry } from './case.ts'

export type Text = string | null
export type Int = number | null

export const text = string as Serde<Text>
export const int = int64 as Serde<Int>
export const texts = { key: text, value: text }
export const ints = { key: text, value: int }

export function encoded(serde: Serde<unknown>, given: string | null): unknown {
  if (given === null) return null
  if (serde === text) return given
  if (serde === int) return Number(given)
  throw new Error(`no input of a recording is read with the serde ${serde.kind}`)
}

export function shown(value: unknown): string | null {
  return value === null ? null : String(value)
}

/** A key as an entry of a case has it: of a window, with its bounds. */
export function shownKey(key: unknown): Pick<CaseEntry, 'key' | 'windowStart' | 'windowEnd'> {
  if (!(key instanceof Windowed)) return { key: shown(key) }
  return { key: shown(key.key), windowStart: key.windowStart, windowEnd: key.windowEnd }
}

/** A null operand is the text "null". */
export const joiner = (left: Text, right: Text): string => `${left}|${right}`
