#!/usr/bin/env node
/** The command `druse`. Exit codes: 0 done, 1 the application or its module failed, 2 wrong usage. */
import { readFile } from 'node:fs/promises'
import { DruseError } from '../errors.ts'
import { type Command, parseCommand, USAGE } from './arguments.ts'
import { listDlq, replayDlq } from './dlq.ts'
import { loadModule } from './module.ts'
import { reset } from './reset.ts'
import { run } from './run.ts'

const EXIT_GRACE_MS = 1_000

process.exitCode = await main(process.argv.slice(2))
// What the module may have left open, a timer or a connection, must not keep the command alive.
setTimeout(() => process.exit(), EXIT_GRACE_MS).unref()

/** Resolves to the exit code. */
async function main(args: readonly string[]): Promise<number> {
  let command: Command
  try {
    command = parseCommand(args)
  } catch (error) {
    process.stderr.write(`druse: ${explain(error)}\n\n${USAGE}`)
    return 2
  }
  try {
    await perform(command)
    return 0
  } catch (error) {
    process.stderr.write(`druse: ${explain(error)}\n`)
    return 1
  }
}

async function perform(command: Command): Promise<void> {
  switch (command.name) {
    case 'help':
      return print(USAGE)
    case 'version':
      return print(`${await version()}\n`)
    case 'describe':
      return print((await loadModule(command.module)).topology.describe(command.format))
    case 'run':
      // Before the module is loaded, so that a signal meanwhile is not lost.
      return run(stopSignal(), command.module, command.with, print)
    case 'dlq list':
      return listDlq(command.what, command.with, print)
    case 'dlq replay':
      return replayDlq(stopSignal(), command.what, command.with, print)
    case 'reset':
      return reset(command.module, command.with, print)
  }
}

function print(text: string): void {
  process.stdout.write(text)
}

/** The first SIGINT or SIGTERM; a second one ends the process at once, as without this. */
function stopSignal(): AbortSignal {
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort())
  return stop.signal
}

/** With the stack of what is not ours: it is where the user has to look. */
function explain(error: unknown): string {
  if (!(error instanceof DruseError))
    return error instanceof Error ? (error.stack ?? error.message) : String(error)
  const { message, cause } = error
  return cause instanceof Error && !(cause instanceof DruseError) ? `${message}\n${cause.stack}` : message
}

async function version(): Promise<string> {
  const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  return version
}
