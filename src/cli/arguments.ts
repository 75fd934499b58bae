/** The command line, checked once. */
import { parseArgs } from 'node:util'
import { DruseError } from '../errors.ts'
import type { Logger } from '../ports.ts'
import type { DeadLetterChoice } from '../runtime/dead-letter-topic.ts'
import type { ResetPosition } from '../runtime/reset-plan.ts'
import type { DescribeFormat } from '../topology/describe.ts'

export const USAGE = `Usage: druse describe MODULE [options]
       druse run MODULE [options]
       druse reset MODULE [options]
       druse dlq list TOPIC|MODULE [options]
       druse dlq replay TOPIC|MODULE [options]

MODULE is the path of a JavaScript or TypeScript module that exports a Topology, as 'topology' or as default.
It may export 'options' too: those of new Druse(…), or a function that returns them.

describe   prints sub-topologies, operators, regions and topics
  --format FORMAT      text, json or mermaid (default: text)
run        runs the application until SIGINT or SIGTERM, then commits what is done and leaves the group
  --brokers LIST       on Kafka: HOST:PORT[,HOST:PORT…], instead of the wire in the options
  --embedded DIR       on an embedded broker that keeps its topics in DIR, instead of the wire in the options
  --registry URL       a schema registry (Confluent's API), instead of the registry in the options
  --state-dir DIR      where regions are kept (default: stateDir in the options, else state/<application>)
  --log-level LEVEL    debug, info, warn or error; lines go to standard error (default: warn)
reset      starts an application over whose instances are all stopped: inputs read anew, regions empty
  --brokers, --embedded, --log-level   as with 'run'
  --dry-run            shows what would be done, and changes nothing
  --to-earliest | --to-latest | --to-offset N | --shift-by N | --to-datetime ISO | --by-duration ISO
                       where inputs go on; --shift-by=-10 is back, --by-duration P1DT2H is so long ago
                       (default: as at a first start; with --keep-state: at their committed offsets)
  --topic TOPIC        the input that this is about (may be repeated; default: all)
  --keep-state         regions stay as they are, only positions change: what is read again is processed again onto
                       the same state, what is passed over never is
  --state-dir DIR      a state directory, not in use, whose state is moved aside (may be repeated); those that
                       cannot be reached from here are told apart when they are opened
  --force              puts members out of the group that are still in it, for those that were killed
dlq list   shows dead letters: of a topic, or of all dead-letter topics of a module's topology
  --brokers, --embedded, --log-level   as with 'run'
  --code CODE          with this druse.error.code only (may be repeated)
  --topic TOPIC        that came from this topic only (may be repeated)
  --at PARTITION@OFFSET   that stands there only (may be repeated)
dlq replay sends dead letters back to where they came from, each once, however often it is run
  --brokers, --embedded, --log-level, --code, --topic, --at   as with 'dlq list'
  --to TOPIC           to this topic instead
  --force              puts members of a replay that was killed out of its group

Exit codes: 0 done, 1 failed, 2 wrong usage

--help     shows this
--version  shows the version
`

/** How a command gets to Kafka. */
export interface KafkaArguments {
  readonly brokers: readonly string[] | undefined
  readonly embedded: string | undefined
  readonly logLevel: keyof Logger | undefined
}

export interface RunArguments extends KafkaArguments {
  readonly registry: string | undefined
  readonly stateDir: string | undefined
}

export type WhereTo = ResetPosition | { readonly agoMs: number }

export interface ResetArguments extends KafkaArguments {
  readonly to: WhereTo | undefined
  readonly topics: readonly string[]
  readonly keepState: boolean
  readonly stateDirs: readonly string[]
  readonly force: boolean
  readonly dryRun: boolean
}

export interface DlqArguments extends KafkaArguments {
  readonly choice: DeadLetterChoice
}

export interface ReplayArguments extends DlqArguments {
  readonly to: string | undefined
  readonly force: boolean
}

