/** Kinds of windows. Times and sizes are milliseconds of event time; windows are aligned to 1970. */
import { DruseError } from '../errors.ts'

interface Grace {
  /**
   * How much stream time may pass after a window's end until it closes: records that come later are dropped. There is no
   * default: waiting costs time, not waiting costs records.
   */
  readonly graceMs: number
}

/** Windows of one size, at fixed distances: tumbling or hopping. */
export interface TimeWindows {
  readonly kind: 'time'
  readonly sizeMs: number
  readonly advanceMs: number
  readonly graceMs: number
}

/** A window for every set of records of a key that lie within the time difference of each other. */
export interface SlidingWindows {
  readonly kind: 'sliding'
  readonly timeDifferenceMs: number
  readonly graceMs: number
}

/** A window for records of a key that follow each other within the gap. */
export interface SessionWindows {
  readonly kind: 'session'
  readonly inactivityGapMs: number
  readonly graceMs: number
}

export type AnyWindows = TimeWindows | SlidingWindows | SessionWindows

/** Windows side by side: each record is in one. A window holds the times from its start to before its end. */
export function tumblingWindows({ sizeMs, graceMs }: { readonly sizeMs: number } & Grace): TimeWindows {
  checkMs('tumblingWindows', { sizeMs }, 1)
  checkMs('tumblingWindows', { graceMs }, 0)
  return { kind: 'time', sizeMs, advanceMs: sizeMs, graceMs }
}

/** Windows that overlap: a new one begins every `advanceMs`, so a record may be in several. */
export function hoppingWindows({
  sizeMs,
  advanceMs,
  graceMs,
}: { readonly sizeMs: number; readonly advanceMs: number } & Grace): TimeWindows {
  checkMs('hoppingWindows', { sizeMs, advanceMs }, 1)
  checkMs('hoppingWindows', { graceMs }, 0)
  if (advanceMs > sizeMs) {
    throw new DruseError(
      'OPTION_INVALID',
      `hoppingWindows: advanceMs is ${advanceMs}, more than sizeMs (${sizeMs}): records in between would be in no window`,
    )
  }
  return { kind: 'time', sizeMs, advanceMs, graceMs }
}

/**
 * Windows that end at a record, or begin right after one: each set of records of a key that lie within `timeDifferenceMs`
 * of each other is in one. Start and end belong to the window.
 */
export function slidingWindows({
  timeDifferenceMs,
  graceMs,
}: { readonly timeDifferenceMs: number } & Grace): SlidingWindows {
  checkMs('slidingWindows', { timeDifferenceMs, graceMs }, 0)
  return { kind: 'sliding', timeDifferenceMs, graceMs }
}

/**
 * A window from a key's first record to its last, as long as each follows another within `inactivityGapMs`. A record
 * between two sessions makes one of them. Start and end belong to the window.
 */
export function sessionWindows({
  inactivityGapMs,
  graceMs,
}: { readonly inactivityGapMs: number } & Grace): SessionWindows {
  checkMs('sessionWindows', { inactivityGapMs }, 1)
  checkMs('sessionWindows', { graceMs }, 0)
  return { kind: 'session', inactivityGapMs, graceMs }
}

/** The starts of the windows that hold this time, the oldest first. None begins before 1970. */
export function startsOf({ sizeMs, advanceMs }: TimeWindows, timestamp: number): number[] {
  const newest = timestamp - (timestamp % advanceMs)
  if (sizeMs === advanceMs) return [newest]
  const starts: number[] = []
  for (let start = newest; start > timestamp - sizeMs && start >= 0; start -= advanceMs) starts.push(start)
  return starts.reverse()
}

/** Errors: OPTION_INVALID. */
export function checkMs(where: string, options: Readonly<Record<string, number>>, least: 0 | 1): void {
  for (const [name, ms] of Object.entries(options)) {
    if (Number.isSafeInteger(ms) && ms >= least) continue
    throw new DruseError(
      'OPTION_INVALID',
      `${where}: ${name} is ${ms}, a whole number of milliseconds from ${least} is needed`,
    )
  }
}
