/** What each operator does, from topic to topic. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  bytes,
  type Header,
  int64,
  json,
  type Stream,
  type StreamRecord,
  string,
  Topology,
} from '../../src/index.ts'
import { partitionFor } from '../../src/kafka/partitioner.ts'
import type { Request } from '../../src/ports.ts'
import type { Instance } from './instance.ts'
import { Stage, strings } from './stage.ts'

type Input = readonly [key: string | null, value: string | null]

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
})

afterEach(async () => {
  await stage.close()
})

/** Runs an application over these inputs until it has read and committed all of them. */
async function job(
  build: (t: Topology) => void,
  inputs: readonly Input[],
  { partitions = 1 } = {},
): Promise<Instance> {
  const topology = (): Topology => {
    const t = new Topology('job')
    build(t)
    return t
  }
  await stage.topics({ topic: 'in', partitions }, { topic: 'out', partitions }, 'more', 'rest')
  await stage.say('in', ...inputs)
  const instance = await stage.run(topology)
  expect(instance.app.health.tasks.map(({ error }) => error)).toEqual(
    instance.app.health.tasks.map(() => undefined),
  )
  await stage.drained(topology)
  return instance
}

/** Of one stream from `in`, which the operators under test turn into strings for `out`. */
async function outOf(
  operators: (stream: Stream<string, string>) => Stream<string, string, 'keyed' | 'rekeyed'>,
  inputs: readonly Input[],
): Promise<(readonly [string, string])[]> {
  await job((t) => operators(t.stream('in', strings)).to('out', strings), inputs)
  return stage.read('out')
}

const ABC: readonly Input[] = [
  ['a', '1'],
  ['b', '2'],
  ['a', '3'],
]

describe('one record at a time', () => {
  test('map: another key, another value', async () => {
    expect(await outOf((s) => s.map((value, key) => [`${value}!`, key]), ABC)).toEqual([
      ['1!', 'a'],
      ['2!', 'b'],
      ['3!', 'a'],
    ])
  })

  test('mapValues: another value', async () => {
    expect(await outOf((s) => s.mapValues((value, key) => key + value), ABC)).toEqual([
      ['a', 'a1'],
      ['b', 'b2'],
      ['a', 'a3'],
    ])
  })

  test('filter and filterNot', async () => {
    await job((t) => {
      const s = t.stream('in', strings)
      s.filter((value, key) => key === 'a' && value === '3').to('out')
      s.filterNot((value) => value === '3').to('more')
    }, ABC)
    expect(await stage.read('out')).toEqual([['a', '3']])
    expect(await stage.read('more')).toEqual([
      ['a', '1'],
      ['b', '2'],
    ])
  })

  test('flatMap and flatMapValues: none, one, many; any iterable, in its order', async () => {
    await job((t) => {
      const s = t.stream('in', strings)
      s.flatMap(function* (value, key) {
        for (let n = 1; n < Number(value); n++) yield [String(n), key] as const
      }).to('out', strings)
      s.flatMapValues((value) => new Set(value === '2' ? [] : [value, 'x'])).to('more', strings)
    }, ABC)
    expect(await stage.read('out')).toEqual([
      ['1', 'b'],
      ['1', 'a'],
      ['2', 'a'],
    ])
    expect(await stage.read('more')).toEqual([
      ['a', '1'],
      ['a', 'x'],
      ['a', '3'],
      ['a', 'x'],
    ])
  })

  test('selectKey', async () => {
    expect(await outOf((s) => s.selectKey((value, key) => value + key), ABC)).toEqual([
      ['1a', '1'],
      ['2b', '2'],
      ['3a', '3'],
    ])
  })

  test('peek passes on what it saw, foreach ends', async () => {
    const seen: string[] = []
    const ended: string[] = []
    await job((t) => {
      const s = t
        .stream('in', strings)
        .peek((value, key, { offset }) => seen.push(`${key}${value}@${offset}`))
      s.foreach((value) => {
        ended.push(value)
      })
      s.to('out')
    }, ABC)
    expect(seen).toEqual(['a1@0', 'b2@1', 'a3@2'])
    expect(ended).toEqual(['1', '2', '3'])
    expect(await stage.read('out')).toEqual(ABC)
  })

  test('null keys and null values pass through, and are seen as null', async () => {
    const inputs: Input[] = [
      [null, 'no key'],
      ['no value', null],
      [null, null],
    ]
    const seen: unknown[] = []
    await job((t) => {
      t.stream('in', strings)
        .peek((value, key) => seen.push([key, value]))
        .to('out')
    }, inputs)
    expect(seen).toEqual(inputs)
    expect(await stage.read('out')).toEqual(inputs)
  })

  test('several children each get every record, in the order they were made', async () => {
    const order: string[] = []
    await job(
      (t) => {
        const s = t.stream('in', strings)
        s.foreach((value) => {
          order.push(`first ${value}`)
        })
        s.foreach((value) => {
          order.push(`second ${value}`)
        })
      },
      ABC.slice(0, 2),
    )
    expect(order).toEqual(['first 1', 'second 1', 'first 2', 'second 2'])
  })
})

