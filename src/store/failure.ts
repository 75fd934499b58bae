/** The errors that both bodies of Disk raise, in one wording. `place` is the full path, for the reader of the log. */
import { DruseError } from '../errors.ts'

export function storeClosed(place: string): DruseError {
  return new DruseError('STORE_CLOSED', `The store ${place} is closed: open it again to use it`, { place })
}

export function diskLocked(
  place: string,
  holder: 'this process' | 'another process',
  cause?: unknown,
): DruseError {
  const remedy =
    holder === 'this process'
      ? 'close its other handle first'
      : 'stop that process, or give this one a state directory of its own'
  return new DruseError('DISK_LOCKED', `The store ${place} is held by ${holder}: ${remedy}`, {
    place,
    holder,
    cause,
  })
}

export function storeCorrupt(place: string, what: string, cause?: unknown): DruseError {
  return new DruseError(
    'STORE_CORRUPT',
    `The store ${place} is damaged: ${what}. Move it aside and let it be rebuilt from its changelog`,
    { place, cause },
  )
}

export function diskFailed(place: string, doing: string, cause?: unknown): DruseError {
  const why = cause instanceof Error ? `: ${cause.message}` : ''
  return new DruseError(
    'DISK_FAILED',
    `Cannot ${doing} ${place}${why}. Check space, permissions and health of the disk`,
    { place, doing, cause },
  )
}
