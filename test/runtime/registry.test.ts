/** An application and its schema registry service: stopped, started, refusing, slow. What is read and kept meanwhile. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  avro,
  type Registry,
  type SchemaRegistryOptions,
  schemaRegistry,
  string,
  Topology,
} from '../../src/index.ts'
import { RegistryServer } from '../serde/registry-server.ts'
import { Stage } from './stage.ts'

interface Reading {
  readonly sensor: string
  readonly degrees: number
  readonly [added: `added${number}`]: number
}

const version = (n: number) =>
  avro<Reading>({
    type: 'record',
    name: 'Reading',
    fields: [
      { name: 'sensor', type: 'string' },
      { name: 'degrees', type: 'int' },
      ...Array.from({ length: n }, (_, i) => ({ name: `added${i}`, type: 'int', default: i })),
    ],
  })

let stage: Stage
let server: RegistryServer
beforeEach(async () => {
  stage = await Stage.open()
  server = await RegistryServer.open()
  await stage.topics({ topic: 'readings', partitions: 2 }, 'plain', 'latest', 'lines', 'graveyard')
})
afterEach(async () => {
  await stage.close()
  await server.stop()
})

const registryOf = (options: Partial<SchemaRegistryOptions> = {}): Registry =>
  schemaRegistry({ url: server.url, timeoutMs: 200, retryMs: 300, ...options })

/** Two tasks: one per partition of `readings`; and one that needs no schema. */
const warm = (): Topology => {
  const t = new Topology('warm', { onFailure: 'skip', onUndecodable: { deadLetter: 'graveyard' } })
  const kept = t.region('kept', { key: string, value: version(0) })
  t.stream('readings', { key: string, value: version(0) })
    .process('keep', { regions: [kept], value: version(0) }, ({ key, value }, { kept, forward }) => {
      const before = kept.get(key)?.degrees ?? 0
      kept.put(key, { ...value, degrees: before + value.degrees })
      forward(key, value)
    })
    .to('latest')
  t.stream('plain', { key: string, value: string }).to('lines')
  return t
}
const KEPT = new Topology('warm').region('kept', { key: string, value: version(0) })

const readings = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => ({
    key: `s${(from + i) % 5}`,
    value: { sensor: 's', degrees: from + i, added0: 1, added1: 2, added2: 3 },
  }))
const sum = (from: number, to: number, key: number): number =>
  readings(from, to)
    .filter((_, i) => (from + i) % 5 === key)
    .reduce((total, { value }) => total + value.degrees, 0)

/** Producers that have their ids already. */
const send = (n: number, from: number, to: number) =>
  stage.send('readings', readings(from, to), { key: string, value: version(n), registry: server.registry })

const totals = async (app: {
  region(region: typeof KEPT): { get(key: string): Promise<Reading | undefined> }
}) => Promise.all([0, 1, 2, 3, 4].map(async (i) => (await app.region(KEPT).get(`s${i}`))?.degrees))

