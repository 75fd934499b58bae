/** Events by time, and by their ties within a millisecond: a binary heap. */
export interface Ordered {
  readonly atMs: number
  readonly tie: number
}

export class EventHeap<E extends Ordered> {
  readonly #events: E[] = []

  get size(): number {
    return this.#events.length
  }

  push(event: E): void {
    const events = this.#events
    let at = events.length
    events.push(event)
    while (at > 0) {
      const parent = (at - 1) >>> 1
      if (!isBefore(event, events[parent] as E)) break
      events[at] = events[parent] as E
      at = parent
    }
    events[at] = event
  }

  pop(): E | undefined {
    const events = this.#events
    const first = events[0]
    const last = events.pop()
    if (last === undefined || events.length === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= events.length) break
      if (child + 1 < events.length && isBefore(events[child + 1] as E, events[child] as E)) child += 1
      if (!isBefore(events[child] as E, last)) break
      events[at] = events[child] as E
      at = child
    }
    events[at] = last
    return first
  }
}

function isBefore(a: Ordered, b: Ordered): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.tie < b.tie)
}
