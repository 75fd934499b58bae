/** Topologies as text: what each operator becomes, and where the graph is cut into sub-topologies. */
import { describe, expect, test } from 'vitest'
import { bytes, int64, json, string, Topology } from '../../src/index.ts'

const strings = { key: string, value: string }

describe('operators', () => {
  test('from source to sink', () => {
    const t = new Topology('plain')
    t.stream('in', strings).to('out')
    expect(t.describe()).toMatchInlineSnapshot(`
      "Topology plain
        Sub-topology 0
          Source from-in-0 (topics: in; key: string, value: string)
            --> to-out-1
          Sink to-out-1 (topic: out; key: string, value: string)
      "
    `)
  })

  test('every stateless one, under its own name', () => {
    const t = new Topology('stateless')
    t.stream(['b', 'a'], { key: bytes, value: string })
      .filter((value) => value !== '')
      .filterNot((value) => value === '-')
      .peek(() => {})
      .mapValues((value) => value.length)
      .flatMapValues((value) => [value, value])
      .map((value, key) => [key, String(value)] as const)
      .flatMap((value, key) => [[key, value]] as const)
      .selectKey((value) => value)
      .foreach(() => {})
    expect(t.describe()).toMatchInlineSnapshot(`
      "Topology stateless
        Sub-topology 0
          Source from-b-0 (topics: b, a; key: bytes, value: string)
            --> filter-1
          Operator filter-1: filter
            --> filterNot-2
          Operator filterNot-2: filterNot
            --> peek-3
          Operator peek-3: peek
            --> mapValues-4
          Operator mapValues-4: mapValues
            --> flatMapValues-5
          Operator flatMapValues-5: flatMapValues
            --> map-6
          Operator map-6: map
            --> flatMap-7
          Operator flatMap-7: flatMap
            --> selectKey-8
          Operator selectKey-8: selectKey
            --> foreach-9
          Operator foreach-9: foreach
      "
    `)
  })

  test('process, with its regions', () => {
    const t = new Topology('shop')
    const items = t.globalRegion('items', { topic: 'items', key: string, value: json<object>() })
    const stock = t.region('stock', { key: string, value: int64 })
    const seen = t.region('seen', { key: string, value: int64, store: 'memory' })
    t.stream('orders', strings)
      .process('take', { regions: [stock, seen, items], value: int64 }, () => {})
      .to('taken')
    expect(t.describe()).toMatchInlineSnapshot(`
      "Topology shop
        Global region items (topic: items, key: string, value: json)
        Sub-topology 0
          Source from-orders-0 (topics: orders; key: string, value: string)
            --> take
          Operator take: process (regions: stock, seen, items)
            --> to-taken-2
          Sink to-taken-2 (topic: taken; key: string, value: int64)
          Region stock (changelog: shop-stock-changelog, persistent; key: string, value: int64)
          Region seen (changelog: shop-seen-changelog, memory; key: string, value: int64)
      "
    `)
  })

  test('split and merge', () => {
    const t = new Topology('sizes')
    const { small, middle, large } = t
      .stream('in', { key: string, value: int64 })
      .split()
      .branch('small', (value) => value < 10)
      .branch('large', (value) => value > 100)
      .defaultBranch('middle')
    middle.to('middle')
    small.merge(large).to('extremes')
    expect(t.describe()).toMatchInlineSnapshot(`
      "Topology sizes
        Sub-topology 0
          Source from-in-0 (topics: in; key: string, value: int64)
            --> split-1
          Operator split-1: split
            --> branch-small-2, branch-large-3, branch-middle-4
          Operator branch-small-2: branch
            --> merge-6
          Operator branch-large-3: branch
            --> merge-6
          Operator branch-middle-4: branch
            --> to-middle-5
          Sink to-middle-5 (topic: middle; key: string, value: int64)
          Operator merge-6: merge
            --> to-extremes-7
          Sink to-extremes-7 (topic: extremes; key: string, value: int64)
      "
    `)
  })

  test('sinks that choose topics and partitions', () => {
    const t = new Topology('routes')
    const s = t.stream('in', strings)
    s.to((value) => value)
    s.to('out', { partitioner: () => 0 })
    s.to((value) => value, { value: string, partitioner: () => 0 })
    s.repartition('by-hand', { partitioner: () => 0 }).foreach(() => {})
    expect(t.describe()).toMatchInlineSnapshot(`
      "Topology routes
        Sub-topology 0
          Source from-in-0 (topics: in; key: string, value: string)
            --> to-1, to-out-2, to-3, by-hand
          Sink to-1 (topic: chosen per record; key: string, value: string)
          Sink to-out-2 (topic: out, partitions: chosen per record; key: string, value: string)
          Sink to-3 (topic: chosen per record, partitions: chosen per record; key: string, value: string)
          Sink by-hand (topic: routes-by-hand-repartition, partitions: chosen per record; key: string, value: string)
        Sub-topology 1
          Source by-hand (topics: routes-by-hand-repartition; key: string, value: string)
            --> foreach-5
          Operator foreach-5: foreach
      "
    `)
  })

  test('names that are given win over those that are not', () => {
    const t = new Topology('names')
    const s = t.stream('in', strings)
    s.filter(() => true).process('filter-1', {}, () => {})
    s.process('peek-4', {}, () => {})
      .peek(() => {})
      .process('peek-4-4', {}, () => {})
    expect(t.build().nodes.map(({ name }) => name)).toEqual([
      'from-in-0',
      'filter-1-1',
      'filter-1',
      'peek-4',
      'peek-4-4-4',
      'peek-4-4',
    ])
    expect(t.describe()).toMatch(/Operator filter-1-1: filter\n {6}--> filter-1\n/)
  })

  test('count, reduce and aggregate: a region each', () => {
    const t = new Topology('folds')
    const grouped = t.stream('in', { key: string, value: int64 }).groupByKey()
    grouped.count('counted').toStream().to('counts')
    grouped.reduce('highest', (a, b) => Math.max(a, b))
    grouped.aggregate(
      'listed',
      () => [] as number[],
      (list, value) => [...list, value],
      {
        value: json<number[]>(),
      },
    )
    expect(t.describe()).toMatchInlineSnapshot(`
      "Topology folds
        Sub-topology 0
          Source from-in-0 (topics: in; key: string, value: int64)
            --> counted, highest, listed
          Operator counted: aggregate (regions: counted)
            --> to-counts-2
          Sink to-counts-2 (topic: counts; key: string, value: int64)
          Operator highest: aggregate (regions: highest)
          Operator listed: aggregate (regions: listed)
          Region counted (changelog: folds-counted-changelog, persistent; key: string, value: int64)
          Region highest (changelog: folds-highest-changelog, persistent; key: string, value: int64)
          Region listed (changelog: folds-listed-changelog, persistent; key: string, value: json)
      "
    `)
  })
})

