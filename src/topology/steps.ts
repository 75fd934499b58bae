/** How nodes become closures. Users' functions run guarded: an error tells which operator, on which record. */
import { DruseError, type ErrorCode } from '../errors.ts'
import type { Step } from './graph.ts'
import type { StreamRecord } from './record.ts'

const drop: Step = () => {}

/** All children, in order; the next one starts when the one before is through. */
export function fanOut(children: readonly Step[]): Step {
  const [first, second] = children
  if (first === undefined) return drop
  if (second === undefined) return first
  return (record) => {
    for (let i = 0; i < children.length; i++) {
      const pending = (children[i] as Step)(record)
      if (pending !== undefined) return continueAfter(pending, children, i + 1, record)
    }
  }
}

async function continueAfter(
  pending: Promise<void>,
  children: readonly Step[],
  from: number,
  record: StreamRecord,
): Promise<void> {
  await pending
  for (let i = from; i < children.length; i++) await (children[i] as Step)(record)
}

/** One, then the next, staying synchronous for as long as what is called is. */
export function forwardEach<T>(
  items: Iterable<T>,
  next: (item: T) => void | Promise<void>,
): void | Promise<void> {
  const iterator = items[Symbol.iterator]()
  for (let item = iterator.next(); !item.done; item = iterator.next()) {
    const pending = next(item.value)
    if (pending !== undefined)
      return pending.then(() => forwardEach({ [Symbol.iterator]: () => iterator }, next))
  }
}

/** A user's function may be an expression whose value means nothing: `(value) => list.push(value)`. Promises are waited for. */
export function pendingOf(given: unknown): Promise<void> | undefined {
  if (typeof given !== 'object' || given === null || !('then' in given)) return undefined
  return Promise.resolve(given as PromiseLike<void>)
}

/** Where the inner operator or unit has told already; and of a damaged store, no operator and no record is to blame. */
const TOLD: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'OPERATOR_FAILED',
  'EMISSION_FAILED',
  'TIMER_FAILED',
  'PUNCTUATOR_FAILED',
  'STORE_CORRUPT',
])

export function operatorFailed(operator: string, record: StreamRecord, cause: unknown): DruseError {
  if (cause instanceof DruseError && TOLD.has(cause.code)) return cause
  const { topic, partition, offset, key } = record
  const reason = cause instanceof Error ? cause.message : String(cause)
  if (offset < 0) {
    return new DruseError('OPERATOR_FAILED', `Operator '${operator}' failed: ${reason}`, {
      ...{ cause, operator, key },
    })
  }
  return new DruseError(
    'OPERATOR_FAILED',
    `Operator '${operator}' failed on record ${topic}/${partition}@${offset}: ${reason}`,
    { cause, operator, topic, partition, offset, key },
  )
}

/** Of codecs and regions, which know neither operator nor record. */
const OF_A_RESULT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'ENCODE_FAILED',
  'REGION_VALUE',
  'RECORD_TOO_LARGE',
  'TIMESTAMP_INVALID',
])

/** A step that names operator and record in what it throws, also where no function of the user's has thrown it. */
export function told(operator: string, step: Step): Step {
  return (record) => {
    const failed = (error: unknown): never => {
      if (error instanceof DruseError && !OF_A_RESULT.has(error.code)) throw error
      throw operatorFailed(operator, record, error)
    }
    try {
      return step(record)?.catch(failed)
    } catch (error) {
      failed(error)
    }
  }
}

/** What a user's function gives to an operator that does not wait. */
export function settled<T>(result: T): T {
  if (typeof result !== 'object' || result === null || !('then' in result)) return result
  if (typeof result.then !== 'function') return result
  // Nobody waits for it.
  result.then(undefined, () => {})
  throw new DruseError(
    'PROMISE_RETURNED',
    'Its function has returned a promise, and it waits for none: use mapValuesAsync, mapAsync or process',
  )
}

/** A key and a value, as a user's function gives them. */
export function pairOf(result: unknown): readonly [key: unknown, value: unknown] {
  if (Array.isArray(result)) return result as unknown as readonly [unknown, unknown]
  throw new DruseError(
    'RESULT_INVALID',
    `Its function has to return a key and a value, [key, value], and has returned ${kindOf(result)}`,
  )
}

export function eachOf<T>(result: Iterable<T>): Iterable<T> {
  if (typeof (result as Iterable<T> | undefined | null)?.[Symbol.iterator] === 'function') return result
  throw new DruseError(
    'RESULT_INVALID',
    `Its function has to return an iterable, an array say, and has returned ${kindOf(result)}`,
  )
}

const kindOf = (value: unknown): string =>
  value === null || value === undefined ? String(value) : `something of type ${typeof value}`

/** Calls a user's function so that what it throws names the operator and the record. It may not return a promise. */
export function guarded<Arguments extends readonly unknown[], Result>(
  operator: string,
  call: (...args: Arguments) => Result,
): (record: StreamRecord, ...args: Arguments) => Result {
  return (record, ...args) => {
    try {
      return settled(call(...args))
    } catch (error) {
      throw operatorFailed(operator, record, error)
    }
  }
}
