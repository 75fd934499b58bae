/** Random histories of parts whose entries stand in time, against plain maps. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { int64, type Store, string, Windowed } from '../../src/index.ts'
import type { TimedEntries } from '../../src/region/definition.ts'
import { EntryCaches } from '../../src/region/entry-cache.ts'
import type { EntryTable } from '../../src/region/entry-table.ts'
import { placesPrefix } from '../../src/region/layout.ts'
import { PLACES_AHEAD } from '../../src/region/next-places.ts'
import type { RegionPart } from '../../src/region/part.ts'
import { placeAnew } from '../../src/region/time-index.ts'
import { ORDER_BY_VALUES, orderByKeys } from '../../src/region/time-order.ts'
import { WINDOW_KEYS, windowStoreKey } from '../../src/region/timed-keys.ts'
import { type Buffered, bufferedKey, bufferedValue } from '../../src/topology/buffered.ts'
import { all, apply, BODIES, type Bodies, entriesOf, partOf } from './parts.ts'

const RETENTION_MS = 30
const TIME_MAX = 100

const windows: TimedEntries = { order: orderByKeys(WINDOW_KEYS), retentionMs: RETENTION_MS }
const windowKey = windowStoreKey(string, 10)

type Operation =
  | { readonly kind: 'put' | 'delete' | 'get'; readonly key: string; readonly start: number }
  | { readonly kind: 'between' | 'fetch'; readonly key: string; readonly from: number; readonly to: number }
  | { readonly kind: 'due'; readonly from: number; readonly to: number; readonly stopAfter: number }
  | { readonly kind: 'mark' | 'undo' | 'seal' | 'write' | 'applied' | 'reopen' | 'placeAnew' }

const key = fc.constantFrom('', 'a', 'a\0')
/** Few, so that histories come back to the same entries. */
const time = fc.integer({ min: 0, max: TIME_MAX / 10 }).map((n) => n * 10)
const operations: fc.Arbitrary<Operation[]> = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: fc.record({ kind: fc.constant('put' as const), key, start: time }) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constantFrom('delete' as const, 'get' as const), key, start: time }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constantFrom('between' as const, 'fetch' as const),
        key,
        from: time,
        to: time,
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('due' as const),
        from: fc.integer({ min: -1, max: TIME_MAX }),
        to: time,
        stopAfter: fc.integer({ min: 1, max: 20 }),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constantFrom(
          'mark' as const,
          'undo' as const,
          'seal' as const,
          'write' as const,
          'applied' as const,
          'reopen' as const,
          'placeAnew' as const,
        ),
      }),
    },
  ),
  { minLength: 20, maxLength: 100 },
)

interface State {
  /** By start and key, as they are due. */
  readonly entries: Map<string, number>
  readonly newest: number
}

const idOf = (start: number, name: string): string => `${String(start).padStart(5, '0')} ${name}`
const startOf = (id: string): number => Number(id.slice(0, 5))
const nameOf = (id: string): string => id.slice(6)
const byTime = (ids: Iterable<string>): string[] => [...ids].sort((a, b) => (a < b ? -1 : 1))

