/**
 * At-least-once: the same commit without its transaction. Records may come twice after a failure; none is missing, and
 * regions are what their changelogs say, whatever stands there beyond the last commit.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  bytes,
  int64,
  memoryDisk,
  type Region,
  readTopic,
  string,
  type TopicPartition,
  Topology,
  type Wire,
} from '../../src/index.ts'
import { CODE } from '../../src/kafka/error-codes.ts'
import { PlainWriter } from '../../src/kafka/plain-writer.ts'
import type { Request, Requests, Responses } from '../../src/ports.ts'
import { decodeMetadata } from '../../src/runtime/task-metadata.ts'
import { type Fate, type Fates, type Instance, type InstanceOptions, PATIENT } from './instance.ts'
import { Stage, strings } from './stage.ts'
import { drained, feed, INPUTS, keyOf, makeTopics, tally, verify } from './tally.ts'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
  await makeTopics(stage.wire)
})

afterEach(() => stage.close())

function instance(options: Partial<InstanceOptions> = {}): Instance {
  return stage.instance(tally, { commitRecords: 10, processingGuarantee: 'at_least_once', ...options })
}

/** `fate` once, when a task has committed a few times: at a commit of its own, or at a batch into a changelog after it. */
function later(api: 'Produce' | 'OffsetCommit', fate: Fate | Fates): Fates {
  let isLate = false
  let isOver = false
  return (request: Request) => {
    if (request.api === 'OffsetCommit') {
      isLate ||= request.partitions.some(
        ({ topic, metadata }) =>
          topic.endsWith('-repartition') && decodeMetadata(metadata, 'here').sequence === 4,
      )
    }
    if (isOver || !isLate || request.api !== api) return 'pass'
    if (request.api === 'Produce' && !request.partitions.some(({ topic }) => topic.endsWith('-changelog')))
      return 'pass'
    isOver = true
    return typeof fate === 'function' ? fate(request) : fate
  }
}

const isRepartition = ({ topic }: TopicPartition): boolean => topic.endsWith('-repartition')

async function guarantees(): Promise<string[]> {
  const places = [0, 1, 2].map((partition) => ({ topic: 'tally-by-rest-repartition', partition }))
  const found = await Promise.all(places.map((at) => stage.committed('tally', at)))
  return found.map((offset) => decodeMetadata(offset?.metadata ?? '', 'here').guarantee)
}

/** Every input at least once in each sink, and nothing else; regions as their changelogs, and at least as high as the truth. */
async function verifyAtLeast(app: Instance['app']): Promise<void> {
  const copies = await readTopic(stage.wire, 'copies', { key: string, value: int64 })
  const numbers = Array.from({ length: INPUTS }, (_, n) => n)
  expect([...new Set(copies.map(({ value }) => value))].sort((a, b) => a - b)).toEqual(numbers)
  const { regions } = tally().build()
  for (const name of ['counts', 'sums']) {
    const changelog = await readTopic(stage.wire, `tally-${name}-changelog`, { key: string, value: int64 })
    const folded = new Map(changelog.map(({ key, value }) => [key, value]))
    const region = regions.get(name) as unknown as Region<string, string, number>
    const entries = new Map<string, number>()
    for await (const [key, value] of app.region(region).range()) entries.set(key, value)
    expect(entries).toEqual(folded)
    if (name !== 'counts') continue
    for (const key of new Set(numbers.map((n) => keyOf(n)))) {
      const least = numbers.filter((n) => keyOf(n) === key).length
      expect(entries.get(key)).toBeGreaterThanOrEqual(least)
    }
  }
}

