/** The command line of `npm run bench`. */
import { parseArgs } from 'node:util'
import { KINDS, type Kind } from './workload.ts'

export const USAGE = `Usage: npm run bench -- KIND [options]

Druse against Kafka Streams (exactly_once_v2, one thread, commits every 100 ms), in turn on the same broker and the same
input: 4 partitions, string keys, values of about 100 bytes of JSON. Needs a JDK (17 or later) and Maven. On the broker
that KAFKA_BROKERS names, where the input stays for the next time, else on one that is started for it.

KIND
  pass     the value in upper case
  count    how many records the key has had, per record

  --runs N          of each program (default 3)
  --records N       of the input (default 1000000)
  --keys N          different keys (default 100000)
  --only PROGRAM    druse or kafka-streams alone
  --limit SECONDS   for one run (default 300)
  --json            the last line of standard output is the result as JSON
  --help
`

export const PROGRAMS = ['druse', 'kafka-streams'] as const
export type ProgramName = (typeof PROGRAMS)[number]

export interface Options {
  readonly kind: Kind
  readonly runs: number
  readonly records: number
  readonly keys: number
  readonly limitSeconds: number
  readonly programs: readonly ProgramName[]
  readonly json: boolean
}

export class UsageError extends Error {}

/** Undefined: help was asked for. Errors: UsageError. */
export function parseOptions(args: readonly string[]): Options | undefined {
  const { values, positionals } = parse(args)
  if (values.help) return undefined
  const [given, ...rest] = positionals
  const kind = KINDS.find((known) => known === given)
  if (kind === undefined || rest.length > 0) throw new UsageError(`the kind is one of: ${KINDS.join(', ')}`)
  const only = PROGRAMS.find((known) => known === values.only)
  if (values.only !== undefined && only === undefined) {
    throw new UsageError(`--only takes one of: ${PROGRAMS.join(', ')}`)
  }
  return {
    kind,
    runs: count('runs', values.runs, 3),
    records: count('records', values.records, 1_000_000),
    keys: count('keys', values.keys, 100_000),
    limitSeconds: count('limit', values.limit, 300),
    programs: only === undefined ? PROGRAMS : [only],
    json: values.json ?? false,
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        runs: { type: 'string' },
        records: { type: 'string' },
        keys: { type: 'string' },
        only: { type: 'string' },
        limit: { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    })
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

function count(name: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  throw new UsageError(`--${name} takes a whole number from 1, not '${text}'`)
}
