/**
 * Each mutant in a process of its own. What has killed it before is tried first (killers.json): a story, an effect of
 * the systematic scenario, a seed. It is no more than a hint, for the simulation grows: where none of it kills any more,
 * everything is searched, from the first on.
 */
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { MUTANTS, type Mutant } from './mutants.ts'
import { patchedSources } from './mutation.ts'

/** By what a mutant was killed. A seed is the first that does: so many were needed. */
export interface Killers {
  readonly story?: string
  readonly case?: string
  readonly seed?: number
}

export interface MutantsOptions {
  /** Ids; default: all. */
  readonly only?: string | undefined
  /** Without hints: how each family finds each mutant, and what it needs for that. Writes the hints anew. */
  readonly search: boolean
}

interface Found {
  readonly mutant: Mutant
  readonly killers: Killers
  /** What the runs have said. */
  readonly told: readonly string[]
}

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url))
const KILLERS = new URL('killers.json', import.meta.url)
const SEEDS_MAX = '10000'
/** Of mutants that a story has killed already. */
const SEEDS_BESIDE = '500'
/** Where the seed that killed before kills no more, and something else does. */
const SEEDS_AGAIN = '300'
/** Of the first ten of the list, without their variants, so many are killed by the systematic mode. */
const SYSTEMATIC_LEAST = 9
const FIRST_TEN = /^M([1-9]|10)[a-z]?$/
/** Longer than the longest search takes. */
const MINUTES_MAX = 30

/** Whether all were killed that are here, and enough of the first ten by the systematic mode. */
export async function runMutants({ only, search }: MutantsOptions): Promise<boolean> {
  const startedMs = performance.now()
  const chosen = MUTANTS.filter(({ id }) => only === undefined || only.split(',').includes(id))
  const hints = JSON.parse(readFileSync(KILLERS, 'utf8')) as Record<string, Killers>
  const found: Found[] = []
  const queue = chosen.filter(({ notYet }) => notYet === undefined)
  const work = async (): Promise<void> => {
    for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
      const one = search ? await searchFor(mutant) : await tryHints(mutant, hints[mutant.id] ?? {})
      found.push(one)
      tell(one)
    }
  }
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, work))
  const notYet = chosen.filter((mutant) => mutant.notYet !== undefined)
  for (const { id, what, notYet: why } of notYet) console.log(`${id.padEnd(5)} not yet: ${what}; ${why}`)
  if (search) writeKillers(hints, found)
  return summary(found, notYet, only === undefined, performance.now() - startedMs)
}

function summary(
  found: readonly Found[],
  notYet: readonly Mutant[],
  isAll: boolean,
  tookMs: number,
): boolean {
  const alive = found.filter(({ killers }) => !isKilled(killers)).map(({ mutant }) => mutant.id)
  const firstTen = new Set(
    found.flatMap(({ mutant, killers }) =>
      killers.case !== undefined && FIRST_TEN.test(mutant.id) ? [mutant.id.replace(/[a-z]$/, '')] : [],
    ),
  )
  const seeds = found.flatMap(({ killers }) => killers.seed ?? []).sort((a, b) => a - b)
  const isEnough = !isAll || firstTen.size >= SYSTEMATIC_LEAST
  console.log(
    `mutants: ${found.length - alive.length} of ${found.length} killed` +
      `${alive.length > 0 ? `, alive: ${alive.join(' ')}` : ''}` +
      `${notYet.length > 0 ? `, not yet: ${notYet.map(({ id }) => id).join(' ')}` : ''}` +
      `; ${count(found, 'case')} by the systematic mode (${firstTen.size} of M1 to M10), ${count(found, 'story')} by stories, ` +
      `${seeds.length} by seeds (median ${seeds[seeds.length >> 1] ?? '-'}, at most ${seeds.at(-1) ?? '-'}); ${Math.round(tookMs / 1_000)} s`,
  )
  return alive.length === 0 && isEnough
}

const count = (found: readonly Found[], by: keyof Killers): number =>
  found.filter(({ killers }) => killers[by] !== undefined).length

const isKilled = (killers: Killers): boolean => Object.values(killers).some((killer) => killer !== undefined)

function tell({ mutant, killers, told }: Found): void {
  console.log(`${mutant.id.padEnd(5)} ${isKilled(killers) ? 'killed' : 'ALIVE'}: ${mutant.what}`)
  for (const line of told) console.log(`        ${line.slice(0, 200)}`)
}

async function tryHints(mutant: Mutant, hints: Killers): Promise<Found> {
  const tries = Object.entries(hints).flatMap(([family, name]) => ['--try', `${family} ${name}`])
  const lines = tries.length > 0 ? await linesOf(mutant, tries) : []
  const killers = killersIn(lines)
  if (!isKilled(killers)) return searchFor(mutant)
  const told = [...lines]
  // Those of the first ten are to be found by the systematic mode, too.
  if (FIRST_TEN.test(mutant.id) && hints.case !== undefined && killers.case === undefined)
    told.push(...(await linesOf(mutant, ['--systematic', '--until-failure'])))
  if (hints.seed !== undefined && killers.seed === undefined)
    told.push(...(await linesOf(mutant, ['--seeds', SEEDS_AGAIN, '--until-failure'])))
  return { mutant, killers: killersIn(told), told }
}

async function searchFor(mutant: Mutant): Promise<Found> {
  const told = [...(await linesOf(mutant, ['--stories', '--until-failure']))]
  // What lasts is no single fault: beside a story, little is to be found.
  const isStory = told.length > 0 && !FIRST_TEN.test(mutant.id)
  if (!isStory) told.push(...(await linesOf(mutant, ['--systematic', '--until-failure'])))
  const seeds = isStory ? SEEDS_BESIDE : SEEDS_MAX
  told.push(...(await linesOf(mutant, ['--seeds', seeds, '--until-failure'])))
  return { mutant, killers: killersIn(told), told }
}

function killersIn(lines: readonly string[]): Killers {
  const killers: { story?: string; case?: string; seed?: number } = {}
  for (const line of lines) {
    const [, family, name = ''] = /^(story|case|seed) (\S+):/.exec(line) ?? []
    if (family === 'seed') killers.seed = Number(name)
    else if (family === 'story' || family === 'case') killers[family] = name
  }
  return killers
}

/** What a run says of the laws that the mutant breaks: the first of each family. */
async function linesOf(mutant: Mutant, args: readonly string[]): Promise<readonly string[]> {
  // Errors when the source has changed under it.
  patchedSources(mutant)
  const child = spawn(process.execPath, [MAIN, '--mutant', mutant.id, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: MINUTES_MAX * 60_000,
  })
  let [out, errors] = ['', '']
  child.stdout.on('data', (chunk) => {
    out += chunk
  })
  child.stderr.on('data', (chunk) => {
    errors += chunk
  })
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  const lines = out.split('\n').filter((line) => /^(case|seed|story) \S+: /.test(line))
  if (code !== 0 && lines.length === 0)
    throw new Error(`${mutant.id} does not run: ${errors.slice(0, 2_000)}${out.slice(0, 1_000)}`)
  return lines
}

function writeKillers(before: Readonly<Record<string, Killers>>, found: readonly Found[]): void {
  const all: Record<string, Killers> = {}
  for (const { id } of MUTANTS) {
    const killers = found.find(({ mutant }) => mutant.id === id)?.killers ?? before[id]
    if (killers !== undefined) all[id] = killers
  }
  writeFileSync(KILLERS, `${JSON.stringify(all, undefined, 2)}\n`)
}
