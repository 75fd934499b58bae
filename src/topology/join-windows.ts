import { checkMs } from './windows.ts'

/** Which records of two streams belong together, by their times. Milliseconds of event time, both ends included. */
export interface JoinWindows {
  readonly kind: 'join'
  /** A record of the right stream may be so much earlier than that of the left one. */
  readonly beforeMs: number
  /** A record of the right stream may be so much later than that of the left one. */
  readonly afterMs: number
  readonly graceMs: number
}

/**
 * Joins records of a key whose times differ by at most `timeDifferenceMs`, or that of the right stream by at most
 * `beforeMs` and `afterMs`. `graceMs`: how much stream time may pass after that until a record without a match counts as
 * one, in left and outer joins; there is no default, for waiting costs time, and not waiting matches.
 * Errors: OPTION_INVALID.
 */
export function joinWindows(
  options: { readonly graceMs: number } & (
    | { readonly timeDifferenceMs: number }
    | { readonly beforeMs: number; readonly afterMs: number }
  ),
): JoinWindows {
  const { graceMs } = options
  const [beforeMs, afterMs] =
    'timeDifferenceMs' in options
      ? [options.timeDifferenceMs, options.timeDifferenceMs]
      : [options.beforeMs, options.afterMs]
  checkMs('joinWindows', { beforeMs, afterMs, graceMs }, 0)
  return { kind: 'join', beforeMs, afterMs, graceMs }
}
