import { parseArgs } from 'node:util'
import { DEFAULT_DIRECTORY, KAFKA_DIRECTORY } from './directory.ts'

export interface Options {
  /** Undefined: the embedded broker. */
  readonly brokers: readonly string[] | undefined
  readonly prefix: string
  readonly directory: string
  readonly fresh: boolean
  readonly report: string | undefined
  readonly progressMs: number
}

export const USAGE = `Usage: npm start -- [options]

Feeds 20 000 flights into topics of an embedded broker, or of Kafka, and keeps, per airport, how late its flights arrive.
Interrupt or kill it as you like and start it again: it goes on where it was, and ends with the same figures.

  --brokers LIST   on Kafka: HOST:PORT[,HOST:PORT...]
  --prefix TEXT    put before the names of topics, groups and transactional ids: a job of its own on the same cluster
  --data-dir DIR   where topics and state are kept (default: data/flights in the repository; with --brokers, where the
                   topics are elsewhere, data/flights-kafka)
  --fresh          start over: deletes what earlier runs have left in the directory; not with --brokers
  --report FILE    write the figures, read back from the sink topics, to FILE as JSON
  --progress MS    how often to show progress (default: 1000; on a terminal 100)
  --help           show this
`

export class UsageError extends Error {}

/** Undefined: help is asked for. Errors: UsageError. */
export function parseOptions(args: readonly string[]): Options | undefined {
  const { help, brokers, prefix, report, fresh, progress, 'data-dir': directory } = parse(args)
  if (help) return undefined
  const progressMs = Number(progress ?? (process.stdout.isTTY ? 100 : 1000))
  if (!Number.isSafeInteger(progressMs) || progressMs < 1) {
    throw new UsageError(`--progress ${progress}: a whole number of milliseconds from 1 is needed`)
  }
  if (brokers === '') throw new UsageError('--brokers is empty')
  if (brokers !== undefined && fresh) {
    throw new UsageError(
      '--fresh deletes no topics on Kafka, others may use them: start over under other names, with --prefix and another --data-dir',
    )
  }
  return {
    brokers: brokers?.split(','),
    prefix: prefix ?? '',
    directory: directory ?? (brokers === undefined ? DEFAULT_DIRECTORY : KAFKA_DIRECTORY),
    fresh: fresh ?? false,
    report,
    progressMs,
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        brokers: { type: 'string' },
        prefix: { type: 'string' },
        'data-dir': { type: 'string' },
        fresh: { type: 'boolean' },
        report: { type: 'string' },
        progress: { type: 'string' },
        help: { type: 'boolean' },
      },
    }).values
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), { cause })
  }
}
