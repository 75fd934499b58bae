/** What the DSL's types allow and refuse. `tsc` checks this file; what it does at run time is tested elsewhere. */
import { describe, expect, expectTypeOf, test } from 'vitest'
import {
  type GroupedStream,
  int64,
  json,
  type Partitioner,
  type PartitionerTarget,
  type ReadableRegion,
  type Region,
  type Stream,
  type StreamRecord,
  string,
  type Table,
  Topology,
  type WritableRegion,
} from '../../src/index.ts'

interface Flight {
  readonly origin: string
  readonly delay: number
}

const t = new Topology('types')
const flights = t.stream('flights', { key: string, value: json<Flight>() })
const delays = t.region('delays', { key: string, value: int64 })
const worst = t.region('worst-of-all', { key: int64, value: json<Flight>() })
const airports = t.globalRegion('airports', { topic: 'airports', key: string, value: string })

/** Only the types of its body are of interest. */
const onlyTyped = (_: () => unknown): void => expect(true).toBe(true)

describe('streams', () => {
  test('follow keys and values', () => {
    expectTypeOf(flights).toEqualTypeOf<Stream<string, Flight>>()
    onlyTyped(() => {
      expectTypeOf(flights.mapValues((f) => f.delay)).toEqualTypeOf<Stream<string, number, 'keyed'>>()
      expectTypeOf(flights.map((f, key) => [f.delay, key])).toEqualTypeOf<Stream<number, string, 'rekeyed'>>()
      expectTypeOf(flights.selectKey((f) => f.delay)).toEqualTypeOf<Stream<number, Flight, 'rekeyed'>>()
      expectTypeOf(flights.flatMapValues((f) => [f.origin])).toEqualTypeOf<Stream<string, string, 'keyed'>>()
      expectTypeOf(flights.flatMap((f) => [[f.delay, f] as const])).toEqualTypeOf<
        Stream<number, Flight, 'rekeyed'>
      >()
      expectTypeOf(flights.filter((f) => f.delay > 0)).toEqualTypeOf<Stream<string, Flight, 'keyed'>>()
      expectTypeOf(flights.foreach(() => {})).toEqualTypeOf<void>()
      expectTypeOf(flights.to('out')).toEqualTypeOf<void>()
    })
  })

  test('narrow with a type guard', () => {
    onlyTyped(() => {
      const maybe = t.stream('maybe', { key: string, value: json<Flight | null>() })
      const sure = maybe.filter((value) => value !== null)
      expectTypeOf(sure).toEqualTypeOf<Stream<string, Flight, 'keyed'>>()
    })
  })

  test('functions get value, key and record', () => {
    flights.peek((value, key, record) => {
      expectTypeOf(value).toEqualTypeOf<Flight>()
      expectTypeOf(key).toEqualTypeOf<string>()
      expectTypeOf(record).toEqualTypeOf<StreamRecord<string, Flight>>()
      // @ts-expect-error records are read-only
      record.value = value
    })
  })

  test('merge what is alike', () => {
    onlyTyped(() => {
      const more = t.stream('more', { key: string, value: json<Flight>() })
      expectTypeOf(flights.merge(more)).toEqualTypeOf<Stream<string, Flight, 'keyed'>>()
      const rekeyed = more.selectKey((f) => f.origin)
      expectTypeOf(flights.merge(rekeyed)).toEqualTypeOf<Stream<string, Flight, 'rekeyed'>>()
      expectTypeOf(rekeyed.merge(flights)).toEqualTypeOf<Stream<string, Flight, 'rekeyed'>>()
      // @ts-expect-error values of another type
      flights.merge(more.mapValues((f) => f.delay))
    })
  })

  test('branches are found by their names', () => {
    onlyTyped(() => {
      const branches = flights
        .split()
        .branch('late', (f) => f.delay > 0)
        .branch('early', (f) => f.delay < 0)
      expectTypeOf(branches.noDefaultBranch()).toEqualTypeOf<
        Record<'late' | 'early', Stream<string, Flight, 'keyed'>>
      >()
      const all = branches.defaultBranch('punctual')
      expectTypeOf(all.punctual).toEqualTypeOf<Stream<string, Flight, 'keyed'>>()
      // @ts-expect-error there is no such branch
      all.cancelled
    })
  })
})

