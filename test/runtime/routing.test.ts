/** Sinks that choose: the topic of each record, and its partition. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  avro,
  DruseError,
  type ErrorPolicy,
  int64,
  localRegistry,
  memoryDisk,
  type Registry,
  type StreamRecord,
  string,
  Topology,
} from '../../src/index.ts'
import { CODE } from '../../src/kafka/error-codes.ts'
import { partitionFor } from '../../src/kafka/partitioner.ts'
import type { Request } from '../../src/ports.ts'
import type { Instance } from './instance.ts'
import { Stage, strings } from './stage.ts'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
})

afterEach(async () => {
  await stage.close()
})

const failed = ({ app }: Instance) => app.health.tasks.find(({ status }) => status === 'failed')?.error

async function failure(instance: Instance): Promise<DruseError> {
  await expect.poll(() => failed(instance)).toBeDefined()
  return failed(instance) as DruseError
}

const values = async (topic: string): Promise<string[]> => (await stage.read(topic)).map(([, value]) => value)
const headersOf = ({ headers }: StreamRecord<unknown, unknown>) =>
  Object.fromEntries(headers.map(({ key, value }) => [key, value && Buffer.from(value).toString()]))

/** Every partition of a topic is looked up with this. */
const looksAt =
  (topic: string) =>
  (request: Request): boolean =>
    request.api === 'Metadata' && request.topics?.includes(topic) === true

/** Records say in their value where they want to go: `topic:anything`. */
const router =
  (onFailure: ErrorPolicy = 'fail') =>
  (): Topology => {
    const t = new Topology('router')
    t.stream('in', { ...strings, onFailure }).to((value) => value.split(':')[0] as string)
    return t
  }

describe('a topic chosen per record', () => {
  test('each record in its topic, in order, at the partition of its key there', async () => {
    await stage.topics('in', { topic: 'a', partitions: 5 }, { topic: 'b', partitions: 3 })
    const inputs = Array.from({ length: 60 }, (_, n) => [`k${n % 7}`, `${n % 2 ? 'a' : 'b'}:${n}`] as const)
    await stage.say('in', ...inputs)
    await stage.run(router())
    await stage.drained(router())
    for (const [topic, partitions] of [
      ['a', 5],
      ['b', 3],
    ] as const) {
      const records = await stage.records(topic)
      const expected = inputs.filter(([, value]) => value.startsWith(topic))
      expect(records).toHaveLength(expected.length)
      for (const { key, partition } of records)
        expect(partition).toBe(partitionFor(Buffer.from(key), partitions))
      for (let key = 0; key < 7; key++) {
        const of = (list: readonly (readonly [string, string])[]) => list.filter(([k]) => k === `k${key}`)
        expect(of(records.map((r) => [r.key, r.value] as const))).toEqual(of(expected))
      }
    }
  })

  test('the function gets value, key and record; a topic is looked up once', async () => {
    await stage.topics('in', 'k-1', 'k-2')
    const seen: unknown[] = []
    const topology = (): Topology => {
      const t = new Topology('job')
      t.stream('in', strings)
        .mapValues(Number)
        .to(
          (value, key, record) => {
            seen.push([value, key, record.value, record.offset])
            return `${key}-${value}`
          },
          { value: int64 },
        )
      return t
    }
    await stage.say('in', ['k', '1'], ['k', '2'], ['k', '1'])
    const one = await stage.run(topology)
    await stage.drained(topology)
    expect(seen).toEqual([
      [1, 'k', 1, 0],
      [2, 'k', 2, 1],
      [1, 'k', 1, 2],
    ])
    expect(await stage.read('k-1', { key: string, value: int64 })).toEqual([
      ['k', 1],
      ['k', 1],
    ])
    expect(one.requests.filter((r) => r.api === 'DescribeConfigs' && r.topics.includes('k-1'))).toHaveLength(
      1,
    )
  })

  test('behind operators that fan out and operators that wait, nothing overtakes', async () => {
    await stage.topics('in', 'a', 'b', 'all')
    const topology = (): Topology => {
      const t = new Topology('job')
      const s = t
        .stream('in', strings)
        .flatMapValues((value) => [`a:${value}1`, `b:${value}1`, `a:${value}2`])
      s.to((value) => value.split(':')[0] as string, strings)
      s.process('slow', {}, async (record, { forward }) => {
        forward(record.key, record.value)
        await new Promise((resolve) => setImmediate(resolve))
        forward(record.key, `${record.value}'`)
      }).to((value) => value.split(':')[0] as string, strings)
      s.to('all', strings)
      return t
    }
    await stage.say('in', ['k', 'x'], ['k', 'y'])
    await stage.run(topology)
    await stage.drained(topology)
    expect(await values('all')).toEqual(['x', 'y'].flatMap((v) => [`a:${v}1`, `b:${v}1`, `a:${v}2`]))
    expect(await values('b')).toEqual(['x', 'y'].flatMap((v) => [`b:${v}1`, `b:${v}1`, `b:${v}1'`]))
    expect(await values('a')).toEqual(
      ['x', 'y'].flatMap((v) => [1, 2].flatMap((n) => [`a:${v}${n}`, `a:${v}${n}`, `a:${v}${n}'`])),
    )
  })

  test('exactly once, over a crash in the first transaction to a new topic', async () => {
    for (const [n, api] of (['AddPartitionsToTxn', 'Produce', 'EndTxn'] as const).entries()) {
      const [first, second] = [`x${n}`, `y${n}`]
      if (n === 0) await stage.topics('in')
      await stage.topics(first, second)
      let crashed = false
      await stage.say('in', ['k', `${first}:1`], ['k', `${second}:2`], ['k', `${first}:3`])
      const one = stage.instance(router(), {
        fates: (request) => {
          if (crashed || request.api !== api) return 'pass'
          crashed = true
          return 'crashAfter'
        },
      })
      await one.start()
      await one.fell
      const two = await stage.run(router(), { disk: one.disk })
      await stage.drained(router())
      await two.close()
      expect(await values(first)).toEqual([`${first}:1`, `${first}:3`])
      expect(await values(second)).toEqual([`${second}:2`])
    }
  })
})