describe('sub-topologies', () => {
  test('a repartition topic cuts: written in one, read in the other', () => {
    const t = new Topology('words')
    t.stream('lines', strings)
      .flatMapValues((line) => line.split(' '))
      .groupBy('by-word', (word) => word, { value: string, partitions: 6 })
      .count('per-word')
      .toStream()
      .to('counts')
    expect(t.describe()).toMatchInlineSnapshot(`
      "Topology words
        Sub-topology 0
          Source from-lines-0 (topics: lines; key: string, value: string)
            --> flatMapValues-1
          Operator flatMapValues-1: flatMapValues
            --> selectKey-2
          Operator selectKey-2: selectKey
            --> by-word
          Sink by-word (topic: words-by-word-repartition; key: string, value: string)
        Sub-topology 1
          Source by-word (topics: words-by-word-repartition; key: string, value: string)
            --> per-word
          Operator per-word: aggregate (regions: per-word)
            --> to-counts-5
          Sink to-counts-5 (topic: counts; key: string, value: int64)
          Region per-word (changelog: words-per-word-changelog, persistent; key: string, value: int64)
      "
    `)
  })

  test('streams that share nothing stand apart', () => {
    const t = new Topology('two')
    t.stream('left', strings).to('out')
    t.stream('right', strings).to('out')
    expect(t.describe()).toMatchInlineSnapshot(`
      "Topology two
        Sub-topology 0
          Source from-left-0 (topics: left; key: string, value: string)
            --> to-out-1
          Sink to-out-1 (topic: out; key: string, value: string)
        Sub-topology 1
          Source from-right-2 (topics: right; key: string, value: string)
            --> to-out-3
          Sink to-out-3 (topic: out; key: string, value: string)
      "
    `)
  })

  test('a shared region joins', () => {
    const t = new Topology('joined')
    const shared = t.region('shared', strings)
    t.stream('left', strings).process('write', { regions: [shared] }, () => {})
    t.stream('right', strings).process('read', { regions: [shared] }, () => {})
    expect(t.describe()).toMatchInlineSnapshot(`
      "Topology joined
        Sub-topology 0
          Source from-left-0 (topics: left; key: string, value: string)
            --> write
          Source from-right-2 (topics: right; key: string, value: string)
            --> read
          Operator write: process (regions: shared)
          Operator read: process (regions: shared)
          Region shared (changelog: joined-shared-changelog, persistent; key: string, value: string)
      "
    `)
  })

  test('a shared region joins both sides of a repartition topic, too', () => {
    const t = new Topology('around')
    const shared = t.region('shared', strings)
    const near = t.stream('in', strings)
    near.process('write', { regions: [shared] }, () => {})
    near.repartition('again').process('read', { regions: [shared] }, () => {})
    expect(t.describe()).toMatchInlineSnapshot(`
      "Topology around
        Sub-topology 0
          Source from-in-0 (topics: in; key: string, value: string)
            --> write, again
          Source again (topics: around-again-repartition; key: string, value: string)
            --> read
          Operator write: process (regions: shared)
          Sink again (topic: around-again-repartition; key: string, value: string)
          Operator read: process (regions: shared)
          Region shared (changelog: around-shared-changelog, persistent; key: string, value: string)
      "
    `)
  })

  test('a global region joins nothing', () => {
    const t = new Topology('apart')
    const names = t.globalRegion('names', { topic: 'names', ...strings })
    t.stream('left', strings).process('look-left', { regions: [names] }, () => {})
    t.stream('right', strings).process('look-right', { regions: [names] }, () => {})
    expect(t.describe()).toMatchInlineSnapshot(`
      "Topology apart
        Global region names (topic: names, key: string, value: string)
        Sub-topology 0
          Source from-left-0 (topics: left; key: string, value: string)
            --> look-left
          Operator look-left: process (regions: names)
        Sub-topology 1
          Source from-right-2 (topics: right; key: string, value: string)
            --> look-right
          Operator look-right: process (regions: names)
      "
    `)
  })

  test('a region that no operator uses has no task, and no changelog', () => {
    const t = new Topology('unused')
    t.region('nobodys', strings)
    t.stream('in', strings).to('out')
    expect(t.describe()).not.toContain('nobodys')
  })
})

