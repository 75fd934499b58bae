/** What is wrong with a topology is said when it is made, with what to do about it. */
import { describe, expect, test } from 'vitest'
import { avro, DruseError, int64, joinWindows, json, type Region, string, Topology } from '../../src/index.ts'
import type { TopicDescription } from '../../src/kafka/topics.ts'
import { makePlan } from '../../src/runtime/plan.ts'

const strings = { key: string, value: string }

/** The message, without its code. */
function refusal(make: () => unknown): string {
  try {
    make()
  } catch (error) {
    if (!DruseError.is(error, 'TOPOLOGY_INVALID')) throw error
    expect(error.kind).toBe('user')
    return error.message.replace(/ \[TOPOLOGY_INVALID\]$/, '')
  }
  throw new Error('nothing was refused')
}

const topology = (): Topology => new Topology('app')
const stream = (t = topology()) => t.stream('in', strings)

describe('names', () => {
  for (const name of ['', 'a b', 'a/b', 'ä', 'x'.repeat(121)]) {
    test(`'${name}' names nothing`, () => {
      const allowed = /^'.*' cannot name a\w* [a-z]+: 1 to 120 letters, digits, '\.', '_' or '-'$/
      expect(refusal(() => new Topology(name))).toMatch(allowed)
      expect(refusal(() => topology().region(name, strings))).toMatch(allowed)
      expect(refusal(() => topology().globalRegion(name, { topic: 'g', ...strings }))).toMatch(allowed)
      expect(refusal(() => stream().repartition(name))).toMatch(allowed)
      expect(refusal(() => stream().process(name, {}, () => {}))).toMatch(allowed)
      expect(refusal(() => stream().groupByKey().count(name))).toMatch(allowed)
    })
  }

  test('all that Kafka takes, up to 120', () => {
    expect(() => new Topology(`aZ09._-${'x'.repeat(113)}`)).not.toThrow()
  })

  test('topics may have names as long as Kafka takes', () => {
    const long = 't'.repeat(249)
    const t = topology()
    t.stream(long, strings).to(long)
    expect(t.describe()).toContain(`topics: ${long};`)
  })

  for (const topic of ['', '.', '..', 'a b', 'a/b', 't'.repeat(250)]) {
    test(`'${topic}' is no topic`, () => {
      const allowed = /is no name of a topic: 1 to 249 letters, digits, '\.', '_' or '-'$/
      expect(refusal(() => topology().stream(topic, strings))).toMatch(allowed)
      expect(refusal(() => stream().to(topic))).toMatch(allowed)
      expect(refusal(() => topology().globalRegion('g', { topic, ...strings }))).toMatch(allowed)
      expect(refusal(() => topology().stream('x', { ...strings, onFailure: { deadLetter: topic } }))).toMatch(
        allowed,
      )
      expect(refusal(() => new Topology('app', { onUndecodable: { deadLetter: topic } }))).toMatch(allowed)
    })
  }

  test('a policy that there is none of', () => {
    const bogus = 'ignore' as 'skip'
    expect(refusal(() => topology().stream('x', { ...strings, onFailure: bogus }))).toBe(
      `onFailure is "ignore": 'fail', 'skip' or { deadLetter: topic } is needed`,
    )
    expect(refusal(() => new Topology('app', { onLate: 'skip' as 'drop' }))).toBe(
      `onLate is "skip": 'drop' or { deadLetter: topic } is needed`,
    )
  })

  test('dead letters that come again for ever', () => {
    const again = /^Dead letters of topic 'x' would go to the same topic, and come again for ever/
    for (const policy of ['onUndecodable', 'onFailure', 'onLate']) {
      const policies = { [policy]: { deadLetter: 'x' } }
      expect(refusal(() => topology().stream(['y', 'x'], { ...strings, ...policies }))).toMatch(again)
      expect(refusal(() => new Topology('app', policies).table('x', strings))).toMatch(again)
      topology().stream('y', { ...strings, ...policies })
    }
  })

  test('two operators of one name', () => {
    const s = stream()
    s.groupByKey().count('n')
    expect(refusal(() => s.repartition('n'))).toBe("Two operators are named 'n'; give one another name")
  })

  test('two regions of one name, of whatever kind', () => {
    const t = topology()
    t.region('r', strings)
    const twice = "Two regions are named 'r'; give one another name"
    expect(refusal(() => t.region('r', strings))).toBe(twice)
    expect(refusal(() => t.globalRegion('r', { topic: 'g', ...strings }))).toBe(twice)
    expect(refusal(() => stream(t).groupByKey().count('r'))).toBe(twice)
  })

  for (const name of ['forward', 'streamTimeMs', '__proto__', 'constructor', 'prototype']) {
    test(`a region named '${name}' would be hidden in an operator's context`, () => {
      expect(refusal(() => topology().region(name, strings))).toBe(
        `A region cannot be named '${name}': operators find something else there; choose another name`,
      )
    })
  }

  test('two branches of one name', () => {
    const split = stream()
      .split()
      .branch('a', () => true)
    const twice = "Two branches are named 'a'; give one another name"
    expect(refusal(() => split.branch('a', () => true))).toBe(twice)
    expect(refusal(() => split.defaultBranch('a'))).toBe(twice)
  })
})