describe('keyed operators', () => {
  test('do not follow a change of key', () => {
    onlyTyped(() => {
      const rekeyed = flights.selectKey((f) => f.origin)
      // @ts-expect-error the key may have changed: groupBy or repartition first
      rekeyed.groupByKey()
      // @ts-expect-error neither after operators that keep the changed key
      rekeyed
        .filter(() => true)
        .mapValues((f) => f)
        .peek(() => {})
        .groupByKey()
      // @ts-expect-error nor in a branch
      rekeyed.split().defaultBranch('all').all.groupByKey()
      // @ts-expect-error nor with a partitioned region
      rekeyed.process('p', { regions: [delays] }, () => {})
      // @ts-expect-error nor with a partitioned region among others
      rekeyed.process('p', { regions: [airports, delays] }, () => {})
      // @ts-expect-error what a processor forwards may have any key
      flights.process('p', {}, () => {}).groupByKey()
      rekeyed.process('q', { regions: [airports] }, () => {})
      rekeyed.process('r', {}, () => {})
      rekeyed.repartition('again').groupByKey()
    })
  })

  test('have names', () => {
    onlyTyped(() => {
      const grouped = flights.groupByKey()
      // @ts-expect-error a count outlives the code: it needs a name
      grouped.count()
      // @ts-expect-error so does a reduce
      grouped.reduce((a: Flight) => a)
      // @ts-expect-error and an aggregate
      grouped.aggregate(
        () => 0,
        (sum: number) => sum,
        { value: int64 },
      )
      // @ts-expect-error and a repartition topic
      flights.repartition()
      // @ts-expect-error and that of a groupBy
      flights.groupBy((f: Flight) => f.origin)
      // @ts-expect-error and a processor
      flights.process({}, () => {})
    })
  })

  test('groupBy may leave records out of every group', () => {
    onlyTyped(() => {
      const grouped = flights.groupBy('by', (f: Flight) => (f.delay > 0 ? f.origin : null))
      expectTypeOf(grouped).toEqualTypeOf<GroupedStream<string, Flight>>()
      const numbered = flights.groupBy('n', (f: Flight) => (f.delay > 0 ? f.delay : null), { key: int64 })
      expectTypeOf(numbered).toEqualTypeOf<GroupedStream<number, Flight>>()
    })
  })

  test('groupBy has the type of its key, with its serde', () => {
    onlyTyped(() => {
      expectTypeOf(flights.groupBy('by-origin', (f) => f.origin)).toEqualTypeOf<
        GroupedStream<string, Flight>
      >()
      expectTypeOf(flights.groupBy('by-delay', (f) => f.delay, { key: int64 })).toEqualTypeOf<
        GroupedStream<number, Flight>
      >()
      // @ts-expect-error another type of key needs its serde
      flights.groupBy('by-delay', (f) => f.delay)
      // @ts-expect-error and the right one
      flights.groupBy('by-delay', (f) => f.delay, { key: string })
    })
  })

  test('aggregations are tables by name', () => {
    onlyTyped(() => {
      const grouped = flights.groupByKey()
      expectTypeOf(grouped.count('n')).toEqualTypeOf<Table<'n', string, number>>()
      expectTypeOf(grouped.count('n').region).toEqualTypeOf<Region<'n', string, number>>()
      expectTypeOf(grouped.reduce('last', (_, flight) => flight)).toEqualTypeOf<
        Table<'last', string, Flight>
      >()
      const sum = grouped.aggregate(
        'sum',
        () => 0,
        (sum, flight) => sum + flight.delay,
        { value: int64 },
      )
      expectTypeOf(sum.toStream()).toEqualTypeOf<Stream<string, number | null, 'keyed'>>()
      // null removes the key
      grouped.aggregate(
        'few',
        () => 0,
        (n) => (n < 3 ? n + 1 : null),
        { value: int64 },
      )
      grouped.reduce('late', (_, flight) => (flight.delay > 0 ? flight : null))
      const add = (sum: number, flight: Flight) => sum + flight.delay
      // @ts-expect-error the aggregate is a number
      grouped.aggregate('sum', () => 0, add, { value: string })
      // @ts-expect-error an aggregate's serde has to be given
      grouped.aggregate('sum', () => 0, add)
    })
  })
})

