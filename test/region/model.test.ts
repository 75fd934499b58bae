/** Random histories of a part against plain maps: what operators see, what queries see, what ranges captured. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, test } from 'vitest'
import { bytes, int64, type KeyRange, type Serde, type Store, string } from '../../src/index.ts'
import { EntryCaches } from '../../src/region/entry-cache.ts'
import type { EntryTable } from '../../src/region/entry-table.ts'
import { assertFingerprint } from '../../src/region/fingerprint.ts'
import type { RegionPart } from '../../src/region/part.ts'
import { all, BODIES, type Bodies, entriesOf, partOf } from './parts.ts'

type Operation<K> =
  | { readonly kind: 'put' | 'putIfAbsent'; readonly key: K; readonly value: number }
  | { readonly kind: 'delete' | 'get' | 'committedGet' | 'prefix'; readonly key: K }
  | { readonly kind: 'range' | 'committedRange'; readonly bounds: KeyRange<K>; readonly late: boolean }
  | { readonly kind: 'mark' | 'undo' | 'seal' | 'committed' | 'writing' | 'applied' }

/** The same as plain maps, copied wholesale at each step. */
class Model<K> {
  readonly #order: (a: K, b: K) => number
  stored = new Map<K, number>()
  sealed: Map<K, number | null> | undefined
  isCommitted = false
  current = new Map<K, number | null>()
  marked = new Map<K, number | null>()

  constructor(order: (a: K, b: K) => number) {
    this.#order = order
  }

  get visible(): Map<K, number> {
    return this.#merged([this.sealed, this.current])
  }

  get committed(): Map<K, number> {
    return this.#merged([this.isCommitted ? this.sealed : undefined])
  }

  range(of: Map<K, number>, { gt, gte, lt, lte, reverse, limit }: KeyRange<K>): (readonly [K, number])[] {
    const within = [...of].filter(
      ([key]) =>
        (gt === undefined || this.#order(key, gt) > 0) &&
        (gte === undefined || this.#order(key, gte) >= 0) &&
        (lt === undefined || this.#order(key, lt) < 0) &&
        (lte === undefined || this.#order(key, lte) <= 0),
    )
    const sorted = within.sort(([a], [b]) => (reverse ? this.#order(b, a) : this.#order(a, b)))
    return sorted.slice(0, limit)
  }

  #merged(layers: readonly (Map<K, number | null> | undefined)[]): Map<K, number> {
    const merged = new Map(this.stored)
    for (const layer of layers) {
      for (const [key, value] of layer ?? []) {
        if (value === null) merged.delete(key)
        else merged.set(key, value)
      }
    }
    return merged
  }
}

async function play<K>(
  operations: readonly Operation<K>[],
  part: RegionPart<K, number>,
  store: Store,
  order: (a: K, b: K) => number,
): Promise<void> {
  const model = new Model<K>(order)
  let sealed: EntryTable | undefined
  let writing: Promise<void> | undefined
  const write = async (overlay: EntryTable): Promise<void> => {
    await part.fingerprintSealed()
    await store.write(part.writes(overlay))
  }
  const late: { read: AsyncIterable<readonly [K, number]>; expected: (readonly [K, number])[] }[] = []
  for (const operation of operations) {
    switch (operation.kind) {
      case 'put':
        part.put(operation.key, operation.value)
        model.current.set(operation.key, operation.value)
        break
      case 'putIfAbsent':
        same(part.putIfAbsent(operation.key, operation.value), model.visible.get(operation.key))
        if (!model.visible.has(operation.key)) model.current.set(operation.key, operation.value)
        break
      case 'delete':
        part.delete(operation.key)
        model.current.set(operation.key, null)
        break
      case 'get':
        same(part.get(operation.key), model.visible.get(operation.key))
        same(part.has(operation.key), model.visible.has(operation.key))
        break
      case 'committedGet':
        same(part.committedGet(operation.key), model.committed.get(operation.key))
        break
      case 'prefix':
        if (typeof operation.key === 'string') {
          const { key } = operation
          const expected = model.range(model.visible, {}).filter(([found]) => String(found).startsWith(key))
          same(await all(part.prefix(key)), expected)
        }
        break
      case 'range':
      case 'committedRange': {
        const { bounds } = operation
        const isCommitted = operation.kind === 'committedRange'
        const read = isCommitted ? part.committedRange(bounds) : part.range(bounds)
        const expected = model.range(isCommitted ? model.committed : model.visible, bounds)
        if (operation.late) late.push({ read, expected })
        else same(await all(read), expected)
        break
      }
      case 'mark':
        part.mark()
        model.marked = new Map(model.current)
        break
      case 'undo':
        part.undo()
        model.current = new Map(model.marked)
        break
      case 'seal':
        if (sealed !== undefined) break
        sealed = part.seal()
        model.sealed = model.current
        model.isCommitted = false
        model.current = new Map()
        model.marked = new Map()
        break
      case 'committed':
        if (sealed === undefined) break
        part.committed(0)
        model.isCommitted = true
        break
      case 'writing':
        // On its way to the store while the history goes on.
        if (sealed !== undefined && model.isCommitted) writing ??= write(sealed)
        break
      case 'applied':
        if (sealed === undefined || !model.isCommitted) break
        await (writing ?? write(sealed))
        writing = undefined
        await assertFingerprint(store, await entriesOf(part.name, bytes, bytes), part.fingerprint)
        part.applied()
        model.stored = model.committed
        model.sealed = undefined
        model.isCommitted = false
        sealed = undefined
    }
  }
  for (const { read, expected } of late) same(await all(read), expected)
  same(await all(part.range()), model.range(model.visible, {}))
  same(await all(part.committedRange({})), model.range(model.committed, {}))
}

function same(found: unknown, expected: unknown): void {
  const [a, b] = [JSON.stringify(found), JSON.stringify(expected)]
  if (a !== b) throw new Error(`found ${a}, expected ${b}`)
}

function histories<K>(keys: fc.Arbitrary<K>): fc.Arbitrary<Operation<K>[]> {
  const value = fc.nat(99)
  const lower = fc.option(
    fc.oneof(
      keys.map((gt) => ({ gt })),
      keys.map((gte) => ({ gte })),
    ),
    { nil: {} },
  )
  const upper = fc.option(
    fc.oneof(
      keys.map((lt) => ({ lt })),
      keys.map((lte) => ({ lte })),
    ),
    { nil: {} },
  )
  const rest = fc.record({ reverse: fc.boolean(), limit: fc.oneof(fc.nat(4), fc.constant(1_000)) })
  const bounds = fc.tuple(lower, upper, rest).map(([a, b, c]): KeyRange<K> => ({ ...a, ...b, ...c }))
  const operation: fc.Arbitrary<Operation<K>> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('put' as const), key: keys, value }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('putIfAbsent' as const), key: keys, value }) },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constantFrom('delete' as const, 'get' as const, 'committedGet' as const, 'prefix' as const),
        key: keys,
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constantFrom('range' as const, 'committedRange' as const),
        bounds,
        late: fc.boolean(),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constantFrom(
          'mark' as const,
          'undo' as const,
          'seal' as const,
          'committed' as const,
          'writing' as const,
          'applied' as const,
        ),
      }),
    },
  )
  return fc.array(operation, { maxLength: 60, size: 'max' })
}

