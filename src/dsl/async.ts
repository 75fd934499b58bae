import { DruseError } from '../errors.ts'
import type { AnyRegion, RegionHandles } from '../region/definition.ts'
import type { CallContext, RetryOptions } from '../topology/async-call.ts'
import type { NodeId } from '../topology/graph.ts'
import type { StreamRecord } from '../topology/record.ts'
import { type Place, requireKeyed } from './place.ts'

export interface AsyncOptions<R extends readonly AnyRegion[]> {
  /** How many records of a task are called for at once. Default 16. */
  readonly concurrency?: number
  /** Of one attempt, in milliseconds. Default: none. */
  readonly timeoutMs?: number
  /** Default: one attempt. */
  readonly retry?: RetryOptions
  /** What the function reads and writes: in its context, under their names. */
  readonly regions?: R
}

export type AsyncContext<K, V, R extends readonly AnyRegion[]> = RegionHandles<R> &
  CallContext & { readonly record: StreamRecord<K, V> }

export type AsyncFn<K, V, R extends readonly AnyRegion[], Result> = (
  value: V,
  key: K,
  context: AsyncContext<K, V, R>,
) => Result | Promise<Result>

interface Added<K, V> {
  readonly name: string
  readonly operator: string
  // biome-ignore lint/suspicious/noExplicitAny: the regions of its context are known to the caller
  readonly fn: AsyncFn<K, V, any, unknown>
  readonly options: AsyncOptions<readonly AnyRegion[]>
  /** What it gives is the value; else key and value. */
  readonly keepsKey: boolean
}

const CONCURRENCY = 16
const BACKOFF_MS = 100
const BACKOFF_MAX_MS = 10_000

/** Errors: TOPOLOGY_INVALID. */
export function addAsync<K, V>(
  place: Place<K, V>,
  { name, operator, fn, options, keepsKey }: Added<K, V>,
): NodeId {
  const { builder } = place
  const { concurrency = CONCURRENCY, timeoutMs, regions = [] } = options
  const { attempts = 1, backoffMs = BACKOFF_MS, backoffMaxMs = BACKOFF_MAX_MS } = options.retry ?? {}
  const numbers = { concurrency, timeoutMs, attempts, backoffMs, backoffMaxMs }
  for (const [option, value] of Object.entries(numbers)) {
    if (value === undefined || (Number.isSafeInteger(value) && value >= 1)) continue
    throw new DruseError(
      'TOPOLOGY_INVALID',
      `${operator}('${name}'): ${option} is ${value}, it has to be a whole number from 1`,
    )
  }
  builder.requireRegions(name, regions)
  if (regions.some(({ kind }) => kind === 'partitioned')) requireKeyed(place, `${operator}('${name}')`)
  return builder.add({
    kind: 'operator',
    operator,
    name,
    parents: [place.node],
    regions: regions.map((region) => region.name),
    call: {
      regions,
      concurrency,
      timeoutMs,
      retry: { attempts, backoffMs, backoffMaxMs },
      run: (record, context) =>
        fn(
          record.value as V,
          record.key as K,
          Object.assign(context, { record }) as unknown as AsyncContext<K, V, readonly AnyRegion[]>,
        ),
      result: (record, given) => {
        if (keepsKey) return record.with(record.key, given)
        const [key, value] = given as readonly [unknown, unknown]
        return record.with(key, value)
      },
    },
  })
}
