/** Delta debugging: of many things that make something fail together, a few that still do. */

/** What stands before an `@`. */
const kindOf = (name: string): string => name.split('@', 1)[0] as string

export interface Minimised {
  readonly left: readonly string[]
  /** Of the last run that failed. */
  readonly message: string
  readonly runs: number
  /** Without any one of them it does not fail; false: there was no time to find out. */
  readonly isMinimal: boolean
}

/**
 * `failureOf`: how it fails with these alone; undefined: it does not. Undefined when it does not fail with all of them.
 * `goesOn` is asked before each run.
 */
export async function minimise(
  all: readonly string[],
  failureOf: (some: readonly string[]) => Promise<string | undefined>,
  goesOn: (runs: number) => boolean,
): Promise<Minimised | undefined> {
  let runs = 1
  let message = await failureOf(all)
  if (message === undefined) return undefined
  let left = all
  // Whole kinds first: most of them have nothing to do with it.
  for (const kind of new Set(all.map(kindOf))) {
    if (!goesOn(runs)) return { left, message, runs, isMinimal: false }
    runs += 1
    const without = left.filter((name) => kindOf(name) !== kind)
    const failure = await failureOf(without)
    if (failure === undefined) continue
    message = failure
    left = without
  }
  let pieces = 2
  while (left.length > 0) {
    const size = Math.ceil(left.length / pieces)
    let isSmaller = false
    for (let from = 0; from < left.length && !isSmaller; from += size) {
      if (!goesOn(runs)) return { left, message, runs, isMinimal: false }
      runs += 1
      const without = [...left.slice(0, from), ...left.slice(from + size)]
      const failure = await failureOf(without)
      if (failure === undefined) continue
      message = failure
      left = without
      isSmaller = true
    }
    if (isSmaller) pieces = Math.max(2, pieces - 1)
    else if (size === 1) break
    else pieces = Math.min(left.length, pieces * 2)
  }
  return { left, message, runs, isMinimal: true }
}
