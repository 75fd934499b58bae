/** State that is read is what was written, or the task stops and says so; what becomes of files at rest is in test/damage. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Disk, type MemoryDisk, memoryDisk, type Store, string, Topology } from '../../src/index.ts'
import type { Instance } from './instance.ts'
import { Stage, strings } from './stage.ts'

let stage: Stage
let disk: MemoryDisk
/** Reads of keys that end so are answered with a bit flipped. */
let bad: string | undefined

beforeEach(async () => {
  stage = await Stage.open()
  disk = memoryDisk()
  bad = undefined
  await stage.topics('in', 'out', { topic: 'names', configs: { 'cleanup.policy': 'compact' } })
})

afterEach(() => stage.close())

const LAST = new Topology('regions').region('last', strings)

/** Each value with the one before it, and with the key's name. */
const pairing = (): Topology => {
  const t = new Topology('app')
  const last = t.region('last', strings)
  const names = t.globalRegion('names', { topic: 'names', ...strings })
  t.stream('in', strings)
    .process('pair', { regions: [last, names], value: string }, async ({ key, value }, context) => {
      const before: string[] = []
      if (value === 'all') for await (const [, one] of context.last.range()) before.push(one)
      else before.push(context.last.get(key) ?? 'nothing')
      if (value !== 'blind') context.forward(key, `${before} ${context.names.get(key)} ${value}`)
      context.last.put(key, value)
    })
    .to('out')
  return t
}

function flipped(key: Uint8Array, value: Uint8Array): Uint8Array {
  if (bad === undefined || !Buffer.from(key).toString('latin1').endsWith(bad)) return value
  const bytes = Buffer.from(value)
  bytes[bytes.length - 1] = (bytes[bytes.length - 1] as number) ^ 4
  return bytes
}

/** The disk that reads badly. */
function worn(): Disk {
  const over = (store: Store): Store => ({
    asClosed: store.asClosed,
    getSync: (key) => {
      const found = store.getSync(key)
      return found && flipped(key, found)
    },
    getMany: async (keys) =>
      (await store.getMany(keys)).map((found, i) => found && flipped(keys[i] as Uint8Array, found)),
    async *range(bounds) {
      for await (const [key, value] of store.range(bounds)) yield [key, flipped(key, value)]
    },
    write: (writes) => store.write(writes),
    distrust: () => store.distrust(),
    close: () => store.close(),
  })
  return {
    root: disk.root,
    open: async (path) => over(await disk.open(path)),
    exists: (path) => disk.exists(path),
    list: (path) => disk.list(path),
    moveAside: (path) => {
      // What is made anew stands elsewhere on it.
      bad = undefined
      return disk.moveAside(path)
    },
    readText: (path) => disk.readText(path),
    writeText: (path, text) => disk.writeText(path, text),
  }
}

/** Nothing is cached: what is read is read from the store. */
const run = (): Promise<Instance> => stage.run(pairing, { stateDir: worn(), regionCacheBytes: 1 })

async function say(...records: [key: string, value: string][]): Promise<void> {
  await stage.say('in', ...records)
  await stage.drained(pairing)
}

const outputs = async (): Promise<string[]> => (await stage.read('out')).map(([, value]) => value)

beforeEach(async () => {
  await stage.say('names', ['a', 'Ann'], ['b', 'Bob'])
  const one = await run()
  await say(['a', '1'], ['b', '1'])
  await one.close()
  expect(await outputs()).toEqual(['nothing Ann 1', 'nothing Bob 1'])
})

describe('a bad read', () => {
  test.each([
    ['of one entry', 'a', ['a', '2']],
    ['within a range', 'b', ['a', 'all']],
    ['of what is replaced unseen', 'a', ['a', 'blind']],
  ] as const)('%s stops the task, which processes nothing on it', async (what, key, record) => {
    const one = await run()
    bad = key
    await stage.say('in', record)
    const code = what === 'of what is replaced unseen' ? /STATE_WRITE_FAILED|STORE_CORRUPT/ : /STORE_CORRUPT/
    await expect.poll(() => one.app.health.tasks[0]?.error?.code).toMatch(code)
    expect(one.app.health.tasks[0]?.error?.message).toContain('STORE_CORRUPT')
    expect(await outputs()).toEqual(['nothing Ann 1', 'nothing Bob 1'])
    await one.close()

    // The store itself is whole, and found to be so; it is not taken on trust.
    bad = undefined
    const two = await run()
    await say(['b', '9'])
    expect(two.logged('its state was checked')).toBe(true)
    expect(two.logged('moved aside')).toBe(false)
    expect((await outputs()).at(-1)).toBe('1 Bob 9')
    if (record[1] !== 'blind') expect(await outputs()).toHaveLength(4)
  })

  test('that lasts: the directory is moved aside when it is opened next, and rebuilt', async () => {
    const one = await run()
    bad = 'a'
    await stage.say('in', ['a', '2'])
    await expect.poll(() => one.app.health.tasks[0]?.error?.code).toBe('STORE_CORRUPT')
    await one.close()
    const two = stage.instance(pairing, { stateDir: worn(), regionCacheBytes: 1 })
    await two.start()
    await expect.poll(() => two.logged('moved aside')).toBe(true)
    await stage.drained(pairing)
    const { details } = two.log.find(({ message }) => message.includes('moved aside')) ?? {}
    expect(details).toMatchObject({ code: 'STORE_CORRUPT', movedTo: 'tasks/in-0.aside-1' })
    expect(await disk.list('tasks')).toEqual(['in-0', 'in-0.aside-1'])
    expect((await outputs()).at(-1)).toBe('1 Ann 2')
    expect(await two.app.region(LAST).get('a')).toBe('2')
  })

  test('of a replicated region stops the task; its store is checked when it is opened next', async () => {
    const one = await run()
    bad = 'namesa'
    await stage.say('in', ['a', '2'])
    await expect.poll(() => one.app.health.tasks[0]?.error?.code).toBe('STORE_CORRUPT')
    await one.close()
    const two = stage.instance(pairing, { stateDir: worn(), regionCacheBytes: 1 })
    const started = two.start()
    await expect.poll(() => two.logged('global regions: their directory was moved aside')).toBe(true)
    await started
    await stage.drained(pairing)
    expect((await outputs()).at(-1)).toBe('1 Ann 2')
    expect(await disk.list('')).toContain('process.aside-1')
  })
})

test('a store of an earlier format is moved aside and rebuilt', async () => {
  const store = await disk.open('tasks/in-0')
  await store.write([[Buffer.of(0), Buffer.from('{"format":1,"cluster":"x","regions":{}}')]])
  await store.close()
  const one = await run()
  await say(['a', '2'])
  const { details } = one.log.find(({ message }) => message.includes('moved aside')) ?? {}
  expect(details).toMatchObject({ reason: expect.stringContaining('earlier version of Druse') })
  expect((await outputs()).at(-1)).toBe('1 Ann 2')
})
