/**
 * Before and after a whole run of Vitest: a process of its own (keeper/main.ts) that starts what test files ask for, a
 * broker, a registry, whole clusters, and nothing before. It goes when its standard input ends and takes along all that
 * it started: at the end of the run, after Ctrl-C, and when Vitest is killed.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { TestProject } from 'vitest/node'

const KEEPER = fileURLToPath(new URL('keeper/main.ts', import.meta.url))

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  // Detached: a Ctrl-C in the terminal is for Vitest; the keeper has to tidy up after it.
  const keeper = spawn(process.execPath, ['--disable-warning=TimeoutNegativeWarning', KEEPER], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  })
  const closed = once(keeper, 'close')
  const lines = createInterface({ input: keeper.stdout })[Symbol.asyncIterator]()
  const first = await lines.next()
  if (first.done) throw new Error('The process that keeps brokers for tests did not start')
  project.provide('keeper', first.value)
  return async () => {
    keeper.stdin.end()
    // What it has to say stands below the results.
    for (let line = await lines.next(); !line.done; line = await lines.next()) console.log(line.value)
    await closed
  }
}
