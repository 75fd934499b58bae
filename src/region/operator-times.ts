/**
 * What the operators that share a region remember: the newest time that each has seen, its stream time, and counts. It
 * stands in the region itself, under a key of no bytes, so that it is committed, restored and taken back together with
 * the entries.
 *
 *   by slot: number (8 bytes, -1: none yet)
 */
import { readTime, TIME_BYTES, writeTime } from '../serde/time-bytes.ts'

/** Of the region: the newest time of an entry that was ever written. */
export const NEWEST_SLOT = 0
/** Of the region: up to which offset its changelog holds nothing but entries that retention hides. */
export const FORGOTTEN_SLOT = 1
/** The operators' own. */
export const FIRST_OPERATOR_SLOT = 2

/** Before the first record. */
export const NO_TIME = -1

export class OperatorTimes {
  #times: number[]
  #isChanged = false

  constructor(bytes: Uint8Array | undefined) {
    const count = (bytes?.length ?? 0) / TIME_BYTES
    this.#times = Array.from({ length: count }, (_, slot) => readTime(bytes as Uint8Array, slot * TIME_BYTES))
  }

  /** Since the last `seal`. */
  get isChanged(): boolean {
    return this.#isChanged
  }

  at(slot: number): number {
    return this.#times[slot] ?? NO_TIME
  }

  /** Returns the time after it: never less than before. */
  advance(slot: number, timestamp: number): number {
    const time = this.at(slot)
    if (timestamp <= time) return time
    this.set(slot, timestamp)
    return timestamp
  }

  set(slot: number, number: number): void {
    while (this.#times.length <= slot) this.#times.push(NO_TIME)
    this.#times[slot] = number
    this.#isChanged = true
  }

  /** All of them, for `undo`. */
  get now(): readonly number[] {
    return this.#times.slice()
  }

  undo(to: readonly number[]): void {
    this.#times = to.slice()
  }

  seal(): Buffer {
    this.#isChanged = false
    const bytes = Buffer.allocUnsafe(this.#times.length * TIME_BYTES)
    for (const [slot, time] of this.#times.entries()) writeTime(bytes, slot * TIME_BYTES, time)
    return bytes
  }
}
