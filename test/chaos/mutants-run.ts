/** Bugs in the source that have to be found on a real broker, too: each under the faults that show it. */
import { join } from 'node:path'
import { MUTANTS } from '../sim/mutants.ts'
import { patchedSources } from '../sim/mutation.ts'
import type { StartCluster } from '../stack/running-cluster.ts'
import type { Armed } from './failpoints.ts'
import { strikeWith } from './network-faults.ts'
import { kill, rebalance, wait } from './process-faults.ts'
import { NOT_IN_TIME, runChaos } from './run.ts'
import { SETTINGS } from './settings.ts'
import type { Fault } from './stage.ts'

const FOR_MS = 30_000
/** On a busy machine they are slow to come, and not each of them shows the bug. */
const LEAST_FAULTS = 12
const ATTEMPTS = 4
const POINT_LIMIT_MS = 8_000
const RECORDS_PER_SECOND = 200

/** Dies, or stands still for so long, at a point; the next one a little later. */
const at =
  (
    point: string,
    signal: Armed['signal'],
    [least, most]: readonly [leastMs: number, mostMs: number] = [0, 0],
  ): Fault =>
  async (stage, random) => {
    const place = random.pick(stage.places)
    const hit = place.untilPointHit(POINT_LIMIT_MS)
    place.arm({ point, nth: random.between(1, 5), signal })
    if (!(await hit)) return place.arm(undefined)
    stage.happened('failpoint', `${signal} at ${point}`)
    await wait(stage, random.between(least, most))
    if (signal === 'SIGSTOP') place.thaw()
    await wait(stage, random.between(500, 2_500))
  }

const guests: Fault = async (stage, random) => {
  await wait(stage, random.between(500, 2_000))
  await rebalance(stage, random)
}

const kills: Fault = async (stage, random) => {
  await wait(stage, random.between(1_000, 4_000))
  await kill(stage, random)
}

/** Long enough for a successor to go on, short enough for the transaction to be there still. */
const ZOMBIE_MS = [SETTINGS.sessionTimeoutMs + 1_500, SETTINGS.transactionTimeoutMs - 500] as const

interface Trial {
  readonly id: string
  readonly how: string
  readonly fault: Fault
}

const TRIALS: readonly Trial[] = [
  { id: 'M1', how: 'SIGKILL before EndTxn', fault: at('EndTxn.before', 'SIGKILL') },
  // With patience it is healed by the next generation, which is not long in coming here.
  { id: 'M3b', how: 'instances come and go', fault: guests },
  { id: 'M5', how: 'the answer of EndTxn is lost', fault: strikeWith('EndTxn', 'cut') },
  { id: 'M5b', how: 'EndTxn is lost', fault: strikeWith('EndTxn', 'lose') },
  { id: 'M6', how: 'the answer of Produce is lost', fault: strikeWith('Produce', 'cut') },
  { id: 'M6b', how: 'EndTxn comes late', fault: strikeWith('EndTxn', 'late') },
  { id: 'M7', how: 'aborted transactions overlap', fault: kills },
  { id: 'M7b', how: 'aborted records have the keys of markers', fault: kills },
  { id: 'M7c', how: 'a producer commits after it has aborted', fault: kills },
  {
    id: 'M8',
    how: 'SIGSTOP before TxnOffsetCommit, beyond the session',
    fault: at('TxnOffsetCommit.before', 'SIGSTOP', ZOMBIE_MS),
  },
  { id: 'M8b', how: 'SIGKILL at random', fault: kills },
]

export interface FoundMutant {
  /** The first; undefined: there was none in all attempts. */
  readonly violation: string | undefined
  /** The last that was tried. */
  readonly seed: number
}

/** Run after run, until there is a violation that is not there without the bug. */
export async function findMutant(
  id: string,
  startCluster: StartCluster,
  directory: string,
): Promise<FoundMutant> {
  const trial = TRIALS.find((one) => one.id === id)
  const mutant = MUTANTS.find((one) => one.id === id)
  if (trial === undefined || mutant === undefined) throw new Error(`There is no mutant ${id}`)
  // Errors when the source has changed under it.
  patchedSources(mutant)
  let seed = 0
  let violation: string | undefined
  while (violation === undefined && seed < ATTEMPTS) {
    seed += 1
    const run = async (name: string, more: { readonly mutant?: string }): Promise<string | undefined> => {
      const { violations } = await runChaos({
        seed,
        nodes: 1,
        families: [],
        faults: { forMs: FOR_MS, atLeast: LEAST_FAULTS, only: trial.fault },
        recordsPerSecond: RECORDS_PER_SECOND,
        directory: join(directory, `${name}-${seed}`),
        startCluster,
        say: () => {},
        ...more,
      })
      return violations[0]
    }
    violation = await run(id, { mutant: id })
    // A machine that is too slow would do that, too.
    if (violation?.startsWith(NOT_IN_TIME) && (await run(`${id}-control`, {})) !== undefined) {
      violation = undefined
    }
  }
  return { violation, seed }
}

/** Whether all of them were found. */
export async function runMutants(
  startCluster: StartCluster,
  directory: string,
  only: string | undefined,
): Promise<boolean> {
  const chosen = TRIALS.filter(({ id }) => only === undefined || only.split(',').includes(id))
  const alive: string[] = []
  for (const { id, how } of chosen) {
    const startedMs = performance.now()
    const { violation, seed } = await findMutant(id, startCluster, directory)
    const seconds = Math.round((performance.now() - startedMs) / 1_000)
    if (violation === undefined) alive.push(id)
    const what = MUTANTS.find((one) => one.id === id)?.what
    const fate = violation === undefined ? 'ALIVE' : 'killed'
    console.log(`${id.padEnd(4)} ${fate} in ${seconds} s, seed ${seed}: ${what}; by: ${how}`)
    if (violation !== undefined) console.log(`       ${violation.split('\n')[0]?.slice(0, 240)}`)
  }
  const killed = chosen.length - alive.length
  console.log(
    `mutants on Kafka: ${killed} of ${chosen.length} killed${alive.length > 0 ? `; alive: ${alive.join(' ')}` : ''}`,
  )
  return alive.length === 0
}
