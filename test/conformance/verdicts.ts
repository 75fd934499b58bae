/** One test for each case. Files of tests run beside one another: each takes a share of the cases. */
import { describe, expect, test } from 'vitest'
import { type Case, loadCases } from './case.ts'
import { built, optional } from './coverage.ts'
import { expectedOf, explained } from './expected.ts'
import { plain } from './observe.ts'
import { runCase } from './run.ts'

export function verdicts(share: number, shares: number): void {
  const cases = loadCases().filter((_, i) => i % shares === share)
  // A case mostly waits for the timers of its application.
  describe.concurrent('recorded cases', () => {
    for (const recorded of cases) verdict(recorded)
  })
}

function verdict(recorded: Case): void {
  const { topology, seed } = recorded
  const name = `${topology}, seed ${seed}`
  const build = built[topology]
  if (build === undefined && optional.includes(topology)) test.skip(`${name} (optional)`, () => {})
  else {
    test(name, async () => {
      if (build === undefined) throw new Error(`no topology is known by the name ${topology}`)
      const { outputs, stores } = await runCase(recorded, build)
      const expected = expectedOf(recorded)
      expect(stores).toEqual(expected.stores)
      expect(outputs).toEqual(expected.outputs)
      const artefacts = explained(recorded)
      if (artefacts === undefined) return
      expect(artefacts.stores).toEqual(recorded.stores)
      expect(artefacts.outputs).toEqual(plain(recorded.outputs))
    })
  }
}
