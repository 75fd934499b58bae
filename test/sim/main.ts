/**
 * Simulations from the command line.
 *
 *   npm run sim -- --seeds N [--start S]   a range of seeds
 *   npm run sim -- --seed S                one seed, with its trace
 *   npm run sim -- --seed S --faults F,…   only these of its faults
 *   npm run sim -- --systematic            one fault of each kind at each effect of a small scenario
 *   npm run sim -- --systematic --pairs K  two faults, of all pairs K that are drawn from --start
 *   npm run sim -- --case AT,MISHAP,HEIR   one of these, with its trace; two are joined by a plus
 *   npm run sim -- --stories               faults that last, each with the end that is documented for it
 *   npm run sim -- --story NAME            one of these, with its trace
 *   npm run sim -- --mutants               seeded bugs, each by what has found it before, else by all of the above
 *   npm run sim -- --mutants --search      the same without knowing: how many seeds each of them needs
 *
 * `--for SECONDS` ends a range early. The last line is the summary; the exit code is 0 only when every law has held. Of a
 * seed that fails, the fewest faults are looked for that make it fail.
 */
import { parseArgs } from 'node:util'
import { SeededRandom } from '../../src/testing/seeded-random.ts'
import { minimise } from './minimise.ts'
import type { Case } from './systematic.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    start: { type: 'string', default: '1' },
    for: { type: 'string', default: '1000000' },
    seed: { type: 'string' },
    faults: { type: 'string' },
    systematic: { type: 'boolean', default: false },
    pairs: { type: 'string' },
    case: { type: 'string' },
    stories: { type: 'boolean', default: false },
    story: { type: 'string' },
    mutants: { type: 'boolean', default: false },
    only: { type: 'string' },
    search: { type: 'boolean', default: false },
    /** For `--mutants`, in a process of its own. */
    mutant: { type: 'string' },
    /** `story NAME`, `case AT,MISHAP,HEIR` or `seed N`, all of them. */
    try: { type: 'string', multiple: true },
    'until-failure': { type: 'boolean', default: false },
  },
})

/** Of one seed. */
const MINIMISE_SECONDS = 30
const MINIMISE_RUNS = 500

// Before anything is imported that it may change.
if (values.mutant !== undefined) (await import('./mutation.ts')).apply(values.mutant)

// Of errors that are part of a run, and there are many, nobody looks at the stack.
if (values.seed === undefined && values.case === undefined) Error.stackTraceLimit = 0

let unhandled: unknown
process.on('unhandledRejection', (reason) => {
  unhandled ??= reason
})

