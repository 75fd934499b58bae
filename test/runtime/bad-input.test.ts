/** Records that cannot be read, operators that fail on them, sinks that refuse what they made: by policy, nothing lost. */
import { gzipSync } from 'node:zlib'
import { crc32c } from '@node-rs/crc32'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  avro,
  DruseError,
  type ErrorPolicy,
  int64,
  localRegistry,
  memoryDisk,
  type Registry,
  type Serde,
  type StreamRecord,
  string,
  Topology,
  type WritableRegion,
} from '../../src/index.ts'
import { Fetcher } from '../../src/kafka/fetcher.ts'
import { BATCH_OVERHEAD_BYTES, DECOMPRESSED_BYTES_MAX } from '../../src/kafka/record-batch.ts'
import type { Api } from '../../src/ports.ts'
import type { Fates, Instance } from './instance.ts'
import { batchOf, Stage, strings } from './stage.ts'

interface Reading {
  readonly sensor: string
  readonly degrees: number
}

const reading = avro<Reading>({
  type: 'record',
  name: 'Reading',
  fields: [
    { name: 'sensor', type: 'string' },
    { name: 'degrees', type: 'int' },
  ],
})

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
})

afterEach(async () => {
  await stage.close()
})

const headersOf = ({ headers }: StreamRecord<unknown, unknown>) =>
  Object.fromEntries(headers.map(({ key, value }) => [key, value && Buffer.from(value).toString()]))

const failed = ({ app }: Instance) => app.health.tasks.find(({ status }) => status === 'failed')?.error

/** Resolves to why the only task that fails has failed. */
async function failure(instance: Instance): Promise<DruseError> {
  await expect.poll(() => failed(instance)).toBeDefined()
  await expect.poll(() => instance.app.health).toMatchObject({ healthy: false, state: 'RUNNING' })
  return failed(instance) as DruseError
}

/** `fate` at the nth request of a kind. */
function nth(api: Api, n: number, fate: 'crashBefore' | 'crashAfter'): Fates {
  let seen = 0
  return (request) => {
    if (request.api === api) seen += 1
    return request.api === api && seen === n ? fate : 'pass'
  }
}