describe('sources', () => {
  test('a topic read twice', () => {
    const t = topology()
    t.stream('in', strings)
    const advice = "Topic 'in' is read twice; keep its stream in a variable and continue from there twice"
    expect(refusal(() => t.stream('in', strings))).toBe(advice)
    expect(refusal(() => topology().stream(['in', 'in'], strings))).toBe(advice)
  })

  test('no topic', () => {
    expect(refusal(() => topology().stream([], strings))).toBe('stream() needs at least one topic')
  })

  test('nothing read at all', () => {
    expect(refusal(() => topology().build())).toBe("Topology 'app' reads nothing; begin with stream()")
    expect(refusal(() => topology().describe())).toMatch(/reads nothing/)
  })

  test('a global region alone is something', () => {
    const t = topology()
    t.globalRegion('g', { topic: 'g', ...strings })
    expect(() => t.build()).not.toThrow()
  })
})

describe('regions', () => {
  test('of another topology', () => {
    const foreign = topology().region('elsewhere', strings)
    expect(refusal(() => stream().process('p', { regions: [foreign] }, () => {}))).toBe(
      "Operator 'p' uses region 'elsewhere', which is not of this topology; declare it with region() or globalRegion()",
    )
  })

  test('of another topology, though one of that name is here', () => {
    const t = topology()
    t.region('twin', strings)
    const foreign: Region<'twin', string, number> = topology().region('twin', { key: string, value: int64 })
    expect(refusal(() => stream(t).process('p', { regions: [foreign] }, () => {}))).toMatch(
      /uses region 'twin', which is not of this topology/,
    )
  })

  test('a region named twice by one operator', () => {
    const t = topology()
    const once = t.region('once', strings)
    expect(() => stream(t).process('p', { regions: [once, once] }, () => {})).not.toThrow()
  })

  for (const [what, key] of [
    ['avro:Key', avro<string>({ type: 'record', name: 'Key', fields: [] })],
    ['json', json<string>()],
  ] as const) {
    test(`keys of ${what}, whose bytes may change`, () => {
      const message = `Region 'r' cannot have ${what} keys: equal keys may get different bytes over time; use string, bytes or a number serde`
      expect(refusal(() => topology().region('r', { key, value: string }))).toBe(message)
      expect(refusal(() => topology().globalRegion('r', { topic: 'g', key, value: string }))).toBe(message)
      const keyed = topology().stream('in', { key, value: string }).groupByKey()
      expect(refusal(() => keyed.count('r'))).toBe(message)
    })
  }

  test('more than the metadata of an offset can hold', () => {
    const make = (count: number): Topology => {
      const t = topology()
      const regions = Array.from({ length: count }, (_, i) => t.region(`region-${i}`, strings))
      stream(t).process('p', { regions }, () => {})
      return t
    }
    const found = new Map<string, TopicDescription>([
      ['in', { topic: 'in', topicId: 'id', partitions: 1, configs: {} }],
    ])
    const plan = (count: number) => makePlan(make(count).build(), found, { replicationFactor: 1 })
    expect(() => plan(50)).not.toThrow()
    expect(refusal(() => plan(100))).toBe(
      "The sub-topology that reads 'in' is too large, with 100 regions and 1 input topics, for the 4096 bytes that Kafka takes with an offset; split it with a repartition()",
    )
  })
})