describe('process', () => {
  test('has its regions by name, with their types', () => {
    onlyTyped(() =>
      flights.process('p', { regions: [delays, worst, airports] }, (record, context) => {
        expectTypeOf(record).toEqualTypeOf<StreamRecord<string, Flight>>()
        expectTypeOf(context.delays).toEqualTypeOf<WritableRegion<string, number>>()
        expectTypeOf(context['worst-of-all']).toEqualTypeOf<WritableRegion<number, Flight>>()
        expectTypeOf(context.airports).toEqualTypeOf<ReadableRegion<string, string>>()
        expectTypeOf(context.delays.get('k')).toEqualTypeOf<number | undefined>()
        expectTypeOf(context.delays.range({ gte: 'a', limit: 1 })).toEqualTypeOf<
          AsyncIterable<readonly [key: string, value: number]>
        >()
        // @ts-expect-error a key of the wrong type
        context.delays.get(1)
        // @ts-expect-error a value of the wrong type
        context.delays.put('k', 'v')
        // @ts-expect-error bounds of the wrong type
        context.delays.range({ gte: 1 })
        // @ts-expect-error a global region is read-only
        context.airports.put('JFK', 'New York')
        // @ts-expect-error a global region is read-only
        context.airports.delete('JFK')
        // @ts-expect-error a region that was not named
        context.others
        // @ts-expect-error handles cannot be replaced
        context.delays = context.delays as WritableRegion<string, number>
      }),
    )
  })

  test('without regions, has none', () => {
    onlyTyped(() =>
      flights.process('p', {}, (_, context) => {
        // @ts-expect-error a region that was not named
        context.delays
      }),
    )
  })

  test('forwards what the given serdes take', () => {
    onlyTyped(() => {
      const out = flights.process('p', { key: int64, value: string }, (_, { forward }) => {
        forward(1, 'one')
        forward(1, 'one', { timestamp: 1, headers: [{ key: 'k', value: null }] })
        // @ts-expect-error a key of the wrong type
        forward('1', 'one')
        // @ts-expect-error a value of the wrong type
        forward(1, 1)
      })
      expectTypeOf(out).toEqualTypeOf<Stream<number, string, 'rekeyed'>>()
    })
  })

  test('forwards what it reads when no serdes are given', () => {
    onlyTyped(() => {
      const out = flights.process('p', {}, (record, { forward }) => {
        forward(record.key, record.value)
        // @ts-expect-error a value of another type
        forward(record.key, 1)
      })
      expectTypeOf(out).toEqualTypeOf<Stream<string, Flight, 'rekeyed'>>()
    })
  })

  test('may be asynchronous', () => {
    onlyTyped(() =>
      flights.process('p', { regions: [delays] }, async (record, { delays, forward }) => {
        for await (const [key, value] of delays.prefix(record.key))
          forward(key, { origin: key, delay: value })
      }),
    )
  })
})

describe('sources and sinks', () => {
  test('serdes fit', () => {
    onlyTyped(() => {
      flights.mapValues((f) => f.delay).to('out', { value: int64 })
      // @ts-expect-error values are flights
      flights.to('out', { value: int64 })
      // @ts-expect-error keys are strings
      flights.to('out', { key: int64 })
      // @ts-expect-error a repartition topic keeps the values as they are
      flights.repartition('r', { value: string })
    })
  })

  test('a topic may be chosen from value, key and record', () => {
    onlyTyped(() => {
      flights.to((flight, key, record) => {
        expectTypeOf(flight).toEqualTypeOf<Flight>()
        expectTypeOf(key).toEqualTypeOf<string>()
        expectTypeOf(record).toEqualTypeOf<StreamRecord<string, Flight>>()
        return flight.origin
      })
      flights.mapValues((f) => f.delay).to((delay) => `late-${delay}`, { value: int64 })
      // @ts-expect-error a topic is a string
      flights.to((flight) => flight.delay)
      // @ts-expect-error at once
      flights.to(async (flight) => flight.origin)
      // @ts-expect-error values are flights
      flights.to(() => 'out', { value: int64 })
    })
  })

  test('a partitioner gets value, key and what there is to choose from', () => {
    onlyTyped(() => {
      flights.to('out', {
        partitioner: (flight, key, target) => {
          expectTypeOf(flight).toEqualTypeOf<Flight>()
          expectTypeOf(key).toEqualTypeOf<string>()
          expectTypeOf(target).toEqualTypeOf<PartitionerTarget<string, Flight>>()
          expectTypeOf(target.record).toEqualTypeOf<StreamRecord<string, Flight>>()
          return flight.delay > 0 ? target.partitions - 1 : undefined
        },
      })
      const byOrigin: Partitioner<string, Flight> = (_, key) => key.length
      flights.repartition('r', { partitioner: byOrigin })
      flights.groupBy('g', (f) => f.origin, { partitioner: byOrigin })
      // @ts-expect-error keys are numbers then
      flights.groupBy('h', (f) => f.delay, { key: int64, partitioner: byOrigin })
      // @ts-expect-error a partition is a number
      flights.to('out', { partitioner: (flight) => flight.origin })
      // @ts-expect-error no partitioner of other values
      flights.mapValues((f) => f.delay).to('out', { value: int64, partitioner: byOrigin })
    })
  })

  test('a timestamp is a number made of value and key', () => {
    onlyTyped(() => {
      t.stream('in', {
        key: string,
        value: json<Flight>(),
        timestamp: (flight, key) => flight.delay + key.length,
      })
      // @ts-expect-error not a Date
      t.stream('in', { key: string, value: json<Flight>(), timestamp: () => new Date() })
      // @ts-expect-error both serdes are needed
      t.stream('in', { key: string })
      // @ts-expect-error no such policy
      t.stream('in', { key: string, value: string, onFailure: 'ignore' })
    })
  })

  test('region definitions have literal names, and a store', () => {
    expectTypeOf(delays).toEqualTypeOf<Region<'delays', string, number>>()
    onlyTyped(() => {
      t.region('memory', { key: string, value: string, store: 'memory' })
      // @ts-expect-error no such store
      t.region('disk', { key: string, value: string, store: 'disk' })
    })
  })
})
