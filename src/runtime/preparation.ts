/** What decoding needs beside the bytes themselves, the schemas that they were written with, is fetched beforehand. */
import { DruseError } from '../errors.ts'
import { pause } from '../kafka/retry.ts'
import type { Clock, Codec } from '../ports.ts'

const REGISTRY_RETRY_MS = 500

export interface PreparationOptions {
  readonly clock: Clock
  /** Ends the waiting. */
  readonly signal: AbortSignal
  /** Called before each pause. */
  waiting(error: DruseError): void
}

/**
 * Waits for everything that `begin` starts, and starts it again while something is wrong that is no fault of the
 * bytes: a registry that is down, a disk that does not take what it said. What is wrong with the bytes themselves is
 * found, and told, when they are decoded.
 */
export async function prepared(
  begin: () => Iterable<Promise<void>>,
  { clock, signal, waiting }: PreparationOptions,
): Promise<void> {
  while (!signal.aborted) {
    const results = await Promise.allSettled(begin())
    const error = results
      .map((result) => (result.status === 'rejected' ? result.reason : undefined))
      .find((reason) => reason instanceof DruseError && reason.kind !== 'user')
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
