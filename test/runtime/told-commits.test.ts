/** What members tell one another of the last commits of tasks, and who hears of it. */
import { describe, expect, test } from 'vitest'
import { string, Topology } from '../../src/index.ts'
import { decodeAssignment, encodeAssignment, encodeSubscription } from '../../src/kafka/consumer-protocol.ts'
import {
  allTasks,
  assignedTasks,
  assignTasks,
  COMMITS_MAX,
  handedCommits,
  memberMetadata,
} from '../../src/runtime/assignor.ts'
import { KnownCommits, type LastCommit } from '../../src/runtime/known-commits.ts'
import { makePlan, type Plan } from '../../src/runtime/plan.ts'
import { lastingName } from '../../src/runtime/state-directory.ts'

const at = (sequence: number, incarnation = 'life'): LastCommit => ({ cluster: 'c', incarnation, sequence })

function planOf(partitions: number): Plan {
  const topology = new Topology('told')
  topology.stream('in', { key: string, value: string }).to('out', { key: string, value: string })
  const found = ['in', 'out'].map(
    (topic) => [topic, { topic, partitions, topicId: topic, configs: {} }] as const,
  )
  return makePlan(topology.build(), new Map(found), { replicationFactor: 1 })
}

function knowing(commits: Readonly<Record<number, LastCommit>>): KnownCommits {
  const known = new KnownCommits()
  for (const [partition, commit] of Object.entries(commits)) known.learn(`in-${partition}`, commit)
  return known
}

function tasksOf(plan: Plan, ...partitions: number[]) {
  return allTasks(plan).filter(({ partition }) => partitions.includes(partition))
}

const member = (memberId: string, metadata: Uint8Array) => ({ memberId, groupInstanceId: null, metadata })
const saying = (userData: string) => encodeSubscription(['in'], Buffer.from(userData))

/** What each member comes to know by the assignment: by member, by partition. */
function heard(plan: Plan, members: Readonly<Record<string, Uint8Array>>, leader = new KnownCommits()) {
  const list = Object.entries(members).map(([id, metadata]) => member(id, metadata))
  return Object.fromEntries(
    Array.from(assignTasks(plan, list, leader), ([id, assignment]) => {
      const known = new KnownCommits()
      for (const [task, commit] of handedCommits(plan, assignment)) known.learn(lastingName(task), commit)
      const ofTask = assignedTasks(plan, assignment).map((task) => [
        task.partition,
        known.all(lastingName(task)),
      ])
      return [id, Object.fromEntries(ofTask)]
    }),
  )
}

