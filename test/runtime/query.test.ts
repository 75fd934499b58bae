/** Regions from outside: what is committed, in the parts that run here; and what a restart finds again. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  avro,
  type CommittedRegion,
  DruseError,
  int64,
  localRegistry,
  memoryDisk,
  type Registry,
  type RestoreProgress,
  string,
  Topology,
} from '../../src/index.ts'
import { partitionFor } from '../../src/kafka/partitioner.ts'
import type { Instance } from './instance.ts'
import { Stage, strings } from './stage.ts'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
})

afterEach(async () => {
  await stage.close()
})

/** Keeps the last value of each key, and for each key how many it had. */
const keeping =
  (store: 'persistent' | 'memory' = 'persistent') =>
  (): Topology => {
    const t = new Topology('app')
    const lasts = t.region('lasts', { ...strings, store })
    const counts = t.region('counts', { key: string, value: int64, store })
    t.stream('in', strings)
      .process('keep', { regions: [lasts, counts] }, ({ key, value }, { lasts, counts, forward }) => {
        if (value === 'delete') lasts.delete(key)
        else lasts.put(key, value)
        counts.put(key, (counts.get(key) ?? 0) + 1)
        forward(key, value)
      })
      .to('out')
    return t
  }

const regions = new Topology('handles')
const LASTS = regions.region('lasts', strings)
const COUNTS = regions.region('counts', { key: string, value: int64 })

const KEYS = Array.from({ length: 20 }, (_, n) => `k${String(n).padStart(2, '0')}`)

async function all<K, V>(entries: AsyncIterable<readonly [K, V]>): Promise<(readonly [K, V])[]> {
  const found: (readonly [K, V])[] = []
  for await (const entry of entries) found.push(entry)
  return found
}

async function begin(partitions = 1): Promise<void> {
  await stage.topics({ topic: 'in', partitions }, 'out')
}

describe('committed reads', () => {
  test('see nothing of an open transaction, and all of it once it is committed', async () => {
    await begin()
    const disk = memoryDisk()
    await stage.say('in', ['a', '1'], ['b', '1'])
    const first = await stage.run(keeping(), { disk })
    await stage.drained(keeping())
    await first.close()

    await stage.say('in', ['a', '2'], ['b', 'delete'], ['c', '2'])
    const held = Promise.withResolvers<void>()
    const one = await stage.run(keeping(), {
      disk,
      fates: ({ api }) => (api === 'EndTxn' ? { after: held.promise } : 'pass'),
    })
    await expect.poll(() => one.requests.some(({ api }) => api === 'EndTxn')).toBe(true)
    expect(one.app.health.counts.records).toBe(3)
    const [lasts, counts] = [one.app.region(LASTS), one.app.region(COUNTS)]
    const look = async () => ({
      a: [await lasts.get('a'), await counts.get('a')],
      b: [await lasts.get('b'), await counts.get('b')],
      c: [await lasts.get('c'), await counts.get('c')],
      range: await all(lasts.range()),
      prefix: await all(lasts.prefix('b')),
    })
    expect(await look()).toEqual({
      a: ['1', 1],
      b: ['1', 1],
      c: [undefined, undefined],
      range: [
        ['a', '1'],
        ['b', '1'],
      ],
      prefix: [['b', '1']],
    })
    held.resolve()
    await expect.poll(() => lasts.get('c')).toBe('2')
    expect(await look()).toEqual({
      a: ['2', 2],
      b: [undefined, 2],
      c: ['2', 1],
      range: [
        ['a', '2'],
        ['c', '2'],
      ],
      prefix: [],
    })
  })

  test('a part whose store does not take a commit is unavailable, not stale', async () => {
    await begin()
    const disk = memoryDisk()
    const one = await stage.run(keeping(), { disk })
    const lasts = one.app.region(LASTS)
    await stage.say('in', ['a', '1'])
    await expect.poll(() => lasts.get('a')).toBe('1')
    disk.full = true
    await stage.say('in', ['a', '2'])
    // Then the task stops: what it has cannot be told from what it lacks.
    await expect.poll(() => one.app.health.tasks[0]?.status).toBe('failed')
    expect(await lasts.get('a').catch((error: DruseError) => error.code)).toBe('REGION_UNAVAILABLE')
  })
})