describe('a chosen topic that cannot be written to', () => {
  const INPUTS = [
    ['k', 'a:1'],
    ['k', 'nowhere:2'],
    ['k', 'a:3'],
  ] as const

  test('fail: the task stops at the record; no topic is created; when there is one, a restart goes on', async () => {
    await stage.topics('in', 'a')
    await stage.say('in', ...INPUTS)
    const one = await stage.run(router())
    const error = await failure(one)
    expect(error).toMatchObject({
      code: 'OPERATOR_FAILED',
      details: { topic: 'in', partition: 0, offset: 1 },
      cause: { code: 'TOPIC_MISSING', kind: 'user', details: { topic: 'nowhere' } },
    })
    expect(error.message).toMatch(
      /^Operator 'to-1' failed on record in\/0@1: There is no topic 'nowhere'; create it/,
    )
    await expect
      .poll(async () => (await stage.committed('router', { topic: 'in', partition: 0 }))?.offset)
      .toBeLessThanOrEqual(1)
    expect(await stage.cluster.topic('nowhere')).toBeUndefined()
    await one.close()
    await stage.topics('nowhere')
    await stage.run(router(), { disk: one.disk })
    await stage.drained(router())
    expect(await values('a')).toEqual(['a:1', 'a:3'])
    expect(await values('nowhere')).toEqual(['nowhere:2'])
  })

  test('skip and dead letter: that record alone; the next ones for the topic do not ask again at once', async () => {
    await stage.topics('in', 'a', 'graveyard')
    await stage.say('in', ...INPUTS, ...Array.from({ length: 30 }, () => ['k', 'nowhere:4'] as const))
    const policy = { deadLetter: 'graveyard' }
    const one = await stage.run(router(policy))
    await stage.drained(router(policy))
    expect(await values('a')).toEqual(['a:1', 'a:3'])
    const dead = await stage.records('graveyard')
    expect(dead).toHaveLength(31)
    expect(headersOf(dead[0] as StreamRecord)).toMatchObject({
      'druse.error.offset': '1',
      'druse.error.message': expect.stringContaining("There is no topic 'nowhere'"),
    })
    // Patience for a topic made a moment ago, once.
    expect(one.requests.filter(looksAt('nowhere')).length).toBeLessThan(20)
    expect(await stage.cluster.topic('nowhere')).toBeUndefined()
  })

  test('a topic made a moment ago is waited for', async () => {
    await stage.topics('in', 'a')
    await stage.say('in', ...INPUTS)
    const made: Promise<void>[] = []
    const one = stage.instance(router(), {
      fates: (request) => {
        if (looksAt('nowhere')(request) && made.length === 0) made.push(stage.topics('nowhere'))
        return 'pass'
      },
    })
    await one.start()
    await stage.drained(router())
    await Promise.all(made)
    expect(await values('nowhere')).toEqual(['nowhere:2'])
  })

  for (const [name, what] of [
    ['a b', /The topic chosen is 'a b', which is no name of a topic/],
    ['', /The topic chosen is '', which is no name of a topic/],
    ['router-r-repartition', /'router-r-repartition', an internal topic of this application/],
    ['router-n-changelog', /'router-n-changelog', an internal topic of this application/],
  ] as const) {
    test(`'${name}' is refused`, async () => {
      const topology = (): Topology => {
        const t = new Topology('router')
        const s = t.stream('in', strings)
        s.repartition('r').groupByKey().count('n')
        s.to((value) => value.split(':')[0] as string)
        return t
      }
      await stage.topics('in', 'a')
      await stage.say('in', ['k', `${name}:1`])
      const error = await failure(await stage.run(topology))
      expect(error).toMatchObject({ code: 'OPERATOR_FAILED', cause: { code: 'TOPIC_INVALID' } })
      expect(error.message).toMatch(what)
    })
  }

  test('no topic at all, and a function that throws', async () => {
    const topology = (): Topology => {
      const t = new Topology('router')
      t.stream('in', { ...strings, onFailure: { deadLetter: 'graveyard' } }).to((value) => {
        if (value === 'throw') throw new Error('no idea where')
        return value === 'none' ? (undefined as never) : 'a'
      })
      return t
    }
    await stage.topics('in', 'a', 'graveyard')
    await stage.say('in', ['k', 'throw'], ['k', 'none'], ['k', 'v'])
    await stage.run(topology)
    await stage.drained(topology)
    expect(await values('a')).toEqual(['v'])
    expect((await stage.records('graveyard')).map((r) => headersOf(r)['druse.error.message'])).toEqual([
      expect.stringMatching(/^Operator 'to-1' failed on record in\/0@0: no idea where/),
      expect.stringMatching(/^Operator 'to-1' failed on record in\/0@1: The topic chosen is 'undefined'/),
    ])
  })

  test('one that is deleted while the application runs is missing from then on, for those records alone', async () => {
    await stage.topics('in', 'a', 'b')
    await stage.say('in', ['k', 'a:1'], ['k', 'b:1'])
    const one = await stage.run(router('skip'))
    await stage.drained(router())
    await stage.ask({ topic: 'b', partition: 0 }, { api: 'DeleteTopics', topics: ['b'], timeoutMs: 1_000 })
    await stage.say('in', ['k', 'b:2'], ['k', 'a:2'])
    await stage.drained(router())
    expect(await values('a')).toEqual(['a:1', 'a:2'])
    expect(one.app.health.healthy).toBe(true)
    expect(one.logged('a record is left out')).toBe(true)
  })
})

