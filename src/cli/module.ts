/**
 * What `druse` is given: the path of a module with these exports.
 *
 *   topology, or default    a Topology
 *   options                 optional: Partial<DruseOptions>, or a function that returns them, now or later
 *
 * `options` is a function where it costs something to make them, a connection say: `describe` never calls it.
 */
import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Topology } from '../dsl/topology.ts'
import { DruseError } from '../errors.ts'
import type { DruseOptions } from '../runtime/options.ts'

export interface ApplicationModule {
  readonly topology: Topology
  /** Errors: MODULE_INVALID. */
  options(): Promise<Partial<DruseOptions>>
}

/** Errors: MODULE_NOT_FOUND, MODULE_INVALID, MODULE_FAILED when it throws while it is loaded. */
export async function loadModule(given: string): Promise<ApplicationModule> {
  const path = resolve(given)
  if (!(await isFile(path))) {
    throw new DruseError('MODULE_NOT_FOUND', `There is no file ${path}; give the path of a module`, { path })
  }
  let module: Readonly<Record<string, unknown>>
  try {
    module = await import(pathToFileURL(path).href)
  } catch (cause) {
    throw failed(`Module ${path} cannot be loaded`, path, cause)
  }
  const topology = module.topology ?? module.default
  if (!isTopology(topology)) {
    const names = Object.keys(module).join(', ') || 'nothing'
    throw new DruseError(
      'MODULE_INVALID',
      `Module ${path} exports no topology; export one as 'topology' or as default. It exports: ${names}`,
      { path },
    )
  }
  return { topology, options: () => optionsOf(module.options, path) }
}

async function optionsOf(exported: unknown, path: string): Promise<Partial<DruseOptions>> {
  let options: unknown = exported ?? {}
  if (typeof options === 'function') {
    try {
      options = await options()
    } catch (cause) {
      throw failed(`options() of module ${path} failed`, path, cause)
    }
  }
  if (typeof options === 'object' && options !== null) return options
  throw new DruseError(
    'MODULE_INVALID',
    `Export 'options' of module ${path} has to be an object, or a function that returns one`,
    { path },
  )
}

function failed(what: string, path: string, cause: unknown): DruseError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new DruseError('MODULE_FAILED', `${what}: ${why}`, { path, cause })
}

/** Not by its class: the module may have another copy of this package than the command. */
function isTopology(value: unknown): value is Topology {
  if (typeof value !== 'object' || value === null) return false
  const { application, build, describe } = value as Partial<Topology>
  return typeof application === 'string' && typeof build === 'function' && typeof describe === 'function'
}

export async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile()
  } catch {
    return false
  }
}
