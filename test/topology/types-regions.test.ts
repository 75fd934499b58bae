/** Types of regions as source and sink. Wrong uses do not compile. */
import { expect, expectTypeOf, test } from 'vitest'
import {
  type EntryCreated,
  type EntryDestroyed,
  type EntryEvent,
  type EntryUpdated,
  int64,
  json,
  type Stream,
  string,
  Topology,
  tumblingWindows,
  type Windowed,
} from '../../src/index.ts'

const t = new Topology('types')
const stream = t.stream('in', { key: string, value: string })
const names = t.region('names', { key: string, value: string })
const numbers = t.region('numbers', { key: string, value: int64 })
const byNumber = t.region('by-number', { key: int64, value: string })
const hours = t.windowRegion('hours', {
  key: string,
  value: string,
  sizeMs: 3_600_000,
  retentionMs: 86_400_000,
})

/** Only the types of its body are of interest. */
const onlyTyped = (_: () => unknown): void => expect(true).toBe(true)

test('a region takes a stream of its keys and values, and null', () => {
  onlyTyped(() => {
    expectTypeOf(stream.toRegion(names)).toEqualTypeOf<void>()
    stream.mapValues((value) => (value === '' ? null : value)).toRegion(names)
    stream.mapValues(() => 'one' as const).toRegion(names)
    stream
      .groupByKey()
      .windowedBy(tumblingWindows({ sizeMs: 3_600_000, graceMs: 0 }))
      .count('w')
      .toStream()
      .mapValues((count) => `${count}`)
      .toRegion(hours)
    // @ts-expect-error another value
    stream.toRegion(numbers)
    // @ts-expect-error another key
    stream.toRegion(byNumber)
    // @ts-expect-error a key without its window
    stream.toRegion(hours)
    // @ts-expect-error undefined is no deletion
    stream.mapValues((value) => value || undefined).toRegion(names)
    // @ts-expect-error keys may have changed
    stream.selectKey((value) => value).toRegion(names)
    // @ts-expect-error a table that is not kept has none
    stream.toRegion(t.table('table', { key: string, value: string }).region)
  })
})

test('events have the types of the region', () => {
  onlyTyped(() => {
    const events = t.fromRegion(numbers)
    expectTypeOf(events).toEqualTypeOf<Stream<string, EntryEvent<string, number>, 'keyed'>>()
    expectTypeOf(t.fromRegion(hours)).toEqualTypeOf<
      Stream<Windowed<string>, EntryEvent<Windowed<string>, string>>
    >()
    expectTypeOf(t.fromRegion(stream.groupByKey().count('counts').region)).toEqualTypeOf<typeof events>()
    events.foreach((event) => {
      expectTypeOf(event.newValue).toEqualTypeOf<number | null>()
      expectTypeOf(event.oldValue).toEqualTypeOf<number | null>()
      if (event.type === 'create') expectTypeOf(event).toEqualTypeOf<EntryCreated<string, number>>()
      if (event.type === 'update') expectTypeOf(event).toEqualTypeOf<EntryUpdated<string, number>>()
      if (event.type === 'destroy') expectTypeOf(event).toEqualTypeOf<EntryDestroyed<string, number>>()
      if (event.type !== 'destroy') expectTypeOf(event.newValue).toEqualTypeOf<number>()
    })
    events.to('events', { value: json<EntryEvent<string, number>>() })
    // @ts-expect-error a serde of another type
    events.to('events', { value: int64 })
    // @ts-expect-error a name is not enough
    t.fromRegion('numbers')
  })
})

test('also of a region of another application', () => {
  onlyTyped(() => {
    const elsewhere = { application: 'other', region: 'r', key: string, value: int64 }
    expectTypeOf(t.fromRegion(elsewhere)).toEqualTypeOf<Stream<string, EntryEvent<string, number>>>()
    const windowed = t.fromRegion({ ...elsewhere, windows: { sizeMs: 1, retentionMs: 1 } })
    expectTypeOf(windowed).toEqualTypeOf<Stream<Windowed<string>, EntryEvent<Windowed<string>, number>>>()
    expectTypeOf(t.fromRegion({ ...elsewhere, sessions: { retentionMs: 1 } })).toEqualTypeOf(windowed)
    // @ts-expect-error its serdes have to be known
    t.fromRegion({ application: 'other', region: 'r', key: string })
    // @ts-expect-error windows have a size
    t.fromRegion({ ...elsewhere, windows: { retentionMs: 1 } })
  })
})