describe('serdes of chosen topics', () => {
  interface Reading {
    readonly degrees: number
  }
  const reading = avro<Reading>({
    type: 'record',
    name: 'Reading',
    fields: [{ name: 'degrees', type: 'int' }],
  })

  const sorter =
    (onFailure: ErrorPolicy = 'fail') =>
    (): Topology => {
      const t = new Topology('sorter')
      t.stream('in', { ...strings, onFailure })
        .mapValues((value) => ({ degrees: Number(value) }))
        .to(({ degrees }) => (degrees < 0 ? 'cold' : 'warm'), { value: reading })
      return t
    }

  test('Avro is registered under each topic, when a record first goes there', async () => {
    const registry = localRegistry(memoryDisk())
    const subjects: string[] = []
    const asked: Registry = {
      idOf: (subject, schema) => {
        subjects.push(subject)
        return registry.idOf(subject, schema)
      },
      schemaOf: (id) => registry.schemaOf(id),
    }
    await stage.topics('in', 'cold', 'warm')
    await stage.say('in', ['k', '5'], ['k', '6'])
    await stage.run(sorter(), { registry: asked })
    await stage.drained(sorter())
    expect(subjects).toEqual(['warm-value'])
    await stage.say('in', ['k', '-5'], ['k', '7'])
    await stage.drained(sorter())
    expect(subjects).toEqual(['warm-value', 'cold-value'])
    const serdes = { key: string, value: reading, registry }
    expect((await stage.read('warm', serdes)).map(([, { degrees }]) => degrees)).toEqual([5, 6, 7])
    expect((await stage.read('cold', serdes)).map(([, { degrees }]) => degrees)).toEqual([-5])
  })

  test.each(['REGISTRY_UNAVAILABLE', 'REGISTRY_REFUSED'] as const)(
    '%s is waited for, whatever the policy; other tasks go on',
    async (code) => {
      const registry = localRegistry(memoryDisk())
      let isDown = true
      const flaky: Registry = {
        idOf: async (subject, schema) => {
          if (isDown && subject === 'cold-value') throw new DruseError(code, 'down')
          return registry.idOf(subject, schema)
        },
        schemaOf: (id) => registry.schemaOf(id),
      }
      await stage.topics({ topic: 'in', partitions: 2 }, 'cold', 'warm')
      const [first, second] = [0, 1].map((partition) =>
        ['a', 'b', 'c', 'd', 'e'].find((key) => partitionFor(Buffer.from(key), 2) === partition),
      ) as [string, string]
      await stage.say('in', [first, '-1'], [first, '-2'], [second, '3'])
      const one = await stage.run(sorter('skip'), { registry: flaky })
      const serdes = { key: string, value: reading, registry }
      await expect.poll(() => stage.read('warm', serdes)).toHaveLength(1)
      await expect.poll(() => one.logged('cannot be opened yet')).toBe(true)
      const waiting = () => one.app.health.tasks.map(({ status, waitingFor }) => [status, waitingFor?.code])
      expect(waiting()).toEqual([
        ['running', code],
        ['running', undefined],
      ])
      expect(await stage.read('cold', serdes)).toEqual([])
      isDown = false
      await stage.drained(sorter())
      expect(waiting()).toEqual(Array(2).fill(['running', undefined]))
      expect((await stage.read('cold', serdes)).map(([, { degrees }]) => degrees)).toEqual([-1, -2])
      expect(one.app.health.healthy).toBe(true)
    },
  )

  test('close does not wait for a registry that stays down longer than its deadline', async () => {
    const down: Registry = {
      idOf: () => Promise.reject(new DruseError('REGISTRY_UNAVAILABLE', 'down')),
      schemaOf: () => Promise.reject(new DruseError('REGISTRY_UNAVAILABLE', 'down')),
    }
    await stage.topics('in', 'cold', 'warm')
    await stage.say('in', ['k', '1'])
    const one = await stage.run(sorter(), { registry: down })
    await expect.poll(() => one.logged('cannot be opened yet')).toBe(true)
    await one.app.close({ timeoutMs: 200 })
    expect(one.app.state).toBe('NOT_RUNNING')
    expect((await stage.committed('sorter', { topic: 'in', partition: 0 }))?.offset).toBe(0)
  })

  for (const [what, registry, code] of [
    ['no registry', undefined, 'REGISTRY_MISSING'],
    ['a registry that rejects the schema', 'rejecting', 'SCHEMA_REJECTED'],
  ] as const) {
    test(`${what} is no fault of the record: no policy passes over it`, async () => {
      const rejecting: Registry = {
        idOf: () => Promise.reject(new DruseError('SCHEMA_REJECTED', 'not compatible')),
        schemaOf: () => Promise.reject(new DruseError('SCHEMA_UNKNOWN', 'none')),
      }
      await stage.topics('in', 'cold', 'warm')
      await stage.say('in', ['k', '1'])
      const one = await stage.run(sorter('skip'), registry === undefined ? {} : { registry: rejecting })
      expect((await failure(one)).cause).toMatchObject({ code })
      expect((await stage.committed('sorter', { topic: 'in', partition: 0 }))?.offset).toBe(0)
    })
  }
})

