/**
 * One measured run of a program, which is a process of its own with a fresh application name and state directory.
 *
 * It is watched from outside: the committed offsets of its group and the end of its output, polled. The clock begins with
 * the first sign of output, so that starting up and joining are out, and ends when every input offset is committed. What
 * was done by the first sign is not counted.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkOutput } from './check.ts'
import type { BenchKafka } from './kafka.ts'
import { type Usage, usageOf } from './process-usage.ts'
import type { Workload } from './workload.ts'

export interface Program {
  readonly name: string
  /** Both programs take: kind, brokers, application, input topic, output topic, state directory. */
  readonly command: readonly string[]
}

export interface RunResult {
  readonly program: string
  readonly recordsPerSecond: number
  /** To its end, start-up included. */
  readonly usage: Usage | undefined
  readonly brokerCpuSeconds: number | undefined
  /** Kafka Streams' cache merges updates of one key; Druse writes each. */
  readonly outputRecords: number
}

export interface RunOptions {
  readonly kafka: BenchKafka
  readonly workload: Workload
  readonly input: string
  readonly limitSeconds: number
  readonly brokerPid: number | undefined
  readonly signal: AbortSignal
}

const POLL_MS = 50
const STOP_MS = 20_000

/** Errors: what the program did not do, or did wrongly. */
export async function run(program: Program, options: RunOptions): Promise<RunResult> {
  const { kafka, workload, input, brokerPid } = options
  const application = `druse-bench-${program.name}-${workload.kind}-${Date.now().toString(36)}`
  const output = `${application}-output`
  const stateDir = await mkdtemp(join(tmpdir(), `${application}-`))
  await kafka.createTopic(output)
  const [executable, ...fixed] = program.command
  const args = [...fixed, workload.kind, kafka.brokers.join(), application, input, output, stateDir]
  const brokerBefore = brokerPid === undefined ? undefined : await usageOf(brokerPid)
  const child = spawn(executable as string, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  const errors = tail(child)
  try {
    const recordsPerSecond = await watch(child, application, output, options)
    const brokerAfter = brokerPid === undefined ? undefined : await usageOf(brokerPid)
    const usage = await stop(child)
    const outputRecords = await checkOutput(kafka.brokers, workload, input, output)
    return {
      program: program.name,
      recordsPerSecond,
      usage,
      brokerCpuSeconds:
        brokerBefore && brokerAfter ? brokerAfter.cpuSeconds - brokerBefore.cpuSeconds : undefined,
      outputRecords,
    }
  } catch (cause) {
    throw new Error(`${program.name}: ${cause instanceof Error ? cause.message : cause}\n${errors()}`, {
      cause,
    })
  } finally {
    await stop(child)
    await rm(stateDir, { recursive: true, force: true })
    // A Ctrl-C may have ended the broker, too.
    await kafka.forget(application).catch((error: unknown) => {
      if (!options.signal.aborted) throw error
    })
  }
}

/** Resolves to records per second once every input offset is committed. */
async function watch(
  child: ChildProcess,
  application: string,
  output: string,
  { kafka, workload, input, limitSeconds, signal }: RunOptions,
): Promise<number> {
  const beginMs = performance.now()
  let first: { readonly atMs: number; readonly done: number } | undefined
  for (;;) {
    const done = await kafka.committed(application, input)
    const atMs = performance.now()
    if (done >= workload.records) {
      if (first === undefined || first.done >= done) throw new Error('it was done before it could be watched')
      return ((done - first.done) / (atMs - first.atMs)) * 1_000
    }
    if (first === undefined && (done > 0 || (await kafka.end(output)) > 0)) first = { atMs, done }
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`it ended after ${done} records`)
    if (atMs - beginMs > limitSeconds * 1_000) throw new Error(`${done} records in ${limitSeconds} s`)
    await sleep(POLL_MS)
    signal.throwIfAborted()
  }
}

/** Asks it to end, and looks at it until it has. */
async function stop(child: ChildProcess): Promise<Usage | undefined> {
  let usage: Usage | undefined
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return undefined
  const ended = once(child, 'exit')
  const killed = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
  child.kill('SIGTERM')
  let isOver = false
  ended.then(() => {
    isOver = true
  })
  while (!isOver) {
    usage = (await usageOf(child.pid)) ?? usage
    await Promise.race([ended, sleep(POLL_MS)])
  }
  clearTimeout(killed)
  return usage
}

/** The end of what it says on standard error, for when it fails. */
function tail(child: ChildProcess): () => string {
  let text = ''
  child.stderr?.setEncoding('utf8').on('data', (more: string) => {
    text = (text + more).slice(-4_000)
  })
  return () => text
}
