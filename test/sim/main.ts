/**
 * Simulations from the command line.
 *
 *   npm run sim -- --seeds N [--start S]   a range of seeds
 *   npm run sim -- --seed S                one seed, with its trace
 *
 * The last line is the summary; the exit code is 0 only when every law has held.
 */
import { parseArgs } from 'node:util'
import { runSeed } from './scenario.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    start: { type: 'string', default: '1' },
    seed: { type: 'string' },
    for: { type: 'string' },
  },
})

let unhandled: unknown
process.on('unhandledRejection', (reason) => {
  unhandled ??= reason
})

async function attempt(seed: number, trace?: (line: string) => void) {
  unhandled = undefined
  const result = await runSeed(seed, trace)
  if (unhandled !== undefined)
    throw new Error(`A rejection was not handled: ${String((unhandled as Error).stack ?? unhandled)}`)
  return result
}

if (values.seed !== undefined) {
  try {
    const result = await attempt(Number(values.seed), (line) => console.log(line))
    console.log(
      `seed ${result.seed}: holds; ${result.events} events, ${result.transactions} transactions, ${result.virtualMs} ms`,
    )
  } catch (error) {
    console.log(error instanceof Error && error.name === 'Error' ? error.stack : error)
    console.log(`seed ${values.seed}: ${error instanceof Error ? error.message : String(error)}`)
    process.exitCode = 1
  }
} else {
  const start = Number(values.start)
  const end = start + Number(values.seeds ?? 100)
  const untilMs = performance.now() + Number(values.for ?? 1e9) * 1_000
  const startedMs = performance.now()
  let events = 0
  let transactions = 0
  let count = 0
  let failed = 0
  let passing = 0
  const faults = new Map<string, number>()
  for (let seed = start; seed < end && performance.now() < untilMs; seed++) {
    count += 1
    try {
      const result = await attempt(seed)
      events += result.events
      transactions += result.transactions
      passing += result.passingFailures
      for (const [kind, n] of result.faults) faults.set(kind, (faults.get(kind) ?? 0) + n)
    } catch (error) {
      failed += 1
      console.log(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  const seconds = (performance.now() - startedMs) / 1_000
  console.log(
    `tasks that failed and were well again: ${passing}; faults: ${Array.from(faults, ([kind, n]) => `${kind} ${n}`).join(', ')}`,
  )
  console.log(
    `${count} seeds from ${start}, ${failed} failed; ${(count / seconds).toFixed(1)} seeds/s, ${Math.round(events / Math.max(1, count - failed))} events and ${(transactions / Math.max(1, count - failed)).toFixed(1)} transactions per seed`,
  )
  process.exitCode = failed === 0 ? 0 : 1
}
