/** One fault at a time. All of them are run by `npm run sim -- --systematic`; here those of some effects. */
import { expect, test } from 'vitest'
import { casesAt, countEffects, namesOf, runCase } from './systematic.ts'

const EVERY = 9
/** A ceiling, for machines that have other things to do. */
const LIMIT = { timeout: 600_000 }

test('a crash, a lost answer, a pause and a late delivery at every ninth effect', LIMIT, async () => {
  const effects = await countEffects()
  expect(effects).toBeGreaterThan(120)
  let runs = 0
  for (let at = 0; at < effects; at += EVERY) {
    for (const one of casesAt(at)) {
      runs += 1
      try {
        await runCase([one])
      } catch (cause) {
        throw new Error(`npm run sim -- --case ${namesOf([one])}`, { cause })
      }
    }
  }
  expect(runs).toBeGreaterThan(effects)
})
