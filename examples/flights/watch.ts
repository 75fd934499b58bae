/** Waiting on an application: for conditions, never for time alone. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Druse } from '../../src/index.ts'

const POLL_MS = 20
/** Nothing new for so long: something is broken, and waiting on would hide it. */
const STALLED_MS = 30_000

/**
 * Resolves to true when the condition holds, to false when the signal comes first.
 * Errors: what stopped the application or one of its tasks; a standstill.
 */
export async function until(
  condition: () => boolean | Promise<boolean>,
  app: Druse,
  signal: AbortSignal,
): Promise<boolean> {
  let sign = ''
  let sinceMs = performance.now()
  while (!signal.aborted) {
    const { error, tasks, counts } = app.health
    const failure = error ?? tasks.find((task) => task.error !== undefined)?.error
    if (failure !== undefined) throw failure
    if (await condition()) return true
    const now = `${app.state} ${counts.records} ${counts.commits}`
    if (now !== sign) {
      sign = now
      sinceMs = performance.now()
    } else if (performance.now() - sinceMs > STALLED_MS) {
      throw new Error(
        `nothing has moved for ${STALLED_MS / 1000} s (${app.state}, ${counts.records} records)`,
      )
    }
    await pause(POLL_MS)
  }
  return false
}
