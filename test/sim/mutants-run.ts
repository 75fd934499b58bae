/** Each mutant in a process of its own: first at every effect of the systematic scenario, then seed after seed. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { MUTANTS, type Mutant } from './mutants.ts'
import { patchedSources } from './mutation.ts'

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url))
const SECONDS_MAX = 400
const SEEDS = '10000'

/** Whether all of them were found that are here. */
export async function runMutants(only?: string): Promise<boolean> {
  const chosen = MUTANTS.filter(({ id }) => only === undefined || only.split(',').includes(id))
  let [killed, systematic, notYet] = [0, 0, 0]
  const alive: string[] = []
  for (const mutant of chosen) {
    if (mutant.notYet !== undefined) {
      notYet += 1
      console.log(`${mutant.id.padEnd(5)} not yet: ${mutant.what}; ${mutant.notYet}`)
      continue
    }
    const bySystem = await failureOf(mutant, ['--systematic', '--until-failure'])
    const bySeed = await failureOf(mutant, ['--seeds', SEEDS, '--for', '300', '--until-failure'])
    if (bySystem !== undefined) systematic += 1
    if (bySystem !== undefined || bySeed !== undefined) killed += 1
    else alive.push(mutant.id)
    console.log(
      `${mutant.id.padEnd(5)} ${bySystem === undefined && bySeed === undefined ? 'ALIVE' : 'killed'}: ${mutant.what}`,
    )
    for (const found of [bySystem, bySeed])
      if (found !== undefined) console.log(`        ${found.slice(0, 200)}`)
  }
  console.log(
    `mutants: ${killed} of ${chosen.length - notYet} killed, ${systematic} by the systematic mode, ${notYet} not yet${alive.length > 0 ? `; alive: ${alive.join(' ')}` : ''}`,
  )
  return alive.length === 0
}

/** The first line that tells of one; undefined when there was none. */
async function failureOf(mutant: Mutant, args: readonly string[]): Promise<string | undefined> {
  // Errors when the source has changed under it.
  patchedSources(mutant)
  const child = spawn(process.execPath, [MAIN, '--mutant', mutant.id, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: SECONDS_MAX * 1_000,
  })
  let [out, errors] = ['', '']
  child.stdout.on('data', (chunk) => {
    out += chunk
  })
  child.stderr.on('data', (chunk) => {
    errors += chunk
  })
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  if (code === 0) return undefined
  const told = out.split('\n').find((line) => /^(case|seed) /.test(line))
  if (told === undefined && code !== null)
    throw new Error(`${mutant.id} does not run: ${errors.slice(0, 2_000)}${out.slice(0, 1_000)}`)
  return told ?? 'stands still'
}
