/**
 * Entries that were last known to be whole longer ago than half of delete.retention.ms: what says that one of them was
 * deleted may have been compacted away, so they are read again from the beginning. A ghost stands for such an entry.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type MemoryDisk, memoryDisk, type RestoreProgress, type Store, Topology } from '../../src/index.ts'
import type { Write } from '../../src/ports.ts'
import { hashOf } from '../../src/region/check.ts'
import {
  entryHash,
  META_KEY,
  readStatement,
  regionPrefix,
  statementWrite,
  storeKey,
  storeValue,
} from '../../src/region/layout.ts'
import type { Instance } from './instance.ts'
import { Stage, strings } from './stage.ts'

const DAY_MS = 24 * 3_600_000

let stage: Stage
let disk: MemoryDisk
let progress: RestoreProgress[]

beforeEach(async () => {
  stage = await Stage.open()
  disk = memoryDisk()
  progress = []
  await stage.topics('in')
})

afterEach(() => stage.close())

const LAST = new Topology('regions').region('last', strings)

const keeping = (): Topology => {
  const t = new Topology('app')
  const last = t.region('last', strings)
  t.stream('in', strings).process('keep', { regions: [last] }, ({ key, value }, context) => {
    context.last.put(key, value)
  })
  return t
}

const run = (on: MemoryDisk = disk): Promise<Instance> =>
  stage.run(keeping, { disk: on, onRestore: (p) => progress.push(p) })

async function say(on: MemoryDisk, ...keys: string[]): Promise<void> {
  await stage.say('in', ...keys.map((key) => [key, `of ${key}`] as const))
  const one = await run(on)
  await stage.drained(keeping)
  await one.close()
  progress = []
}

async function keys({ app }: Instance): Promise<string[]> {
  const found: string[] = []
  for await (const [key] of app.region(LAST).range()) found.push(key)
  return found
}

async function change(path: string, how: (store: Store) => Promise<void>): Promise<void> {
  const store = await disk.open(path)
  await how(store)
  await store.close()
}

/** What stands under a key of a store's own. */
const stated = (store: Store, key: Uint8Array): { asOfMs: number } =>
  readStatement(key, store.getSync(key) as Uint8Array)

const makeOlder = (store: Store, key: Uint8Array, byMs: number): Promise<void> =>
  store.write([statementWrite(key, { ...stated(store, key), asOfMs: Date.now() - byMs })])

function ghost(region: string): Write {
  const prefix = regionPrefix(region)
  const key = Buffer.from('ghost')
  const hash = entryHash(hashOf(prefix), key)
  return [storeKey(prefix, key), storeValue(hash, 1_000, Buffer.from('of long ago'))]
}

/** The task's store says that it was whole so long ago, and holds an entry that no changelog knows. */
async function age(byMs: number): Promise<void> {
  await change('tasks/in-0', async (store) => {
    await makeOlder(store, META_KEY, byMs)
    await store.write([ghost('last')])
  })
}