describe('several streams', () => {
  test('merge', async () => {
    await job(
      (t) => {
        const s = t.stream('in', strings)
        s.mapValues((value) => `${value}?`)
          .merge(s.mapValues((value) => `${value}!`))
          .to('out', strings)
      },
      ABC.slice(0, 2),
    )
    expect((await stage.read('out')).map(([, value]) => value).sort()).toEqual(['1!', '1?', '2!', '2?'])
  })

  test('split: the first branch that takes a record has it alone; the default takes the others', async () => {
    await job((t) => {
      const { one, few, others } = t
        .stream('in', strings)
        .split()
        .branch('one', (value) => value === '1')
        .branch('few', (value) => value < '3')
        .defaultBranch('others')
      one.to('out')
      few.to('more')
      others.to('rest')
    }, ABC)
    expect(await stage.read('out')).toEqual([['a', '1']])
    expect(await stage.read('more')).toEqual([['b', '2']])
    expect(await stage.read('rest')).toEqual([['a', '3']])
  })

  test('split without a default drops the others; a branch that nobody continues is no fault', async () => {
    await job((t) => {
      const { one } = t
        .stream('in', strings)
        .split()
        .branch('unused', (value) => value === '2')
        .branch('one', (value) => value === '1')
        .noDefaultBranch()
      one.to('out')
    }, ABC)
    expect(await stage.read('out')).toEqual([['a', '1']])
  })

  test('two inputs of a task: of what is there, the lowest timestamp first', async () => {
    const [begun, held] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const topology = (): Topology => {
      const t = new Topology('job')
      t.stream(['left', 'right'], strings)
        .process('wait', {}, async (record, { forward }) => {
          begun.resolve()
          if (record.value === '0') await held.promise
          forward(record.key, record.value)
        })
        .to('out')
      return t
    }
    await stage.topics('left', 'right', 'out')
    const at = (...times: number[]) => times.map((n) => ({ key: 'k', value: String(n), timestamp: n }))
    await stage.send('left', at(0, 1, 4, 6), strings)
    await stage.send('right', at(2, 3, 5), strings)
    // The right one is fetched while the first record of the left one is under way.
    const asksFor = (request: Request, topic: string, from: number): boolean =>
      request.api === 'Fetch' && request.partitions.some((p) => p.topic === topic && p.offset >= from)
    const instance = await stage.run(topology, {
      fates: (request) =>
        asksFor(request, 'right', 0) && !asksFor(request, 'left', 0) ? { after: begun.promise } : 'pass',
    })
    await expect.poll(() => instance.requests.some((request) => asksFor(request, 'right', 3))).toBe(true)
    held.resolve()
    await stage.drained(topology)
    expect((await stage.read('out')).map(([, value]) => value).join('')).toBe('0123456')
  })
})

