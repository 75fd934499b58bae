/** Whose fault an error is, and so what becomes of it: the one place where that is decided. */
import { DruseError, type ErrorCode } from '../errors.ts'

/**
 * passing: it may be over by itself; who meets it waits, tells so in `app.health`, and tries again. record: the
 * application's policies apply. lasting: they do not, that would lose records; the task stops.
 */
export type Blame = 'passing' | 'record' | 'lasting'

/** Beside what is transient: until somebody grants the right or makes room, nothing is lost by waiting. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['REGISTRY_REFUSED', 'DISK_FAILED'])

/** The user's to put right, but in no record. */
const OF_NO_RECORD: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'STORE_CLOSED',
  'REGISTRY_MISSING',
  'SCHEMA_REJECTED',
  'SCHEMA_NOT_REGISTERED',
])

/** Of an error as it was caught: what is the cause of another one is no longer waited for. */
export function blameOf(error: unknown): Blame {
  if (mayPass(error)) return 'passing'
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof DruseError && (at.kind !== 'user' || OF_NO_RECORD.has(at.code))) return 'lasting'
  }
  return 'record'
}

export const mayPass = (error: unknown): error is DruseError =>
  error instanceof DruseError && (error.kind === 'transient' || PASSING.has(error.code))
