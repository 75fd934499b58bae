/** Regions from outside: what is committed, in the parts that run in this process. */
import { DruseError } from '../errors.ts'
import { partitionFor } from '../kafka/partitioner.ts'
import type { Serde } from '../ports.ts'
import type { AnyRegion, FetchOptions, KeyRange, PrefixOptions, WindowReadsOf } from '../region/definition.ts'
import type { RegionPart } from '../region/part.ts'
import type { TypedEntries } from '../region/typed.ts'
import { Windowed } from '../serde/windowed.ts'
import { keyPartitionsOf } from './plan.ts'
import type { Surroundings } from './surroundings.ts'
import type { Worker } from './worker.ts'

type KeyOf<R> = R extends { readonly key: Serde<infer K> } ? K : never
type ValueOf<R> = R extends { readonly value: Serde<infer V> } ? V : never

/** Reads of committed entries. A commit is seen whole or not at all by each read of one part. */
export interface CommittedRegion<K, V> {
  /** Errors: REGION_UNAVAILABLE when the key's part is not running in this process, now. */
  get(key: K): Promise<V | undefined>
  /** In key order, over the parts that run in this process. Errors: OPTION_INVALID when both `gt` and `gte`, or both `lt` and `lte`, are given. */
  range(bounds?: KeyRange<K>): AsyncIterable<readonly [key: K, value: V]>
  /** As `range`, of keys whose bytes begin with those of `prefix`. */
  prefix(prefix: K, options?: PrefixOptions): AsyncIterable<readonly [key: K, value: V]>
}

export type Committed<R extends AnyRegion> = CommittedRegion<KeyOf<R>, ValueOf<R>> &
  WindowReadsOf<KeyOf<R>, ValueOf<R>>

export function committedRegion<R extends AnyRegion>(
  region: R,
  surroundings: Surroundings,
  worker: Worker,
): Committed<R> {
  const { graph } = surroundings.plan
  const known = region.kind === 'global' ? graph.globals : graph.regions
  if (known.get(region.name) === undefined) {
    throw new DruseError('TOPOLOGY_INVALID', `Region '${region.name}' is not of this application's topology`)
  }
  if (region.kind === 'global') {
    const replica = surroundings.globalRegion(region.name)
    return {
      get: async (key: unknown) => replica.get(key),
      range: (bounds?: KeyRange<unknown>) => replica.range(bounds),
      prefix: (prefix: unknown, options?: PrefixOptions) => replica.prefix(prefix, options),
      fetch: (...of: Parameters<typeof replica.fetch>) => replica.fetch(...of),
      fetchAll: (...of: Parameters<typeof replica.fetchAll>) => replica.fetchAll(...of),
    } as unknown as Committed<R>
  }
  return new PartitionedQuery(region.name, surroundings, worker) as unknown as Committed<R>
}

class PartitionedQuery implements CommittedRegion<unknown, unknown> {
  readonly #name: string
  readonly #entries: TypedEntries<unknown, unknown>
  readonly #part: (partition: number) => RegionPart | undefined
  readonly #count: number
  /** For Kafka's own partitioner, where that tells a key's part. */
  readonly #keyPartitions: number | undefined

  constructor(name: string, surroundings: Surroundings, worker: Worker) {
    const { plan } = surroundings
    const sub = plan.subs.find(({ regions }) => regions.some((region) => region.name === name))
    this.#name = name
    this.#entries = surroundings.entries(name)
    this.#count = sub === undefined ? 0 : (plan.taskCounts[sub.id] as number)
    this.#keyPartitions = keyPartitionsOf(plan, name)
    this.#part = (partition) => sub && worker.running(sub.id, partition)?.parts.get(name)
  }

