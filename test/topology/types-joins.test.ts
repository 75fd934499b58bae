/** What the types of joins of streams allow and refuse. */
import { expect, expectTypeOf, test } from 'vitest'
import { int64, joinWindows, json, type Stream, string, Topology } from '../../src/index.ts'

const t = new Topology('types')
const views = t.stream('views', { key: string, value: json<{ page: string }>() })
const clicks = t.stream('clicks', { key: string, value: int64 })
const numbered = t.stream('numbered', { key: int64, value: int64 })
const windows = joinWindows({ timeDifferenceMs: 1, graceMs: 0 })

/** Only the types of its body are of interest. */
const onlyTyped = (_: () => unknown): void => expect(true).toBe(true)

test('joiners get the values of both sides, null where there may be none', () => {
  onlyTyped(() => {
    const inner = views.join(
      clicks,
      (view, click, key) => {
        expectTypeOf(view).toEqualTypeOf<{ page: string }>()
        expectTypeOf(click).toEqualTypeOf<number>()
        expectTypeOf(key).toEqualTypeOf<string>()
        return [view.page, click] as const
      },
      windows,
      { name: 'a' },
    )
    expectTypeOf(inner).toEqualTypeOf<Stream<string, readonly [string, number]>>()
    views.leftJoin(
      clicks,
      (view, click) => {
        expectTypeOf(view).toEqualTypeOf<{ page: string }>()
        expectTypeOf(click).toEqualTypeOf<number | null>()
      },
      windows,
      { name: 'b' },
    )
    views.outerJoin(
      clicks,
      (view, click) => {
        expectTypeOf(view).toEqualTypeOf<{ page: string } | null>()
        expectTypeOf(click).toEqualTypeOf<number | null>()
      },
      windows,
      { name: 'c' },
    )
  })
})

test('refused: other keys, keys that may have changed, no name, no windows', () => {
  onlyTyped(() => {
    // @ts-expect-error keys are of another type
    views.join(numbered, (a) => a, windows, { name: 'a' })
    // @ts-expect-error a key may have changed
    views.selectKey((view) => view.page).join(clicks, (a) => a, windows, { name: 'b' })
    // @ts-expect-error of the other stream, too
    views.join(clicks.selectKey(String), (a) => a, windows, { name: 'c' })
    // @ts-expect-error the operator has state, so it has a name
    views.join(clicks, (a) => a, windows, {})
    // @ts-expect-error which records belong together?
    views.join(clicks, (a) => a)
    // @ts-expect-error grace has to be chosen
    joinWindows({ timeDifferenceMs: 1 })
  })
})
