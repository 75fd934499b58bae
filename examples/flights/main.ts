/** The flights demo: `npm start`. Options and exit codes here, the job in job.ts, what it computes in topology.ts. */
import { schemaRegistry } from '../../src/index.ts'
import { openDirectory } from './directory.ts'
import { runJob } from './job.ts'
import { namesOf } from './names.ts'
import { type Options, parseOptions, USAGE, UsageError } from './options.ts'
import { writeReport } from './report.ts'
import { Screen } from './screen.ts'
import { tables } from './tables.ts'

/** As a shell has it: 128 and the number of the signal. */
const EXIT_BY_SIGNAL = { SIGINT: 130, SIGTERM: 143, SIGPIPE: 141 } as const

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === undefined) process.stdout.write(USAGE)
  else process.exitCode = await main(options)
} catch (error) {
  const isUsage = error instanceof UsageError
  process.stderr.write(
    `flights: ${error instanceof Error ? error.message : error}\n${isUsage ? `\n${USAGE}` : ''}`,
  )
  process.exitCode = isUsage ? 2 : 1
}

/** Resolves to the exit code. */
async function main(options: Options): Promise<number> {
  const beginMs = performance.now()
  const interrupted = new AbortController()
  let exitCode = 0
  const interrupt = (signal: keyof typeof EXIT_BY_SIGNAL): void => {
    exitCode = EXIT_BY_SIGNAL[signal]
    interrupted.abort()
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupt(signal))
  // Piped into `head`, say: what reads has seen enough. Node tells by an error instead of the signal.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => interrupt('SIGPIPE'))

  const screen = new Screen()
  const registry = options.registry === undefined ? undefined : schemaRegistry({ url: options.registry })
  const directory = await openDirectory(
    options.directory,
    {
      application: namesOf(options.data, options.prefix).application,
      topics: options.brokers === undefined ? 'embedded' : 'kafka',
      schemas: registry === undefined ? 'file' : 'registry',
    },
    { fresh: options.fresh, registry },
  )
  const outcome = await runJob({ ...options, directory, screen, signal: interrupted.signal })
  if (outcome === undefined) {
    screen.say('Stopped; start it again to go on.')
    return exitCode
  }
  const { sinks, counted, seconds } = outcome
  if (options.report !== undefined) await writeReport(options.report, sinks.report)
  screen.say(`\n${tables(sinks)}`)
  if (options.report !== undefined) screen.say(`Report: ${options.report}`)
  screen.say(`Regions: ${directory.state}`)
  screen.say(`Topics:  ${options.brokers?.join(',') ?? directory.broker}`)
  if (counted > 0) {
    screen.say(
      `Counted: ${counted} flights in ${seconds.toFixed(1)} s, ${Math.round(counted / seconds)} flights/s`,
    )
  }
  const tookSeconds = ((performance.now() - beginMs) / 1000).toFixed(1)
  screen.say(`Took ${tookSeconds} s; every flight counted exactly once.`)
  return exitCode
}
