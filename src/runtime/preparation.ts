/** What decoding needs beside the bytes themselves, the schemas that they were written with, is fetched beforehand. */
import type { DruseError } from '../errors.ts'
import { pause } from '../kafka/retry.ts'
import type { Clock, Codec } from '../ports.ts'
import { blameOf, mayPass } from './blame.ts'

const REGISTRY_RETRY_MS = 500

export interface PreparationOptions {
  readonly clock: Clock
  /** Ends the waiting. */
  readonly signal: AbortSignal
  /** Called before each pause. */
  waiting(error: DruseError): void
}

/**
 * Waits for everything that `begin` starts, and starts it again while something is wrong that may pass by itself: a
 * registry that is down, a disk that does not take what it said. What is wrong with the bytes themselves is found, and
 * told, when they are decoded. Errors: those that are neither.
 */
export async function prepared(
  begin: () => Iterable<Promise<void>>,
  { clock, signal, waiting }: PreparationOptions,
): Promise<void> {
  while (!signal.aborted) {
    const results = await Promise.allSettled(begin())
    const reasons = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
    for (const reason of reasons) if (blameOf(reason) === 'lasting') throw reason
    const error = reasons.find(mayPass)
    if (error === undefined) return
    waiting(error)
    await pause(clock, REGISTRY_RETRY_MS, signal)
  }
}

/** Of one key or value; a `prepare` that throws is one that rejects. */
export function preparationOf(codec: Codec<unknown>, bytes: Uint8Array | null): Promise<void> | undefined {
  if (bytes === null) return undefined
  try {
    return codec.prepare?.(bytes)
  } catch (error) {
    return Promise.reject(error)
  }
}
