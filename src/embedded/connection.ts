/**
 * A connection to the broker. As on a socket, requests are carried out one after the other and answered in order: one
 * that waits, for records or for a group, holds back those behind it. Nothing is ordered across connections.
 *
 * A request that has run out of time is still carried out when its turn comes; its answer goes nowhere, and those
 * behind it go on waiting for it. A request that has begun when the connection is destroyed is carried out to its end.
 */
import type { Api, Clock, Connection, Outcome, Request, ResponseOf, Responses } from '../ports.ts'

export interface Server {
  readonly clock: Clock
  isOpen(): boolean
  handle(request: Request): Promise<Responses[Api]>
}

type Answer = Outcome<Responses[Api]>

interface Sent {
  readonly request: Request
  readonly settle: (outcome: Answer) => void
}

const DISCONNECT = { ok: false, reason: 'disconnect' } as const
const TIMEOUT = { ok: false, reason: 'timeout' } as const

export class EmbeddedConnection implements Connection {
  readonly #server: Server
  readonly #onDestroyed: () => void
  readonly #queue: Sent[] = []
  /** All that have no outcome yet. */
  readonly #unsettled = new Set<(outcome: Answer) => void>()
  #isBusy = false
  #isDestroyed = false

  constructor(server: Server, onDestroyed: () => void) {
    this.#server = server
    this.#onDestroyed = onDestroyed
  }

  send<R extends Request>(node: number, request: R, timeoutMs: number): Promise<Outcome<ResponseOf<R>>> {
    // The answer to a request is of its kind: `handle` sees to it.
    return this.#send(node, copied(request), timeoutMs) as Promise<Outcome<ResponseOf<R>>>
  }

  destroy(): void {
    if (this.#isDestroyed) return
    this.#isDestroyed = true
    this.#queue.length = 0
    for (const settle of [...this.#unsettled]) settle(DISCONNECT)
    this.#onDestroyed()
  }

  #send(node: number, request: Request, timeoutMs: number): Promise<Answer> {
    const isThere = node === 0 || node === -1
    if (this.#isDestroyed || !this.#server.isOpen() || !isThere) return Promise.resolve(DISCONNECT)
    return new Promise((resolve) => {
      let stopTimer: () => void = () => {}
      const settle = (outcome: Answer): void => {
        if (!this.#unsettled.delete(settle)) return
        stopTimer()
        resolve(outcome)
      }
      this.#unsettled.add(settle)
      stopTimer = this.#server.clock.wake(timeoutMs, () => settle(TIMEOUT))
      this.#queue.push({ request, settle })
      this.#next()
    })
  }

  #next(): void {
    if (this.#isBusy || this.#queue.length === 0) return
    this.#isBusy = true
    // Never within `send`: a request takes its way, and whoever sends in a loop lets others have their turn.
    this.#server.clock.wake(0, () => {
      const sent = this.#queue.shift()
      if (sent === undefined) {
        this.#isBusy = false
        return
      }
      this.#server.handle(sent.request).then(
        (response) => this.#answered(sent, { ok: true, response }),
        (cause: unknown) => this.#answered(sent, { ...DISCONNECT, cause }),
      )
    })
  }

  #answered(sent: Sent, outcome: Answer): void {
    sent.settle(outcome)
    this.#isBusy = false
    this.#next()
  }
}

/** On a socket the bytes of a batch are gone once sent; here the sender may write over them while it waits. */
function copied(request: Request): Request {
  if (request.api !== 'Produce') return request
  const partitions = request.partitions.map((place) => ({ ...place, records: Buffer.from(place.records) }))
  return { ...request, partitions }
}