describe('a partition chosen per record', () => {
  test('as the function says; undefined is Kafka’s own choice', async () => {
    const seen: unknown[] = []
    const topology = (): Topology => {
      const t = new Topology('job')
      t.stream('in', strings).to('out', {
        partitioner: (value, key, { topic, partitions, record }) => {
          seen.push([topic, partitions, record.offset])
          return value === 'any' ? undefined : Number(value) + key.length - 1
        },
      })
      return t
    }
    await stage.topics('in', { topic: 'out', partitions: 4 })
    await stage.say('in', ['a', '0'], ['b', '3'], ['c', 'any'], ['a', '2'])
    await stage.run(topology)
    await stage.drained(topology)
    const found = (await stage.records('out')).map(({ key, value, partition }) => [key, value, partition])
    expect(found).toHaveLength(4)
    expect(found).toEqual(
      expect.arrayContaining([
        ['a', '0', 0],
        ['b', '3', 3],
        ['c', 'any', partitionFor(Buffer.from('c'), 4)],
        ['a', '2', 2],
      ]),
    )
    expect(seen).toEqual([0, 1, 2, 3].map((offset) => ['out', 4, offset]))
  })

  test('of a topic chosen per record', async () => {
    const topology = (): Topology => {
      const t = new Topology('job')
      t.stream('in', strings).to((value) => value, {
        partitioner: (_, __, { topic, partitions }) => (topic === 'a' ? partitions - 1 : 0),
      })
      return t
    }
    await stage.topics('in', { topic: 'a', partitions: 4 }, { topic: 'b', partitions: 2 })
    await stage.say('in', ['k', 'a'], ['l', 'b'], ['m', 'a'])
    await stage.run(topology)
    await stage.drained(topology)
    expect((await stage.records('a')).map(({ partition }) => partition)).toEqual([3, 3])
    expect((await stage.records('b')).map(({ partition }) => partition)).toEqual([0])
  })

  test('asked once for a record, and never again for the attempts to send it', async () => {
    const asked: string[] = []
    const topology = (): Topology => {
      const t = new Topology('job')
      t.stream('in', strings).to('out', {
        partitioner: (value) => {
          asked.push(value)
          return asked.length % 3
        },
      })
      return t
    }
    await stage.topics('in', { topic: 'out', partitions: 3 })
    await stage.say('in', ['k', '1'], ['k', '2'], ['k', '3'], ['k', '4'])
    let refusals = 3
    const produced: unknown[] = []
    await stage.run(topology, {
      fates: (request) => {
        if (request.api !== 'Produce') return 'pass'
        const [{ topic, partition, records }] = request.partitions as [(typeof request.partitions)[number]]
        produced.push([partition, Buffer.from(records).toString('hex')])
        if (refusals-- <= 0) return 'pass'
        const errorCode = CODE.NOT_ENOUGH_REPLICAS
        return { answer: { partitions: [{ topic, partition, errorCode, baseOffset: -1 }] } }
      },
    })
    await stage.drained(topology)
    expect(asked).toEqual(['1', '2', '3', '4'])
    expect(new Set(produced.map(String)).size).toBe(3)
    expect(produced).toHaveLength(6)
    expect((await stage.records('out')).map(({ value, partition }) => [value, partition])).toEqual([
      ['3', 0],
      ['1', 1],
      ['4', 1],
      ['2', 2],
    ])
  })

  for (const [given, shown] of [
    [4, '4'],
    [-1, '-1'],
    [1.5, '1.5'],
    [Number.NaN, 'NaN'],
    ['1', '1'],
    [null, 'null'],
    [1n, '1'],
    [Promise.resolve(1), '[object Promise]'],
  ] as const) {
    test(`${typeof given} ${shown} is refused, with the record's name`, async () => {
      const topology = (): Topology => {
        const t = new Topology('job')
        t.stream('in', { ...strings, onFailure: { deadLetter: 'graveyard' } }).to('out', {
          partitioner: (value) => (value === 'bad' ? (given as never) : 3),
        })
        return t
      }
      await stage.topics('in', { topic: 'out', partitions: 4 }, 'graveyard')
      await stage.say('in', ['k', 'good'], ['k', 'bad'], ['k', 'good'])
      await stage.run(topology)
      await stage.drained(topology)
      expect((await stage.records('out')).map(({ partition }) => partition)).toEqual([3, 3])
      const [dead] = await stage.records('graveyard')
      expect(headersOf(dead as StreamRecord)['druse.error.message']).toBe(
        `Operator 'to-out-1' failed on record in/0@1: The partitioner chose ${shown} in topic 'out', which has partitions 0 to 3 [PARTITION_INVALID] [OPERATOR_FAILED]`,
      )
    })
  }

  test('a partitioner that throws is an operator that fails', async () => {
    const topology = (): Topology => {
      const t = new Topology('job')
      t.stream('in', strings).to('out', {
        partitioner: () => {
          throw new Error('cannot tell')
        },
      })
      return t
    }
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'v'])
    expect((await failure(await stage.run(topology))).message).toMatch(
      /^Operator 'to-out-1' failed on record in\/0@0: cannot tell/,
    )
  })

  test('records without a key take turns, in each topic by itself', async () => {
    const topology = (): Topology => {
      const t = new Topology('job')
      const s = t.stream('in', strings)
      s.to('a')
      s.to('b', { partitioner: () => undefined })
      return t
    }
    await stage.topics('in', { topic: 'a', partitions: 2 }, { topic: 'b', partitions: 2 })
    await stage.say('in', ...Array.from({ length: 8 }, (_, n) => [null, String(n)] as const))
    await stage.run(topology)
    await stage.drained(topology)
    for (const topic of ['a', 'b'])
      expect((await stage.records(topic)).map(({ partition }) => partition)).toEqual([0, 0, 0, 0, 1, 1, 1, 1])
  })
})

