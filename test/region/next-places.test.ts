/** What is known of the next places against all of them, with more than are kept. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { NextPlaces, PLACES_AHEAD } from '../../src/region/next-places.ts'
import { firstPlace, timeAt } from '../../src/region/time-order.ts'

const step = fc.record({
  kind: fc.constantFrom('add', 'add', 'remove', 'step', 'stop early', 'undo'),
  count: fc.constantFrom(1, 7, PLACES_AHEAD / 2, 3 * PLACES_AHEAD),
  spreadMs: fc.constantFrom(0, 10, 5 * PLACES_AHEAD),
  stepMs: fc.constantFrom(0, 1, 100, 2 * PLACES_AHEAD),
})

async function* from(places: Iterable<string>, fromMs: number): AsyncGenerator<string> {
  for (const place of [...places].sort()) if (timeAt(place) >= fromMs) yield place
}

test('knows all places of the stretch that it says it knows', async () => {
  let known = 0
  let unknown = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const next = new NextPlaces()
      const places = new Set<string>()
      let nowMs = 1_000
      let made = 0
      for (const { kind, count, spreadMs, stepMs } of steps) {
        if (kind === 'add') {
          for (let i = 0; i < count; i++) {
            const timeMs = nowMs + 1 + ((i * 7_919) % (spreadMs + 1))
            const place = `${firstPlace(timeMs)}${made++ % 2_000}`
            places.add(place)
            next.add(place, timeMs)
          }
        } else if (kind === 'remove') {
          for (const place of [...places].slice(0, count)) {
            places.delete(place)
            next.remove(place)
          }
        } else if (kind === 'undo') next.forget()
        else {
          const [fromMs, toMs] = [nowMs + 1, nowMs + stepMs]
          if (!next.knows(fromMs, toMs)) await next.read(fromMs, from(places, fromMs))
          const expected = [...places]
            .filter((place) => timeAt(place) >= fromMs && timeAt(place) <= toMs)
            .sort()
          if (!next.knows(fromMs, toMs)) {
            unknown += 1
          } else {
            known += 1
            expect(next.between(fromMs, toMs)).toEqual(expected)
            const later = [...places].map((place) => timeAt(place)).filter((timeMs) => timeMs > toMs)
            const earliestMs = later.reduce(
              (least, timeMs) => Math.min(least, timeMs),
              Number.POSITIVE_INFINITY,
            )
            expect(next.nextMs(toMs)).toBeLessThanOrEqual(earliestMs)
            expect(next.nextMs(toMs)).toBeGreaterThan(toMs)
          }
          if (kind === 'step') nowMs = toMs
        }
      }
    }),
    { numRuns: 60 },
  )
  expect(known).toBeGreaterThan(unknown)
})

test('what changes while places are read makes them unknown', async () => {
  const next = new NextPlaces()
  const places = async function* (): AsyncGenerator<string> {
    yield `${firstPlace(10)}a`
    next.add(`${firstPlace(5)}b`, 5)
  }
  await next.read(0, places())
  expect(next.knows(0, 20)).toBe(false)
  await next.read(0, from([`${firstPlace(10)}a`], 0))
  expect(next.knows(0, 20)).toBe(true)
})
