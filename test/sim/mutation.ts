/** Changes the source of Druse as it is loaded: for this process alone, and before anything of it was imported. */
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { MUTANTS, type Mutant, type Patch } from './mutants.ts'

const SOURCE = new URL('../../src/', import.meta.url)

/** Errors: when a text that is to be replaced does not stand in the source exactly once. */
export function apply(id: string): void {
  const mutant = MUTANTS.find((one) => one.id === id)
  if (mutant === undefined) throw new Error(`There is no mutant ${id}`)
  const patched = patchedSources(mutant)
  registerHooks({
    load(url, context, nextLoad) {
      const source = patched.get(url)
      if (source === undefined) return nextLoad(url, context)
      return { format: 'module-typescript', source, shortCircuit: true }
    },
  })
}

/** By URL. */
export function patchedSources({ id, patches = [] }: Mutant): Map<string, string> {
  const patched = new Map<string, string>()
  for (const { file, find, replace } of patches) {
    const url = new URL(file, SOURCE)
    const source = patched.get(url.href) ?? readFileSync(url, 'utf8')
    const count = source.split(find).length - 1
    if (count !== 1) throw new Error(`${id}: ${JSON.stringify(find)} stands ${count} times in src/${file}`)
    patched.set(
      url.href,
      source.replace(find, () => replace),
    )
  }
  return patched
}

export type { Patch }