describe('ranges over all parts', () => {
  let lasts: CommittedRegion<string, string>

  beforeEach(async () => {
    await begin(3)
    await stage.say('in', ...KEYS.toReversed().map((key) => [key, key.toUpperCase()] as const))
    const one = await stage.run(keeping())
    await stage.drained(keeping())
    lasts = one.app.region(LASTS)
  })

  const keys = async (entries: AsyncIterable<readonly [string, string]>) =>
    (await all(entries)).map(([key]) => key)

  test('come in key order', async () => {
    expect(new Set(KEYS.map((key) => partitionFor(Buffer.from(key), 3))).size).toBe(3)
    expect(await all(lasts.range())).toEqual(KEYS.map((key) => [key, key.toUpperCase()]))
    expect(await keys(lasts.range({ reverse: true }))).toEqual(KEYS.toReversed())
    for (const key of KEYS) expect(await lasts.get(key)).toBe(key.toUpperCase())
  })

  test('within bounds and limits', async () => {
    expect(await keys(lasts.range({ gt: 'k03', lte: 'k09' }))).toEqual(KEYS.slice(4, 10))
    expect(await keys(lasts.range({ gte: 'k03', lt: 'k09', reverse: true, limit: 2 }))).toEqual([
      'k08',
      'k07',
    ])
    for (const limit of [0, 1, 7, 20, 21]) {
      expect(await keys(lasts.range({ limit }))).toEqual(KEYS.slice(0, limit))
    }
    expect(await keys(lasts.prefix('k1'))).toEqual(KEYS.slice(10))
    expect(await keys(lasts.prefix('x'))).toEqual([])
  })

  test('as they were at the call; left early, they hold nothing up', async () => {
    const range = lasts.range()
    await stage.say('in', ...KEYS.map((key) => [key, 'new'] as const))
    await expect
      .poll(async () => Promise.all(KEYS.map((key) => lasts.get(key))))
      .toEqual(KEYS.map(() => 'new'))
    expect(await all(range)).toEqual(KEYS.map((key) => [key, key.toUpperCase()]))
    for await (const [key] of lasts.range()) {
      if (key === 'k02') break
    }
  })
})

describe('parts elsewhere', () => {
  test('are unavailable by key, and left out of ranges', async () => {
    await begin(4)
    const instances = [await stage.run(keeping()), await stage.run(keeping())]
    const counts = () => instances.map(({ app }) => app.health.tasks.length)
    await expect.poll(counts, { timeout: 5_000 }).toEqual([2, 2])
    for (const { app } of instances) await app.untilRunning()
    await stage.say('in', ...KEYS.map((key) => [key, 'v'] as const))
    await stage.drained(keeping())
    const found = await Promise.all(
      instances.map(async ({ app }) => {
        const region = app.region(LASTS)
        const here = (await all(region.range())).map(([key]) => key)
        for (const key of KEYS) {
          const value = await region.get(key).catch((error: unknown) => error)
          if (here.includes(key)) expect(value).toBe('v')
          else {
            expect(value).toMatchObject({
              code: 'REGION_UNAVAILABLE',
              kind: 'transient',
              details: { region: 'lasts', partition: partitionFor(Buffer.from(key), 4) },
            })
          }
        }
        return here
      }),
    )
    expect(found.flat().sort()).toEqual(KEYS)
    for (const here of found) expect(here).toEqual([...here].sort())

    // When one goes, the other has all.
    await (instances[0] as Instance).close()
    const left = (instances[1] as Instance).app
    await expect.poll(() => left.health.tasks.length).toBe(4)
    await left.untilRunning()
    expect((await all(left.region(LASTS).range())).map(([key]) => key)).toEqual(KEYS)
  })

  test('so is a part that is being restored', async () => {
    await begin()
    await stage.say('in', ['a', '1'])
    const first = await stage.run(keeping())
    await stage.drained(keeping())
    await first.close()
    const held = Promise.withResolvers<void>()
    const one = stage.instance(keeping(), {
      fates: (request) =>
        request.api === 'Fetch' && request.partitions.some(({ topic }) => topic === 'app-lasts-changelog')
          ? { after: held.promise }
          : 'pass',
    })
    await one.start()
    await expect.poll(() => one.requests.some(({ api }) => api === 'Fetch')).toBe(true)
    expect(one.app.state).toBe('REBALANCING')
    expect(
      await one.app
        .region(LASTS)
        .get('a')
        .catch((error: DruseError) => error.code),
    ).toBe('REGION_UNAVAILABLE')
    expect(await all(one.app.region(LASTS).range())).toEqual([])
    held.resolve()
    await one.app.untilRunning()
    expect(await one.app.region(LASTS).get('a')).toBe('1')
  })
})

