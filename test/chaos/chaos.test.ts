/** Each family of faults for a short time, and a bug that has to be found. `npm run chaos` does it for long. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { describeOnClusters } from '../stack/cluster.ts'
import { describeWithJavaConsumer } from '../stack/java-consumer.ts'
import { findMutant } from './mutants-run.ts'
import { type ChaosOptions, type ChaosResult, possible, runChaos } from './run.ts'
import { FAMILIES, type Family } from './stage.ts'

/** A ceiling, for machines that have other things to do. */
const LIMIT = { timeout: 600_000 }
const SEED = 20_01

/** What failed runs have said stays for whoever looks. */
async function temporary(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'druse-chaos-'))
  onTestFinished(async ({ task }) => {
    if (task.result?.state !== 'fail') await rm(directory, { recursive: true, force: true })
  })
  return directory
}

async function run(options: Pick<ChaosOptions, 'nodes' | 'families' | 'startCluster'>): Promise<ChaosResult> {
  const said: string[] = []
  const directory = await temporary()
  const result = await runChaos({
    seed: SEED,
    faults: { ofEach: 1 },
    recordsPerSecond: 150,
    directory,
    say: (line) => said.push(line),
    ...options,
  })
  expect(result.violations, `${said.join('\n')}\nlogs in ${directory}`).toEqual([])
  expect([...result.faults.keys()].sort()).toEqual([...options.families].sort())
  expect(result.wipes).toBe(0)
  expect(result.ambiguous.unresolved).toBe(0)
  expect(result.transactions).toBeGreaterThan(20)
  expect(result.records).toBeGreaterThan(100)
  return result
}

describeWithJavaConsumer('judged by what Kafka’s own consumer sees', () => {
  describeOnClusters('real faults', (startCluster) => {
    test('of every family, on one node', LIMIT, async () => {
      const families = await possible(FAMILIES, 1)
      await run({ nodes: 1, families, startCluster })
    })

    test('of brokers that replicate, on three nodes', LIMIT, async () => {
      const families: Family[] = ['broker', 'moves', 'proxy', 'poison']
      await run({ nodes: 3, families, startCluster })
    })

    test('find a bug', { timeout: 2 * LIMIT.timeout }, async () => {
      const { violation } = await findMutant('M1', startCluster, await temporary())
      // The store that is ahead is taken up again and refused, or it lies there to the end.
      expect(violation).toMatch(/has moved .* aside|^C2 state: .*, which should not be/)
    })
  })
})