describe('aggregations', () => {
  test('groupByKey, count: each update is passed on; records without key or value do not count', async () => {
    await job(
      (t) => t.stream('in', strings).groupByKey().count('n').toStream().mapValues(String).to('out', strings),
      [...ABC, [null, 'x'], ['a', null], ['a', '4']],
    )
    expect(await stage.read('out')).toEqual([
      ['a', '1'],
      ['b', '1'],
      ['a', '2'],
      ['a', '3'],
    ])
  })

  test('reduce: the first value stands for itself', async () => {
    await job(
      (t) =>
        t
          .stream('in', strings)
          .groupByKey()
          .reduce('joined', (all, value, key) => `${all}${key}${value}`)
          .toStream()
          .to('out'),
      ABC,
    )
    expect(await stage.read('out')).toEqual([
      ['a', '1'],
      ['b', '2'],
      ['a', '1a3'],
    ])
  })

  test('aggregate: from initial(), anew for each key; null removes the key and is passed on', async () => {
    const instance = await job(
      (t) =>
        t
          .stream('in', strings)
          .groupByKey()
          .aggregate(
            'listed',
            () => [] as string[],
            (list, value) => {
              if (value === 'clear') return null
              list.push(value)
              return list
            },
            { value: json<string[]>() },
          )
          .toStream()
          .to('out'),
      [
        ['a', '1'],
        ['b', '1'],
        ['a', '2'],
        ['a', 'clear'],
        ['a', '3'],
        ['b', 'clear'],
        ['c', 'clear'],
      ],
    )
    expect(await stage.read('out', { key: string, value: json<string[] | null>() })).toEqual([
      ['a', ['1']],
      ['b', ['1']],
      ['a', ['1', '2']],
      ['a', null],
      ['a', ['3']],
      ['b', null],
      ['c', null],
    ])
    const changelog = await stage.read('job-listed-changelog', {
      key: string,
      value: json<string[] | null>(),
    })
    expect(new Map(changelog)).toEqual(
      new Map<string, string[] | null>([
        ['a', ['3']],
        ['b', null],
        ['c', null],
      ]),
    )
    expect(instance.app.health.healthy).toBe(true)
  })

  test('groupBy: through a repartition topic, to the task of the new key', async () => {
    const topology = (): Topology => {
      const t = new Topology('job')
      t.stream('in', strings)
        .groupBy('by-value', (value) => value)
        .count('n')
        .toStream()
        .to('out')
      return t
    }
    await stage.topics({ topic: 'in', partitions: 3 }, { topic: 'out', partitions: 2 })
    const values = Array.from({ length: 60 }, (_, n) => [`key-${n}`, `v${n % 7}`] as const)
    await stage.say('in', ...values)
    await stage.run(topology)
    await stage.drained(topology)
    const counts = new Map(await stage.read('out', { key: string, value: int64 }))
    expect(counts).toEqual(new Map([0, 1, 2, 3, 4, 5, 6].map((n) => [`v${n}`, n < 4 ? 9 : 8])))
    const partitions = await stage.cluster.topic('job-by-value-repartition')
    expect(partitions?.partitions).toHaveLength(3)
  })

  test('a key of null is not grouped', async () => {
    await job((t) => {
      t.stream('in', strings)
        .groupBy('by-value', (value) => (value === '2' ? (null as never) : value))
        .count('n')
        .toStream()
        .to('out')
    }, ABC)
    const counts = await stage.read('out', { key: string, value: int64 })
    expect(counts.sort()).toEqual([
      ['1', 1],
      ['3', 1],
    ])
  })

  test('repartition, with a count of its own', async () => {
    await job((t) => {
      t.stream('in', strings)
        .selectKey((value) => value)
        .repartition('again', { key: string, partitions: 5 })
        .groupByKey()
        .count('n')
        .toStream()
        .to('out')
    }, ABC)
    const again = await stage.records('job-again-repartition')
    for (const { key, partition } of again) expect(partition).toBe(partitionFor(Buffer.from(key), 5))
    expect((await stage.read('out', { key: string, value: int64 })).sort()).toEqual([
      ['1', 1],
      ['2', 1],
      ['3', 1],
    ])
  })

  test('two aggregations of one grouping keep apart', async () => {
    await job((t) => {
      const grouped = t.stream('in', strings).groupByKey()
      grouped.count('n').toStream().to('out')
      grouped
        .reduce('last', (_, value) => value)
        .toStream()
        .to('more')
    }, ABC)
    expect(await stage.read('out', { key: string, value: int64 })).toEqual([
      ['a', 1],
      ['b', 1],
      ['a', 2],
    ])
    expect(await stage.read('more')).toEqual(ABC)
  })
})

