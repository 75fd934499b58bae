/** SIGKILL in the middle of transactions, again and again on the same directory. */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { EmbeddedBroker } from '../../src/embedded/embedded-broker.ts'
import { levelDisk } from '../../src/store/index.ts'
import { systemClock, systemRandom } from '../../src/system.ts'
import { Session } from '../contract/fixture.ts'
import { faults, read, type Told } from './story.ts'

const CHILD = fileURLToPath(new URL('child.ts', import.meta.url))
const WORKERS = ['worker-0', 'worker-1']
const ROUNDS = 5
/** Transactions told before the process is killed. */
const TOLD = 60

/** Runs the child until it has told enough, kills it, and returns all that it said. */
async function runAndKill(root: string, starts: readonly number[]): Promise<Told[]> {
  const args = ['--disable-warning=ExperimentalWarning', CHILD, root, ...starts.map(String)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  const told: Told[] = []
  const exited = new Promise((resolve) => child.once('exit', (_, signal) => resolve(signal)))
  for await (const line of createInterface({ input: child.stdout })) {
    const [worker = '', n, how] = line.split(' ')
    told.push({ worker, n: Number(n), committed: how === 'committed' })
    if (told.length === TOLD) child.kill('SIGKILL')
  }
  expect(await exited).toBe('SIGKILL')
  return told
}

test('whatever was answered is there, and every transaction is there wholly or not at all', async () => {
  const root = await mkdtemp(join(tmpdir(), 'druse-kill-'))
  onTestFinished(() => rm(root, { recursive: true }))
  const told: Told[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const starts = WORKERS.map((worker) => {
      const last = told.findLast((one) => one.worker === worker)
      // The one after the last told may have happened too.
      return last === undefined ? 0 : last.n + 2
    })
    told.push(...(await runAndKill(root, starts)))
    const store = await levelDisk(root).open('broker')
    const broker = await EmbeddedBroker.open({ store, clock: systemClock, random: systemRandom })
    const traits = { sessionTimeoutMs: 6_000, patienceMs: 30_000, canCompact: true }
    const s = new Session({ wire: broker.wire(), close: () => broker.close() }, traits, `reader ${round}`)
    const found = await read(s, WORKERS)
    s.close()
    await broker.close()
    expect(faults(found, told)).toEqual([])
  }
  expect(told.length).toBeGreaterThanOrEqual(ROUNDS * TOLD)
})
