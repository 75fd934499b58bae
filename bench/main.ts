/** `npm run bench`: see USAGE in options.ts, and run.ts for how it is measured. */
import { fileURLToPath } from 'node:url'
import { openBroker } from './broker.ts'
import { BenchKafka } from './kafka.ts'
import { type Options, type ProgramName, parseOptions, USAGE, UsageError } from './options.ts'
import { kafkaStreams } from './peer.ts'
import { summary, text } from './report.ts'
import { type Program, type RunResult, run } from './run.ts'

const APPLICATION = fileURLToPath(new URL('application.ts', import.meta.url))

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === undefined) process.stdout.write(USAGE)
  else await main(options)
} catch (error) {
  const isUsage = error instanceof UsageError
  process.stderr.write(
    `bench: ${error instanceof Error ? error.message : error}\n${isUsage ? `\n${USAGE}` : ''}`,
  )
  process.exitCode = isUsage ? 2 : 1
}

async function main(options: Options): Promise<void> {
  const { kind, records, keys, limitSeconds } = options
  const interrupted = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => interrupted.abort(new Error(`ended by ${signal}`)))
  }
  const programs = options.programs.map(program)
  await using broker = await openBroker()
  await using kafka = await BenchKafka.connect(broker.brokers)
  const workload = { kind, records, keys }
  const input = await kafka.input(workload)
  const results: RunResult[] = []
  const each = { kafka, workload, input, limitSeconds, brokerPid: brokerPid(), signal: interrupted.signal }
  for (let round = 1; round <= options.runs; round++) {
    for (const next of programs) {
      const result = await run(next, each)
      results.push(result)
      process.stdout.write(text(round, result))
    }
  }
  const all = summary(kind, results)
  process.stdout.write(all.text)
  if (options.json) process.stdout.write(`${JSON.stringify(all.json)}\n`)
}

function program(name: ProgramName): Program {
  if (name === 'kafka-streams') return kafkaStreams()
  return { name, command: [process.execPath, APPLICATION] }
}

/** Given by who knows it, for the broker's CPU time. */
function brokerPid(): number | undefined {
  return process.env.BROKER_PID === undefined ? undefined : Number(process.env.BROKER_PID)
}