describe('a registry that is stopped', () => {
  test('under load: what needs a new schema waits, says so, loses nothing, and goes on by itself', async () => {
    const one = await stage.run(warm, { registry: registryOf() })
    await send(0, 0, 50)
    await stage.drained(warm)

    await server.stop()
    // Of the known schema, and others: these are what it waits for.
    await send(0, 50, 100)
    await send(1, 100, 150)
    await send(2, 150, 200)
    await stage.say('plain', ['a', 'b'])
    const waiting = () => one.app.health.tasks.filter(({ waitingFor }) => waitingFor !== undefined)
    await expect.poll(() => waiting().length, { timeout: 10_000 }).toBe(2)
    expect(waiting()[0]).toMatchObject({ status: 'running', waitingFor: { code: 'REGISTRY_UNAVAILABLE' } })
    expect(one.app.health).toMatchObject({ state: 'RUNNING', healthy: true })
    // The other task goes on.
    await expect.poll(() => stage.read('lines')).toEqual([['a', 'b']])

    await server.start()
    await stage.drained(warm)
    expect(await totals(one.app)).toEqual([0, 1, 2, 3, 4].map((key) => sum(0, 200, key)))
    expect(await stage.records('graveyard')).toEqual([])
    expect(
      (await stage.records('latest', { key: string, value: version(0), registry: registryOf() })).length,
    ).toBe(200)
    expect(waiting()).toEqual([])
  })

  test.each([
    ['refuses us', { status: 401 }, 'REGISTRY_REFUSED'],
    ['has a proxy that knows no such page', { status: 404, body: 'not found' }, 'REGISTRY_REFUSED'],
    ['fails', { status: 500 }, 'REGISTRY_UNAVAILABLE'],
    ['says nothing', 'hang', 'REGISTRY_UNAVAILABLE'],
    ['redirects', { status: 302, headers: { location: '/login' } }, 'REGISTRY_REFUSED'],
  ] as const)('one that %s is waited for: no record is to blame', async (_, fault, code) => {
    const one = await stage.run(warm, { registry: registryOf() })
    server.fault = () => fault
    await send(1, 0, 20)
    await expect
      .poll(() => one.app.health.tasks.filter(({ waitingFor }) => waitingFor?.code === code).length, {
        timeout: 10_000,
      })
      .toBe(2)
    server.fault = () => undefined
    await stage.drained(warm)
    expect(await totals(one.app)).toEqual([0, 1, 2, 3, 4].map((key) => sum(0, 20, key)))
    expect(await stage.records('graveyard')).toEqual([])
  })

  test('an id that the registry does not know is the record’s fault', async () => {
    const one = await stage.run(warm, { registry: registryOf({ retryMs: 0 }) })
    await stage.produce({ topic: 'readings', partition: 0 }, [
      { key: Buffer.from('s0'), value: Buffer.from('00000000630273', 'hex') },
    ])
    await send(0, 0, 5)
    await stage.drained(warm)
    const [dead] = await stage.records('graveyard')
    expect(dead?.headers.find(({ key }) => key === 'druse.error.message')?.value?.toString()).toContain(
      'has no schema with id 99',
    )
    expect(await totals(one.app)).toEqual([0, 1, 2, 3, 4])
  })

  test('closing does not wait for it', async () => {
    const one = await stage.run(warm, { registry: registryOf({ timeoutMs: 30_000 }) })
    server.fault = () => 'hang'
    await send(1, 0, 20)
    await expect.poll(() => server.paths().filter((path) => path.startsWith('GET')).length).toBeGreaterThan(0)
    await one.close()
    expect(one.app.state).toBe('NOT_RUNNING')
  })
})

describe('a start without the registry', () => {
  let dir: string
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'druse-registry-'))
  })
  afterEach(() => rm(dir, { recursive: true, force: true }))
  const run = async (registry = registryOf()) => {
    const one = stage.instance(warm, { registry, stateDir: dir })
    await one.start()
    await one.app.untilRunning()
    return one
  }

  test.each([
    ['with its state', []],
    ['without its LevelDB: restored', ['tasks']],
  ])('%s: queries and known schemas work, new ones wait', async (_, lost) => {
    const first = await run()
    await send(0, 0, 50)
    await send(1, 50, 100)
    await stage.drained(warm)
    await first.close()
    await server.stop()
    for (const name of lost) await rm(join(dir, name), { recursive: true })

    const second = await run()
    expect(second.logged('going on with the ids of an earlier run')).toBe(true)
    expect(await totals(second.app)).toEqual([0, 1, 2, 3, 4].map((key) => sum(0, 100, key)))
    await send(1, 100, 150)
    await stage.drained(warm)
    expect(await totals(second.app)).toEqual([0, 1, 2, 3, 4].map((key) => sum(0, 150, key)))

    await send(2, 150, 200)
    await expect
      .poll(() => second.app.health.tasks.filter(({ waitingFor }) => waitingFor !== undefined).length, {
        timeout: 10_000,
      })
      .toBe(2)
    await server.start()
    await stage.drained(warm)
    expect(await totals(second.app)).toEqual([0, 1, 2, 3, 4].map((key) => sum(0, 200, key)))
    expect(await stage.records('graveyard')).toEqual([])
  })

  test('for the first time: it ends with the reason', async () => {
    await server.stop()
    await expect(run()).rejects.toMatchObject({ code: 'REGISTRY_UNAVAILABLE' })
  })

  test.each([
    ['is down', 503, 'REGISTRY_UNAVAILABLE'],
    ['refuses us', 401, 'REGISTRY_REFUSED'],
  ])(
    'without the schemas, too, of one that %s: what cannot be restored waits, and goes on',
    async (...row) => {
      const [, status, code] = row
      // The changelog has values of an older schema, which the present one has to look up.
      const older = (): Topology => {
        const t = new Topology('warm')
        const kept = t.region('kept', { key: string, value: version(1) })
        t.stream('readings', { key: string, value: version(1) }).process(
          'keep',
          { regions: [kept] },
          (record, context) => {
            context.kept.put(record.key, record.value)
          },
        )
        return t
      }
      const first = stage.instance(older, { registry: registryOf(), stateDir: dir })
      await first.start()
      await send(1, 0, 5)
      await stage.drained(older)
      await first.close()
      await rm(dir, { recursive: true })

      server.fault = ({ method }) => (method === 'GET' ? { status } : undefined)
      const second = stage.instance(warm, { registry: registryOf(), stateDir: dir })
      await second.start()
      await expect
        .poll(() => second.app.health.tasks.filter(({ waitingFor }) => waitingFor !== undefined), {
          timeout: 10_000,
        })
        .toMatchObject([
          { status: 'taking', waitingFor: { code } },
          { status: 'taking', waitingFor: { code } },
        ])
      server.fault = () => undefined
      await second.app.untilRunning()
      expect(await totals(second.app)).toEqual([0, 1, 2, 3, 4])
      expect(second.app.health.tasks.every(({ waitingFor }) => waitingFor === undefined)).toBe(true)
    },
  )
})

