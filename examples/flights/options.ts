import { parseArgs } from 'node:util'
import { DATA_SETS, type DataSetName } from './data.ts'
import { DEFAULT_DIRECTORY } from './directory.ts'

export interface Options {
  readonly data: DataSetName
  /** Undefined: all of them. */
  readonly flights: number | undefined
  /** Undefined: the embedded broker. */
  readonly brokers: readonly string[] | undefined
  /** Undefined: ids of schemas are kept in the directory. */
  readonly registry: string | undefined
  readonly prefix: string
  readonly feeds: boolean
  readonly directory: string
  readonly fresh: boolean
  readonly report: string | undefined
  readonly progressMs: number
}

export const USAGE = `Usage: npm start -- [options]

Feeds 20 000 flights into topics of an embedded broker, or of Kafka, and keeps, per airport, how late its flights arrive.
Interrupt or kill it as you like and start it again: it goes on where it was, and ends with the same figures.

  --data NAME      flights-20k (the default), or flights-3m: three million
  --flights N      only the first N of them
  --data-dir DIR   where topics and state are kept (default: a directory of the job below data/ in the repository)
  --fresh          start over: deletes what earlier runs have left in the directory; not with --brokers
  --report FILE    write the figures, read back from the sink topics, to FILE as JSON
  --progress MS    how often to show progress (default: 1000; on a terminal 100)
  --help           show this

On Kafka:
  --brokers LIST   HOST:PORT[,HOST:PORT...]
  --registry URL   a schema registry (Confluent's API); without one the ids of schemas are kept in the --data-dir, and
                   the job is one process
  --no-feed        take part in the job of another process, which feeds; with a --data-dir of its own
  --prefix TEXT    put before the names of topics, groups and transactional ids: a job of its own on the same cluster
`

export class UsageError extends Error {}

/** Undefined: help is asked for. Errors: UsageError. */
export function parseOptions(args: readonly string[]): Options | undefined {
  const given = parse(args)
  if (given.help) return undefined
  const { brokers, registry, prefix, report, fresh = false } = given
  const data = DATA_SETS.find((name) => name === (given.data ?? DATA_SETS[0]))
  if (data === undefined) throw new UsageError(`--data ${given.data} is none of ${DATA_SETS.join(', ')}`)
  const feeds = !given['no-feed']
  if (brokers === '') throw new UsageError('--brokers is empty')
  const onKafka = (['registry', 'prefix', 'no-feed'] as const).find((name) => given[name] !== undefined)
  if (brokers === undefined && onKafka !== undefined) {
    throw new UsageError(`--${onKafka} is for Kafka: give --brokers`)
  }
  if (!feeds && registry === undefined) {
    throw new UsageError('--no-feed needs a --registry: processes have to agree on the ids of schemas')
  }
  if (brokers !== undefined && fresh) {
    throw new UsageError(
      '--fresh deletes no topics on Kafka, for others may use them. To start over beside them, give another --prefix and --data-dir',
    )
  }
  const directory = [
    DEFAULT_DIRECTORY,
    data === 'flights-3m' ? '-3m' : '',
    brokers === undefined ? '' : '-kafka',
  ]
  return {
    data,
    flights: given.flights === undefined ? undefined : wholeNumber('--flights', given.flights),
    brokers: brokers?.split(','),
    registry,
    prefix: prefix ?? '',
    feeds,
    directory: given['data-dir'] ?? directory.join(''),
    fresh,
    report,
    progressMs: wholeNumber('--progress', given.progress ?? (process.stdout.isTTY ? '100' : '1000')),
  }
}

function wholeNumber(option: string, text: string): number {
  const number = Number(text)
  if (Number.isSafeInteger(number) && number >= 1) return number
  throw new UsageError(`${option} ${text}: a whole number from 1 is needed`)
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        data: { type: 'string' },
        flights: { type: 'string' },
        'data-dir': { type: 'string' },
        fresh: { type: 'boolean' },
        report: { type: 'string' },
        progress: { type: 'string' },
        brokers: { type: 'string' },
        registry: { type: 'string' },
        'no-feed': { type: 'boolean' },
        prefix: { type: 'string' },
        help: { type: 'boolean' },
      },
    }).values
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), { cause })
  }
}