describe('process', () => {
  test('several regions, partitioned and global, and any number of records forwarded', async () => {
    await stage.topics({ topic: 'names', configs: { 'cleanup.policy': 'compact' } })
    await stage.say('names', ['a', 'Anna'], ['b', 'Bert'])
    await job((t) => {
      const names = t.globalRegion('names', { topic: 'names', key: string, value: string })
      const counts = t.region('counts', { key: string, value: int64 })
      const last = t.region('last', { key: string, value: string, store: 'memory' })
      t.stream('in', strings)
        .process('p', { regions: [names, counts, last], value: json<unknown>() }, (record, context) => {
          const { key, value } = record
          const count = (context.counts.get(key) ?? 0) + 1
          context.counts.put(key, count)
          context.forward(key, [context.names.get(key), count, context.last.get(key) ?? null])
          context.last.put(key, value)
          if (count > 1) context.forward(key, 'again')
        })
        .to('out')
    }, ABC)
    expect(await stage.read('out', { key: string, value: json<unknown>() })).toEqual([
      ['a', ['Anna', 1, null]],
      ['b', ['Bert', 1, null]],
      ['a', ['Anna', 2, '1']],
      ['a', 'again'],
    ])
  })

  test('asynchronous: forwarded in the order of the calls, through asynchronous operators behind it', async () => {
    const turns = (count: number): Promise<void> =>
      count === 0 ? Promise.resolve() : Promise.resolve().then(() => turns(count - 1))
    await job(
      (t) => {
        t.stream('in', strings)
          .process('first', {}, async (record, { forward }) => {
            forward(record.key, `${record.value}.1`)
            await turns(3)
            forward(record.key, `${record.value}.2`)
            forward(record.key, `${record.value}.3`)
          })
          .process('second', {}, async (record, { forward }) => {
            // The later, the faster: what is not waited for would overtake.
            await turns(30 - 10 * Number(record.value.at(-1)))
            forward(record.key, record.value)
            await turns(2)
            forward(record.key, `${record.value}'`)
          })
          .mapValues((value) => value)
          .to('out', strings)
      },
      ABC.slice(0, 2),
    )
    expect((await stage.read('out')).map(([, value]) => value).join(' ')).toBe(
      "1.1 1.1' 1.2 1.2' 1.3 1.3' 2.1 2.1' 2.2 2.2' 2.3 2.3'",
    )
  })

  test('asynchronous, in front of several children and a flatMap', async () => {
    await job(
      (t) => {
        const s = t.stream('in', strings).flatMapValues((value) => [`${value}x`, `${value}y`])
        s.process('slow', {}, async (record, { forward }) => {
          await new Promise((resolve) => setImmediate(resolve))
          forward(record.key, `slow ${record.value}`)
        }).to('out', strings)
        s.process('slower', {}, async (record, { forward }) => {
          await new Promise((resolve) => setTimeout(resolve, 2))
          forward(record.key, `slower ${record.value}`)
        }).to('out', strings)
        s.mapValues((value) => `quick ${value}`).to('out', strings)
      },
      ABC.slice(0, 2),
    )
    expect((await stage.read('out')).map(([, value]) => value)).toEqual(
      ['1x', '1y', '2x', '2y'].flatMap((value) => [`slow ${value}`, `slower ${value}`, `quick ${value}`]),
    )
  })

  test('a slow one holds up its own task, not others; the order of the task is kept', async () => {
    const held = Promise.withResolvers<void>()
    const topology = (): Topology => {
      const t = new Topology('job')
      t.stream('in', strings)
        .process('p', {}, async (record, { forward }) => {
          if (record.value === 'wait') await held.promise
          forward(record.key, record.value)
        })
        .to('out')
      return t
    }
    await stage.topics({ topic: 'in', partitions: 2 }, { topic: 'out', partitions: 2 })
    const [slow, quick] = [0, 1].map((partition) =>
      ['a', 'b', 'c', 'd', 'e'].find((key) => partitionFor(Buffer.from(key), 2) === partition),
    ) as [string, string]
    await stage.say('in', [slow, 'wait'], [slow, 'after'], ...Array(20).fill([quick, 'quick']))
    await stage.run(topology)
    // Committed, too: the task in the middle of a record is left out of the commit.
    await expect.poll(async () => (await stage.read('out')).length).toBe(20)
    expect((await stage.committed('job', { topic: 'in', partition: 0 }))?.offset).toBe(0)
    held.resolve()
    await stage.drained(topology)
    expect((await stage.read('out')).filter(([key]) => key === slow)).toEqual([
      [slow, 'wait'],
      [slow, 'after'],
    ])
  })

  test('ranges over what is not committed yet', async () => {
    await job((t) => {
      const seen = t.region('seen', { key: string, value: string })
      t.stream('in', strings)
        .process('p', { regions: [seen] }, async (record, { seen, forward }) => {
          seen.put(`${record.key}${record.value}`, record.value)
          const found: string[] = []
          for await (const [key] of seen.prefix('a')) found.push(key)
          forward(record.key, found.join())
        })
        .to('out', strings)
    }, ABC)
    expect((await stage.read('out')).map(([, value]) => value)).toEqual(['a1', 'a1', 'a1,a3'])
  })

  test('forward after the record is through is refused', async () => {
    const late: unknown[] = []
    await job((t) => {
      let forwardLate: (() => void) | undefined
      t.stream('in', strings)
        .process('p', {}, (record, { forward }) => {
          if (forwardLate === undefined) forwardLate = () => forward(record.key, 'late')
        })
        .to('out')
      t.stream('more', strings).foreach(() => {
        try {
          forwardLate?.()
        } catch (error) {
          late.push(error)
        }
      })
    }, ABC)
    await stage.say('more', ['k', 'v'])
    await expect.poll(() => late).toHaveLength(1)
    expect(late[0]).toMatchObject({
      code: 'CONTEXT_CLOSED',
      message: expect.stringMatching(/'p'.*return the promise/),
    })
    expect(await stage.read('out')).toEqual([])
  })
})