describe('without a failure', () => {
  test('the result is exact, no transaction is asked for, and the metadata says which guarantee', async () => {
    await feed(stage.wire)
    const one = await instance().start()
    await drained(stage.wire)
    await verify(stage.wire)
    const apis = new Set(one.requests.map(({ api }) => api))
    expect(apis.has('OffsetCommit')).toBe(true)
    for (const api of ['AddPartitionsToTxn', 'AddOffsetsToTxn', 'TxnOffsetCommit', 'EndTxn'] as const) {
      expect(apis.has(api)).toBe(false)
    }
    await stage.drained(tally)
    expect(await guarantees()).toEqual(['at_least_once', 'at_least_once', 'at_least_once'])
    expect(one.app.health.counts.recoveries).toBe(0)
  })

  test('a restart on the same directory replays nothing and goes on', async () => {
    const disk = memoryDisk()
    await feed(stage.wire, 0, 200)
    const one = await instance({ disk }).start()
    await drained(stage.wire, 200)
    await one.app.close()
    await feed(stage.wire, 200, INPUTS)
    const two = await instance({ disk }).start()
    await drained(stage.wire)
    await verify(stage.wire)
    expect(two.logged('moved aside')).toBe(false)
    expect(two.logged('state replayed')).toBe(false)
  })
})

describe('answers that are lost', () => {
  for (const api of ['Produce', 'OffsetCommit'] as const) {
    for (const fate of ['loseRequest', 'loseAnswer'] as const) {
      test(`${fate} of ${api}: it is sent again, and changes nothing`, async () => {
        await feed(stage.wire)
        const one = await instance({ fates: later(api, fate), ...PATIENT }).start()
        await drained(stage.wire)
        await verify(stage.wire)
        expect(one.app.health.counts.recoveries).toBe(0)
      })
    }
  }

  test('the answer that an appended batch has no place any more is not taken for one', async () => {
    await feed(stage.wire)
    const fates = later('Produce', (request) => {
      const errorCode = CODE.OUT_OF_ORDER_SEQUENCE_NUMBER
      const { partitions } = request as Requests['Produce']
      return {
        answer: {
          partitions: partitions.map(({ topic, partition }) => ({
            topic,
            partition,
            errorCode,
            baseOffset: -1,
          })),
        },
      }
    })
    const one = await instance({ fates, ...PATIENT }).start()
    await drained(stage.wire)
    await expect.poll(() => one.app.health.counts.recoveries).toBe(1)
    await expect.poll(() => one.app.state).toBe('RUNNING')
    await verifyAtLeast(one.app)
  })
})

describe('crashes', () => {
  for (const api of ['Produce', 'OffsetCommit'] as const) {
    for (const fate of ['crashBefore', 'crashAfter'] as const) {
      for (const where of ['the same directory', 'an empty one'] as const) {
        test(`${fate} of ${api}, then on ${where}`, async () => {
          await feed(stage.wire)
          const first = instance({ fates: later(api, fate) })
          await first.start()
          await first.fell
          const second = instance(where === 'an empty one' ? {} : { disk: first.disk })
          await second.start()
          await second.app.untilRunning()
          await drained(stage.wire)
          await stage.drained(tally)
          await verifyAtLeast(second.app)
        })
      }
    }
  }

  test('what an uncommitted record beyond X replaced may be compacted away: replays go on to the end', async () => {
    await feed(stage.wire)
    const first = instance({ fates: later('OffsetCommit', 'crashBefore') })
    await first.start()
    await first.fell
    await stage.broker.compact(['tally-counts-changelog', 'tally-sums-changelog'])
    const second = await instance().start()
    await second.app.untilRunning()
    await drained(stage.wire)
    await stage.drained(tally)
    await verifyAtLeast(second.app)
  })

  test('an owner in between left changes without a commit: who comes back has them, too', async () => {
    await feed(stage.wire, 0, 200)
    const first = await instance().start()
    await drained(stage.wire, 200)
    await stage.drained(tally)
    // It takes some tasks, changes regions and dies before it commits.
    const second = instance({
      fates: (request) => {
        const isCommit = request.api === 'OffsetCommit' && request.partitions.some(isRepartition)
        return isCommit ? 'crashBefore' : 'pass'
      },
    })
    await second.start()
    await second.app.untilRunning()
    await feed(stage.wire, 200, INPUTS)
    await second.fell
    await drained(stage.wire)
    await expect.poll(() => first.app.state).toBe('RUNNING')
    await stage.drained(tally)
    await verifyAtLeast(first.app)
  })

  test('of a generation that is over nothing is committed', async () => {
    await feed(stage.wire)
    const codes: number[] = []
    const first = instance({
      fates: later('OffsetCommit', 'freezeBefore'),
      wire: overhearing(stage.wire, codes),
    })
    await first.start()
    await first.fell
    const second = await instance().start()
    await drained(stage.wire)
    expect(new Set(codes)).toEqual(new Set([CODE.NONE]))
    first.thaw()
    await expect.poll(() => codes.some((code) => code !== CODE.NONE)).toBe(true)
    expect([CODE.UNKNOWN_MEMBER_ID, CODE.ILLEGAL_GENERATION]).toContain(
      codes.find((code) => code !== CODE.NONE),
    )
    await stage.drained(tally)
    await expect.poll(() => first.app.state).toBe('RUNNING')
    await expect.poll(() => second.app.state).toBe('RUNNING')
    const copies = await readTopic(stage.wire, 'copies', { key: string, value: int64 })
    expect(new Set(copies.map(({ value }) => value)).size).toBe(INPUTS)
  })
})