/** None; forgets with every entry; with every third or so; never. */
const CACHE_BYTES = fc.constantFrom(undefined, 0, 600, 1 << 20)

const KINDS: readonly {
  readonly what: string
  readonly run: (store: () => Promise<Store>, runs: number) => Promise<void>
}[] = [
  {
    what: 'strings',
    run: checked(
      string,
      fc.string({ unit: fc.constantFrom('a', 'b', '\u{10000}', '\uffff'), maxLength: 2 }),
      (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)),
    ),
  },
  { what: 'numbers', run: checked(int64, fc.integer({ min: -4, max: 4 }), (a, b) => a - b) },
]

function checked<K>(serde: Serde<K>, keys: fc.Arbitrary<K>, order: (a: K, b: K) => number) {
  return async (store: () => Promise<Store>, numRuns: number): Promise<void> => {
    const shared = await store()
    let n = 0
    await fc.assert(
      fc.asyncProperty(histories(keys), CACHE_BYTES, async (operations, cacheBytes) => {
        // Beside those of earlier runs, which must not show.
        const cache = cacheBytes === undefined ? undefined : new EntryCaches(cacheBytes).open()
        const part = await partOf(shared, serde, int64, { name: `run-${n++}`, cache })
        await play(operations, part, shared, order)
      }),
      { numRuns },
    )
  }
}

for (const [body, make] of Object.entries(BODIES)) {
  describe(`random histories over a ${body} store`, () => {
    let bodies: Bodies

    beforeAll(async () => {
      bodies = await make()
    })

    afterAll(() => bodies.close())

    for (const { what, run } of KINDS) {
      test(`with ${what} for keys`, () => run(() => bodies.open(), body === 'memory' ? 1_000 : 150))
    }
  })
}
