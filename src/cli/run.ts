/** `druse run`: one application in this process, until it is told to stop or cannot go on. */
import { join } from 'node:path'
import { Druse } from '../runtime/druse.ts'
import type { DruseOptions } from '../runtime/options.ts'
import { schemaRegistry } from '../serde/index.ts'
import { consoleLogger } from '../system.ts'
import type { RunArguments } from './arguments.ts'
import { loadModule } from './module.ts'
import { openWire } from './way-to-kafka.ts'

const HEALTH_POLL_MS = 200

/**
 * Resolves when the signal is given and everything is closed.
 * Errors: OPTION_INVALID without a way to Kafka, those of `loadModule`, `embeddedBroker` and of `Druse`, what stopped a task.
 */
export async function run(
  signal: AbortSignal,
  path: string,
  given: RunArguments,
  print: (text: string) => void,
): Promise<void> {
  const module = await loadModule(path)
  const { topology } = module
  const options = await module.options()
  const logger = given.logLevel === undefined ? options.logger : consoleLogger(given.logLevel)
  const registry = given.registry === undefined ? options.registry : schemaRegistry({ url: given.registry })
  const { wire, close } = await openWire(
    given,
    options,
    topology.application,
    logger ?? consoleLogger('warn'),
  )
  try {
    const all: DruseOptions = {
      ...options,
      wire,
      stateDir: given.stateDir ?? options.stateDir ?? join('state', topology.application),
      ...(logger === undefined ? {} : { logger }),
      ...(registry === undefined ? {} : { registry }),
    }
    const app = new Druse(topology, all)
    app.onStateChange((state) => print(line(app, state)))
    try {
      await app.start()
      await untilStopped(app, signal)
    } finally {
      await app.close()
    }
  } finally {
    await close()
  }
}

/** Rejects with what stopped the application, or the first of its tasks. */
function untilStopped(app: Druse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      const { error, tasks } = app.health
      const failure = error ?? tasks.find((task) => task.error !== undefined)?.error
      if (failure !== undefined) reject(failure)
      else if (signal.aborted) resolve()
      else return
      clearInterval(timer)
      forget()
    }
    const forget = app.onStateChange(look)
    // A task that stops need not change the state of the application.
    const timer = setInterval(look, HEALTH_POLL_MS)
    signal.addEventListener('abort', look, { once: true })
    look()
  })
}

function line(app: Druse, state: string): string {
  const { tasks } = app.health
  const count = state === 'RUNNING' ? ` (${tasks.length} ${tasks.length === 1 ? 'task' : 'tasks'})` : ''
  return `${app.application}: ${state}${count}\n`
}