async function check(store: Store, steps: readonly Operation[]): Promise<void> {
  const caches = new EntryCaches(1_000)
  const open = (fingerprint = {}): Promise<RegionPart<Windowed<string>, number>> =>
    partOf(store, windowKey, int64, { timed: windows, cache: caches.open(), ...fingerprint })
  let part = await open()
  let state: State = { entries: new Map(), newest: -1 }
  let marked = state
  let sealed: { overlay: EntryTable; state: State } | undefined
  let isWritten = false
  let n = 0
  const isOver = (start: number): boolean => start <= state.newest - RETENTION_MS
  const windowed = (name: string, start: number): Windowed<string> => new Windowed(name, start, start + 10)
  const settle = async (): Promise<void> => {
    if (sealed !== undefined) await apply(part, sealed.overlay, store)
    sealed = undefined
    part.mark()
    marked = state
    const overlay = part.seal()
    part.committed(0)
    await apply(part, overlay, store)
  }
  for (const step of steps) {
    switch (step.kind) {
      case 'put':
        if (!isOver(step.start)) {
          const entries = new Map(state.entries).set(idOf(step.start, step.key), ++n)
          state = { entries, newest: Math.max(state.newest, step.start) }
        }
        part.putAt(windowed(step.key, step.start), n, step.start)
        break
      case 'delete': {
        const entries = new Map(state.entries)
        if (!isOver(step.start)) entries.delete(idOf(step.start, step.key))
        state = { ...state, entries }
        part.delete(windowed(step.key, step.start))
        break
      }
      case 'get': {
        const value = isOver(step.start) ? undefined : state.entries.get(idOf(step.start, step.key))
        expect(part.get(windowed(step.key, step.start))).toBe(value)
        break
      }
      case 'between':
      case 'fetch': {
        const { from, to } = step
        const expected = byTime(state.entries.keys()).filter(
          (id) => nameOf(id) === step.key && startOf(id) >= from && startOf(id) <= to && !isOver(startOf(id)),
        )
        const found =
          step.kind === 'between'
            ? (await part.between(windowed(step.key, from), windowed(step.key, to))).map(
                (entry) => [entry.key, entry.value] as const,
              )
            : await all(part.fetch(step.key, from, to))
        expect(found).toEqual(
          expected.map((id) => [windowed(step.key, startOf(id)), state.entries.get(id)] as const),
        )
        break
      }
      case 'due': {
        const { from, to, stopAfter } = step
        // What is over may have been taken out of the store: by then it has been due.
        const live = (id: string): boolean => !isOver(startOf(id))
        const expected = byTime(state.entries.keys()).filter(
          (id) => startOf(id) > from && startOf(id) <= to && live(id),
        )
        if (expected.length > 0) expect(part.isDue(to) || startOf(expected[0] as string) <= passed).toBe(true)
        const found: string[] = []
        let stopped = false
        for await (const entry of part.due(from, to)) {
          const id = idOf(entry.key.windowStart, entry.key.key)
          expect(entry.value).toBe(state.entries.get(id))
          if (live(id)) found.push(id)
          stopped = found.length === stopAfter
          if (stopped) break
        }
        expect(found).toEqual(stopped ? expected.slice(0, stopAfter) : expected)
        // Of what it was given last, whoever stops is not through with.
        passed = Math.max(passed, from, stopped ? startOf(found.at(-1) as string) - 1 : to)
        break
      }
      case 'mark':
        part.mark()
        marked = state
        break
      case 'undo':
        part.undo()
        state = marked
        passed = -1
        break
      case 'seal':
        if (sealed !== undefined) break
        sealed = { overlay: part.seal(), state }
        isWritten = false
        part.committed(0)
        marked = state
        break
      case 'write':
        if (sealed === undefined || isWritten) break
        isWritten = true
        break
      case 'applied':
        if (sealed === undefined) break
        await apply(part, sealed.overlay, store)
        sealed = undefined
        break
      case 'reopen': {
        await settle()
        part = await open({ fingerprint: part.fingerprint })
        passed = -1
        break
      }
      case 'placeAnew':
        if (sealed !== undefined) break
        await placeAnew(store, await entriesOf('part', windowKey, int64, windows))
    }
  }
  // All that is left in the store, once what is over has been taken out of it.
  await settle()
  await settle()
  const kept = await all(store.range({ gte: placesPrefix('part') }))
  expect(kept.length).toBe([...state.entries.keys()].filter((id) => !isOver(startOf(id))).length)
}

/** Up to here `due` has been given everything, or was told that it had been. */
let passed = -1