describe('global regions', () => {
  const looking = (): Topology => {
    const t = new Topology('app')
    const names = t.globalRegion('names', { topic: 'names', ...strings })
    t.stream('in', strings)
      .process('look', { regions: [names] }, async (record, { names, forward }) => {
        const found: string[] = []
        for await (const [key, name] of names.prefix(record.value)) found.push(`${key}=${name}`)
        forward(record.key, `${names.get(record.key) ?? '-'} ${names.has('b')} ${found.join()}`)
      })
      .to('out')
    return t
  }
  const NAMES = regions.globalRegion('names', { topic: 'names', ...strings })

  /** Where each partition of the region's topic was read from. */
  const firstFetches = ({ requests }: Instance): Map<number, number> => {
    const first = new Map<number, number>()
    for (const request of requests) {
      if (request.api !== 'Fetch') continue
      for (const { topic, partition, offset } of request.partitions) {
        if (topic === 'names' && !first.has(partition)) first.set(partition, offset)
      }
    }
    return first
  }
  const empty = [0, 1, 2].find((p) =>
    ['a', 'b', 'ab', 'x'].every((key) => partitionFor(Buffer.from(key), 3) !== p),
  )

  beforeEach(async () => {
    await begin()
    await stage.topics({ topic: 'names', partitions: 3, configs: { 'cleanup.policy': 'compact' } })
    await stage.say('names', ['a', 'Anna'], ['b', 'Bert'], ['ab', 'Abel'], ['x', 'gone'], ['x', null])
  })

  test('are loaded before the first record, and readable from outside in every instance', async () => {
    await stage.say('in', ['a', 'a'], ['z', 'b'])
    const instances = [await stage.run(looking), await stage.run(looking)]
    await stage.drained(looking)
    expect((await stage.read('out')).map(([, value]) => value)).toEqual([
      'Anna true a=Anna,ab=Abel',
      '- true b=Bert',
    ])
    for (const { app } of instances) {
      const names = app.region(NAMES)
      expect([await names.get('a'), await names.get('x'), await names.get('z')]).toEqual([
        'Anna',
        undefined,
        undefined,
      ])
      expect(await all(names.range())).toEqual([
        ['a', 'Anna'],
        ['ab', 'Abel'],
        ['b', 'Bert'],
      ])
      expect(await all(names.range({ gt: 'a', reverse: true, limit: 1 }))).toEqual([['b', 'Bert']])
      expect(await all(names.prefix('a'))).toHaveLength(2)
    }
  })

  test('follow their topic, deletions too; what was aborted is not seen', async () => {
    const one = await stage.run(looking)
    const names = one.app.region(NAMES)
    await stage.say('names', ['a', null], ['c', 'Carl'])
    await expect
      .poll(async () => all(names.range()))
      .toEqual([
        ['ab', 'Abel'],
        ['b', 'Bert'],
        ['c', 'Carl'],
      ])
  })

  test('go on where they were after a restart, and begin anew when their topic is another', async () => {
    const first = await stage.run(looking)
    await first.close()
    await stage.say('names', ['bb', 'Bob'])
    const second = await stage.run(looking, { disk: first.disk })
    expect(await second.app.region(NAMES).get('bb')).toBe('Bob')
    expect(await second.app.region(NAMES).get('a')).toBe('Anna')
    // One partition is empty: it has no position, and nothing to begin anew for.
    expect(empty).toBeDefined()
    for (const [partition, offset] of firstFetches(second)) expect(offset > 0).toBe(partition !== empty)
    await second.close()
    await stage.ask(
      { topic: 'names', partition: 0 },
      { api: 'DeleteTopics', topics: ['names'], timeoutMs: 1_000 },
    )
    stage.cluster.forgetTopic('names')
    await stage.topics({ topic: 'names', partitions: 3, configs: { 'cleanup.policy': 'compact' } })
    await stage.say('names', ['d', 'Dora'])
    const third = await stage.run(looking, { disk: first.disk })
    expect(await all(third.app.region(NAMES).range())).toEqual([['d', 'Dora']])
  })

  test('with other serdes are loaded anew', async () => {
    const first = await stage.run(looking)
    await first.close()
    const other = (): Topology => {
      const t = new Topology('app')
      t.globalRegion('names', { topic: 'names', key: string, value: { ...string, kind: 'text' } })
      t.stream('in', strings).to('out')
      return t
    }
    const second = await stage.run(other, { disk: first.disk })
    expect(firstFetches(second)).toEqual(new Map([0, 1, 2].map((p) => [p, 0])))
  })
})

