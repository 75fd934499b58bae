/**
 * Real faults on a real Kafka.
 *
 *   npm run chaos -- --minutes M [--nodes 1|3] [--seed S] [--faults a,b] [--rate RECORDS]
 *   npm run chaos -- --each N              so many faults of every family
 *   npm run chaos -- --mutants [--only M1,M5]
 *
 * Kafka is found as the tests find it: Docker, or a JDK (17 or later) and Maven. The last line is the summary; the exit
 * code is 0 only when there was no violation. Logs stay where the first line says, when there was one.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { KAFKA_VERSION } from '../stack/kafka-version.ts'
import { askKeeper, startKeeper } from '../stack/keeper-process.ts'
import { type Ask, openCluster, type StartCluster } from '../stack/running-cluster.ts'
import { runMutants } from './mutants-run.ts'
import { possible, runChaos } from './run.ts'
import { FAMILIES, type Family } from './stage.ts'
import { summaryOf } from './summary.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    nodes: { type: 'string', default: '1' },
    seed: { type: 'string' },
    faults: { type: 'string' },
    each: { type: 'string' },
    rate: { type: 'string', default: '150' },
    mutants: { type: 'boolean', default: false },
    only: { type: 'string' },
    mutant: { type: 'string' },
  },
})

/** A round of faults, after which everything has to come out. */
const ROUND_MS = 90_000

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

const keeper = await startKeeper()
const ask: Ask = (name, body) => askKeeper(keeper.socket, name, body)
const startCluster: StartCluster = (spec) => openCluster(ask, spec)
const found = await ask('clusters', { version: KAFKA_VERSION })
if ('missing' in found) {
  console.log(`chaos: skipped. ${found.missing}`)
  process.exitCode = process.env.DRUSE_REQUIRE_KAFKA === '1' ? 1 : 0
} else process.exitCode = (await (values.mutants ? mutants() : run())) ? 0 : 1
await keeper.close()

async function mutants(): Promise<boolean> {
  const directory = await mkdtemp(join(tmpdir(), 'druse-chaos-'))
  const areKilled = await runMutants(startCluster, directory, values.only)
  if (areKilled) await rm(directory, { recursive: true })
  else console.log(`logs in ${directory}`)
  return areKilled
}

async function run(): Promise<boolean> {
  const nodes = values.nodes === '3' ? 3 : 1
  const seed = Number(values.seed ?? Math.floor(Math.random() * 1_000_000))
  const asked = (values.faults?.split(',') ?? FAMILIES) as Family[]
  const unknown = asked.find((family) => !FAMILIES.includes(family))
  if (unknown !== undefined) throw new Error(`There are no faults '${unknown}': ${FAMILIES.join(', ')}`)
  const families = await possible(asked, nodes)
  const directory = await mkdtemp(join(tmpdir(), 'druse-chaos-'))
  console.log(
    `seed ${seed}, ${nodes} node${nodes > 1 ? 's' : ''}, ${families.join(' ')}; logs in ${directory}`,
  )
  const startedMs = performance.now()
  const result = await runChaos({
    seed,
    nodes,
    families,
    faults:
      values.each === undefined
        ? { forMs: Number(values.minutes) * 60_000, roundMs: ROUND_MS }
        : { ofEach: Number(values.each) },
    recordsPerSecond: Number(values.rate),
    ...(values.mutant === undefined ? {} : { mutant: values.mutant }),
    directory,
    startCluster,
    say: (line) => console.log(line),
  })
  for (const violation of result.violations) console.log(`VIOLATION ${violation}`)
  const minutes = ((performance.now() - startedMs) / 60_000).toFixed(1)
  console.log(
    `chaos: seed ${seed}, ${nodes} node${nodes > 1 ? 's' : ''}, ${minutes} min: ${summaryOf(result)}`,
  )
  const isGood = result.violations.length === 0
  if (isGood) await rm(directory, { recursive: true })
  return isGood
}
