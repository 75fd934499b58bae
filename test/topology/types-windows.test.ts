/** What windows, cogroups and suppressions are of is inferred; wrong uses do not compile. */
import { describe, expectTypeOf, test } from 'vitest'
import {
  type AnyWindows,
  type Druse,
  int64,
  sessionWindows,
  slidingWindows,
  string,
  type Table,
  Topology,
  tumblingWindows,
  untilTimeLimit,
  untilWindowCloses,
  type Windowed,
} from '../../src/index.ts'

const tumbling = tumblingWindows({ sizeMs: 10, graceMs: 0 })
const sessions = sessionWindows({ inactivityGapMs: 10, graceMs: 0 })

const stream = (t: Topology, topic = 'in') => t.stream(topic, { key: string, value: int64 })

describe('windows', () => {
  test('keys are windowed, values are those of the aggregation', () => {
    const grouped = stream(new Topology('t')).groupByKey()
    const counts = grouped.windowedBy(tumbling).count('counts')
    expectTypeOf(counts).toEqualTypeOf<Table<'counts', Windowed<string>, number>>()
    const texts = grouped.windowedBy(slidingWindows({ timeDifferenceMs: 5, graceMs: 0 })).aggregate(
      'texts',
      () => '',
      (text, value) => text + value,
      { value: string },
    )
    expectTypeOf(texts).toEqualTypeOf<Table<'texts', Windowed<string>, string>>()
    const merged = grouped.windowedBy(sessions).aggregate(
      'merged',
      () => '',
      (text, value) => {
        expectTypeOf(value).toEqualTypeOf<number>()
        return text + value
      },
      (text, other, key) => {
        expectTypeOf(key).toEqualTypeOf<string>()
        return text + other
      },
      { value: string },
    )
    expectTypeOf(merged).toEqualTypeOf<Table<'merged', Windowed<string>, string>>()
    counts.toStream().selectKey((value, { key, windowStart }) => {
      expectTypeOf([value, key, windowStart] as const).toEqualTypeOf<
        readonly [number | null, string, number]
      >()
      return key
    })
  })

  test('grace has to be chosen, sessions have to be merged, options have to fit', () => {
    const make = (): void => {
      // @ts-expect-error no grace
      tumblingWindows({ sizeMs: 10 })
      const grouped = stream(new Topology('t')).groupByKey()
      // @ts-expect-error no merger
      grouped.windowedBy(sessions).aggregate(
        'a',
        () => '',
        (text, value) => text + value,
        { value: string },
      )
      const ofNumbers = grouped.windowedBy(tumbling)
      const add = (sum: number, value: number): number => sum + value
      // @ts-expect-error the aggregate is no text
      ofNumbers.aggregate('b', () => 0, add, { value: string })
      // @ts-expect-error there is no such time
      grouped.windowedBy(tumbling).emitStrategy('onWindowOpen')
      // @ts-expect-error a key may have changed
      stream(new Topology('t')).selectKey(String).groupByKey().windowedBy(tumbling)
    }
    expectTypeOf(make).toBeFunction()
  })

  test('windows of several kinds need what sessions need', () => {
    const make = (windows: AnyWindows): void => {
      const grouped = stream(new Topology('t')).groupByKey()
      const add = (sum: number, value: number): number => sum + value
      const zero = (): number => 0
      const options = { value: int64 }
      const of = grouped.windowedBy(windows).emitStrategy('onWindowClose')
      expectTypeOf(of.count('a')).toEqualTypeOf<Table<'a', Windowed<string>, number>>()
      expectTypeOf(of.aggregate('b', zero, add, add, options)).toEqualTypeOf<
        Table<'b', Windowed<string>, number>
      >()
      // @ts-expect-error they may be sessions
      of.aggregate('c', zero, add, options)
      const together = grouped.cogroup(add).windowedBy(windows)
      expectTypeOf(together.aggregate('d', zero, add, options)).toEqualTypeOf<
        Table<'d', Windowed<string>, number>
      >()
      // @ts-expect-error they may be sessions
      together.aggregate('e', zero, options)
      grouped.cogroup(add).windowedBy(tumbling).aggregate('f', zero, options)
    }
    expectTypeOf(make).toBeFunction()
  })

  test('regions of windows are looked into by key and time', () => {
    const look = async (app: Druse): Promise<void> => {
      const t = new Topology('t')
      const counts = stream(t).groupByKey().windowedBy(tumbling).count('counts')
      const plain = stream(t, 'other').groupByKey().count('plain')
      const region = app.region(counts.region)
      for await (const entry of region.fetch('a', 0, 10)) {
        expectTypeOf(entry).toEqualTypeOf<readonly [key: Windowed<string>, value: number]>()
      }
      expectTypeOf(region.get).parameter(0).toEqualTypeOf<Windowed<string>>()
      // @ts-expect-error the key is a text
      region.fetch(1, 0, 10)
      // @ts-expect-error no windows there
      app.region(plain.region).fetch('a', 0, 10)
      const seen = t.windowRegion('seen', { key: string, value: int64, sizeMs: 1, retentionMs: 10 })
      stream(t, 'third').process('look', { regions: [seen] }, async (_, context) => {
        for await (const [{ key }, value] of context.seen.fetch('a', 0, 10)) {
          expectTypeOf([key, value] as const).toEqualTypeOf<readonly [string, number]>()
        }
      })
    }
    expectTypeOf(look).toBeFunction()
  })
})

describe('suppress', () => {
  test('until windows close: only of windows', () => {
    const make = (): void => {
      const grouped = stream(new Topology('t')).groupByKey()
      const counts = grouped.windowedBy(tumbling).count('counts')
      expectTypeOf(counts.suppress('final', untilWindowCloses())).toEqualTypeOf<
        Table<undefined, Windowed<string>, number>
      >()
      const plain = grouped.count('plain')
      expectTypeOf(plain.suppress('slow', untilTimeLimit({ limitMs: 1 }))).toEqualTypeOf<
        Table<undefined, string, number>
      >()
      // @ts-expect-error no windows
      plain.suppress('final', untilWindowCloses())
      // @ts-expect-error passed on early it would not be final
      untilWindowCloses({ onFull: 'emit' })
    }
    expectTypeOf(make).toBeFunction()
  })
})

describe('cogroup', () => {
  test('the aggregate is the first one, values are those of each stream', () => {
    const make = (): void => {
      const t = new Topology('t')
      const cogrouped = stream(t)
        .groupByKey()
        .cogroup((text: string, value) => {
          expectTypeOf(value).toEqualTypeOf<number>()
          return text + value
        })
        .cogroup(t.stream('texts', { key: string, value: string }).groupByKey(), (text, value) => {
          expectTypeOf([text, value] as const).toEqualTypeOf<readonly [string, string]>()
          return text + value
        })
      expectTypeOf(cogrouped.aggregate('all', () => '', { value: string })).toEqualTypeOf<
        Table<'all', string, string>
      >()
      expectTypeOf(
        cogrouped.windowedBy(tumbling).aggregate('windows', () => '', { value: string }),
      ).toEqualTypeOf<Table<'windows', Windowed<string>, string>>()
      // @ts-expect-error keys are of another type
      cogrouped.cogroup(t.stream('n', { key: int64, value: string }).groupByKey(), (text) => text)
      // @ts-expect-error sessions have to be merged
      cogrouped.windowedBy(sessions).aggregate('sessions', () => '', { value: string })
    }
    expectTypeOf(make).toBeFunction()
  })
})
