/** Seeds that have failed once, some that every run takes, and some new ones. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { FAULTS } from './chaos.ts'
import { runSeed } from './scenario.ts'

const REGRESSIONS = readFileSync(new URL('regressions.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => /^\d/.test(line))
  .map((line) => Number(line.split(' ', 1)[0]))
const SEEDS = 60

async function traceOf(seed: number): Promise<string[]> {
  const lines: string[] = []
  await runSeed(seed, { trace: (line) => lines.push(line) })
  return lines
}

describe('simulation', () => {
  test('a run is a function of its seed', async () => {
    const [first, second, other] = [await traceOf(7), await traceOf(7), await traceOf(8)]
    expect(second).toEqual(first)
    expect(first.length).toBeGreaterThan(300)
    expect(other).not.toEqual(first)
  })

  test('a trace changes nothing', async () => {
    const { events } = await runSeed(7)
    expect(await runSeed(7, { trace: () => {} })).toMatchObject({ events })
  })

  test.each(REGRESSIONS)('seed %i, that failed once', async (seed) => {
    await runSeed(seed)
  })

  test(`${SEEDS} seeds: every law holds`, async () => {
    const kinds = new Set<string>()
    for (let seed = 1; seed <= SEEDS; seed++) {
      try {
        const { faults } = await runSeed(seed)
        for (const kind of faults.keys()) kinds.add(kind)
      } catch (cause) {
        throw new Error(`seed ${seed}`, { cause })
      }
    }
    // Whatever is not among them is not tested.
    expect([...kinds].sort()).toEqual([...FAULTS].sort())
  })

  test('new seeds', async () => {
    const start = Math.floor(Math.random() * 2 ** 31)
    for (let seed = start; seed < start + SEEDS; seed++) {
      try {
        await runSeed(seed)
      } catch (cause) {
        throw new Error(`npm run sim -- --seed ${seed}`, { cause })
      }
    }
  })
})
