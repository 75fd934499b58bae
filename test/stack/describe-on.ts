import { describe, test } from 'vitest'
import type { Found } from './requests.ts'

/** Skipped, or failed, where it is missing; a line at the end of the run says what to do about it. */
export function describeOn<T>(title: string, what: Found<T>, body: (found: T) => void | Promise<void>): void {
  if ('found' in what) describe(title, () => body(what.found))
  else if (process.env.DRUSE_REQUIRE_KAFKA !== '1') test.skip(title, () => {})
  else {
    test(title, () => {
      throw new Error(what.missing)
    })
  }
}