describe('in other forms', () => {
  const t = new Topology('shown')
  t.globalRegion('names', { topic: 'people', ...strings })
  t.stream('in', strings)
    .groupBy('by-value', (value) => value)
    .count('counts')
    .toStream()
    .to(() => 'out', { partitioner: () => 0 })

  test('as data', () => {
    const repartition = 'shown-by-value-repartition'
    expect(JSON.parse(t.describe('json'))).toEqual({
      application: 'shown',
      globalRegions: [
        { name: 'names', topic: 'people', store: 'persistent', key: 'string', value: 'string' },
      ],
      subTopologies: [
        {
          id: 0,
          sources: [
            { name: 'from-in-0', topics: ['in'], key: 'string', value: 'string', to: ['selectKey-1'] },
          ],
          nodes: [
            { name: 'selectKey-1', operator: 'selectKey', regions: [], to: ['by-value'] },
            {
              name: 'by-value',
              topic: repartition,
              isPartitioned: false,
              key: 'string',
              value: 'string',
              to: [],
            },
          ],
          regions: [],
        },
        {
          id: 1,
          sources: [
            { name: 'by-value', topics: [repartition], key: 'string', value: 'string', to: ['counts'] },
          ],
          nodes: [
            { name: 'counts', operator: 'aggregate', regions: ['counts'], to: ['to-4'] },
            { name: 'to-4', topic: null, isPartitioned: true, key: 'string', value: 'int64', to: [] },
          ],
          regions: [
            {
              name: 'counts',
              changelog: 'shown-counts-changelog',
              store: 'persistent',
              key: 'string',
              value: 'int64',
            },
          ],
        },
      ],
    })
  })

  test('as a diagram', () => {
    expect(t.describe('mermaid')).toMatchInlineSnapshot(`
      "flowchart TD
        n11[/"chosen per record"/]
        n3[/"in"/]
        n1[/"people"/]
        n6[/"shown-by-value-repartition"/]
        n0[("names")]
        subgraph s0["Sub-topology 0"]
          n2(["from-in-0"])
          n4["selectKey-1"]
          n5(["by-value"])
        end
        subgraph s1["Sub-topology 1"]
          n7(["by-value"])
          n9[("counts")]
          n8["counts: aggregate"]
          n10(["to-4"])
        end
        n1 --> n0
        n3 --> n2
        n2 --> n4
        n4 --> n5
        n5 --> n6
        n6 --> n7
        n7 --> n8
        n8 --> n10
        n8 -.- n9
        n10 --> n11
      "
    `)
  })
})
