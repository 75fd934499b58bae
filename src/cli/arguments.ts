/** The command line, checked once. */
import { parseArgs } from 'node:util'
import { DruseError } from '../errors.ts'
import type { Logger } from '../ports.ts'

export const USAGE = `Usage: druse describe MODULE
       druse run MODULE [options]

MODULE is the path of a JavaScript or TypeScript module that exports a Topology, as 'topology' or as default.
It may export 'options' too: those of new Druse(…), or a function that returns them.

describe   prints sub-topologies, operators, regions and topics
run        runs the application until SIGINT or SIGTERM, then commits what is done and leaves the group
  --brokers LIST       on Kafka: HOST:PORT[,HOST:PORT…], instead of the wire in the options
  --embedded DIR       on an embedded broker that keeps its topics in DIR, instead of the wire in the options
  --registry URL       a schema registry (Confluent's API), instead of the registry in the options
  --state-dir DIR      where regions are kept (default: stateDir in the options, else state/<application>)
  --log-level LEVEL    debug, info, warn or error; lines go to standard error (default: warn)

--help     shows this
--version  shows the version
`

export interface RunArguments {
  readonly brokers: readonly string[] | undefined
  readonly embedded: string | undefined
  readonly registry: string | undefined
  readonly stateDir: string | undefined
  readonly logLevel: keyof Logger | undefined
}

export type Command =
  | { readonly name: 'help' }
  | { readonly name: 'version' }
  | { readonly name: 'describe'; readonly module: string }
  | { readonly name: 'run'; readonly module: string; readonly with: RunArguments }

const LEVELS: readonly (keyof Logger)[] = ['debug', 'info', 'warn', 'error']
const RUN_ONLY = ['brokers', 'embedded', 'registry', 'state-dir', 'log-level'] as const

/** Errors: OPTION_INVALID. */
export function parseCommand(args: readonly string[]): Command {
  const { values, positionals } = parse(args)
  if (values.help) return { name: 'help' }
  if (values.version) return { name: 'version' }
  const [name, module, ...rest] = positionals
  if (name === undefined) throw invalid('A command is missing')
  if (name !== 'run' && name !== 'describe') throw invalid(`There is no command '${name}'`)
  if (module === undefined) throw invalid(`'${name}' needs the path of a module`)
  if (rest.length > 0) throw invalid(`'${name}' takes one module, not also ${rest.join(' ')}`)
  if (name === 'describe') {
    const foreign = RUN_ONLY.find((option) => values[option] !== undefined)
    if (foreign !== undefined) throw invalid(`--${foreign} is an option of 'run'`)
    return { name, module }
  }
  const empty = RUN_ONLY.find((option) => values[option] === '')
  if (empty !== undefined) throw invalid(`--${empty} is empty`)
  if (values.brokers !== undefined && values.embedded !== undefined) {
    throw invalid('--brokers and --embedded exclude each other')
  }
  const brokers = values.brokers?.split(',').map((broker) => broker.trim())
  const level = values['log-level']
  const logLevel = LEVELS.find((known) => known === level)
  if (level !== undefined && logLevel === undefined) {
    throw invalid(`--log-level ${level} is none of ${LEVELS.join(', ')}`)
  }
  return {
    name,
    module,
    with: {
      brokers,
      embedded: values.embedded,
      registry: values.registry,
      stateDir: values['state-dir'],
      logLevel,
    },
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        brokers: { type: 'string' },
        embedded: { type: 'string' },
        registry: { type: 'string' },
        'state-dir': { type: 'string' },
        'log-level': { type: 'string' },
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean' },
      },
    })
  } catch (cause) {
    throw invalid(cause instanceof Error ? cause.message : String(cause))
  }
}

function invalid(what: string): DruseError {
  return new DruseError('OPTION_INVALID', what)
}