describe('an offset commit that was sent again, carried out late behind newer ones', () => {
  const copying = (t: Topology) => t.stream('in', strings).to('out')
  const counting = (t: Topology) => t.stream('in', strings).groupByKey().count('counts').toStream().to('out')
  for (const [what, build] of [
    ['a task without regions', copying],
    ['a task with regions', counting],
  ] as const) {
    test(`${what} is asked about again, then goes on from there`, async () => {
      const late = (): Topology => {
        const t = new Topology('late')
        build(t)
        return t
      }
      await stage.topics('in', 'out')
      const disk = memoryDisk()
      const sequence = async (): Promise<number> => {
        const committed = await stage.committed('late', { topic: 'in', partition: 0 })
        return decodeMetadata(committed?.metadata ?? '', 'here').sequence
      }
      const one = await stage.run(late, { ...PATIENT, disk, processingGuarantee: 'at_least_once' })
      const commits: Request[] = []
      for (let n = 1; n <= 4; n++) {
        await stage.say('in', ['k', `${n}`])
        await stage.drained(late)
        const last = one.requests.findLast(({ api }) => api === 'OffsetCommit')
        if (last !== undefined) commits.push(last)
      }
      const newest = await sequence()
      await stage.cluster.ask('commit late', async () => {
        const node = await stage.cluster.coordinator('group', 'late')
        return { node, request: commits[1] as Request }
      })
      expect(await sequence()).toBeLessThan(newest)
      await one.close()
      const two = await stage.run(late, { disk, processingGuarantee: 'at_least_once' })
      expect(two.app.health.healthy).toBe(true)
      expect(two.logged('task: cannot be taken yet')).toBe(true)
      expect(two.logged('from older offsets')).toBe(true)
      expect(two.logged('moved aside')).toBe(false)
      await stage.drained(late)
      expect((await stage.records('out', { key: bytes, value: bytes })).length).toBeGreaterThan(4)
      await two.close()
      const three = await stage.run(late, { disk, processingGuarantee: 'at_least_once' })
      expect(three.app.health.healthy).toBe(true)
      expect(three.logged('from older offsets')).toBe(false)
    })
  }
})

describe('many tasks', () => {
  test('offsets of one task are committed in one request: half of them would say nothing', async () => {
    const three = (): Topology => {
      const t = new Topology('three')
      t.stream(['a', 'b', 'c'], strings).to('out')
      return t
    }
    await stage.topics('out', ...['a', 'b', 'c'].map((topic) => ({ topic, partitions: 67 })))
    const disk = memoryDisk()
    const sizes: number[] = []
    const one = await stage.run(three, {
      ...PATIENT,
      disk,
      processingGuarantee: 'at_least_once',
      commitIntervalMs: 300,
      fates: (request) => {
        if (request.api !== 'OffsetCommit' || request.partitions.length < 3) return 'pass'
        sizes.push(request.partitions.length)
        return 'pass'
      },
    })
    const records = Array.from({ length: 2_000 }, (_, i) => ({ key: `k${i}`, value: 'v' }))
    await stage.send('a', records, strings)
    await stage.drained(three)
    expect(sizes.length).toBeGreaterThan(0)
    expect(sizes.filter((size) => size % 3 !== 0)).toEqual([])
    expect(Math.max(...sizes)).toBeGreaterThan(100)
    await one.close()
  })
})

