/** Paths within a disk: `/`-joined names that are safe on every file system. */
import { DruseError } from '../errors.ts'

/** Kafka's own bound for topic names, so that a region's or topic's name is always a directory's name. */
const NAME_CHARACTERS_MAX = 249
const NAME = new RegExp(`^[A-Za-z0-9._-]{1,${NAME_CHARACTERS_MAX}}$`)

export function isName(name: string): boolean {
  return NAME.test(name) && name !== '.' && name !== '..'
}

/** The names of a path. Error: PATH_INVALID. */
export function namesOf(path: string): readonly string[] {
  const names = path.split('/')
  for (const name of names) {
    if (!isName(name)) {
      throw new DruseError(
        'PATH_INVALID',
        `"${path}" is no path of a store: its names are 1 to ${NAME_CHARACTERS_MAX} of A-Z a-z 0-9 . _ - and not . or ..; choose another name`,
        { path },
      )
    }
  }
  return names
}

/** The n-th name beside a path for what is moved aside; a name too long for the suffix is cut. */
export function asidePath(path: string, n: number): string {
  const suffix = `.aside-${n}`
  const slash = path.lastIndexOf('/') + 1
  return path.slice(0, slash) + path.slice(slash).slice(0, NAME_CHARACTERS_MAX - suffix.length) + suffix
}