describe.each(['memory', 'level'])('on %s', (body) => {
  let bodies: Bodies
  beforeAll(async () => {
    bodies = await (BODIES[body] as () => Promise<Bodies>)()
  })
  afterAll(() => bodies.close())

  test('windows are found, due, hidden and taken out as in plain maps', async () => {
    await fc.assert(
      fc.asyncProperty(operations, async (steps) => {
        passed = -1
        await check(await bodies.open(), steps)
      }),
      { numRuns: body === 'memory' ? 400 : 40 },
    )
  })

  test('entries whose time is in their value are due by it, also when it changes', async () => {
    const store = await bodies.open()
    const value = bufferedValue(int64)
    const open = (fingerprint = {}): Promise<RegionPart<string, Buffered<number>>> =>
      partOf(store, bufferedKey(string), value, {
        timed: { order: ORDER_BY_VALUES, retentionMs: undefined },
        ...fingerprint,
      })
    const at = (timeMs: number, newValue: number): Buffered<number> => ({
      timeMs,
      newValue,
      oldValue: null,
      headers: [],
    })
    const due = async (): Promise<(readonly [string, number | null])[]> =>
      (await all(part.due(-1, 1_000))).map((entry) => [entry.key, entry.value.newValue] as const)
    let part = await open()
    part.put('', at(5, 1))
    part.put('a', at(7, 2))
    part.put('b', at(6, 3))
    expect(await due()).toEqual([
      ['', 1],
      ['b', 3],
      ['a', 2],
    ])
    const settle = async (): Promise<void> => {
      const overlay = part.seal()
      part.committed(0)
      await apply(part, overlay, store)
    }
    await settle()
    part.delete('b')
    part.put('b', at(9, 4))
    part.put('a', at(1, 5))
    expect(await due()).toEqual([
      ['a', 5],
      ['', 1],
      ['b', 4],
    ])
    await settle()
    part = await open({ fingerprint: part.fingerprint })
    expect(await due()).toEqual([
      ['a', 5],
      ['', 1],
      ['b', 4],
    ])
    expect((await all(store.range({ gte: placesPrefix('part') }))).length).toBe(3)
    part.delete('a')
    part.delete('')
    part.delete('b')
    await settle()
    expect(await all(store.range({ gte: placesPrefix('part') }))).toEqual([])
  })
})

test.each([5, 1.5 * PLACES_AHEAD])(
  'what is written while %d entries are due is due in its own time',
  async (count) => {
    const bodies = await (BODIES.memory as () => Promise<Bodies>)()
    const timed = { order: orderByKeys(WINDOW_KEYS), retentionMs: undefined }
    const part = await partOf(await bodies.open(), windowKey, int64, { timed })
    for (let n = 0; n < count; n++) part.put(new Windowed(`k${n}`, 10, 20), n)
    part.put(new Windowed('later', 100, 110), 1)
    let given = 0
    for await (const _ of part.due(-1, 10)) {
      if (given === count - 1) part.put(new Windowed('meanwhile', 50, 60), 1)
      given += 1
    }
    expect(given).toBe(count)
    expect(part.isDue(50)).toBe(true)
    expect((await all(part.due(10, 60))).map(({ key: of }) => of.key)).toEqual(['meanwhile'])
    expect(part.isDue(99)).toBe(false)
    await bodies.close()
  },
)

describe('more entries than are read ahead', () => {
  const step = fc.record({
    kind: fc.constantFrom('put', 'put', 'delete', 'due', 'due', 'due', 'undo', 'mark', 'commit'),
    count: fc.constantFrom(1, 40, PLACES_AHEAD - 1, 2.5 * PLACES_AHEAD),
    spreadMs: fc.constantFrom(1, 3, 50),
    stepMs: fc.constantFrom(0, 1, 5, 1_000),
    stopAfter: fc.constantFrom(1, 7, Number.POSITIVE_INFINITY),
    writes: fc.boolean(),
  })

  test.each(['memory', 'level'])(
    'are due each once, in their time, also those written meanwhile, on %s',
    async (body) => {
      const bodies = await (BODIES[body] as () => Promise<Bodies>)()
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 6, maxLength: 20 }), async (steps) => {
          const store = await bodies.open()
          const timed = { order: orderByKeys(WINDOW_KEYS), retentionMs: undefined }
          const part = await partOf(store, windowKey, int64, { timed })
          let pending = new Set<string>()
          let [seenMs, made] = [-1, 0]
          let marked = { pending: new Set<string>(), seenMs }
          const windowOf = (id: string) => new Windowed(nameOf(id), startOf(id), startOf(id) + 10)
          const put = (start: number): void => {
            const id = idOf(start, `k${made++ % 3_000}`)
            pending.add(id)
            part.put(windowOf(id), made)
          }
          const commit = async (): Promise<void> => {
            const overlay = part.seal()
            part.committed(0)
            await apply(part, overlay, store)
          }
          for (const { kind, count, spreadMs, stepMs, stopAfter, writes } of steps) {
            if (kind === 'put') for (let n = 0; n < count; n++) put(seenMs + 1 + ((n * 31) % spreadMs))
            else if (kind === 'delete') {
              for (const id of [...pending].slice(0, count)) {
                pending.delete(id)
                part.delete(windowOf(id))
              }
            } else if (kind === 'commit') {
              await commit()
              marked = { pending: new Set(pending), seenMs }
            } else if (kind === 'mark') {
              part.mark()
              marked = { pending: new Set(pending), seenMs }
            } else if (kind === 'undo') {
              part.undo()
              pending = new Set(marked.pending)
              seenMs = marked.seenMs
            } else {
              const toMs = seenMs + stepMs
              const isIn = (id: string): boolean => startOf(id) > seenMs && startOf(id) <= toMs
              const expected = byTime([...pending].filter(isIn))
              if (expected.length > 0) expect(part.isDue(toMs)).toBe(true)
              if (!part.isDue(toMs)) continue
              const found: string[] = []
              for await (const { key: of } of part.due(seenMs, toMs)) {
                found.push(idOf(of.windowStart, of.key))
                if (writes && found.length === 1) put(toMs + spreadMs)
                if (found.length === stopAfter) break
              }
              expect(found).toEqual(expected.slice(0, stopAfter))
              // What was given is gone then, as from a buffer.
              if (found.length === stopAfter) for (const id of found) part.delete(windowOf(id))
              if (found.length === stopAfter) for (const id of found) pending.delete(id)
              else seenMs = toMs
            }
          }
        }),
        { numRuns: body === 'memory' ? 40 : 15 },
      )
      await bodies.close()
    },
  )
})