describe('a partitioner of a repartition topic', () => {
  /** The last partition for all; 'z' for nobody. */
  const partitioner = (_: string, key: string, { partitions }: { partitions: number }): number =>
    key < 'm' ? partitions - 1 : 0
  const counting = (): Topology => {
    const t = new Topology('job')
    t.stream('in', strings)
      .groupBy('by-value', (value) => value, { partitions: 3, partitioner })
      .count('n')
    return t
  }
  const N = new Topology('handles').region('n', { key: string, value: int64 })

  test('decides which task counts, and queries look everywhere', async () => {
    await stage.topics('in')
    await stage.say('in', ['k', 'a'], ['k', 'y'], ['k', 'a'], ['k', 'b'])
    const one = await stage.run(counting)
    await stage.drained(counting)
    const changes = await stage.records('job-n-changelog', { key: string, value: int64 })
    expect(new Map(changes.map(({ key, partition }) => [key, partition]))).toEqual(
      new Map([
        ['a', 2],
        ['b', 2],
        ['y', 0],
      ]),
    )
    expect(partitionFor(Buffer.from('a'), 3)).not.toBe(2)
    const counts = one.app.region(N)
    expect(await counts.get('a')).toBe(2)
    expect(await counts.get('y')).toBe(1)
    expect(await counts.get('none')).toBeUndefined()
  })

  test('a query for what no part here has, while others are elsewhere, is unavailable', async () => {
    await stage.topics('in')
    await stage.say('in', ['k', 'a'], ['k', 'y'])
    const one = await stage.run(counting)
    await stage.drained(counting)
    const two = await stage.run(counting)
    const running = ({ app }: Instance) =>
      app.health.tasks.filter(({ status }) => status === 'running').length
    await expect.poll(() => [running(one), running(two)].sort()).toEqual([2, 2])
    const answers = await Promise.allSettled(
      [one, two].flatMap(({ app }) => ['a', 'y', 'none'].map((key) => app.region(N).get(key))),
    )
    const found = answers.filter((answer) => answer.status === 'fulfilled').map(({ value }) => value)
    expect(found).toEqual([1, 1])
    for (const answer of answers)
      if (answer.status === 'rejected') expect(answer.reason.code).toBe('REGION_UNAVAILABLE')
  })
})