describe('the last commits of tasks', () => {
  const plan = planOf(4)

  test('come to who gets the tasks, the newest that any member knows of', () => {
    const old = knowing({ 0: at(9), 1: at(8), 2: at(3), 3: at(7) })
    const rejoined = knowing({ 2: at(5), 3: at(6) })
    const members = {
      a: memberMetadata(plan, tasksOf(plan, 0, 1, 2, 3), old),
      b: memberMetadata(plan, [], rejoined),
    }
    expect(heard(plan, members)).toEqual({
      a: { 0: [at(9)], 1: [at(8)] },
      b: { 2: [at(5)], 3: [at(7)] },
    })
  })

  test('are remembered by the leader, for the tasks of members that say nothing any more', () => {
    const leader = new KnownCommits()
    heard(plan, { a: memberMetadata(plan, tasksOf(plan, 1), knowing({ 1: at(4) })) }, leader)
    const after = heard(plan, { b: memberMetadata(plan, [], new KnownCommits()) }, leader)
    expect(after).toEqual({ b: { 0: [], 1: [at(4)], 2: [], 3: [] } })
  })

  test('of several lives go side by side: which one it is, only Kafka can say', () => {
    const members = {
      a: memberMetadata(plan, tasksOf(plan, 0), knowing({ 0: at(2, 'after the reset') })),
      b: memberMetadata(plan, [], knowing({ 0: at(900, 'before it') })),
      c: memberMetadata(plan, [], knowing({ 0: { ...at(7), cluster: 'another' } })),
    }
    expect(heard(plan, members)).toMatchObject({
      a: { 0: [at(2, 'after the reset'), at(900, 'before it'), { ...at(7), cluster: 'another' }] },
    })
  })

  test.each([
    ['nothing', ''],
    ['what an earlier version says', '{"v":1,"tasks":["in/0"]}'],
    ['no object', '7'],
    ['null', '{"commits":null}'],
    ['another shape', '{"commits":{"c":[1,2]}}'],
    ['another shape below', '{"commits":{"c":{"in":{"0":"life"}}}}'],
    ['fields that are missing', '{"commits":{"c":{"in":[[0],null,[0,"life"]]}}}'],
    [
      'numbers that are none',
      '{"commits":{"c":{"in":[[0,"life",1.5],[0,"life",-1],[-1,"life",1],["0","life",1]]}}}',
    ],
    ['tasks that are unknown', '{"commits":{"c":{"in":[[4,"life",1]],"other":[[0,"life",1]]}}}'],
  ])('that cannot be understood are not known, and the rest is: %s', (_, userData) => {
    const members = {
      a: saying(userData),
      b: saying('{"v":1,"new":true,"commits":{"c":{"in":[[0,"life",3],[1,"life",5]],"other":[]}}}'),
    }
    const leader = new KnownCommits()
    const { a, b } = heard(plan, members, leader)
    // Not of a task that the topology does not have: what is kept is bounded by it.
    expect([leader.all('in-4'), leader.all('other-0')]).toEqual([[], []])
    expect({ ...a, ...b }).toEqual({ 0: [at(3)], 1: [at(5)], 2: [], 3: [] })
  })

  test('are missing where the leader is of an earlier version', () => {
    const assignment = encodeAssignment([{ topic: 'in', partition: 0 }], Buffer.from('{"v":1}'))
    expect(handedCommits(plan, assignment)).toEqual([])
    expect(handedCommits(plan, new Uint8Array(0))).toEqual([])
  })

  test('take little room: a thousand tasks, and beyond the bound no more', () => {
    const many = planOf(2_000)
    const all = allTasks(many)
    const known = new KnownCommits()
    for (const task of all)
      known.learn(lastingName(task), { cluster: 'c0ffee00', incarnation: '0123abcd', sequence: 1e7 })
    const bytes = (owned: number): number =>
      memberMetadata(many, all.slice(0, owned), known).length -
      memberMetadata(many, all.slice(0, owned), new KnownCommits()).length
    expect(bytes(0)).toBeLessThan(COMMITS_MAX.others * 28)
    expect(bytes(2_000)).toBeLessThan(COMMITS_MAX.own * 28)
    const told = handed(many, memberMetadata(many, all.slice(0, 1_500), known))
    expect(told).toEqual({ own: COMMITS_MAX.own, others: COMMITS_MAX.others })
    // One member for all tasks is handed no more than it may tell.
    const [[, assignment]] = [...assignTasks(many, [member('a', saying(''))], known)] as [
      [string, Uint8Array],
    ]
    expect(handedCommits(many, assignment)).toHaveLength(COMMITS_MAX.own)
    expect(decodeAssignment(assignment).userData.length).toBeLessThan(COMMITS_MAX.own * 28)
  })
})

/** How many a leader hears of from a member that runs the first 1 500 tasks. */
function handed(plan: Plan, metadata: Uint8Array) {
  const leader = new KnownCommits()
  assignTasks(plan, [member('a', metadata)], leader)
  const known = allTasks(plan).filter((task) => leader.all(lastingName(task)).length > 0)
  const own = known.filter(({ partition }) => partition < 1_500).length
  return { own, others: known.length - own }
}

describe('what is known', () => {
  test('is of each life the newest, of the latest lives', () => {
    const known = new KnownCommits()
    for (const commit of [at(5), at(3), at(7), at(6)]) known.learn('in-0', commit)
    expect(known.all('in-0')).toEqual([at(7)])
    for (const life of ['b', 'c', 'd']) known.learn('in-0', at(1, life))
    expect(known.all('in-0')).toEqual([at(1, 'b'), at(1, 'c'), at(1, 'd')])
    expect(known.all('in-1')).toEqual([])
  })
})
