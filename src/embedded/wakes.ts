/** A clock whose wakes all end with the broker, and do not call back after it. */
import type { Clock } from '../ports.ts'

export class Wakes implements Clock {
  readonly #clock: Clock
  readonly #cancels = new Set<() => void>()
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

  close(): void {
    this.#isClosed = true
    for (const cancel of this.#cancels) cancel()
    this.#cancels.clear()
  }
}
