/**
 * Operators that call out for each record, and wait. Calls are made ahead: while a record waits for its turn, its calls
 * are under way, with those of the records behind it. What a call gives takes effect at the record's turn only, in the
 * order of the input, so commits, failures and the order of records are as if each call took no time.
 */
import { DruseError } from '../errors.ts'
import type { Clock } from '../ports.ts'
import type { TimedRegion } from '../region/definition.ts'
import type { AsyncCall, CallContext } from './async-call.ts'
import { DraftRegion } from './draft-region.ts'
import type { NodeHost, Step } from './graph.ts'
import type { StreamRecord } from './record.ts'
import { operatorFailed } from './steps.ts'

/** What a call has come to. It takes effect by `apply`, at the record's turn. */
export interface CallResult {
  readonly record: StreamRecord
  /** Writes to regions that the call asked for. */
  apply(): void
}

/** An operator as bound to a task. */
export class AsyncOperator {
  readonly name: string
  readonly #call: AsyncCall
  readonly #clock: Clock
  readonly #regions: ReadonlyMap<string, unknown>

  constructor(name: string, call: AsyncCall, host: NodeHost) {
    this.name = name
    this.#call = call
    this.#clock = host.clock
    this.#regions = new Map(
      call.regions.map(({ kind, name: region }) => [
        region,
        kind === 'global' ? host.globalRegion(region) : host.region(region),
      ]),
    )
  }

  /** With its attempts. Rejects with what the last one failed with, or when the signal is given. */
  async run(record: StreamRecord, signal: AbortSignal): Promise<CallResult> {
    const { attempts, backoffMs, backoffMaxMs } = this.#call.retry
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#attempt(record, attempt, signal)
      } catch (error) {
        if (signal.aborted) throw error
        if (attempt >= attempts) throw operatorFailed(this.name, record, error)
      }
      await this.#pause(Math.min(backoffMs * 2 ** (attempt - 1), backoffMaxMs), signal)
    }
  }

  async #attempt(record: StreamRecord, attempt: number, given: AbortSignal): Promise<CallResult> {
    const { run, result, timeoutMs } = this.#call
    const drafts: DraftRegion[] = []
    const over = new AbortController()
    const signal = AbortSignal.any([given, over.signal])
    const context: Record<string, unknown> = { signal, attempt }
    for (const { kind, name } of this.#call.regions) {
      const region = this.#regions.get(name)
      if (kind === 'global') context[name] = region
      else {
        const draft = new DraftRegion(region as TimedRegion<unknown, unknown>, this.name)
        drafts.push(draft)
        context[name] = draft
      }
    }
    const running = new Promise((resolve) => resolve(run(record, context as unknown as CallContext)))
    try {
      const value = await this.#inTime(running, timeoutMs, given)
      const made = result(record, value)
      return {
        record: made,
        apply: () => {
          for (const draft of drafts) draft.apply(record.timestamp)
        },
      }
    } finally {
      over.abort()
      for (const draft of drafts) draft.close()
    }
  }

  #inTime<T>(running: Promise<T>, timeoutMs: number | undefined, signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const abandoned = (): void => reject(signal.reason)
      const cancel =
        timeoutMs === undefined
          ? undefined
          : this.#clock.wake(timeoutMs, () =>
              reject(
                new DruseError('CALL_TIMED_OUT', `The call took longer than ${timeoutMs} ms`, { timeoutMs }),
              ),
            )
      const end = (): void => {
        cancel?.()
        signal.removeEventListener('abort', abandoned)
      }
      running.then(resolve, reject).finally(end)
      signal.addEventListener('abort', abandoned, { once: true })
      if (signal.aborted) abandoned()
    })
  }

  #pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.wake(ms, () => {
        signal.removeEventListener('abort', abandoned)
        resolve()
      })
      const abandoned = (): void => {
        cancel()
        reject(signal.reason)
      }
      signal.addEventListener('abort', abandoned, { once: true })
    })
  }
}

/** A call that was asked for before its record's turn. */
export interface EarlyCall {
  readonly operator: AsyncOperator
  readonly record: StreamRecord
  /** What can be asked for as soon as there is a result: the calls of operators behind it. */
  readonly ahead: Step | undefined
  /** At the record's turn: all else that is behind it. */
  readonly next: Step
}

/** At its turn only, and the task waits: where what comes before the operator is more than a function of the record. */
export function callAtTurn(operator: AsyncOperator, next: Step, signal: AbortSignal): Step {
  return async (record) => {
    const result = await operator.run(record, signal)
    result.apply()
    await next(result.record)
  }
}
