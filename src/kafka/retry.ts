import { DruseError } from '../errors.ts'
import type { Clock, Outcome } from '../ports.ts'

const FIRST_PAUSE_MS = 5
const LAST_PAUSE_MS = 500

/** What an attempt returns when it is worth another one. */
export class Again {
  readonly reason: string
  constructor(reason: string) {
    this.reason = reason
  }
}

/** Why there is no answer: a wrong password shows as a lost connection, and its cause tells. */
export function reasonOf({ reason, cause }: Extract<Outcome<unknown>, { ok: false }>): string {
  return cause instanceof Error ? `${reason} (${cause.message})` : reason
}

export interface RetryOptions {
  readonly clock: Clock
  /** For the error's message: "could not …". */
  readonly what: string
  /** Counted from the call, on the monotonic clock; at least one attempt is made. */
  readonly budgetMs: number
  /** Ends the waiting; the retry then fails like one whose budget is over. */
  readonly signal?: AbortSignal
}

/** Attempts with growing pauses, from 5 to 500 ms. Errors: BROKER_UNAVAILABLE when the budget is over. */
export async function retry<T>(options: RetryOptions, attempt: () => Promise<T | Again>): Promise<T> {
  const { clock, what, budgetMs, signal } = options
  const startedMs = clock.monotonicMs()
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LAST_PAUSE_MS)) {
    const result = await attempt()
    if (!(result instanceof Again)) return result
    const takenMs = clock.monotonicMs() - startedMs
    if (signal?.aborted || takenMs + pauseMs > budgetMs) {
      throw new DruseError(
        'BROKER_UNAVAILABLE',
        `Could not ${what} in ${Math.round(takenMs)} ms: ${result.reason}. Check that the brokers run and can be reached`,
        { what, reason: result.reason },
      )
    }
    await pause(clock, pauseMs, signal)
  }
}

/** Ends early, without an error, when the signal is aborted. */
export function pause(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve()
    const done = (): void => {
      cancel()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const cancel = clock.wake(ms, done)
    signal?.addEventListener('abort', done, { once: true })
  })
}
