/**
 * An application instance that can be crashed, frozen and cut off: the production runtime over a real broker body, with
 * only its ports wrapped. A crash is silent: nothing of the instance reaches anything any more.
 */
import {
  type Clock,
  Druse,
  type DruseOptions,
  type Logger,
  type MemoryDisk,
  memoryDisk,
  silentLogger,
  systemClock,
  type Topology,
  type Wire,
} from '../../src/index.ts'
import type { Connection, Outcome, Request, ResponseOf } from '../../src/ports.ts'

/** What becomes of a request. `lose…`: the instance sees a lost connection. */
export type Fate =
  | 'pass'
  | 'loseRequest'
  | 'loseAnswer'
  | 'crashBefore'
  | 'crashAfter'
  | 'freezeBefore'
  | 'freezeAfter'
  /** An answer of the broker's, made up; the request is not carried out. */
  | { readonly answer: unknown }
  /** Carried out when the promise resolves. */
  | { readonly after: Promise<unknown> }

export type Fates = (request: Request) => Fate

export interface InstanceOptions extends Partial<DruseOptions> {
  readonly topology: () => Topology
  readonly wire: Wire
  readonly disk?: MemoryDisk
  readonly fates?: Fates
}

export class Instance {
  readonly app: Druse
  readonly disk: MemoryDisk
  readonly log: { level: string; message: string; details: Record<string, unknown> }[] = []
  /** Requests sent, in order. */
  readonly requests: Request[] = []
  fates: Fates
  #dead = false
  #thaw: (() => void) | undefined
  #frozen: Promise<void> | undefined
  readonly #fell = Promise.withResolvers<void>()
  readonly #time: Clock

  constructor({ topology, wire, disk = memoryDisk(), fates = () => 'pass', ...options }: InstanceOptions) {
    this.disk = disk
    this.fates = fates
    this.#time = this.#clock()
    this.app = new Druse(topology(), {
      stateDir: disk,
      logger: this.#logger(options.logger ?? silentLogger),
      ...QUICK,
      ...options,
      wire: { connect: (purpose) => this.#wrap(wire.connect(purpose)) },
      clock: this.#time,
    })
  }

  /** Resolves when a fate has crashed or frozen the instance. */
  get fell(): Promise<void> {
    return this.#fell.promise
  }

  async start(): Promise<this> {
    await this.app.start()
    return this
  }

  /** As kill -9, or as a loss of power. The disk keeps what was written, and can be given to a successor. */
  crash({ power = false } = {}): void {
    this.#dead = true
    this.disk.crash({ loseUnsynced: power })
    this.#fell.resolve()
  }

  /** As SIGSTOP: neither its clock nor its wire moves. */
  freeze(): void {
    if (this.#frozen !== undefined) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#frozen = promise
    this.#thaw = resolve
    this.#fell.resolve()
  }

  /** As SIGCONT. */
  thaw(): void {
    this.#frozen = undefined
    this.#thaw?.()
  }

  async close(): Promise<void> {
    if (!this.#dead) await this.app.close()
  }

  logged(message: string): boolean {
    return this.log.some((line) => line.message.includes(message))
  }

  #logger(to: Logger): Logger {
    const at =
      (level: keyof Logger) =>
      (details: object, message: string): void => {
        this.log.push({ level, message, details: { ...details } })
        to[level](details, message)
      }
    return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
  }

  #clock(): Clock {
    return {
      monotonicMs: () => systemClock.monotonicMs(),
      wallMs: () => systemClock.wallMs(),
      wake: (delayMs, callback) => {
        let cancelled = false
        const cancel = systemClock.wake(delayMs, async () => {
          while (this.#frozen !== undefined) await this.#frozen
          if (!cancelled && !this.#dead) callback()
        })
        return () => {
          cancelled = true
          cancel()
        }
      },
    }
  }

  #wrap(inner: Connection): Connection {
    let destroyed: (() => void) | undefined
    const gone = new Promise<void>((resolve) => {
      destroyed = resolve
    })
    const lost: Outcome<never> = { ok: false, reason: 'disconnect' }
    return {
      destroy: () => {
        inner.destroy()
        destroyed?.()
      },
      send: <R extends Request>(node: number, request: R, timeoutMs: number) => {
        const answer = this.#send(inner, node, request, timeoutMs)
        const late = new Promise<Outcome<never>>((resolve) => {
          const cancel = this.#time.wake(timeoutMs, () => resolve({ ok: false, reason: 'timeout' }))
          void answer.then(cancel)
        })
        return Promise.race([answer, late, gone.then(() => lost)])
      },
    }
  }

  async #send<R extends Request>(
    inner: Connection,
    node: number,
    request: R,
    timeoutMs: number,
  ): Promise<Outcome<ResponseOf<R>>> {
    await this.#alive()
    const fate = this.fates(request)
    this.requests.push(request)
    if (fate === 'crashBefore') this.crash()
    if (fate === 'freezeBefore') this.freeze()
    await this.#alive()
    if (fate === 'loseRequest') return { ok: false, reason: 'disconnect' }
    if (typeof fate === 'object' && 'answer' in fate) {
      return { ok: true, response: fate.answer as ResponseOf<R> }
    }
    if (typeof fate === 'object') await fate.after
    const outcome = await inner.send(node, request, timeoutMs)
    if (fate === 'crashAfter') this.crash()
    if (fate === 'freezeAfter') this.freeze()
    await this.#alive()
    return fate === 'loseAnswer' ? { ok: false, reason: 'timeout' } : outcome
  }

  /** Waits while frozen, for ever when dead. */
  async #alive(): Promise<void> {
    while (this.#frozen !== undefined) await this.#frozen
    if (this.#dead) await new Promise(() => {})
  }
}

/** So that rebalances and time-outs take no time in tests. */
export const QUICK = {
  commitIntervalMs: 10,
  sessionTimeoutMs: 600,
  heartbeatIntervalMs: 60,
  rebalanceTimeoutMs: 2_000,
  transactionTimeoutMs: 1_500,
  requestTimeoutMs: 1_000,
  fetchMaxWaitMs: 50,
}

/** Where a test counts what went wrong: a busy machine alone must not add to it. */
export const PATIENT = { requestTimeoutMs: 30_000, transactionTimeoutMs: 30_000, sessionTimeoutMs: 30_000 }

/** Of an embedded broker beside `QUICK`. */
export const QUICK_BROKER = {
  minSessionTimeoutMs: 100,
  transactionCleanUpIntervalMs: 100,
}