test('what is over is hidden from queries with the commit, before it is taken out', async () => {
  const bodies = await (BODIES.memory as () => Promise<Bodies>)()
  const store = await bodies.open()
  const part = await partOf(store, windowKey, int64, { timed: windows })
  const old = new Windowed('a', 0, 10)
  part.put(old, 1)
  const first = part.seal()
  part.committed(1)
  await apply(part, first, store)
  part.put(new Windowed('a', RETENTION_MS, RETENTION_MS + 10), 2)
  expect(part.committedGet(old)).toBe(1)
  expect(part.get(old)).toBeUndefined()
  part.seal()
  expect(part.committedGet(old)).toBe(1)
  part.committed(2)
  expect(part.committedGet(old)).toBeUndefined()
  expect((await all(part.committedFetch('a', 0, 100))).length).toBe(1)
  await bodies.close()
})

test('a deletion that is taken back leaves the entry where it was, by key and by time', async () => {
  const bodies = await (BODIES.memory as () => Promise<Bodies>)()
  const part = await partOf(await bodies.open(), windowKey, int64, { timed: windows })
  const windowOf = (start: number): Windowed<string> => new Windowed('a', start, start + 10)
  const starts = async (): Promise<number[]> =>
    (await part.between(windowOf(0), windowOf(20))).map(({ key: of }) => of.windowStart)
  part.put(windowOf(10), 1)
  expect(await starts()).toEqual([10])
  part.mark()
  part.delete(windowOf(10))
  part.put(windowOf(20), 2)
  expect(await starts()).toEqual([20])
  expect((await all(part.due(-1, 100))).length).toBe(1)
  part.undo()
  expect(await starts()).toEqual([10])
  expect((await all(part.due(-1, 100))).map(({ value }) => value)).toEqual([1])
  await bodies.close()
})

describe('numbers of operators', () => {
  test('are committed, restored and taken back with the entries', async () => {
    const bodies = await (BODIES.memory as () => Promise<Bodies>)()
    const store = await bodies.open()
    const part = await partOf(store, windowKey, int64, { timed: windows })
    part.mark()
    expect(part.times.advance(1, 50)).toBe(50)
    expect(part.times.advance(1, 40)).toBe(50)
    part.mark()
    part.times.advance(1, 60)
    part.times.set(3, 7)
    part.undo()
    expect([part.times.at(1), part.times.at(3)]).toEqual([50, -1])
    const overlay = part.seal()
    part.committed(0)
    await apply(part, overlay, store)
    const again = await partOf(store, windowKey, int64, { timed: windows, fingerprint: part.fingerprint })
    expect(again.times.at(1)).toBe(50)
    expect(await all(again.range())).toEqual([])
    await bodies.close()
  })
})
