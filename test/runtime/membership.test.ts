/** Static members, and two processes on copies of one state directory. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { memoryDisk } from '../../src/index.ts'
import { CODE } from '../../src/kafka/error-codes.ts'
import type { ApplicationState } from '../../src/runtime/druse.ts'
import { PATIENT } from './instance.ts'
import { Stage } from './stage.ts'
import { drained, feed, INPUTS, makeTopics, tally, verify } from './tally.ts'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
  await makeTopics(stage.wire)
})

afterEach(() => stage.close())

describe('a static member', () => {
  test('comes back within its session: its tasks are its own again, and nobody else notices', async () => {
    await feed(stage.wire, 0, 200)
    const disk = memoryDisk()
    const mine = { disk, groupInstanceId: 'one', ...PATIENT }
    const first = await stage.run(tally, mine)
    const other = await stage.run(tally, { groupInstanceId: 'two', ...PATIENT })
    await stage.drained(tally)
    await expect.poll(() => first.app.health.tasks.length).toBe(3)
    const before = first.app.health.tasks.map(({ task }) => task).sort()
    const states: ApplicationState[] = []
    other.app.onStateChange((state) => states.push(state))

    await first.app.close()
    expect(first.requests.some(({ api }) => api === 'LeaveGroup')).toBe(false)
    await feed(stage.wire, 200, INPUTS)
    const again = await stage.run(tally, mine)
    expect(again.app.health.tasks.map(({ task }) => task).sort()).toEqual(before)
    await drained(stage.wire)
    await verify(stage.wire)
    expect(states).toEqual([])
    const commits = again.requests.filter(({ api }) => api === 'TxnOffsetCommit')
    expect(commits.length).toBeGreaterThan(0)
    expect(
      commits.every((request) => (request as { groupInstanceId?: string }).groupInstanceId === 'one'),
    ).toBe(true)
  })

  test('leaves when it is told to: the others go on with its tasks', async () => {
    const first = await stage.run(tally, { groupInstanceId: 'one', ...PATIENT })
    const other = await stage.run(tally, { groupInstanceId: 'two', ...PATIENT })
    await expect.poll(() => first.app.health.tasks.length).toBe(3)
    await first.app.close({ leaveGroup: true })
    await expect.poll(() => other.app.health.tasks.length).toBe(6)
    await feed(stage.wire)
    await drained(stage.wire)
    await verify(stage.wire)
  })

  test('is fenced by another process that has its id, and stops', async () => {
    const first = await stage.run(tally, { groupInstanceId: 'one', ...PATIENT })
    const second = await stage.run(tally, { groupInstanceId: 'one', ...PATIENT })
    await expect.poll(() => first.app.state).toBe('ERROR')
    expect(first.app.health.error?.code).toBe('INSTANCE_FENCED')
    await feed(stage.wire)
    await drained(stage.wire)
    await verify(stage.wire)
    expect(second.app.state).toBe('RUNNING')
  })

  for (const groupInstanceId of ['', '.', '..', 'a b', 'ü', 'x'.repeat(250)]) {
    test(`an id that Kafka would not take: '${groupInstanceId.slice(0, 10)}'`, () => {
      expect(() => stage.instance(tally, { groupInstanceId })).toThrow(
        expect.objectContaining({ code: 'OPTION_INVALID' }),
      )
    })
  }
})

test('a member that others have replaced takes nothing for lost: it asks the group before a task stops', async () => {
  await feed(stage.wire, 0, 200)
  const one = await stage.run(tally, PATIENT)
  await drained(stage.wire, 200)
  let refused = 0
  // As after a freeze: its records were purged, and the group has forgotten it, which it has not heard yet.
  one.fates = (request) => {
    if (request.api === 'Heartbeat' && refused > 0) return { answer: { errorCode: CODE.UNKNOWN_MEMBER_ID } }
    if (request.api === 'JoinGroup') one.fates = () => 'pass'
    if (request.api !== 'Fetch' || request.partitions.length === 0) return 'pass'
    refused += 1
    const partitions = request.partitions.map(({ topic, partition }) => ({
      topic,
      partition,
      errorCode: CODE.OFFSET_OUT_OF_RANGE,
      highWatermark: -1,
      lastStableOffset: -1,
      logStartOffset: -1,
      abortedTransactions: [],
      records: new Uint8Array(),
    }))
    return { answer: { errorCode: 0, partitions } }
  }
  const seen = new Set<string>()
  one.app.onStateChange(() => {
    for (const { status } of one.app.health.tasks) seen.add(status)
  })
  await feed(stage.wire, 200, INPUTS)
  await drained(stage.wire)
  await verify(stage.wire)
  expect(refused).toBeGreaterThan(0)
  expect(seen).not.toContain('failed')
  expect(one.logged('task: stopped')).toBe(false)
})

describe('a copy of a state directory', () => {
  const workerId = async (disk: ReturnType<typeof memoryDisk>): Promise<string> =>
    JSON.parse((await disk.readText('owner.json')) as string).workerId

  test('fences and is fenced, until one of them has a new worker id; what comes out is exact', async () => {
    const original = memoryDisk()
    await (await stage.run(tally, { disk: original })).close()
    const copy = memoryDisk()
    await copy.writeText('owner.json', (await original.readText('owner.json')) as string)
    const before = await workerId(original)
    const one = await stage.run(tally, { disk: original, commitRecords: 5, ...PATIENT })
    const two = await stage.run(tally, { disk: copy, commitRecords: 5, ...PATIENT })
    await feed(stage.wire)
    await drained(stage.wire)
    await stage.drained(tally)
    await verify(stage.wire)
    const ids = [await workerId(original), await workerId(copy)]
    expect(new Set(ids).size).toBe(2)
    expect(ids.filter((id) => id !== before).length).toBeGreaterThanOrEqual(1)
    const told = [one, two].filter((instance) => instance.logged('fenced twice'))
    expect(told.length).toBeGreaterThanOrEqual(1)
    // And it stays so over a restart.
    await two.close()
    await stage.run(tally, { disk: copy })
    expect(await workerId(copy)).toBe(ids[1])
  })

  test('one fencing may be the broker’s doing: the worker id stays', async () => {
    const disk = memoryDisk()
    await feed(stage.wire)
    let isFenced = false
    const one = await stage.run(tally, {
      disk,
      ...PATIENT,
      fates: (request) => {
        if (request.api !== 'EndTxn' || isFenced) return 'pass'
        isFenced = true
        return { answer: { errorCode: 90 } }
      },
    })
    await drained(stage.wire)
    await verify(stage.wire)
    expect(one.app.health.counts.recoveries).toBe(1)
    expect(one.logged('fenced twice')).toBe(false)
  })
})