describe('the producer without transactions', () => {
  const nobody = { memberId: 'nobody', generationId: 1, groupInstanceId: null }

  test('begins nothing for who is no member any more, since appends are not fenced', async () => {
    const writer = new PlainWriter(stage.cluster)
    await writer.open()
    const begun = writer.begin([], 'tally', nobody)
    await expect(begun).rejects.toMatchObject({ code: 'MEMBERSHIP_LOST' })
    expect(writer.isOpen).toBe(false)
  })
})

describe('changing the guarantee', () => {
  test('to exactly-once: what stands beyond the last commit is taken over, and the next commit says so', async () => {
    await feed(stage.wire)
    const first = instance({ fates: later('OffsetCommit', 'crashBefore') })
    await first.start()
    await first.fell
    const second = instance({ disk: first.disk, processingGuarantee: 'exactly_once' })
    await second.start()
    await second.app.untilRunning()
    await drained(stage.wire)
    await stage.drained(tally)
    await verifyAtLeast(second.app)
    expect(second.logged('moved aside')).toBe(false)
    await second.app.close()
    // From here on it is exact: the next start finds nothing to replay.
    const third = await instance({ disk: first.disk, processingGuarantee: 'exactly_once' }).start()
    await third.app.untilRunning()
    expect(third.logged('state replayed')).toBe(false)
    expect(third.logged('moved aside')).toBe(false)
    await verifyAtLeast(third.app)
  })

  test('to at-least-once: it is committed before the first record, so that a first commit may fail', async () => {
    const disk = memoryDisk()
    await feed(stage.wire, 0, 200)
    const first = await instance({ disk, processingGuarantee: 'exactly_once' }).start()
    await stage.drained(tally)
    await first.app.close()
    await feed(stage.wire, 200, INPUTS)
    const second = instance({
      disk,
      fates: (request) => {
        const moves =
          request.api === 'OffsetCommit' &&
          request.partitions.some(
            (at) => isRepartition(at) && decodeMetadata(at.metadata, 'here').streamTimeMs > 1_199,
          )
        return moves ? 'crashBefore' : 'pass'
      },
    })
    await second.start()
    await second.fell
    expect(await guarantees()).toEqual(['at_least_once', 'at_least_once', 'at_least_once'])
    const third = await instance({ disk }).start()
    await third.app.untilRunning()
    await stage.drained(tally)
    expect(third.app.health.healthy).toBe(true)
    await verifyAtLeast(third.app)
  })

  test('to at-least-once: nothing is lost and nothing comes twice', async () => {
    const disk = memoryDisk()
    await feed(stage.wire, 0, 200)
    const first = await instance({ disk, processingGuarantee: 'exactly_once' }).start()
    await drained(stage.wire, 200)
    await first.app.close()
    await feed(stage.wire, 200, INPUTS)
    const second = await instance({ disk }).start()
    await drained(stage.wire)
    await verify(stage.wire)
    expect(second.logged('moved aside')).toBe(false)
  })
})

/** Notes the codes with which offsets were taken or refused. */
function overhearing(wire: Wire, codes: number[]): Wire {
  return {
    connect: (purpose) => {
      const connection = wire.connect(purpose)
      return {
        destroy: () => connection.destroy(),
        send: async (node, request, timeoutMs) => {
          const outcome = await connection.send(node, request, timeoutMs)
          if (outcome.ok && request.api === 'OffsetCommit') {
            const { partitions } = outcome.response as Responses['OffsetCommit']
            codes.push(...partitions.map(({ errorCode }) => errorCode))
          }
          return outcome
        },
      }
    },
  }
}