describe('undecodable Avro', () => {
  let registry: Registry

  const warm = (onUndecodable?: ErrorPolicy) => (): Topology => {
    const t = new Topology('warm')
    const latest = t.region('latest', { key: string, value: int64 })
    t.stream('readings', { key: string, value: reading, ...(onUndecodable && { onUndecodable }) })
      .process('keep', { regions: [latest], value: int64 }, ({ key, value }, { latest, forward }) => {
        latest.put(key, value.degrees)
        forward(key, value.degrees)
      })
      .to('degrees')
    return t
  }

  /** Good at offsets 0, 3 and 7; not framed, of an unknown schema, cut off, too long. */
  const BAD = {
    1: 'hot',
    2: '\0\0\0\0\x63\x02a\x02',
    4: '\0\0\0\0\x01\x02',
    5: '\0\0\0\0\x01\x02a\x02zz',
    6: '',
  }

  beforeEach(async () => {
    registry = localRegistry(memoryDisk())
    await stage.topics('readings', 'degrees', 'graveyard')
    const codec = await reading.open({ topic: 'readings', part: 'value', registry, writes: true })
    const values = Array.from({ length: 8 }, (_, offset) => {
      const bad = BAD[offset as keyof typeof BAD]
      return bad === undefined ? codec.encode({ sensor: 's', degrees: offset }) : Buffer.from(bad, 'latin1')
    })
    const headers = [{ key: 'own', value: Buffer.from('header') }]
    await stage.produce(
      { topic: 'readings', partition: 0 },
      values.map((value, offset) => ({ key: Buffer.from('k'), value, headers, timestamp: 500 + offset })),
    )
  })

  const degrees = async () => (await stage.read('degrees', { key: string, value: int64 })).map(([, n]) => n)

  test('fail, the default: the task stops there, others go on, and a later start with another policy misses nothing', async () => {
    const disk = memoryDisk()
    const first = await stage.run(warm(), { disk, registry })
    const error = await failure(first)
    expect(error).toMatchObject({
      code: 'RECORD_UNDECODABLE',
      kind: 'user',
      details: { topic: 'readings', partition: 0, offset: 1 },
    })
    expect(error.message).toMatch(/^Record readings\/0@1 cannot be read: .*Choose with onUndecodable/)
    expect((await stage.committed('warm', { topic: 'readings', partition: 0 }))?.offset).toBeLessThanOrEqual(
      1,
    )
    await first.close()
    await stage.run(warm('skip'), { disk, registry })
    await stage.drained(warm())
    expect(await degrees()).toEqual([0, 3, 7])
  })

  test('skip: left out, and told in the log', async () => {
    const one = await stage.run(warm('skip'), { registry })
    await stage.drained(warm())
    expect(await degrees()).toEqual([0, 3, 7])
    expect(one.app.health.healthy).toBe(true)
    const told = one.log.filter(({ message }) => message === 'task: a record is left out')
    expect(told.map(({ level, details }) => [level, details.offset])).toEqual(
      [1, 2, 4, 5, 6].map((offset) => ['warn', offset]),
    )
    const latest = new Topology('warm').region('latest', { key: string, value: int64 })
    expect(await one.app.region(latest).get('k')).toBe(7)
  })

  test('dead letter: the original bytes and headers, and where they came from', async () => {
    await stage.run(warm({ deadLetter: 'graveyard' }), { registry })
    await stage.drained(warm())
    expect(await degrees()).toEqual([0, 3, 7])
    const dead = await stage.records('graveyard', { key: string, value: binary })
    expect(dead.map(({ key, value, timestamp }) => [key, value, timestamp])).toEqual(
      [1, 2, 4, 5, 6].map((offset) => ['k', BAD[offset as keyof typeof BAD], 500 + offset]),
    )
    expect(dead.map(headersOf)).toEqual(
      [1, 2, 4, 5, 6].map((offset) => ({
        own: 'header',
        'druse.error.code': 'RECORD_UNDECODABLE',
        'druse.error.message': expect.stringContaining(`readings/0@${offset} cannot be read`),
        'druse.error.topic': 'readings',
        'druse.error.partition': '0',
        'druse.error.offset': String(offset),
        'druse.error.timestamp': String(500 + offset),
        // As far as there is one.
        ...(offset !== 1 && offset !== 6 && { 'druse.error.valueSchemaId': offset === 2 ? '99' : '1' }),
      })),
    )
  })

  for (const fate of ['crashBefore', 'crashAfter'] as const) {
    for (const api of ['Produce', 'TxnOffsetCommit', 'EndTxn'] as const) {
      test(`dead letter, ${fate} ${api}: each dead record once`, async () => {
        const topology = warm({ deadLetter: 'graveyard' })
        const fates = nth(api, api === 'Produce' ? 1 : 2, fate)
        const first = stage.instance(topology, { registry, commitRecords: 3, fates })
        await first.start()
        await first.fell
        await stage.run(topology, { registry, disk: first.disk })
        await stage.drained(topology)
        expect(await degrees()).toEqual([0, 3, 7])
        const offsets = (await stage.records('graveyard', { key: string, value: binary })).map(
          (record) => headersOf(record)['druse.error.offset'],
        )
        expect(offsets).toEqual(['1', '2', '4', '5', '6'])
      })
    }
  }

  test('a registry that is down is waited for: that is no fault of the records', async () => {
    let isDown = true
    let asked = 0
    const frail: Registry = {
      idOf: (subject, schema) => registry.idOf(subject, schema),
      schemaOf: async (id) => {
        asked += 1
        if (isDown) throw new DruseError('REGISTRY_UNAVAILABLE', 'The registry is down')
        return registry.schemaOf(id)
      },
    }
    const one = await stage.run(warm('skip'), { registry: frail })
    await expect.poll(() => asked).toBeGreaterThan(1)
    expect(one.app.health).toMatchObject({ healthy: true, counts: { records: 0 } })
    expect(one.logged('waiting for the schema registry')).toBe(true)
    isDown = false
    await stage.drained(warm())
    expect(await degrees()).toEqual([0, 3, 7])
  })

  test('a disk that does not take a schema beside the state is waited for, too', async () => {
    const disk = memoryDisk()
    const filling: Registry = {
      idOf: (subject, schema) => registry.idOf(subject, schema),
      schemaOf: async (id) => {
        const schema = await registry.schemaOf(id)
        disk.full ||= !one.logged('waiting for the schema registry')
        return schema
      },
    }
    const one = stage.instance(warm('skip'), { registry: filling, disk })
    await one.start()
    await expect.poll(() => one.logged('waiting for the schema registry')).toBe(true)
    expect(one.app.health).toMatchObject({ healthy: true, counts: { records: 0 } })
    disk.full = false
    await stage.drained(warm())
    expect(await degrees()).toEqual([0, 3, 7])
  })

  test('undecodable keys, as values', async () => {
    const topology = (): Topology => {
      const t = new Topology('keys')
      t.stream('numbers', { key: int64, value: string, onUndecodable: { deadLetter: 'graveyard' } }).to(
        'degrees',
      )
      return t
    }
    await stage.topics('numbers')
    await stage.say('numbers', ['12345678', 'eight bytes, but too large'], ['short', 'five'], [null, 'none'])
    await stage.run(topology)
    await stage.drained(topology)
    expect((await stage.records('degrees')).map(({ value }) => value)).toEqual(['none'])
    expect((await stage.read('graveyard')).map(([, value]) => value)).toEqual([
      'eight bytes, but too large',
      'five',
    ])
  })
})