describe('serdes', () => {
  test('not known any more after values or keys have changed', () => {
    const ask = (where: string, part: string) =>
      `${where} does not know the ${part} serde: give { ${part}: … }`
    expect(refusal(() => stream().mapValues(Number).to('out'))).toBe(ask("to('out')", 'value'))
    expect(refusal(() => stream().selectKey(Number).to('out'))).toBe(ask("to('out')", 'key'))
    const mapped = stream().map((value, key) => [key, value] as const)
    expect(refusal(() => mapped.to('out'))).toBe(ask("to('out')", 'key'))
    expect(refusal(() => mapped.repartition('r'))).toBe(ask("repartition('r')", 'key'))
    expect(refusal(() => mapped.to('out', { key: string }))).toBe(ask("to('out')", 'value'))
    const grouped = stream().mapValues(Number).groupByKey()
    expect(refusal(() => grouped.reduce('sum', (a, b) => a + b))).toBe(ask("'sum'", 'value'))
  })

  test('the serde of what has not changed is kept', () => {
    // As in Kafka Streams: mapValues and flatMapValues keep the key's, selectKey the value's, filters both.
    const t = topology()
    const s = stream(t)
    s.mapValues(Number).to('a', { value: int64 })
    s.flatMapValues(() => [1]).to('b', { value: int64 })
    s.selectKey(Number).to('c', { key: int64 })
    s.filter(() => true)
      .peek(() => {})
      .to('d')
    expect(t.build().nodes.filter(({ kind }) => kind === 'sink')).toMatchObject([
      { key: string, value: int64 },
      { key: string, value: int64 },
      { key: int64, value: string },
      { key: string, value: string },
    ])
  })

  test('of merged streams, when they are not the same', () => {
    const t = topology()
    const other = t.stream('other', { key: string, value: json<string>() })
    expect(refusal(() => stream(t).merge(other).to('out'))).toMatch(/does not know the value serde/)
    const same = topology()
    same.stream('a', strings).merge(same.stream('b', strings)).to('out')
  })
})

describe('outputs', () => {
  test('to an internal topic of the application', () => {
    const advice = (name: string, topic: string) =>
      `'${name}' writes to '${topic}', which is an internal topic of this application: write to a topic of your own`
    for (const topic of ['app-r-repartition', 'app-n-changelog']) {
      const t = topology()
      const s = stream(t)
      s.repartition('r').groupByKey().count('n')
      s.to(topic)
      expect(refusal(() => t.build())).toBe(advice(`to-${topic}-3`, topic))
      const dead = new Topology('app', { onFailure: { deadLetter: topic } })
      stream(dead).repartition('r').groupByKey().count('n')
      expect(refusal(() => dead.build())).toBe(advice('from-in-0', topic))
    }
    const t = topology()
    stream(t).to('app-n-changelog')
    expect(() => t.build()).not.toThrow()
  })
})

