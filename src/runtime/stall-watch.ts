/** Tells of inputs that stand still at a transaction which does not end, while records pile up behind it. */
import type { Delivery } from '../kafka/fetcher.ts'
import { partitionKey } from '../kafka/partition-key.ts'
import type { Clock, Logger } from '../ports.ts'

/** Longer than producers usually give a transaction: Kafka's default of transaction.timeout.ms is 60 s. */
const PATIENCE_MS = 90_000

export class StallWatch {
  readonly #clock: Clock
  readonly #log: Logger
  readonly #standing = new Map<string, { offset: number; sinceMs: number; told: boolean }>()

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock
    this.#log = log
  }

  see(delivery: Delivery): void {
    const { nextOffset, lastStableOffset, highWatermark } = delivery
    const key = partitionKey(delivery)
    if (nextOffset < lastStableOffset || lastStableOffset >= highWatermark) {
      this.#standing.delete(key)
      return
    }
    const nowMs = this.#clock.monotonicMs()
    const found = this.#standing.get(key)
    if (found?.offset !== nextOffset) {
      this.#standing.set(key, { offset: nextOffset, sinceMs: nowMs, told: false })
    } else if (!found.told && nowMs - found.sinceMs > PATIENCE_MS) {
      found.told = true
      this.#log.warn(
        { partition: key, offset: nextOffset, highWatermark, forMs: Math.round(nowMs - found.sinceMs) },
        'input: stands at an open transaction; if it never ends, look for it with kafka-transactions.sh find-hanging',
      )
    }
  }
}
