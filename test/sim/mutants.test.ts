/** The simulation finds bugs: some of the mutants that `npm run sim -- --mutants` goes through, and that all still fit. */
import { expect, test } from 'vitest'
import { ChildProcess } from '../child-process.ts'
import { MUTANTS } from './mutants.ts'
import { patchedSources } from './mutation.ts'

test.each(MUTANTS.filter(({ notYet }) => notYet === undefined))('$id fits the source: $what', (mutant) => {
  expect(patchedSources(mutant).size).toBeGreaterThan(0)
})

test.each([
  ['M1', ['--systematic']],
  ['M5', ['--seeds', '300']],
  ['M10b', ['--seeds', '300']],
  ['M22', ['--seeds', '300']],
  ['M9', ['--stories']],
  ['M15', ['--stories']],
])('%s is found', async (id, args) => {
  const run = new ChildProcess('test/sim/main.ts', ['--mutant', id, '--until-failure', ...args])
  const { code, out } = await run.ended
  expect({ code, out }).toMatchObject({ code: 1, out: expect.stringMatching(/^(seed|case|story) /m) })
})

test('what is not changed holds: the summary is the last line, the exit code 0', async () => {
  const { code, out } = await new ChildProcess('test/sim/main.ts', ['--seeds', '20']).ended
  expect(code).toBe(0)
  expect(out.trimEnd().split('\n').at(-1)).toMatch(/^20 seeds from 1, 0 failed; .* seeds\/s/)
})

test('one seed is told step by step', async () => {
  const { code, out } = await new ChildProcess('test/sim/main.ts', ['--seed', '1']).ended
  expect(code).toBe(0)
  expect(out).toMatch(/> TxnOffsetCommit/)
  expect(out.trimEnd()).toMatch(/seed 1: every law holds$/)
})
