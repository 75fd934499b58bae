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

test('of a seed that fails the fewest faults are told, and these make it fail again', async () => {
  const args = ['--mutant', 'M10b', '--seeds', '12']
  const { code, out } = await new ChildProcess('test/sim/main.ts', args).ended
  expect(code).toBe(1)
  expect(out.trimEnd().split('\n').at(-1)).toMatch(/^12 seeds from 1, [1-9]\d* failed; /)
  const [, left, all] = /^ {2}(\d+) of (\d+) faults are enough/m.exec(out) ?? []
  expect(Number(left)).toBeLessThan(Number(all) / 4)
  const [, seed, faults] = /npm run sim -- --seed (\d+) --faults (.+)$/m.exec(out) ?? []
  const again = ['--mutant', 'M10b', '--seed', `${seed}`, '--faults', `${faults}`]
  const replayed = await new ChildProcess('test/sim/main.ts', again).ended
  expect(replayed.code).toBe(1)
  expect(replayed.out.trimEnd()).not.toMatch(/every law holds$/)
})

test('two faults together', async () => {
  const args = ['--systematic', '--pairs', '6']
  const { code, out } = await new ChildProcess('test/sim/main.ts', args).ended
  expect(code).toBe(0)
  expect(out.trimEnd().split('\n').at(-1)).toMatch(/^systematic: 6 runs of pairs over \d+ effects, 0 failed/)
  const one = ['--case', '30,loseAnswer,same+41,crashAfter,empty']
  const replayed = await new ChildProcess('test/sim/main.ts', one).ended
  expect(replayed.out).toMatch(/KILLED[\s\S]*every law holds$/m)
})

test('one seed is told step by step', async () => {
  const { code, out } = await new ChildProcess('test/sim/main.ts', ['--seed', '2']).ended
  expect(code).toBe(0)
  expect(out).toMatch(/> TxnOffsetCommit/)
  expect(out.trimEnd()).toMatch(/seed 2: every law holds$/)
})
