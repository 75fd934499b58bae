import { parseArgs } from 'node:util'
import { DEFAULT_DIRECTORY } from './directory.ts'

export interface Options {
  readonly directory: string
  readonly fresh: boolean
  readonly report: string | undefined
  readonly progressMs: number
}

export const USAGE = `Usage: npm start -- [options]

Feeds 20 000 flights into topics of an embedded broker and keeps, per airport, how late its flights arrive.
Interrupt or kill it as you like and start it again: it goes on where it was, and ends with the same figures.

  --data-dir DIR   where topics and state are kept (default: data/flights in the repository)
  --fresh          start over: deletes what earlier runs have left in the directory
  --report FILE    write the figures, read back from the sink topics, to FILE as JSON
  --progress MS    how often to show progress (default: 1000; on a terminal 100)
  --help           show this
`

export class UsageError extends Error {}

/** Undefined: help is asked for. Errors: UsageError. */
export function parseOptions(args: readonly string[]): Options | undefined {
  const { help, report, fresh, progress, 'data-dir': directory } = parse(args)
  if (help) return undefined
  const progressMs = Number(progress ?? (process.stdout.isTTY ? 100 : 1000))
  if (!Number.isSafeInteger(progressMs) || progressMs < 1) {
    throw new UsageError(`--progress ${progress}: a whole number of milliseconds from 1 is needed`)
  }
  return { directory: directory ?? DEFAULT_DIRECTORY, fresh: fresh ?? false, report, progressMs }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
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
