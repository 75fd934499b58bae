/** A wire for things that run once: it dies, or loses an answer, at the n-th request that changes something. */
import type { Connection, Outcome, Request, ResponseOf, Wire } from '../../src/ports.ts'

const CHANGING: ReadonlySet<Request['api']> = new Set([
  'CreateTopics',
  'DeleteTopics',
  'InitProducerId',
  'AddOffsetsToTxn',
  'TxnOffsetCommit',
  'EndTxn',
  'JoinGroup',
  'SyncGroup',
  'LeaveGroup',
])

export type Mishap = 'dieBefore' | 'dieAfter' | 'loseAnswer'

export class DyingWire implements Wire {
  /** Requests that change something, in order. */
  readonly changes: Request['api'][] = []
  /** Resolves when it has happened. */
  readonly happened: Promise<void>
  readonly #inner: Wire
  readonly #at: number
  readonly #mishap: Mishap
  readonly #happen: () => void
  #dead = false

  /** `at` counts from 0. */
  constructor(inner: Wire, at: number, mishap: Mishap) {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.happened = promise
    this.#happen = resolve
    this.#inner = inner
    this.#at = at
    this.#mishap = mishap
  }

  connect(purpose: Parameters<Wire['connect']>[0]): Connection {
    const inner = this.#inner.connect(purpose)
    return {
      destroy: () => inner.destroy(),
      send: (node, request, timeoutMs) => this.#send(inner, node, request, timeoutMs),
    }
  }

  async #send<R extends Request>(
    inner: Connection,
    node: number,
    request: R,
    timeoutMs: number,
  ): Promise<Outcome<ResponseOf<R>>> {
    const isIt = CHANGING.has(request.api) && this.changes.push(request.api) - 1 === this.#at
    if (isIt && this.#mishap === 'dieBefore') this.#die()
    if (this.#dead) return new Promise(() => {})
    const outcome = await inner.send(node, request, timeoutMs)
    if (isIt && this.#mishap === 'dieAfter') this.#die()
    if (this.#dead) return new Promise(() => {})
    if (!isIt || this.#mishap !== 'loseAnswer') return outcome
    this.#happen()
    return { ok: false, reason: 'timeout' }
  }

  #die(): void {
    this.#dead = true
    this.#happen()
  }
}
