/**
 * Before and after a whole run of Vitest: the keeper, a process of its own that starts what test files ask for, a broker,
 * a registry, whole clusters, and nothing before. It takes along all that it started: at the end of the run, after
 * Ctrl-C, and when Vitest is killed.
 */
import type { TestProject } from 'vitest/node'
import { startKeeper } from './keeper-process.ts'

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const keeper = await startKeeper()
  project.provide('keeper', keeper.socket)
  return async () => {
    // What it has to say stands below the results.
    for (const line of await keeper.close()) console.log(line)
  }
}