test('a replicated region waits for the registry, and goes on', async () => {
  await stage.topics({ topic: 'names', configs: { 'cleanup.policy': 'compact' } })
  const topology = (): Topology => {
    const t = new Topology('named')
    const names = t.globalRegion('names', { topic: 'names', key: string, value: version(0) })
    t.stream('plain', { key: string, value: string })
      .process('look', { regions: [names], value: string }, ({ key }, { names, forward }) =>
        forward(key, String(names.get(key)?.degrees)),
      )
      .to('lines')
    return t
  }
  const names = new Topology('named').globalRegion('names', {
    topic: 'names',
    key: string,
    value: version(0),
  })
  const name = (n: number, degrees: number) =>
    stage.send('names', [{ key: 'x', value: { sensor: 's', degrees, added0: 1, added1: 2 } }], {
      key: string,
      value: version(n),
      registry: server.registry,
    })
  await name(1, 1)
  server.fault = () => ({ status: 500 })
  const one = stage.instance(topology, { registry: registryOf() })
  const starting = one.start()
  await expect.poll(() => one.logged('global region: waiting'), { timeout: 10_000 }).toBe(true)
  server.fault = () => undefined
  await starting
  await one.app.untilRunning()
  expect((await one.app.region(names).get('x'))?.degrees).toBe(1)

  server.fault = () => ({ status: 401 })
  await name(2, 2)
  await expect
    .poll(() => one.log.filter(({ details }) => String(details.error).includes('REGISTRY_REFUSED')).length, {
      timeout: 10_000,
    })
    .toBeGreaterThan(0)
  expect(one.app.health).toMatchObject({ state: 'RUNNING', healthy: true })
  server.fault = () => undefined
  await expect.poll(async () => (await one.app.region(names).get('x'))?.degrees, { timeout: 10_000 }).toBe(2)
})

test('a replicated region of an earlier run asks for its schemas again when they are lost; what nobody can decode is data', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'druse-registry-'))
  try {
    await stage.topics({ topic: 'names', configs: { 'cleanup.policy': 'compact' } })
    const topology = (): Topology => {
      const t = new Topology('named', { onFailure: 'skip' })
      const names = t.globalRegion('names', { topic: 'names', key: string, value: version(0) })
      t.stream('plain', { key: string, value: string })
        .process('look', { regions: [names], value: string }, ({ key, value }, { names, forward }) =>
          forward(key, `${value} ${names.get(key)?.degrees}`),
        )
        .to('lines')
      return t
    }
    await stage.send('names', [{ key: 'x', value: { sensor: 's', degrees: 7, added0: 1 } }], {
      key: string,
      value: version(1),
      registry: server.registry,
    })
    await stage.produce({ topic: 'names', partition: 0 }, [
      { key: Buffer.from('odd'), value: Buffer.from('00000000630273', 'hex') },
    ])
    const run = () => stage.instance(topology, { registry: registryOf({ retryMs: 0 }), stateDir: dir })
    const first = await run().start()
    await stage.say('plain', ['x', 'first'], ['odd', 'first'])
    await stage.drained(topology)
    await first.close()

    await rm(join(dir, 'schema-cache.json'))
    server.fault = ({ method }) => (method === 'GET' ? { status: 401 } : undefined)
    const second = run()
    const starting = second.start()
    await expect.poll(() => second.logged('global region: waiting'), { timeout: 10_000 }).toBe(true)
    server.fault = () => undefined
    await starting
    await stage.say('plain', ['x', 'second'], ['odd', 'second'])
    await stage.drained(topology)
    expect(await stage.read('lines')).toEqual([
      ['x', 'first 7'],
      ['x', 'second 7'],
    ])
    for (const { log } of [first, second]) {
      expect(log.filter(({ message }) => message === 'task: a record is left out')).toHaveLength(1)
    }
    await second.close()
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
