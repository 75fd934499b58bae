import { inspect } from 'node:util'
import type { Fn, Named } from './place.ts'

export interface PrintOptions<K, V> extends Named {
  /** Begins each line, in brackets. Default: the operator's name. */
  readonly label?: string
  /** What is printed of a record. Default: key and value. */
  readonly text?: Fn<K, V, string>
  /** Takes a line. Default: `console.log`. */
  readonly write?: (line: string) => void
}

export function keyAndValue(value: unknown, key: unknown): string {
  return `${shown(key)}, ${shown(value)}`
}

const WHOLE_ON_ONE_LINE = {
  compact: true,
  breakLength: Number.POSITIVE_INFINITY,
  depth: null,
  maxArrayLength: null,
  maxStringLength: null,
}

const shown = (value: unknown): string =>
  typeof value === 'string' ? value : inspect(value, WHOLE_ON_ONE_LINE)