  async get(key: unknown): Promise<unknown> {
    if (this.#keyPartitions === undefined) return this.#find(key)
    const bytes = this.#entries.partitionBytes(this.#entries.encodeKey(key))
    const partition = partitionFor(bytes, Math.max(1, this.#keyPartitions))
    const part = this.#part(partition)
    if (part !== undefined) return part.committedGet(key)
    throw this.#unavailable(partition)
  }

  /** Errors: REGION_UNAVAILABLE when the key's part is not running in this process, now; when the first entry is asked for. */
  async *fetch(
    key: unknown,
    fromMs: number,
    toMs: number,
    options?: FetchOptions,
  ): AsyncGenerator<readonly [unknown, unknown]> {
    const bytes = this.#entries.partitionBytes(this.#entries.encodeKey(new Windowed(key, fromMs, fromMs)))
    const partitions =
      this.#keyPartitions === undefined
        ? Array.from({ length: this.#count }, (_, partition) => partition)
        : [partitionFor(bytes, Math.max(1, this.#keyPartitions))]
    for (const partition of partitions) {
      const part = this.#part(partition)
      if (part === undefined) throw this.#unavailable(partition)
      yield* part.committedFetch(key, fromMs, toMs, options)
    }
  }

  /** Only the application's partitioner knows the part, and may ask for more than the key: looks into all of them. */
  #find(key: unknown): unknown {
    const parts = Array.from({ length: this.#count }, (_, partition) => this.#part(partition))
    for (const part of parts) {
      const value = part?.committedGet(key)
      if (value !== undefined) return value
    }
    const elsewhere = parts.indexOf(undefined)
    if (elsewhere >= 0) throw this.#unavailable(elsewhere)
    return undefined
  }

  #unavailable(partition: number): DruseError {
    return new DruseError(
      'REGION_UNAVAILABLE',
      `Part ${partition} of region '${this.#name}' is not running in this process: another instance has it, or it is being restored`,
      { region: this.#name, partition },
    )
  }

  range(bounds: KeyRange<unknown> = {}): AsyncIterable<readonly [unknown, unknown]> {
    // Also where no part is running that would look at them.
    this.#entries.byteRange(bounds)
    const reads = this.#parts.map((part) => part.committedRange(bounds))
    return this.#merge(reads, bounds.reverse === true, bounds.limit ?? Number.POSITIVE_INFINITY)
  }

  prefix(prefix: unknown, options: PrefixOptions = {}): AsyncIterable<readonly [unknown, unknown]> {
    const reads = this.#parts.map((part) => part.committedPrefix(prefix, options))
    return this.#merge(reads, options.reverse === true, options.limit ?? Number.POSITIVE_INFINITY)
  }

  fetchAll(
    fromMs: number,
    toMs: number,
    options: FetchOptions = {},
  ): AsyncIterable<readonly [unknown, unknown]> {
    const reads = this.#parts.map((part) => part.committedFetchAll(fromMs, toMs, options))
    return this.#merge(reads, options.reverse === true, Number.POSITIVE_INFINITY)
  }

  get #parts(): RegionPart[] {
    return Array.from({ length: this.#count }, (_, partition) => this.#part(partition)).filter(
      (part) => part !== undefined,
    )
  }

  /** Parts hold different keys, so the lowest of the heads is the next. */
  async *#merge(
    reads: readonly AsyncIterable<readonly [unknown, unknown]>[],
    reverse: boolean,
    limit: number,
  ): AsyncGenerator<readonly [unknown, unknown]> {
    const iterators = reads.map((read) => read[Symbol.asyncIterator]())
    const sign = reverse ? -1 : 1
    const order = (key: unknown): Uint8Array => this.#entries.toOrdered(this.#entries.encodeKey(key))
    try {
      const heads = await Promise.all(
        iterators.map(async (iterator) => {
          const { value, done } = await iterator.next()
          return done ? undefined : { value, order: order(value[0]), iterator }
        }),
      )
      for (let left = limit; left > 0; left--) {
        let lowest = -1
        for (const [i, head] of heads.entries()) {
          if (head === undefined) continue
          const best = heads[lowest]
          if (best === undefined || sign * Buffer.compare(head.order, best.order) < 0) lowest = i
        }
        const found = heads[lowest]
        if (found === undefined) return
        yield found.value
        const { value, done } = await found.iterator.next()
        heads[lowest] = done ? undefined : { value, order: order(value[0]), iterator: found.iterator }
      }
    } finally {
      await Promise.all(iterators.map((iterator) => iterator.return?.()))
    }
  }
}