const binary = {
  kind: 'latin1',
  stableBytes: true,
  open: () => ({
    encode: (text: string) => Buffer.from(text, 'latin1'),
    decode: (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1'),
  }),
}

describe('a failing operator', () => {
  const KINDS = {
    synchronous: (fail: () => void) => fail(),
    asynchronous: async (fail: () => void) => {
      await Promise.resolve()
      fail()
    },
    'asynchronous, after a pause': async (fail: () => void) => {
      await new Promise((resolve) => setTimeout(resolve, 2))
      fail()
    },
  }

  /** Writes two regions and two sinks, and fails in the middle of it at the words that say so. */
  const worker =
    (kind: keyof typeof KINDS, onFailure?: ErrorPolicy, isMended = false) =>
    (): Topology => {
      const t = new Topology('worker', onFailure && { onFailure })
      const counts = t.region('counts', { key: string, value: int64 })
      const lasts = t.region('lasts', { key: string, value: string })
      const s = t.stream('words', strings)
      s.to('copies')
      s.process('work', { regions: [counts, lasts] }, (record, { counts, lasts, forward }) => {
        const { key, value } = record
        counts.put(key, (counts.get(key) ?? 0) + 1)
        counts.put('all', (counts.get('all') ?? 0) + 1)
        forward(key, `${value} ${counts.get('all')}`)
        lasts.delete('gone')
        lasts.put(key, value)
        return KINDS[kind](() => {
          if (value.startsWith('bad') && !isMended) throw new TypeError('no such thing')
          forward(key, 'done')
        })
      }).to('done')
      return t
    }

  const WORDS = [
    ['a', 'good'],
    ['a', 'bad'],
    ['b', 'bad'],
    ['b', 'good'],
    ['c', 'bad'],
    ['a', 'fine'],
  ] as const

  async function verify(
    topology: () => Topology,
    expected: typeof WORDS | readonly (readonly [string, string])[],
  ) {
    await stage.drained(topology)
    expect(await stage.read('copies')).toEqual(expected)
    expect(await stage.read('done')).toEqual(
      expected.flatMap(([key, value], i) => [
        [key, `${value} ${i + 1}`],
        [key, 'done'],
      ]),
    )
    const counts = new Map<string, number>([['all', expected.length]])
    const lasts = new Map<string, string | null>([['gone', null]])
    for (const [key, value] of expected) {
      counts.set(key, (counts.get(key) ?? 0) + 1)
      lasts.set(key, value)
    }
    expect(new Map(await stage.read('worker-counts-changelog', { key: string, value: int64 }))).toEqual(
      counts,
    )
    expect(new Map<string, string | null>(await stage.read('worker-lasts-changelog'))).toEqual(lasts)
  }
  const GOOD = WORDS.filter(([, value]) => value !== 'bad')

  beforeEach(async () => {
    await stage.topics('words', 'copies', 'done', 'graveyard')
  })

  for (const kind of Object.keys(KINDS) as (keyof typeof KINDS)[]) {
    test(`${kind}, fail: the task stops there with nothing of the record; mended, it goes on with it`, async () => {
      await stage.say('words', ...WORDS)
      const disk = memoryDisk()
      const first = await stage.run(worker(kind), { disk })
      const error = await failure(first)
      expect(error).toMatchObject({
        code: 'OPERATOR_FAILED',
        kind: 'user',
        details: { operator: 'work', topic: 'words', partition: 0, offset: 1 },
        cause: { message: 'no such thing' },
      })
      expect(error.message).toBe(
        "Operator 'work' failed on record words/0@1: no such thing [OPERATOR_FAILED]",
      )
      // What was committed, if anything, is what came before.
      expect((await stage.read('copies')).length).toBeLessThanOrEqual(1)
      await first.close()
      await stage.run(worker(kind, undefined, true), { disk })
      await verify(worker(kind), WORDS)
    })

    test(`${kind}, skip: nothing of the record remains, in no region and no sink; those before and after are whole`, async () => {
      await stage.say('words', ...WORDS)
      const one = await stage.run(worker(kind, 'skip'))
      await verify(worker(kind), GOOD)
      expect(one.app.health.healthy).toBe(true)
      expect(one.log.filter(({ message }) => message === 'task: a record is left out')).toHaveLength(3)
    })

    test(`${kind}, dead letter: the record as it came, and nothing else of it`, async () => {
      await stage.say('words', ...WORDS)
      await stage.run(worker(kind, { deadLetter: 'graveyard' }))
      await verify(worker(kind), GOOD)
      expect(await stage.read('graveyard')).toEqual(WORDS.filter(([, value]) => value === 'bad'))
      expect((await stage.records('graveyard')).map(headersOf)).toEqual(
        [1, 2, 4].map((offset) => ({
          'druse.error.code': 'OPERATOR_FAILED',
          'druse.error.message': expect.stringContaining(`'work' failed on record words/0@${offset}`),
          'druse.error.operator': 'work',
          'druse.error.topic': 'words',
          'druse.error.partition': '0',
          'druse.error.offset': String(offset),
          'druse.error.timestamp': expect.stringMatching(/^\d+$/),
        })),
      )
    })
  }

  test('every commit boundary: one record each', async () => {
    await stage.say('words', ...WORDS)
    await stage.run(worker('synchronous', 'skip'), { commitRecords: 1 })
    await verify(worker('synchronous'), GOOD)
  })

  for (const operator of [
    'map',
    'filter',
    'flatMapValues',
    'selectKey',
    'peek',
    'branch',
    'aggregate',
  ] as const) {
    test(`${operator} tells its name and the record, whatever it throws`, async () => {
      const topology = (): Topology => {
        const t = new Topology('thrower')
        const fail = (): never => {
          throw 'a text'
        }
        const s = t.stream('words', strings)
        if (operator === 'map') s.map(fail)
        if (operator === 'filter') s.filter(fail)
        if (operator === 'flatMapValues') s.flatMapValues(() => ({ [Symbol.iterator]: fail }))
        if (operator === 'selectKey') s.selectKey(fail)
        if (operator === 'peek') s.peek(fail)
        if (operator === 'branch') s.split().branch('branch', fail).noDefaultBranch()
        if (operator === 'aggregate') s.groupByKey().aggregate('aggregate', fail, fail, { value: string })
        return t
      }
      await stage.say('words', ['k', 'v'])
      const error = await failure(await stage.run(topology))
      expect(error.message).toMatch(
        new RegExp(`^Operator '.*${operator}.*' failed on record words/0@0: a text \\[OPERATOR_FAILED\\]$`),
      )
    })
  }

  describe('with asynchronous operators behind it', () => {
    const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

    /** The second operator is at work when the first one fails; it reaches the region through the first. */
    const chain =
      (first: (forward: () => void) => void | Promise<void>, second: (put: () => void) => Promise<void>) =>
      (): Topology => {
        const t = new Topology('chain', { onFailure: 'skip' })
        const kept = t.region('kept', strings)
        let region: WritableRegion<string, string> | undefined
        t.stream('words', strings)
          .process('first', { regions: [kept] }, (record, { kept, forward }) => {
            region = kept
            if (record.value === 'bad') return first(() => forward(record.key, record.value))
            kept.put(record.key, record.value)
            forward(record.key, record.value)
          })
          .process('second', {}, (record, { forward }) => {
            if (record.value !== 'bad') return forward(record.key, record.value)
            return second(() => {
              region?.put('bad', 'put')
              forward(record.key, 'bad')
            })
          })
          .to('done')
        return t
      }

    const CASES: Record<
      string,
      readonly [(forward: () => void) => void | Promise<void>, (put: () => void) => Promise<void>]
    > = {
      'the first throws while the second is at work': [
        (forward) => {
          forward()
          throw new Error('first')
        },
        async (put) => {
          await pause(5)
          put()
        },
      ],
      'the first rejects while the second is at work': [
        async (forward) => {
          forward()
          await pause(1)
          throw new Error('first')
        },
        async (put) => {
          await pause(10)
          put()
        },
      ],
      'the second rejects while the first is at work': [
        async (forward) => {
          forward()
          await pause(10)
        },
        async () => {
          await pause(1)
          throw new Error('second')
        },
      ],
      'both reject': [
        async (forward) => {
          forward()
          await pause(5)
          throw new Error('first')
        },
        async () => {
          await pause(1)
          throw new Error('second')
        },
      ],
    }
    for (const [what, [first, second]] of Object.entries(CASES)) {
      test(`${what}: waited for, then left out whole`, async () => {
        const topology = chain(first, second)
        await stage.say('words', ['k', 'good'], ['k', 'bad'], ['k', 'fine'])
        const one = await stage.run(topology)
        await stage.drained(topology)
        expect(await stage.read('done')).toEqual([
          ['k', 'good'],
          ['k', 'fine'],
        ])
        expect(new Map(await stage.read('chain-kept-changelog'))).toEqual(new Map([['k', 'fine']]))
        expect(one.log.filter(({ message }) => message === 'task: a record is left out')).toHaveLength(1)
      })
    }
  })
})

describe('what an operator makes of a record', () => {
  const through =
    (
      make: (value: string) => { key?: unknown; value?: unknown; timestamp?: number },
      onFailure: ErrorPolicy = 'skip',
    ) =>
    (): Topology => {
      const t = new Topology('through', { onFailure })
      const kept = t.region('kept', strings)
      t.stream('in', strings)
        .process('make', { regions: [kept] }, (record, { kept, forward }) => {
          kept.put(record.key, record.value)
          const { key = record.key, value = record.value, timestamp } = make(record.value)
          forward(key as string, value as string, timestamp === undefined ? {} : { timestamp })
        })
        .to('out')
      return t
    }

  beforeEach(async () => {
    await stage.topics('in', { topic: 'out', configs: { 'max.message.bytes': '1000' } })
  })

  const CASES: Record<string, (value: string) => object> = {
    'a value of the wrong type': () => ({ value: 7 }),
    'a key of the wrong type': () => ({ key: {} }),
    'a value that its topic does not take': () => ({ value: 'x'.repeat(1_000) }),
    'a timestamp that is no number of milliseconds': () => ({ timestamp: 1.5 }),
    'a timestamp that is none': () => ({ timestamp: Number.NaN }),
    'a negative timestamp': () => ({ timestamp: -1 }),
    'a timestamp in microseconds': () => ({ timestamp: 1_700_000_000_000_000 }),
  }
  for (const [what, make] of Object.entries(CASES)) {
    test(`${what}: a failure of the record, not of the commit`, async () => {
      const topology = through((value) => (value === 'bad' ? make(value) : {}))
      await stage.say('in', ['k', 'before'], ['k', 'bad'], ['k', 'after'])
      const one = await stage.run(topology)
      await stage.drained(topology)
      expect(await stage.read('out')).toEqual([
        ['k', 'before'],
        ['k', 'after'],
      ])
      expect(one.app.health).toMatchObject({ healthy: true, counts: { recoveries: 0 } })
      expect(await stage.read('through-kept-changelog')).toEqual([['k', 'after']])
    })
  }

  test('undefined where a value is wanted', async () => {
    const topology = (): Topology => {
      const t = new Topology('through')
      t.stream('in', strings)
        .mapValues((): string => undefined as never)
        .to('out', strings)
      return t
    }
    await stage.say('in', ['k', 'v'])
    const error = await failure(await stage.run(topology))
    expect(error.cause).toMatchObject({ code: 'ENCODE_FAILED' })
    expect(error.message).toMatch(/undefined value; an operator returned nothing\. Use null/)
  })

  for (const [what, timestamp] of Object.entries({
    fraction: 0.5,
    none: Number.NaN,
    microseconds: 1.7e15,
  })) {
    test(`a timestamp function that gives a ${what} number: as undecodable`, async () => {
      const topology = (): Topology => {
        const t = new Topology('timed')
        const kept = t.region('kept', strings)
        t.stream('in', {
          ...strings,
          timestamp: (value) => (value === 'bad' ? timestamp : 1),
          onUndecodable: { deadLetter: 'graveyard' },
        }).process('keep', { regions: [kept] }, ({ key, value }, { kept }) => kept.put(key, value))
        return t
      }
      await stage.topics('graveyard')
      await stage.say('in', ['k', 'good'], ['k', 'bad'])
      await stage.run(topology)
      await stage.drained(topology)
      const [dead] = await stage.records('graveyard')
      expect(dead && headersOf(dead)['druse.error.code']).toBe('TIMESTAMP_INVALID')
    })
  }

  test('records whose own time is no milliseconds: as undecodable; a time that is not there is no fault', async () => {
    const topology = (): Topology => {
      const t = new Topology('timed')
      const kept = t.region('kept', strings)
      t.stream('in', { ...strings, onUndecodable: { deadLetter: 'graveyard' } })
        .process('keep', { regions: [kept] }, (record, { kept, forward }) => {
          kept.put(record.value, record.value)
          forward(record.key, record.value)
        })
        .to('out')
      return t
    }
    await stage.topics('graveyard')
    for (const [value, timestamp] of [
      ['good', 1],
      ['micro', 1_700_000_000_000_000],
      ['before', -5],
      ['none', -1],
    ] as const) {
      await stage.produce({ topic: 'in', partition: 0 }, [
        { key: Buffer.from('k'), value: Buffer.from(value), timestamp },
      ])
    }
    const nano = Buffer.from(
      batchOf([{ key: Buffer.from('k'), value: Buffer.from('nano'), timestamp: 0 }], (batch) => {
        batch.writeBigInt64BE(1_700_000_000_000_000_000n, 27)
        batch.writeBigInt64BE(1_700_000_000_000_000_000n, 35)
      }),
    )
    await stage.produceBatch({ topic: 'in', partition: 0 }, nano)
    const one = await stage.run(topology)
    await stage.drained(topology)
    expect(one.app.health.healthy).toBe(true)
    expect((await stage.records('out')).map(({ value, timestamp }) => [value, timestamp])).toEqual([
      ['good', 1],
      ['none', -1],
    ])
    const dead = await stage.records('graveyard')
    expect(dead.map(({ value }) => value)).toEqual(['micro', 'before', 'nano'])
    expect(new Set(dead.map((record) => headersOf(record)['druse.error.code']))).toEqual(
      new Set(['TIMESTAMP_INVALID']),
    )
    const changelog = await stage.records('timed-kept-changelog')
    expect(changelog.map(({ value, timestamp }) => [value, timestamp])).toEqual([
      ['good', 1],
      ['none', -1],
    ])
  })

  test('a global region takes records of any time: it is a copy, and does not use it', async () => {
    await stage.topics({ topic: 'names', configs: { 'cleanup.policy': 'compact' } })
    const key = Buffer.from('k')
    await stage.produce({ topic: 'names', partition: 0 }, [
      { key, value: Buffer.from('v'), timestamp: 1_700_000_000_000_000 },
    ])
    const topology = (): Topology => {
      const t = new Topology('global')
      t.globalRegion('names', { topic: 'names', ...strings })
      return t
    }
    const one = stage.instance(topology)
    await one.start()
    const names = new Topology('x').globalRegion('names', { topic: 'names', ...strings })
    expect(await one.app.region(names).get('k')).toBe('v')
  })

  test('an entry that the changelog does not take', async () => {
    await stage.topics({
      topic: 'large-kept-changelog',
      configs: { 'cleanup.policy': 'compact', 'max.message.bytes': '500' },
    })
    const topology = (): Topology => {
      const t = new Topology('large', { onFailure: 'skip' })
      const kept = t.region('kept', strings)
      t.stream('in', strings).process('keep', { regions: [kept] }, ({ key, value }, { kept }) =>
        kept.put(key, value),
      )
      return t
    }
    await stage.say('in', ['k', 'small'], ['k', 'x'.repeat(400)])
    const one = await stage.run(topology)
    await stage.drained(topology)
    expect(await stage.read('large-kept-changelog')).toEqual([['k', 'small']])
    const told = one.log.find(({ message }) => message === 'task: a record is left out')
    expect(told?.details.error).toMatchObject({
      cause: {
        code: 'RECORD_TOO_LARGE',
        message: expect.stringMatching(/region 'kept' has 529 bytes.*takes 439/),
      },
    })
  })
})

describe('a sink that refuses a record for good', () => {
  test('stops the task that wrote it, once; the others go on', async () => {
    const topology = (): Topology => {
      const t = new Topology('refused')
      t.stream('left', strings).to('compacted')
      t.stream('right', strings).to('plain')
      return t
    }
    await stage.topics('left', 'right', 'plain', {
      topic: 'compacted',
      configs: { 'cleanup.policy': 'compact' },
    })
    await stage.say('left', ['k', 'good'], [null, 'refused'])
    await stage.say('right', ['k', '1'])
    const one = await stage.run(topology)
    const error = await failure(one)
    expect(error).toMatchObject({
      code: 'TRANSACTION_ABORTED',
      details: { topic: 'compacted', partition: 0 },
    })
    await expect.poll(() => stage.read('plain')).toEqual([['k', '1']])
    await stage.say('right', ['k', '2'])
    await expect
      .poll(() => stage.read('plain'))
      .toEqual([
        ['k', '1'],
        ['k', '2'],
      ])
    expect(one.app.health.counts.recoveries).toBe(1)
    expect(one.app.health.tasks.map(({ status }) => status).sort()).toEqual(['failed', 'running'])
    expect((await stage.committed('refused', { topic: 'left', partition: 0 }))?.offset).toBeLessThanOrEqual(1)
  })
})

describe('input that cannot be read at all', () => {
  const plain = (value: string) => [{ key: Buffer.from('k'), value: Buffer.from(value) }]
  /** Says that it is gzip, and is not. */
  const noGzip = batchOf(plain('packed'), (batch) => batch.writeInt16BE(batch.readInt16BE(21) | 1, 21))
  /** The same, with content that would fill the memory. */
  const bomb = withContent(noGzip, gzipSync(Buffer.alloc(DECOMPRESSED_BYTES_MAX + 1)))

  /** As Avro: something has to be fetched before a value can be decoded. */
  const prepared = (prepare: (text: string) => Promise<void> | undefined): Serde<string> => ({
    ...string,
    open: async (context) => {
      const codec = await string.open(context)
      return {
        encode: (value) => codec.encode(value),
        decode: (bytes) => codec.decode(bytes),
        prepare: (bytes) => prepare(codec.decode(bytes)),
      }
    },
  })

  describe.each([
    ['of a serde that prepares nothing', string],
    ['of a serde that waits for something', prepared(async () => {})],
    ['of a serde that waits for nothing any more', prepared(() => undefined)],
  ])('%s', (_, value) => {
    test.each([
      ['cannot be decompressed', noGzip, 'BATCH_CORRUPT', /cannot be decompressed \(gzip\)/],
      ['becomes too large', bomb, 'BATCH_TOO_LARGE', /bytes of gzip that become more than/],
    ] as const)(
      'a batch that %s stops its task, others go on; nothing behind it is passed over',
      async (...row) => {
        const [, damaged, code, message] = row
        const topology = (): Topology => {
          const t = new Topology('packed')
          t.stream('in', { key: string, value }).to('out')
          return t
        }
        await stage.topics({ topic: 'in', partitions: 2 }, 'out')
        await stage.produce({ topic: 'in', partition: 0 }, plain('before'))
        await stage.produceBatch({ topic: 'in', partition: 0 }, damaged)
        await stage.produce({ topic: 'in', partition: 0 }, plain('after'))
        await stage.produce({ topic: 'in', partition: 1 }, plain('beside'))
        const disk = memoryDisk()
        const one = await stage.run(topology, { disk })
        const error = await failure(one)
        expect(error).toMatchObject({ code, details: { topic: 'in', partition: 0, offset: 1 } })
        expect(error.message).toMatch(message)
        await expect.poll(async () => (await stage.read('out')).map(([, value]) => value)).toContain('beside')
        expect((await stage.committed('packed', { topic: 'in', partition: 0 }))?.offset).toBeLessThanOrEqual(
          1,
        )
        expect((await stage.read('out')).map(([, value]) => value)).not.toContain('after')
        expect(one.app.state).toBe('RUNNING')
      },
    )
  })

  test('a serde whose prepare throws: decoding has the last word', async () => {
    const value = prepared((text) => {
      if (text !== 'fine') throw new Error(`what is '${text}'?`)
      return undefined
    })
    const topology = (): Topology => {
      const t = new Topology('throwing')
      t.stream('in', { key: string, value }).to('out')
      return t
    }
    await stage.topics('in', 'out')
    await stage.say('in', ['k', 'fine'], ['k', 'odd'], ['k', 'fine'])
    await stage.run(topology)
    await stage.drained(topology)
    expect((await stage.read('out')).map(([, value]) => value)).toEqual(['fine', 'odd', 'fine'])
  })
})

test('what hinders decoding, is no fault of the record and does not pass by itself stops the task', async () => {
  const value: Serde<string> = {
    ...string,
    open: async (context) => ({
      ...(await string.open(context)),
      prepare: () => Promise.reject(new DruseError('REGISTRY_CHANGED', 'another registry')),
    }),
  }
  const topology = (): Topology => {
    const t = new Topology('hindered')
    t.stream('in', { key: string, value, onUndecodable: 'skip', onFailure: 'skip' }).to('out', strings)
    return t
  }
  await stage.topics('in', 'out')
  await stage.say('in', ['k', 'v'])
  expect(await failure(await stage.run(topology))).toMatchObject({ code: 'REGISTRY_CHANGED' })
  expect((await stage.committed('hindered', { topic: 'in', partition: 0 }))?.offset).toBe(0)
})

test('what a reader cannot take in has not been read: it fails, and goes no further', async () => {
  const at = { topic: 'in', partition: 0 }
  await stage.topics('in')
  await stage.say('in', ['k', '1'])
  const delivered: number[] = []
  const failed = Promise.withResolvers<unknown>()
  const fetcher = new Fetcher(
    stage.cluster,
    { isolation: 'read_committed' },
    {
      deliver: ({ nextOffset }) => {
        delivered.push(nextOffset)
        throw new Error('no room')
      },
      failed: (_, error) => failed.resolve(error),
    },
  )
  fetcher.add(at, 0)
  expect(await failed.promise).toMatchObject({ message: 'no room' })
  await stage.say('in', ['k', '2'])
  expect(delivered).toHaveLength(1)
  fetcher.close()
})

/** A batch with another payload, whose checksum fits. */
function withContent(batch: Uint8Array, payload: Buffer): Uint8Array {
  const whole = Buffer.concat([batch.subarray(0, BATCH_OVERHEAD_BYTES), payload])
  whole.writeInt32BE(whole.length - 12, 8)
  whole.writeUInt32BE(crc32c(whole.subarray(21)), 17)
  return whole
}
