/** What tasks ask of their stores, and that a closed task asks nothing else in its place. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Disk, memoryDisk, type Store, Topology } from '../../src/index.ts'
import { EntryCaches } from '../../src/region/entry-cache.ts'
import { TaskState } from '../../src/runtime/task-state.ts'
import { systemClock } from '../../src/system.ts'
import { numbered } from '../region/parts.ts'
import { Stage, strings } from './stage.ts'

/** A disk whose stores tell what they are asked for, and when they have been written to. */
class Watched {
  readonly disk: Disk
  readonly reads: string[] = []
  writes = 0

  constructor() {
    const inner = memoryDisk()
    this.disk = {
      root: inner.root,
      open: async (path) => this.#watch(await inner.open(path)),
      exists: (path) => inner.exists(path),
      list: (path) => inner.list(path),
      moveAside: (path) => inner.moveAside(path),
      readText: (path) => inner.readText(path),
      writeText: (path, text) => inner.writeText(path, text),
    }
  }

  #watch(store: Store): Store {
    return {
      asClosed: store.asClosed,
      getSync: (key) => {
        this.reads.push(Buffer.from(key).toString('latin1'))
        return store.getSync(key)
      },
      getMany: (keys) => store.getMany(keys),
      range: (bounds) => store.range(bounds),
      write: async (writes) => {
        await store.write(writes)
        this.writes += 1
      },
      distrust: () => store.distrust(),
      close: () => store.close(),
    }
  }

  readsOf(key: string): number {
    return this.reads.filter((read) => read.endsWith(`counts${key}`)).length
  }
}

const topology = (): Topology => {
  const t = new Topology('app')
  t.stream('in', strings).groupByKey().count('counts').toStream().mapValues(String).to('out', strings)
  return t
}

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
})

afterEach(() => stage.close())

/** A record of each key, then the next, each round in a commit of its own that stands in the store. */
async function rounds(count: number, options: { regionCacheBytes?: number }): Promise<Watched> {
  const watched = new Watched()
  await stage.topics('in', 'out')
  await stage.run(topology, { stateDir: watched.disk, ...options })
  for (let round = 0; round < count; round++) {
    for (const key of ['a', 'b']) {
      const before = watched.writes
      await stage.say('in', [key, 'x'])
      while (watched.writes === before) await new Promise((again) => setTimeout(again, 1))
    }
  }
  await stage.drained(topology)
  const last = new Map(await stage.read('out'))
  expect(Object.fromEntries(last)).toEqual({ a: String(count), b: String(count) })
  return watched
}

describe('entries of regions', () => {
  test('are read from the store once', async () => {
    const watched = await rounds(4, {})
    expect(watched.readsOf('a')).toBe(1)
    expect(watched.readsOf('b')).toBe(1)
  })

  test('are read again when the cache has no room for them', async () => {
    const watched = await rounds(4, { regionCacheBytes: 1 })
    expect(watched.readsOf('a')).toBeGreaterThan(1)
  })

  test('are not read from the cache of a task that was closed', async () => {
    const store = await memoryDisk().open('task')
    const part = await numbered(store, { cache: new EntryCaches(1 << 20).open() })
    const state = new TaskState({
      persistent: store,
      memory: undefined,
      regions: new Map([
        [
          'counts',
          {
            key: 'counts',
            part,
            store,
            changelog: { topic: 'log', partition: 0, maxRecordBytes: 1_000 },
            isSource: false,
          },
        ],
      ]),
      committed: {} as ConstructorParameters<typeof TaskState>[0]['committed'],
      topicHash: () => '',
      note: () => {},
      clock: systemClock,
    })
    expect(part.get('a')).toBeUndefined()
    await state.close()
    expect(() => part.get('a')).toThrow(expect.objectContaining({ code: 'STORE_CLOSED' }))
  })
})