async function attempt<T>(run: () => Promise<T>): Promise<T> {
  unhandled = undefined
  const result = await run()
  if (unhandled !== undefined) throw new Error(`a rejection was not handled: ${messageOf(unhandled)}`)
  return result
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

const STRIDE = 8

const startedMs = performance.now()
const seconds = (): number => (performance.now() - startedMs) / 1_000

/** One run, told step by step. */
async function replay(name: string, run: (trace: (line: string) => void) => Promise<unknown>): Promise<void> {
  let verdict = 'every law holds'
  try {
    await attempt(() => run((line) => console.log(line)))
  } catch (error) {
    verdict = messageOf(error)
    process.exitCode = 1
  }
  console.log(`${name}: ${verdict}`)
}

async function runSeeds(): Promise<void> {
  const { runSeed } = await import('./scenario.ts')
  const start = Number(values.start)
  const end = start + Number(values.seeds)
  const faults = new Map<string, number>()
  let [events, effects, transactions, count, failed, minimising] = [0, 0, 0, 0, 0, 0]
  for (let seed = start; seed < end && seconds() < Number(values.for); seed++) {
    count += 1
    let happened: readonly string[] = []
    try {
      const result = await attempt(() => runSeed(seed, { happened: (names) => (happened = names) }))
      events += result.events
      effects += result.effects
      transactions += result.transactions
      for (const [kind, n] of result.faults) faults.set(kind, (faults.get(kind) ?? 0) + n)
    } catch (error) {
      failed += 1
      console.log(`seed ${seed}: ${messageOf(error)}`)
      if (values['until-failure']) break
      const fromMs = seconds()
      await tellFewest(seed, happened)
      minimising += seconds() - fromMs
    }
  }
  const held = Math.max(1, count - failed)
  const { user, system } = process.cpuUsage()
  const each = (sum: number, digits: number): string => (sum / held).toFixed(digits)
  console.log(`faults: ${Array.from(faults, ([kind, n]) => `${kind} ${n}`).join(', ')}`)
  console.log(
    `${count} seeds from ${start}, ${failed} failed; ${(count / (seconds() - minimising)).toFixed(1)} seeds/s, ${(count / ((user + system) / 1e6)).toFixed(1)} per second of a core, ${each(events, 0)} events, ${each(effects, 0)} effects and ${each(transactions, 1)} transactions per seed`,
  )
  process.exitCode = failed === 0 && count > 0 ? 0 : 1
}

async function tellFewest(seed: number, happened: readonly string[]): Promise<void> {
  const { runSeed } = await import('./scenario.ts')
  const untilSeconds = seconds() + MINIMISE_SECONDS
  const found = await minimise(
    [...happened],
    async (some) => {
      try {
        await attempt(() => runSeed(seed, { only: new Set(some) }))
        return undefined
      } catch (error) {
        return messageOf(error)
      }
    },
    (runs) => runs < MINIMISE_RUNS && seconds() < untilSeconds,
  )
  if (found === undefined) {
    console.log(`  it does not fail again: a run is no function of its seed`)
    return
  }
  const { left, message, runs, isMinimal } = found
  console.log(
    `  ${left.length} of ${happened.length} faults ${isMinimal ? 'are enough' : 'are left'}, after ${runs} runs: ${message}`,
  )
  console.log(`  npm run sim -- --seed ${seed} --faults ${left.join(',') || 'none'}`)
}

async function runSystematic(): Promise<void> {
  const { casesAt, countEffects, namesOf, pairsOf, runCase } = await import('./systematic.ts')
  let [runs, failed, effects] = [0, 0, 0]
  try {
    effects = await attempt(countEffects)
  } catch (error) {
    failed += 1
    console.log(`case none: ${messageOf(error)}`)
  }
  function* all(): Generator<readonly Case[]> {
    if (values.pairs !== undefined)
      yield* pairsOf(effects, Number(values.pairs), new SeededRandom(Number(values.start)))
    // A run with a fault has more of them; those behind are of its recovery.
    // Not one after the other: what is looked for shows sooner.
    else
      for (let first = 0; first < STRIDE; first++)
        for (let at = first; at < effects; at += STRIDE) for (const one of casesAt(at)) yield [one]
  }
  for (const cases of all()) {
    if ((failed > 0 && values['until-failure']) || seconds() >= Number(values.for)) break
    runs += 1
    try {
      await attempt(() => runCase(cases))
    } catch (error) {
      failed += 1
      console.log(`case ${namesOf(cases)}: ${messageOf(error)}`)
    }
  }
  console.log(
    `systematic: ${runs} runs${values.pairs === undefined ? '' : ' of pairs'} over ${effects} effects, ${failed} failed; ${(runs / seconds()).toFixed(1)} runs/s`,
  )
  process.exitCode = failed === 0 ? 0 : 1
}

async function runStories(): Promise<void> {
  const { STORIES, runStory } = await import('./stories.ts')
  let [runs, failed] = [0, 0]
  for (const { name } of STORIES) {
    runs += 1
    try {
      await attempt(() => runStory(name))
    } catch (error) {
      failed += 1
      console.log(`story ${name}: ${messageOf(error)}`)
      if (values['until-failure']) break
    }
  }
  console.log(`stories: ${runs} told, ${failed} failed; ${seconds().toFixed(1)} s`)
  process.exitCode = failed === 0 ? 0 : 1
}

async function runTries(tries: readonly string[]): Promise<void> {
  const { runSeed } = await import('./scenario.ts')
  const { casesNamed, countEffects, runCase } = await import('./systematic.ts')
  const { runStory } = await import('./stories.ts')
  const runs: Readonly<Record<string, (name: string) => Promise<unknown>>> = {
    seed: (name) => runSeed(Number(name)),
    case: (name) => (name === 'none' ? countEffects() : runCase(casesNamed(name))),
    story: (name) => runStory(name),
  }
  for (const one of tries) {
    const [family = '', name = ''] = one.split(' ')
    const run = runs[family]
    if (run === undefined) throw new Error(`--try ${one}: a seed, a case or a story`)
    try {
      await attempt(() => run(name))
    } catch (error) {
      console.log(`${one}: ${messageOf(error)}`)
      process.exitCode = 1
    }
  }
}

if (values.mutants) {
  const { runMutants } = await import('./mutants-run.ts')
  process.exitCode = (await runMutants({ only: values.only, search: values.search })) ? 0 : 1
} else if (values.try !== undefined) {
  await runTries(values.try)
} else if (values.seed !== undefined) {
  const { runSeed } = await import('./scenario.ts')
  const only = values.faults === undefined ? undefined : new Set(values.faults.split(','))
  await replay(`seed ${values.seed}`, (trace) => runSeed(Number(values.seed), { trace, only }))
} else if (values.case !== undefined) {
  const { casesNamed, runCase } = await import('./systematic.ts')
  await replay(`case ${values.case}`, (trace) => runCase(casesNamed(values.case as string), trace))
} else if (values.story !== undefined) {
  const name = values.story
  const { runStory } = await import('./stories.ts')
  await replay(`story ${name}`, (trace) => runStory(name, trace))
} else if (values.stories) await runStories()
else if (values.systematic) await runSystematic()
else await runSeeds()
