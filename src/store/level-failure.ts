import type { DruseError } from '../errors.ts'
import { diskFailed, diskLocked, storeClosed, storeCorrupt } from './failure.ts'

/** What an error of LevelDB or of the file system means to a caller. `doing` completes "Cannot ... <place>". */
export function levelFailure(place: string, doing: string, error: unknown): DruseError {
  // abstract-level wraps what the binding says of an open that failed.
  const cause = codeOf(error) === 'LEVEL_DATABASE_NOT_OPEN' && hasCause(error) ? error.cause : error
  switch (codeOf(cause)) {
    case 'LEVEL_LOCKED':
      return diskLocked(place, 'another process', cause)
    case 'LEVEL_CORRUPTION':
      return storeCorrupt(place, String(cause), cause)
    case 'LEVEL_DATABASE_NOT_OPEN':
    case 'LEVEL_ITERATOR_NOT_OPEN':
    case 'LEVEL_BATCH_NOT_OPEN':
      return storeClosed(place)
    case 'LEVEL_IO_ERROR':
      // The directory is there, so a file that LevelDB expects in it is not.
      if (doing === 'open' && /No such file/i.test(String(cause)))
        return storeCorrupt(place, String(cause), cause)
      return diskFailed(place, doing, cause)
    default:
      return diskFailed(place, doing, cause)
  }
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

function hasCause(error: unknown): error is Error & { cause: Error } {
  return error instanceof Error && error.cause instanceof Error
}
