import { isDeepStrictEqual } from 'node:util'

/** Whether two decoded keys are the same, however they are made. */
export function isSameKey(one: unknown, other: unknown): boolean {
  return Object.is(one, other) || (typeof one === 'object' && isDeepStrictEqual(one, other))
}
