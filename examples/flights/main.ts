/** The flights demo: `npm start`. Options and exit codes here, the job in job.ts, what it computes in topology.ts. */
import { openDirectory } from './directory.ts'
import { runJob } from './job.ts'
import { type Options, parseOptions, USAGE, UsageError } from './options.ts'
import { writeReport } from './report.ts'
import { tables } from './tables.ts'

const EXIT_BY_SIGNAL = { SIGINT: 130, SIGTERM: 143 } as const

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
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      exitCode = EXIT_BY_SIGNAL[signal]
      interrupted.abort()
    })
  }
  const directory = await openDirectory(options.directory, options.fresh)
  const sinks = await runJob({ ...options, directory, signal: interrupted.signal })
  if (sinks === undefined) {
    process.stdout.write('Stopped; start it again to go on.\n')
    return exitCode
  }
  process.stdout.write(`\n${tables(sinks)}\n`)
  if (options.report !== undefined) {
    await writeReport(options.report, sinks.report)
    process.stdout.write(`Report: ${options.report}\n`)
  }
  const tookSeconds = ((performance.now() - beginMs) / 1000).toFixed(1)
  process.stdout.write(
    `Regions: ${directory.state}\nTopics:  ${options.brokers?.join(',') ?? directory.broker}\nTook ${tookSeconds} s; every flight counted exactly once.\n`,
  )
  return 0
}
