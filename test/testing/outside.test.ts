/** A test's own time: operators that take some, timers that are played with, a process that ends. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { localRegistry, memoryDisk, type Registry, string, Topology } from '../../src/index.ts'
import { TestDriver } from '../../src/testing/index.ts'
import { figures, strings, sums } from './topologies.ts'

const later = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
afterEach(() => {
  vi.useRealTimers()
})

describe('what takes real time', () => {
  const slow = (work: (value: string) => Promise<string>) => {
    const topology = new Topology('slow')
    topology
      .stream('in', strings)
      .process('ask', { value: string }, async ({ key, value }, { forward }) => {
        forward(key, `${await work(value)}1`)
        forward(key, `${await work(value)}2`)
      })
      .to('out')
    return topology
  }

  test('is waited for, and no virtual time passes meanwhile', async () => {
    const passed: number[] = []
    const topology = slow(async (value) => {
      const beforeMs = driver.nowMs
      await later(30)
      passed.push(driver.nowMs - beforeMs)
      return value
    })
    const driver = await TestDriver.create(topology, { partitions: 2, instances: 2 })
    const input = driver.createInputTopic('in', strings)
    await input.pipeRecordList([0, 1].map((partition) => ({ key: 'a', value: `v${partition}`, partition })))
    const out = driver.createOutputTopic('out', strings)
    expect((await out.readValuesToList()).toSorted()).toEqual(['v01', 'v02', 'v11', 'v12'])
    expect(passed).toEqual([0, 0, 0, 0])
    await driver.close()
  })

  test('is not waited for any more when its instance is dead', async () => {
    const topology = slow(() => {
      driver.instances[0].crash()
      return new Promise(() => {})
    })
    const driver = await TestDriver.create(topology)
    await driver.createInputTopic('in', strings).pipeInput('a', 'b')
    expect(driver.instances[0].state).toBe('stopped')
    await driver.close()
  })

  test.each(['crash', 'freeze'] as const)('is not waited for any more after a %s', async (what) => {
    const started = Promise.withResolvers<void>()
    const topology = slow(() => {
      started.resolve()
      return new Promise(() => {})
    })
    const driver = await TestDriver.create(topology)
    const piped = driver.createInputTopic('in', strings).pipeInput('a', 'b')
    await started.promise
    await later(10)
    driver.instances[0][what]()
    await piped
    driver.instances[0].crash()
    await driver.close()
  })

  test('may be a registry', async () => {
    const { avro } = await import('../../src/index.ts')
    const reading = avro<{ n: number }>({ type: 'record', name: 'R', fields: [{ name: 'n', type: 'int' }] })
    const inner = localRegistry(memoryDisk())
    const registry: Registry = {
      idOf: async (...given) => {
        await later(20)
        return inner.idOf(...given)
      },
      schemaOf: async (id) => {
        await later(20)
        return inner.schemaOf(id)
      },
    }
    const topology = new Topology('readings')
    topology.stream('in', { key: string, value: reading }).to('out')
    await using driver = await TestDriver.create(topology, { registry, startTimeMs: 1_000_000 })
    await driver.createInputTopic('in', { key: string, value: reading }).pipeInput('a', { n: 1 })
    const out = driver.createOutputTopic('out', { key: string, value: reading })
    expect(await out.readValue()).toMatchObject({ n: 1 })
    expect(driver.nowMs).toBeLessThan(1_010_000)
  })

  test('is told from what takes virtual time: a topic that is looked up', async () => {
    const topology = new Topology('orders')
    topology
      .stream('in', strings)
      .process('ask', { value: string }, async ({ key, value }, { forward }) => {
        await later(1)
        forward(key, value)
      })
      .to((value) => `out-${value}`)
    await using driver = await TestDriver.create(topology, { topics: [{ topic: 'out-x' }] })
    await driver.createInputTopic('in', strings).pipeInput('a', 'x')
    expect(await driver.createOutputTopic('out-x', strings).readValue()).toBe('x')
  })
})

test('timers that a test plays with do not stop it', async () => {
  vi.useFakeTimers()
  const { topology } = sums()
  await using driver = await TestDriver.create(topology)
  await driver.createInputTopic('numbers', figures).pipeInput('a', 1)
  expect(await driver.createOutputTopic('sums', figures).readValue()).toBe(1)
})

test("runs under Node's own test runner, and leaves nothing open", async () => {
  const dir = await mkdtemp(join(tmpdir(), 'druse-testing-'))
  const source = (path: string) => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href)
  const file = join(dir, 'driver.test.ts')
  await writeFile(
    file,
    `import assert from 'node:assert/strict'
     import { test } from 'node:test'
     import { string, Topology } from ${source('index.ts')}
     import { TestDriver } from ${source('testing/index.ts')}
     test('copies', async () => {
       const topology = new Topology('copy')
       topology.stream('in', { key: string, value: string }).to('out')
       // Not closed: nothing of it keeps the process.
       const driver = await TestDriver.create(topology)
       await driver.createInputTopic('in', { key: string, value: string }).pipeInput('a', 'b')
       assert.equal(await driver.createOutputTopic('out', { key: string, value: string }).readValue(), 'b')
       assert.deepEqual(process.getActiveResourcesInfo().filter((name) => /Timeout|Immediate/.test(name)), [])
     })`,
  )
  const env = { ...process.env }
  delete env.NODE_TEST_CONTEXT
  const { stdout } = await promisify(execFile)(process.execPath, ['--test', '--test-reporter=tap', file], {
    env,
  })
  expect(stdout).toMatch(/^# pass 1$/m)
  await rm(dir, { recursive: true })
})
