/**
 * Periodic calls. Those of stream time stand on multiples of their interval, those of the wall clock on multiples after
 * they were made; however many were missed, there is one call. All as in Kafka Streams 4.1.
 */
import type { Cancellable, Due, Punctuator } from './time.ts'

interface Schedule extends Cancellable {
  readonly intervalMs: number
  readonly punctuator: Punctuator
  /** Counts up with each schedule: of those due at one time, the older goes first. */
  readonly order: number
  nextMs: number
  isCancelled: boolean
}

export class Punctuations implements Due {
  #schedules: Schedule[] = []
  #count = 0

  /** When the next one is due. */
  get nextMs(): number {
    let nextMs = Number.POSITIVE_INFINITY
    for (const schedule of this.#schedules) {
      if (!schedule.isCancelled && schedule.nextMs < nextMs) nextMs = schedule.nextMs
    }
    return nextMs
  }

  add(firstMs: number, intervalMs: number, punctuator: Punctuator): Cancellable {
    const schedule: Schedule = {
      intervalMs,
      punctuator,
      order: this.#count++,
      nextMs: firstMs,
      isCancelled: false,
      cancel: () => {
        schedule.isCancelled = true
      },
    }
    this.#schedules.push(schedule)
    return schedule
  }

  /** All that are due, one after the other, and those that become due by being made meanwhile. */
  run(nowMs: number): void | Promise<void> {
    for (let due = this.#takeDue(nowMs); due !== undefined; due = this.#takeDue(nowMs)) {
      const pending = due.punctuator(nowMs)
      if (pending !== undefined) return pending.then(() => this.run(nowMs))
    }
  }

  #takeDue(nowMs: number): Schedule | undefined {
    let due: Schedule | undefined
    this.#schedules = this.#schedules.filter(({ isCancelled }) => !isCancelled)
    for (const schedule of this.#schedules) {
      if (schedule.nextMs > nowMs) continue
      const isFirst = due === undefined || schedule.nextMs < due.nextMs
      if (isFirst || (schedule.nextMs === due?.nextMs && schedule.order < due.order)) due = schedule
    }
    if (due !== undefined) due.nextMs = following(due.nextMs, due.intervalMs, nowMs)
    return due
  }
}

/** The next time on the grid of `fromMs` that lies after now. */
export function following(fromMs: number, intervalMs: number, nowMs: number): number {
  const passed = Math.max(0, Math.floor((nowMs - fromMs) / intervalMs))
  return fromMs + (passed + 1) * intervalMs
}
