/**
 * Seeded runs: three workers on one broker, whose events, requests and markers alike, come in an order drawn by chance,
 * with a crash of the process at a moment drawn by chance. A run is a function of its seed.
 */
import { expect, test } from 'vitest'
import { Assembly, seededRandom } from './assembly.ts'
import { createTopic, faults, read, type Told, work } from './story.ts'
import { TestClock } from './test-clock.ts'

const SEEDS = 60
const CRASHES = 3
const WORKERS = ['a', 'b', 'c']

async function run(seed: number): Promise<{ told: Told[]; faulty: string[]; trace: string }> {
  const random = seededRandom(seed)
  const pick = (below: number): number => Math.floor(random.next() * below)
  const clock = new TestClock()
  const assembly = new Assembly({ cacheBytesMax: pick(3) * 500 }, { clock, random })
  const told: Told[] = []
  const trace: string[] = []
  await assembly.open()
  await createTopic(assembly.session)
  for (let crash = 0; crash < CRASHES; crash++) {
    clock.isHeld = true
    const { session } = assembly
    const workers = WORKERS.map((worker) => {
      const last = told.findLast((one) => one.worker === worker)
      const start = last === undefined ? 0 : last.n + 2
      return work(session, worker, start, (one) => {
        told.push(one)
        trace.push(`${one.worker}${one.n}`)
      }).catch((error: unknown) => {
        if (!String(error).includes('disconnect')) throw error
      })
    })
    for (let steps = 200 + pick(600); steps > 0; steps--) {
      while (clock.dueCount === 0) await new Promise((resolve) => setImmediate(resolve))
      await clock.step(pick(clock.dueCount))
    }
    await assembly.kill()
    await Promise.all(workers)
    clock.isHeld = false
    await assembly.open()
    const found = await read(assembly.session, WORKERS)
    const faulty = faults(found, told)
    if (faulty.length > 0) return { told, faulty, trace: trace.join(' ') }
  }
  await assembly.kill()
  return { told, faulty: [], trace: trace.join(' ') }
}

test(`${SEEDS} runs with ${CRASHES} crashes each: no transaction is lost, torn or brought back`, async () => {
  let transactions = 0
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { told, faulty } = await run(seed)
    expect({ seed, faulty }).toEqual({ seed, faulty: [] })
    transactions += told.length
  }
  expect(transactions).toBeGreaterThan(SEEDS * 20)
})

test('the same seed gives the same run', async () => {
  const first = await run(11)
  const second = await run(11)
  expect(second.trace).toBe(first.trace)
  expect((await run(12)).trace).not.toBe(first.trace)
})