export type Command =
  | { readonly name: 'help' }
  | { readonly name: 'version' }
  | { readonly name: 'describe'; readonly module: string; readonly format: DescribeFormat }
  | { readonly name: 'run'; readonly module: string; readonly with: RunArguments }
  | { readonly name: 'reset'; readonly module: string; readonly with: ResetArguments }
  | { readonly name: 'dlq list'; readonly what: string; readonly with: DlqArguments }
  | { readonly name: 'dlq replay'; readonly what: string; readonly with: ReplayArguments }

const FORMATS: readonly DescribeFormat[] = ['text', 'json', 'mermaid']
const LEVELS: readonly (keyof Logger)[] = ['debug', 'info', 'warn', 'error']
const KAFKA = ['brokers', 'embedded', 'log-level'] as const
const POSITIONS = ['to-earliest', 'to-latest', 'to-offset', 'shift-by', 'to-datetime', 'by-duration'] as const
const RESET = [...POSITIONS, 'topic', 'keep-state', 'state-dir', 'force', 'dry-run'] as const
const CHOICE = ['code', 'topic', 'at'] as const
/** Which options a command takes. */
const OPTIONS = {
  describe: ['format'],
  run: [...KAFKA, 'registry', 'state-dir'],
  reset: [...KAFKA, ...RESET],
  'dlq list': [...KAFKA, ...CHOICE],
  'dlq replay': [...KAFKA, ...CHOICE, 'to', 'force'],
} as const satisfies Record<string, readonly (keyof Values)[]>

/** Errors: OPTION_INVALID. */
export function parseCommand(args: readonly string[]): Command {
  const { values, positionals } = parse(args)
  if (values.help) return { name: 'help' }
  if (values.version) return { name: 'version' }
  const [name, module, ...rest] = positionals
  if (name === undefined) throw invalid('A command is missing')
  if (name === 'dlq') return dlq(module, rest, values)
  if (name !== 'run' && name !== 'describe' && name !== 'reset') {
    throw invalid(`There is no command '${name}'`)
  }
  if (module === undefined) throw invalid(`'${name}' needs the path of a module`)
  if (rest.length > 0) throw invalid(`'${name}' takes one module, not also ${rest.join(' ')}`)
  checkOptions(name, values)
  if (name === 'describe') return { name, module, format: formatOf(values) }
  const dirs = values['state-dir'] ?? []
  const kafka = kafkaOf(values)
  if (name === 'run') {
    if (dirs.length > 1) throw invalid("'run' takes one --state-dir: a process has one")
    return { name, module, with: { ...kafka, registry: values.registry, stateDir: dirs[0] } }
  }
  const { topic: topics = [], 'keep-state': keepState = false, force = false } = values
  const to = whereTo(values)
  if (to === undefined && topics.length > 0) {
    throw invalid(`--topic needs one of ${POSITIONS.map((option) => `--${option}`).join(', ')}`)
  }
  const dryRun = values['dry-run'] ?? false
  return { name, module, with: { ...kafka, to, topics, keepState, force, dryRun, stateDirs: dirs } }
}

function dlq(action: string | undefined, [what, ...rest]: readonly string[], values: Values): Command {
  if (action !== 'list' && action !== 'replay') throw invalid("'dlq' needs list or replay")
  const name = `dlq ${action}` as const
  if (what === undefined) throw invalid(`'${name}' needs a topic, or the path of a module`)
  if (rest.length > 0) throw invalid(`'${name}' takes one topic or module, not also ${rest.join(' ')}`)
  checkOptions(name, values)
  const { code: codes, topic: origins, at: places, to, force = false } = values
  const wrong = places?.find((place) => !/^\d+@\d+$/.test(place))
  if (wrong !== undefined) throw invalid(`--at ${wrong} is no place like 0@12`)
  const choice = { ...(codes && { codes }), ...(origins && { origins }), ...(places && { places }) }
  const all = { ...kafkaOf(values), choice }
  return name === 'dlq list' ? { name, what, with: all } : { name, what, with: { ...all, to, force } }
}

