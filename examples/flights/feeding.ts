/**
 * Feeding over whatever happens to feeders. One feeds at a time: a second one fences the first, by its transactional
 * id. The first then stands by, and takes over again when the whole job is at a standstill: the other one was killed,
 * or there was none and the broker had only ended a transaction that took too long.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { DruseError } from '../../src/index.ts'
import type { Feeder } from './feeder.ts'
import { pausing } from './pausing.ts'

const STANDBY_MS = 30_000
const LOOK_MS = 100

export interface FeedingOptions {
  open(): Promise<Feeder>
  feed(feeder: Feeder): Promise<void>
  /**
   * What it means to be fenced. alone: nobody else can feed, so a transaction has taken too long. together: another one
   * may feed. apart: another one may feed, and its schema ids are not known here.
   */
  readonly company: 'alone' | 'together' | 'apart'
  /** For how long nothing has moved in the job, wherever it runs. */
  idleMs(): number
  say(line: string): void
  readonly signal: AbortSignal
}

/** Resolves when everything is fed, or the signal is given. Errors: what does not pass by itself. */
export async function keepFeeding(options: FeedingOptions): Promise<void> {
  const { open, feed, company, idleMs, say, signal } = options
  while (!signal.aborted) {
    let feeder: Feeder | undefined
    try {
      feeder = await open()
      const opened = feeder
      const close = (): void => opened.close()
      signal.addEventListener('abort', close, { once: true })
      await feed(feeder).finally(() => signal.removeEventListener('abort', close))
      return
    } catch (error) {
      if (signal.aborted) return
      if (company === 'alone' || !DruseError.is(error, 'PRODUCER_FENCED')) {
        await pausing(error, say, signal)
      } else if (company === 'apart') {
        throw new Error(
          'another process feeds this job, or this one stood still for too long. Start it again if it is the only one; several processes need a schema registry: --registry',
          { cause: error },
        )
      } else {
        say(
          'Another process feeds now. This one goes on without feeding, and feeds again when nothing moves for 30 s.',
        )
        while (!signal.aborted && idleMs() < STANDBY_MS) await pause(LOOK_MS)
        if (!signal.aborted) say('Nothing has moved for 30 s: this process feeds again.')
      }
    } finally {
      feeder?.close()
    }
  }
}