describe('a region of a task', () => {
  test('too old, and behind: from the beginning', async () => {
    await say(disk, 'a')
    await age(4 * DAY_MS)
    await say(memoryDisk(), 'b')
    const one = await run()
    expect(await keys(one)).toEqual(['a', 'b'])
    expect(progress[0]?.from).toBe(0)
    expect(one.logged('older than half of delete.retention.ms')).toBe(true)
    expect(one.logged('moved aside')).toBe(false)
  })

  test('from a time to come: nobody knows how old; from the beginning', async () => {
    await say(disk, 'a')
    await age(-DAY_MS)
    await say(memoryDisk(), 'b')
    expect(await keys(await run())).toEqual(['a', 'b'])
  })

  test('young enough: from where it stands', async () => {
    await say(disk, 'a')
    await age(3 * DAY_MS)
    await say(memoryDisk(), 'b')
    const one = await run()
    expect(await keys(one)).toEqual(['a', 'b', 'ghost'])
    expect(progress[0]?.from).toBeGreaterThan(0)
    await one.close()
    await change('tasks/in-0', async (store) => {
      const { asOfMs } = stated(store, META_KEY)
      expect(Date.now() - asOfMs).toBeLessThan(DAY_MS)
    })
  })

  test('too old, but nothing has changed since: as it is', async () => {
    await say(disk, 'a')
    await age(300 * DAY_MS)
    expect(await keys(await run())).toEqual(['a', 'ghost'])
    expect(progress).toEqual([])
  })

  test('what was replayed or committed is whole as of then', async () => {
    await say(disk, 'a')
    await age(4 * DAY_MS)
    await say(memoryDisk(), 'b')
    await (await run()).close()
    await say(memoryDisk(), 'c')
    progress = []
    const one = await run()
    expect(progress[0]?.from).toBeGreaterThan(0)
    await stage.say('in', ['d', 'of d'])
    await stage.drained(keeping)
    await one.close()
    await say(memoryDisk(), 'e')
    expect(await keys(await run())).toEqual(['a', 'b', 'c', 'd', 'e'])
    expect(progress[0]?.from).toBeGreaterThan(0)
  })

  test('a crash while it begins anew leaves no ghost', async () => {
    await say(disk, 'a', 'b', 'c')
    await age(4 * DAY_MS)
    await say(memoryDisk(), 'd')
    // It dies when the store has been told that it holds nothing, with the entries still there.
    const one = stage.instance(keeping, { disk })
    one.fates = (request) => {
      const reads =
        request.api === 'Fetch' && request.partitions.some(({ topic }) => topic === 'app-last-changelog')
      if (reads) disk.full = true
      return reads ? 'crashBefore' : 'pass'
    }
    await one.start()
    await one.fell
    disk.full = false
    await change('tasks/in-0', async (store) => {
      await store.write([ghost('last')])
    })
    expect(await keys(await run())).toEqual(['a', 'b', 'c', 'd'])
  })

  test('a changelog that forgets at once cannot be replayed in time: the task stops and says what to change', async () => {
    await stage.topics({
      topic: 'app-last-changelog',
      configs: { 'cleanup.policy': 'compact', 'delete.retention.ms': '0' },
    })
    await say(disk, 'a')
    const one = await run(memoryDisk())
    await expect
      .poll(() => one.app.health.tasks[0]?.error?.message)
      .toMatch(/app-last-changelog.*RESTORE_TOO_SLOW/)
  })
})

describe('a replicated region', () => {
  const looking = (): Topology => {
    const t = new Topology('app')
    t.globalRegion('names', { topic: 'names', ...strings })
    t.stream('in', strings).to('out')
    return t
  }
  const NAMES = new Topology('regions').globalRegion('names', { topic: 'names', ...strings })
  const names = async ({ app }: Instance): Promise<string[]> => {
    const found: string[] = []
    for await (const [key] of app.region(NAMES).range()) found.push(key)
    return found
  }
  const ageCopy = (byMs: number): Promise<void> =>
    change('process', async (store) => {
      await makeOlder(store, Buffer.from('\0global names/0'), byMs)
      await store.write([ghost('names')])
    })

  beforeEach(async () => {
    await stage.topics('out', { topic: 'names', configs: { 'cleanup.policy': 'compact' } })
    await stage.say('names', ['a', 'of a'])
    await (await stage.run(looking, { disk })).close()
  })

  // delete.retention.ms of a topic is a day.
  for (const [what, byMs, expected] of [
    ['too old, and behind: loaded anew', 13 * 3_600_000, ['a', 'b']],
    ['from a time to come: loaded anew', -DAY_MS, ['a', 'b']],
    ['young enough: brought up to date', 11 * 3_600_000, ['a', 'b', 'ghost']],
  ] as const) {
    test(what, async () => {
      await ageCopy(byMs)
      await stage.say('names', ['b', 'of b'])
      expect(await names(await stage.run(looking, { disk }))).toEqual(expected)
    })
  }

  test('too old, but nothing has changed since: as it is', async () => {
    await ageCopy(300 * DAY_MS)
    expect(await names(await stage.run(looking, { disk }))).toEqual(['a', 'ghost'])
  })
})