describe('after a restart', () => {
  for (const store of ['persistent', 'memory'] as const) {
    test(`a ${store} region is as it was`, async () => {
      await begin(2)
      await stage.say('in', ...KEYS.map((key) => [key, '1'] as const), ['k03', 'delete'])
      const first = await stage.run(keeping(store))
      await stage.drained(keeping(store))
      await first.close()
      const progress: RestoreProgress[] = []
      const second = await stage.run(keeping(store), { disk: first.disk, onRestore: (p) => progress.push(p) })
      const expected = KEYS.filter((key) => key !== 'k03').map((key) => [key, '1'])
      expect(await all(second.app.region(LASTS).range())).toEqual(expected)
      expect(await second.app.region(COUNTS).get('k03')).toBe(2)
      // From disk there is nothing to replay; from memory all of it, up to what was committed.
      expect(progress.length > 0).toBe(store === 'memory')
      for (const { from, position, end, region, task } of progress) {
        expect(from).toBe(0)
        expect(position).toBeLessThanOrEqual(end)
        expect(['lasts', 'counts']).toContain(region)
        expect(['0_0', '0_1']).toContain(task)
      }
      expect(await first.disk.exists('tasks/in-0')).toBe(store === 'persistent')
      await stage.say('in', ['k03', '2'])
      await stage.drained(keeping(store))
      expect(await second.app.region(COUNTS).get('k03')).toBe(3)
    })
  }

  test('of a process that was killed, its state is used: only what it lacks is replayed', async () => {
    await begin(1)
    await stage.say('in', ...KEYS.map((key) => [key, '1'] as const))
    const first = await stage.run(keeping('persistent'))
    await stage.drained(keeping('persistent'))
    await expect.poll(() => first.app.region(LASTS).get('k00')).toBe('1')
    first.crash()
    const progress: RestoreProgress[] = []
    const second = await stage.run(keeping('persistent'), {
      disk: first.disk,
      onRestore: (p) => progress.push(p),
    })
    for (const { from } of progress) expect(from).toBeGreaterThan(0)
    expect(await all(second.app.region(LASTS).range())).toEqual(KEYS.map((key) => [key, '1']))
    expect(await first.disk.exists('tasks/in-0.aside-1')).toBe(false)
  })

  test('Avro values of an older schema are read, though the registry tells old schemas no more; none is registered again', async () => {
    const file = memoryDisk()
    const registry = localRegistry(file)
    interface Kept {
      readonly n: number
      readonly note?: string
    }
    const schema = (...fields: object[]) => ({
      type: 'record',
      name: 'Kept',
      fields: [{ name: 'n', type: 'int' }, ...fields],
    })
    const [old, present] = [schema(), schema({ name: 'note', type: 'string', default: 'none' })]
    const topology = (version: object) => (): Topology => {
      const t = new Topology('app')
      const kept = t.region('kept', { key: string, value: avro<Kept>(version) })
      t.stream('in', strings).process('keep', { regions: [kept] }, ({ key, value }, { kept }) => {
        kept.put(key, { n: Number(value), note: 'own' })
      })
      return t
    }
    await begin()
    await stage.say('in', ['a', '1'], ['b', '1'])
    const first = await stage.run(topology(old), { registry })
    await stage.drained(topology(old))
    await first.close()

    const registered: string[] = []
    const frail: Registry = {
      idOf: (subject, text) => {
        registered.push(text)
        return registry.idOf(subject, text)
      },
      schemaOf: async () => {
        throw new DruseError('REGISTRY_UNAVAILABLE', 'The registry is down')
      },
    }
    await stage.say('in', ['a', '2'])
    const second = await stage.run(topology(present), { registry: frail, disk: first.disk })
    await stage.drained(topology(present))
    const kept = new Topology('x').region('kept', { key: string, value: avro<Kept>(present) })
    const region = second.app.region(kept)
    expect(await all(region.range())).toEqual([
      ['a', { n: 2, note: 'own' }],
      ['b', { n: 1, note: 'none' }],
    ])
    expect(new Set(registered.map((text) => JSON.parse(text).fields.length))).toEqual(new Set([2]))
  })
})
