/**
 * A clock that tests drive. Time stands still until `advance`. What is due is run in turn by itself, after pending
 * promises, as on a real clock; with `isHeld` it is run only by `step`, in the order that the test chooses.
 */
import type { Clock } from '../../src/ports.ts'

interface Wake {
  readonly atMs: number
  readonly callback: () => void
}

export class TestClock implements Clock {
  isHeld = false
  #nowMs = 0
  #wakes: Wake[] = []
  #isScheduled = false

  monotonicMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.#nowMs
  }

  wake(delayMs: number, callback: () => void): () => void {
    const wake = { atMs: this.#nowMs + delayMs, callback }
    this.#wakes.push(wake)
    this.#schedule()
    return () => {
      this.#wakes = this.#wakes.filter((other) => other !== wake)
    }
  }

  /** How many callbacks may be run now. */
  get dueCount(): number {
    return this.#due().length
  }

  /** How many callbacks wait, due or not. */
  get wakeCount(): number {
    return this.#wakes.length
  }

  /** Runs one of the due callbacks, by default the oldest, and what follows from it. */
  async step(index = 0): Promise<void> {
    const wake = this.#due().at(index)
    if (wake === undefined) throw new Error(`Nothing is due at ${index}`)
    this.#run(wake)
    await turn()
  }

  /** Lets time pass, with all that falls due on the way, in order. */
  async advance(ms: number): Promise<void> {
    const end = this.#nowMs + ms
    await this.#runDue()
    for (;;) {
      const next = Math.min(...this.#wakes.map(({ atMs }) => atMs))
      if (next > end) break
      this.#nowMs = Math.max(this.#nowMs, next)
      await this.#runDue()
    }
    this.#nowMs = end
    await this.#runDue()
  }

  async #runDue(): Promise<void> {
    await turn()
    while (this.dueCount > 0) await this.step()
  }

  #due(): Wake[] {
    return this.#wakes.filter(({ atMs }) => atMs <= this.#nowMs).sort((a, b) => a.atMs - b.atMs)
  }

  #run(wake: Wake): void {
    this.#wakes = this.#wakes.filter((other) => other !== wake)
    wake.callback()
  }

  #schedule(): void {
    if (this.isHeld || this.#isScheduled || this.dueCount === 0) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      const [oldest] = this.#due()
      if (!this.isHeld && oldest !== undefined) this.#run(oldest)
      this.#schedule()
    })
  }
}

/** Promises have had their turn, and so have those that follow from them. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
