/** An operator that calls out for each record, as data. */
import type { AnyRegion } from '../region/definition.ts'
import type { StreamRecord } from './record.ts'

export interface RetryOptions {
  /** How often a record is tried, the first time included. */
  readonly attempts: number
  /** Before the second attempt; twice as long before each further one. Milliseconds. Default 100. */
  readonly backoffMs?: number
  /** The longest pause. Milliseconds. Default 10 000. */
  readonly backoffMaxMs?: number
}

/** What an operator does out of turn, as data. */
export interface AsyncCall {
  readonly regions: readonly AnyRegion[]
  readonly concurrency: number
  readonly timeoutMs: number | undefined
  readonly retry: Required<RetryOptions>
  /** May throw. The context has its regions, too. */
  readonly run: (record: StreamRecord, context: CallContext) => unknown
  /** What goes on, of the record and what `run` resolved to. */
  readonly result: (record: StreamRecord, given: unknown) => StreamRecord
}

/** Of one attempt. */
export interface CallContext {
  /** Aborted when nobody waits for the call any more: it took too long, or the task is no longer here. */
  readonly signal: AbortSignal
  /** From 1. */
  readonly attempt: number
}