describe('partitioning', () => {
  test('topics that feed one region by different partitioners', () => {
    const one = () => 0
    const other = () => 0
    const fed = (left?: () => number, right?: () => number, between = 'plain') => {
      const t = topology()
      const shared = t.region('shared', strings)
      const write = t
        .stream('left', strings)
        .repartition('by-left', left && { partitioner: left })
        .mapValues((value) => value)
      const read =
        between === 'none'
          ? t.stream('right', strings)
          : t.stream('right', strings).repartition('by-right', right && { partitioner: right })
      write.process('write', { regions: [shared] }, () => {})
      read.process('read', { regions: [shared] }, () => {})
      return () => t.build()
    }
    const advice = (a: string, b: string) =>
      `Topics '${a}' and '${b}' feed region 'shared', but their partitions are not chosen by the same function: equal keys would meet in different tasks. Give them the same partitioner, by a repartition(name, { partitioner }) where there is none, or by otherPartitioner of a foreign-key join`
    expect(refusal(fed(one, other))).toBe(advice('app-by-left-repartition', 'app-by-right-repartition'))
    expect(refusal(fed(one))).toBe(advice('app-by-left-repartition', 'app-by-right-repartition'))
    expect(refusal(fed(undefined, one))).toBe(advice('app-by-left-repartition', 'app-by-right-repartition'))
    expect(refusal(fed(one, undefined, 'none'))).toBe(advice('app-by-left-repartition', 'right'))
    expect(fed(one, one)).not.toThrow()
    expect(fed()).not.toThrow()
    expect(fed(undefined, undefined, 'none')).not.toThrow()
  })

  test('of one that comes merged from topics with different partitioners', () => {
    const t = topology()
    const left = stream(t).repartition('r', { partitioner: () => 0 })
    left.merge(t.stream('other', strings)).groupByKey().count('n')
    expect(refusal(() => t.build())).toMatch(/^Topics 'app-r-repartition' and 'other' feed region 'n'/)
  })

  test('regions that are fed apart may be partitioned apart, though their streams meet later', () => {
    const t = topology()
    const left = stream(t)
      .repartition('r', { partitioner: () => 0 })
      .groupByKey()
      .count('left')
    const right = t.stream('other', strings).groupByKey().count('right')
    left.toStream().merge(right.toStream()).to('out')
    expect(() => t.build()).not.toThrow()
  })

  const advice =
    /needs records of one key in one task, but a key may have changed before it; put a repartition\(name\) or groupBy\(name, …\) in between$/

  // Types refuse these; plain JavaScript meets the check at run time.
  test('a keyed operator after a change of key', () => {
    const t = topology()
    const region = t.region('r', strings)
    const rekeyed = stream(t).selectKey((value) => value) as never as ReturnType<typeof stream>
    expect(refusal(() => rekeyed.groupByKey())).toMatch(advice)
    expect(refusal(() => rekeyed.process('p', { regions: [region] }, () => {}))).toMatch(
      /^process\('p'\) needs/,
    )
    expect(refusal(() => rekeyed.mapValues((v) => v).groupByKey())).toMatch(advice)
    expect(refusal(() => rekeyed.merge(rekeyed.peek(() => {})).groupByKey())).toMatch(advice)
    const { all } = rekeyed.split().defaultBranch('all')
    expect(refusal(() => all.groupByKey())).toMatch(advice)
  })

  test('a stream merged with itself', () => {
    const all = stream()
    expect(refusal(() => all.merge(all))).toBe(
      'merge() was given the stream that it is called on: there is nothing to merge. For each record twice, use flatMap',
    )
  })

  test('a processor without partitioned regions may follow a change of key; what it forwards may have another key', () => {
    const t = topology()
    const global = t.globalRegion('g', { topic: 'g', ...strings })
    const forwarded = stream(t)
      .selectKey((value) => value)
      .process('p', { regions: [global] }, () => {}) as never as ReturnType<typeof stream>
    expect(refusal(() => forwarded.groupByKey())).toMatch(advice)
  })

  test('partitions of a repartition topic', () => {
    for (const partitions of [0, -1, 1.5, Number.NaN]) {
      expect(refusal(() => stream().repartition('r', { partitions }))).toBe(
        "repartition('r'): partitions must be a whole number from 1",
      )
    }
  })
})

describe('streams and tables of two topologies', () => {
  const here = topology()
  const other = new Topology('other')
  const far = other.stream('far', strings)
  const near = here.stream('near', strings)
  const nearTable = here.table('near-table', { ...strings, name: 'near' })
  const farTable = other.table('far-table', { ...strings, name: 'far' })
  const windows = joinWindows({ timeDifferenceMs: 1, graceMs: 0 })
  const first = (value: string): string => value

  test.each<[string, () => unknown]>([
    ['merge', () => near.merge(far)],
    ['join of streams', () => near.join(far, first, windows, { name: 'pairs' })],
    ['stream with table', () => near.join(farTable, first)],
    ['stream with global table', () => near.join(other.globalTable('names', strings), first, first)],
    ['tables', () => nearTable.join(farTable, first)],
    [
      'foreign keys',
      () =>
        nearTable.joinOnForeignKey('by-name', farTable, { foreignKey: first, joiner: first, value: string }),
    ],
    [
      'cogroup',
      () =>
        near
          .groupByKey()
          .cogroup<string>((all) => all)
          .cogroup(far.groupByKey(), (all) => all)
          .aggregate('all', () => '', { value: string }),
    ],
  ])('%s: refused, for numbers of nodes mean others there', (_, build) => {
    expect(refusal(build)).toMatch(/of topology|not of this topology/)
  })
})