describe('headers, timestamps and partitions', () => {
  const header = (key: string, value: string | null): Header => ({
    key,
    value: value === null ? null : Buffer.from(value),
  })
  const plain = (record: StreamRecord<unknown, unknown>) =>
    record.headers.map(({ key, value }) => [key, value && Buffer.from(value).toString()])

  test('headers go through every operator and repartition topic; a processor may replace them', async () => {
    const topology = (): Topology => {
      const t = new Topology('job')
      const s = t
        .stream('in', strings)
        .mapValues((value) => value)
        .selectKey((value) => value)
        .flatMapValues((value) => [value])
        .repartition('r', strings)
      s.groupByKey().count('n').toStream().to('out')
      s.process('p', {}, (record, { forward }) => {
        forward(record.key, record.value, { headers: [header('new', 'yes')] })
        forward(record.key, record.value)
      }).to('more')
      return t
    }
    await stage.topics('in', 'out', 'more')
    const headers = [header('a', '1'), header('a', '2'), header('b', null)]
    await stage.send('in', [{ key: 'k', value: 'v', headers }], strings)
    await stage.run(topology)
    await stage.drained(topology)
    const expected = [
      ['a', '1'],
      ['a', '2'],
      ['b', null],
    ]
    expect((await stage.records('out', { key: string, value: int64 })).map(plain)).toEqual([expected])
    expect((await stage.records('more')).map(plain)).toEqual([[['new', 'yes']], expected])
  })

  test("timestamps: the input's, through every operator; an aggregate has the newest of its key", async () => {
    const topology = (): Topology => {
      const t = new Topology('job')
      const s = t.stream('in', strings)
      s.to('out')
      s.groupByKey().count('n').toStream().to('more')
      s.process('p', {}, (record, { forward }) => forward(record.key, record.value, { timestamp: 7 })).to(
        'rest',
      )
      return t
    }
    await stage.topics('in', 'out', 'more', 'rest')
    const at = (key: string, timestamp: number) => ({ key, value: 'v', timestamp })
    await stage.send('in', [at('a', 100), at('b', 50), at('a', 90), at('a', 110)], strings)
    await stage.run(topology)
    await stage.drained(topology)
    const times = async (topic: string, value = string as never) =>
      (await stage.records(topic, { key: string, value })).map(({ timestamp }) => timestamp)
    expect(await times('out')).toEqual([100, 50, 90, 110])
    expect(await times('more', int64 as never)).toEqual([100, 50, 100, 110])
    expect(await times('rest')).toEqual([7, 7, 7, 7])
    const changelog = await stage.records('job-n-changelog', { key: string, value: int64 })
    expect(Object.fromEntries(changelog.map(({ key, timestamp }) => [key, timestamp]))).toEqual({
      a: 110,
      b: 50,
    })
  })

  test('timestamps: from the value, as the source says', async () => {
    const topology = (): Topology => {
      const t = new Topology('job')
      t.stream('in', {
        ...strings,
        timestamp: (value, key, record) => Number(value) + key.length + record.offset,
      })
        .peek((_, __, { timestamp }) => seen.push(timestamp))
        .to('out')
      return t
    }
    const seen: number[] = []
    await stage.topics('in', 'out')
    await stage.say('in', ['k', '1000'], ['key', '2000'])
    await stage.run(topology)
    await stage.drained(topology)
    expect(seen).toEqual([1001, 2004])
    expect((await stage.records('out')).map(({ timestamp }) => timestamp)).toEqual([1001, 2004])
  })

  test("sink records stand in the partition of Kafka's partitioner, whatever the serde of the key", async () => {
    const topology = (): Topology => {
      const t = new Topology('job')
      const s = t.stream('in', strings)
      s.to('strings')
      s.selectKey((value) => Number(value)).to('numbers', { key: int64 })
      return t
    }
    await stage.topics('in', { topic: 'strings', partitions: 7 }, { topic: 'numbers', partitions: 5 })
    await stage.say('in', ...Array.from({ length: 50 }, (_, n) => [`key-${n}`, String(n)] as const))
    await stage.run(topology)
    await stage.drained(topology)
    for (const [topic, partitions] of [
      ['strings', 7],
      ['numbers', 5],
    ] as const) {
      const records = await stage.records(topic, { key: bytes, value: string })
      expect(records).toHaveLength(50)
      expect(new Set(records.map(({ partition }) => partition)).size).toBe(partitions)
      for (const { key, partition } of records) expect(partition).toBe(partitionFor(key, partitions))
    }
    // Of Java's Utils.murmur2: a fixed point outside of this code.
    expect(partitionFor(Buffer.from('foobar'), 1000)).toBe((-790332482 & 0x7fffffff) % 1000)
  })

  test('records without a key are spread over the partitions', async () => {
    const topology = (): Topology => {
      const t = new Topology('job')
      t.stream('in', strings).to('out')
      return t
    }
    await stage.topics('in', { topic: 'out', partitions: 4 })
    await stage.say('in', ...Array.from({ length: 40 }, (_, n) => [null, String(n)] as const))
    await stage.run(topology)
    await stage.drained(topology)
    const records = await stage.records('out')
    expect(records.map(({ value }) => Number(value)).sort((a, b) => a - b)).toEqual([...Array(40).keys()])
    const perPartition = [0, 1, 2, 3].map((p) => records.filter(({ partition }) => partition === p).length)
    for (const count of perPartition) expect(count).toBe(10)
  })
})
