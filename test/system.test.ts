/** The machine's clock. */
import { expect, test } from 'vitest'
import { systemClock } from '../src/index.ts'

test.each([2 ** 31 - 1, 2 ** 31, 2 ** 40, Number.POSITIVE_INFINITY])(
  'a wake in %d ms is not one at once',
  async (delayMs) => {
    let woken = false
    const cancel = systemClock.wake(delayMs, () => {
      woken = true
    })
    // Node makes 1 ms of what it cannot count.
    await new Promise((resolve) => systemClock.wake(20, () => resolve(undefined)))
    cancel()
    expect(woken).toBe(false)
  },
)
