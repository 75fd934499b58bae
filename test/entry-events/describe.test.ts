import { expect, test } from 'vitest'
import { json, string, Topology } from '../../src/index.ts'
import { strings } from '../testing/topologies.ts'

function topology() {
  const t = new Topology('bank')
  const entries = t.region('entries', strings)
  t.stream('in', strings).toRegion(entries)
  t.fromRegion(entries).to('events', { key: string, value: json() })
  return t
}

test('regions as source and sink are shown', () => {
  expect(topology().describe()).toBe(`Topology bank
  Sub-topology 0
    Source from-in-0 (topics: in; key: string, value: string)
      --> to-region-entries-1
    Operator to-region-entries-1: toRegion (regions: entries)
    Operator from-region-entries-2: fromRegion (regions: entries)
      --> to-events-3
    Sink to-events-3 (topic: events; key: string, value: json)
    Region entries (changelog: bank-entries-changelog, persistent; key: string, value: string)
`)
  expect(JSON.parse(topology().describe('json')).subTopologies[0].nodes).toMatchObject([
    { name: 'to-region-entries-1', operator: 'toRegion', regions: ['entries'], to: [] },
    { name: 'from-region-entries-2', operator: 'fromRegion', regions: ['entries'], to: ['to-events-3'] },
    { name: 'to-events-3', topic: 'events' },
  ])
})

test('and drawn with the direction in which entries go', () => {
  expect(topology().describe('mermaid').split('\n')).toEqual([
    'flowchart TD',
    '  n6[/"events"/]',
    '  n1[/"in"/]',
    '  subgraph s0["Sub-topology 0"]',
    '    n0(["from-in-0"])',
    '    n3[("entries")]',
    '    n2["to-region-entries-1: toRegion"]',
    '    n4["from-region-entries-2: fromRegion"]',
    '    n5(["to-events-3"])',
    '  end',
    '  n1 --> n0',
    '  n0 --> n2',
    '  n2 --> n3',
    '  n4 --> n5',
    '  n3 --> n4',
    '  n5 --> n6',
    '',
  ])
})

test('under the names that they are given', () => {
  const t = new Topology('named')
  const entries = t.region('entries', strings)
  t.stream('in', strings).toRegion(entries, { name: 'keep' })
  t.fromRegion(entries, { name: 'changes' })
  t.fromRegion({ application: 'other', region: 'r', ...strings }, { name: 'others' })
  const names = t.build().nodes.map(({ name }) => name)
  expect(names.filter((name) => !name.startsWith('from-'))).toEqual(['keep', 'changes', 'others'])
})
