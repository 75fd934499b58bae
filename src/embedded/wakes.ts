/** A clock whose wakes all end with the broker, and do not call back after it. */
import { DruseError } from '../errors.ts'
import type { Clock } from '../ports.ts'

export class Wakes implements Clock {
  readonly #clock: Clock
  readonly #cancels = new Set<() => void>()
  readonly #turns = new Set<(error: DruseError) => void>()
  #isClosed = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs()
  }

  wallMs(): number {
    return this.#clock.wallMs()
  }

  wake(delayMs: number, callback: () => void): () => void {
    if (this.#isClosed) return () => {}
    const cancel = this.#clock.wake(delayMs, () => {
      this.#cancels.delete(cancel)
      callback()
    })
    this.#cancels.add(cancel)
    return () => {
      this.#cancels.delete(cancel)
      cancel()
    }
  }

  /** Resolves when others have had their turn. Errors: BROKER_CLOSED. */
  turn(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) {
        reject(closed())
        return
      }
      this.#turns.add(reject)
      this.wake(0, () => {
        this.#turns.delete(reject)
        resolve()
      })
    })
  }

  close(): void {
    this.#isClosed = true
    for (const reject of this.#turns) reject(closed())
    this.#turns.clear()
    for (const cancel of this.#cancels) cancel()
    this.#cancels.clear()
  }
}

function closed(): DruseError {
  return new DruseError('BROKER_CLOSED', 'The embedded broker has been closed')
}