function checkOptions(name: keyof typeof OPTIONS, values: Values): void {
  for (const [option, value] of Object.entries(values)) {
    if (OPTIONS[name].some((own) => own === option)) {
      if (value === '' || (Array.isArray(value) && value.includes(''))) throw invalid(`--${option} is empty`)
      continue
    }
    const owners = Object.entries(OPTIONS).filter(([, own]) => own.some((one) => one === option))
    throw invalid(`--${option} is an option of ${owners.map(([owner]) => `'${owner}'`).join(' and ')}`)
  }
}

function formatOf({ format = 'text' }: Values): DescribeFormat {
  const known = FORMATS.find((one) => one === format)
  if (known !== undefined) return known
  throw invalid(`--format ${format} is none of ${FORMATS.join(', ')}`)
}

function kafkaOf(values: Values): KafkaArguments {
  if (values.brokers !== undefined && values.embedded !== undefined) {
    throw invalid('--brokers and --embedded exclude each other')
  }
  const brokers = values.brokers?.split(',').map((broker) => broker.trim())
  const level = values['log-level']
  const logLevel = LEVELS.find((known) => known === level)
  if (level !== undefined && logLevel === undefined) {
    throw invalid(`--log-level ${level} is none of ${LEVELS.join(', ')}`)
  }
  return { brokers, embedded: values.embedded, logLevel }
}

function whereTo(values: Values): WhereTo | undefined {
  const [given, ...more] = POSITIONS.filter((option) => values[option] !== undefined)
  if (more.length > 0) throw invalid(`--${given} and --${more[0]} exclude each other`)
  switch (given) {
    case undefined:
      return undefined
    case 'to-earliest':
      return 'earliest'
    case 'to-latest':
      return 'latest'
    case 'to-offset':
      return { offset: whole(given, values, 0) }
    case 'shift-by':
      return { shiftBy: whole(given, values, Number.MIN_SAFE_INTEGER) }
    case 'to-datetime':
      return { timestampMs: instant(values[given] as string) }
    case 'by-duration':
      return { agoMs: duration(values[given] as string) }
  }
}

function whole(option: 'to-offset' | 'shift-by', values: Values, least: number): number {
  const text = values[option] as string
  const value = Number(text)
  if (/^[+-]?\d+$/.test(text) && Number.isSafeInteger(value) && value >= least) return value
  throw invalid(`--${option} ${text} is no whole number${least === 0 ? ' from 0' : ''}`)
}

/** UTC unless it says otherwise, as with Kafka's tools. */
function instant(text: string): number {
  const match = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/.exec(text)
  const isLocal = match?.[1] !== undefined && match[4] === undefined
  const ms = Date.parse(isLocal ? `${text}Z` : text)
  if (match !== null && ms >= 0) return ms
  throw invalid(`--to-datetime ${text} is no time from 1970 on like 2026-01-31T18:00:00Z`)
}

function duration(text: string): number {
  const match = /^P(?=.)(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$/.exec(text)
  if (match === null) throw invalid(`--by-duration ${text} is no duration like P1DT2H30M`)
  const [days, hours, minutes, seconds] = match.slice(1).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
  ]
  return (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000
}

type Values = ReturnType<typeof parse>['values']

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        format: { type: 'string' },
        brokers: { type: 'string' },
        embedded: { type: 'string' },
        registry: { type: 'string' },
        'state-dir': { type: 'string', multiple: true },
        'log-level': { type: 'string' },
        'to-earliest': { type: 'boolean' },
        'to-latest': { type: 'boolean' },
        'to-offset': { type: 'string' },
        'shift-by': { type: 'string' },
        'to-datetime': { type: 'string' },
        'by-duration': { type: 'string' },
        topic: { type: 'string', multiple: true },
        code: { type: 'string', multiple: true },
        at: { type: 'string', multiple: true },
        to: { type: 'string' },
        'keep-state': { type: 'boolean' },
        'dry-run': { type: 'boolean' },
        force: { type: 'boolean' },
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
