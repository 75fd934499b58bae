import { setTimeout as pause } from 'node:timers/promises'
import { DruseError } from '../../src/index.ts'

const PAUSE_MS = 1_000

/** Waits a moment after what passes by itself: a broker or a registry that is away. Rejects with anything else. */
export async function pausing(
  error: unknown,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  if (!(error instanceof DruseError) || (error.kind !== 'transient' && error.kind !== 'fenced')) throw error
  say(`Trying again: ${error.message}`)
  await pause(PAUSE_MS, undefined, { signal }).catch(() => {})
}
