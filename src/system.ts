/** The machine's own clock, chance and log. */
import { randomBytes } from 'node:crypto'
import type { Clock, Logger, Random } from './ports.ts'

/** Beyond it a timer of Node's fires at once. */
const TIMER_MS_MAX = 2 ** 31 - 1

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  wake(delayMs, callback) {
    if (delayMs <= 0) {
      const immediate = setImmediate(callback)
      return () => clearImmediate(immediate)
    }
    const timer = setTimeout(callback, Math.min(Math.ceil(delayMs), TIMER_MS_MAX))
    return () => clearTimeout(timer)
  },
}

/** As it was when this was loaded: whoever plays with timers in a test does not stop what runs on virtual time. */
const { setImmediate: setTurn } = globalThis

/** Resolves when promises have had their turn, and so have those that follow from them. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setTurn(resolve)
  })
}

export const systemRandom: Random = {
  next: () => Math.random(),
  bytes: (count) => randomBytes(count),
}

/** Prints from the given level up as one line of text each, to standard error. */
export function consoleLogger(level: keyof Logger = 'info'): Logger {
  const levels = ['debug', 'info', 'warn', 'error'] as const
  const from = levels.indexOf(level)
  const at =
    (name: (typeof levels)[number]) =>
    (details: object, message: string): void => {
      if (levels.indexOf(name) < from) return
      const rest = Object.entries(details)
        .map(([key, value]) => ` ${key}=${typeof value === 'string' ? value : render(value)}`)
        .join('')
      process.stderr.write(`${new Date().toISOString()} ${name} ${message}${rest}\n`)
    }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

function render(value: unknown): string {
  if (value instanceof Error) return value.message
  return JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? String(inner) : inner))
}

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} }
