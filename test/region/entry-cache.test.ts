/** What caches know, how much, and that nothing is asked of a store twice; that they are never wrong is model.test.ts's. */
import { describe, expect, test } from 'vitest'
import { memoryDisk, type Store } from '../../src/index.ts'
import { hashOf } from '../../src/region/check.ts'
import { type EntryCache, EntryCaches } from '../../src/region/entry-cache.ts'
import type { EntryKey } from '../../src/region/entry-table.ts'
import { entryCheck, entryHash, readStoreValue, regionPrefix, storeValue } from '../../src/region/layout.ts'
import { numbered, settle } from './parts.ts'

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1')
const text = (found: Uint8Array | null | undefined): string | null | undefined =>
  found ? Buffer.from(found).toString('latin1') : found

const key = (name: string): EntryKey => ({ orderedKey: bytes(name), hash: hashOf(bytes(name)) })

/** A store that tells what it was asked for. */
async function asked(): Promise<{ store: Store; keys: string[] }> {
  const inner = await memoryDisk().open('store')
  const keys: string[] = []
  const store: Store = {
    asClosed: inner.asClosed,
    getSync: (key) => {
      keys.push(Buffer.from(key).toString('latin1').slice('..part'.length))
      return inner.getSync(key)
    },
    getMany: (many) => inner.getMany(many),
    range: (bounds) => inner.range(bounds),
    write: (writes) => inner.write(writes),
    distrust: () => inner.distrust(),
    close: () => inner.close(),
  }
  return { store, keys }
}

describe('a cache', () => {
  test('knows what it has learned, also that there is nothing, and no more', () => {
    const cache = new EntryCaches(1 << 20).open()
    cache.learn(key('a'), bytes('one'))
    cache.learn(key('b'), null)
    cache.learn(key(''), bytes(''))
    expect(text(cache.get(key('a')))).toBe('one')
    expect(cache.get(key('b'))).toBeNull()
    expect(text(cache.get(key('')))).toBe('')
    expect(cache.get(key('c'))).toBeUndefined()
  })

  test('knows what was written in the form of the store', () => {
    const cache = new EntryCaches(1 << 20).open()
    cache.learn(key('a'), bytes('before'))
    for (const time of [0, -1, 1_795_000_000_000]) {
      cache.written(key('a'), entryCheck(7, time, bytes('after')), time, bytes('after'))
      expect(text(cache.get(key('a')))).toBe(text(storeValue(7, time, bytes('after'))))
    }
    cache.written(key('a'), 0, 0, null)
    expect(cache.get(key('a'))).toBeNull()
  })

  test('forgets what it is told to, young or old, and learns it anew', () => {
    const cache = new EntryCaches(0).open()
    cache.learn(key('old'), bytes('one'))
    cache.forget(key('old'))
    expect(cache.get(key('old'))).toBeUndefined()
    const roomy = new EntryCaches(1 << 20).open()
    roomy.written(key('young'), 0, 0, bytes('one'))
    roomy.forget(key('young'))
    expect(roomy.get(key('young'))).toBeUndefined()
    roomy.learn(key('young'), bytes('two'))
    expect(text(roomy.get(key('young')))).toBe('two')
  })

  test('gives out bytes that later entries do not change', () => {
    const cache = new EntryCaches(1 << 20).open()
    cache.learn(key('a'), bytes('one'))
    const first = cache.get(key('a'))
    cache.learn(key('a'), bytes('two'))
    for (let i = 0; i < 1_000; i++) cache.learn(key(`${i}`), bytes('something else'))
    expect(text(first)).toBe('one')
    expect(text(cache.get(key('a')))).toBe('two')
  })

  test('copies what it is given', () => {
    const cache = new EntryCaches(1 << 20).open()
    const given = bytes('one')
    cache.learn(key('a'), given)
    given.fill(0)
    expect(text(cache.get(key('a')))).toBe('one')
  })
})

describe('the room of caches', () => {
  const VALUE = bytes('x'.repeat(100))
  const known = (cache: EntryCache, ids: readonly string[]): number =>
    ids.filter((id) => cache.get(key(id)) !== undefined).length

  test('is never passed, whatever comes', () => {
    const cache = new EntryCaches(100_000).open()
    const ids = Array.from({ length: 10_000 }, (_, i) => `key-${i}`)
    for (const id of ids) cache.learn(key(id), bytes('x'))
    const kept = ids.filter((id) => cache.get(key(id)) !== undefined)
    // Some 90 bytes for each, most of them for its place in the index.
    expect(kept.length).toBeGreaterThan(500)
    expect(kept.length).toBeLessThan(100_000 / 90)
    expect(kept.every((id) => ids.indexOf(id) > 8_000)).toBe(true)
    expect(cache.get(key(ids.at(-1) as string))).not.toBeUndefined()
  })

  test('is counted for writes of the same keys, too', () => {
    const cache = new EntryCaches(10_000).open()
    cache.learn(key('rare'), VALUE)
    for (let i = 0; i < 1_000; i++) cache.written(key('often'), 0, i, VALUE)
    expect(cache.get(key('rare'))).toBeUndefined()
    expect(readStoreValue(cache.get(key('often')) as Uint8Array).timestamp).toBe(999)
  })

  test('goes to what is used, not to what came last', () => {
    const cache = new EntryCaches(100_000).open()
    cache.learn(key('hot'), VALUE)
    cache.learn(key('hot but absent'), null)
    for (let i = 0; i < 10_000; i++) {
      cache.learn(key(`key-${i}`), VALUE)
      if (i % 100 === 0) expect(known(cache, ['hot', 'hot but absent'])).toBe(2)
    }
  })

  test('is also what is known of the entries under keys', () => {
    const cache = new EntryCaches(100_000).open()
    const knows = (i: number): boolean => cache.keys.ids(`key-${i}`, 'a') !== undefined
    const count = (): number => Array.from({ length: 2_000 }, (_, i) => knows(i)).filter(Boolean).length
    for (let i = 0; i < 2_000; i++) cache.keys.learn(`key-${i}`, 'a', ['a', 'b'])
    expect(count()).toBeGreaterThan(100)
    expect(count()).toBeLessThan(100_000 / 280)
    expect(knows(1_999)).toBe(true)
    // Ids that come to a key count as well.
    for (let n = 0; n < 5_000; n++) cache.keys.written('key-1999', `c${n % 200}`, n % 400 < 200)
    expect(count()).toBe(1)
    cache.learn(key('rare'), VALUE)
    for (let i = 0; i < 2_000; i++) cache.keys.learn(`key-${i}`, 'a', ['a', 'b'])
    expect(cache.get(key('rare'))).toBeUndefined()
  })

  test('is shared by all caches, until they are closed', () => {
    const caches = new EntryCaches(100_000)
    const [a, b] = [caches.open(), caches.open()]
    const ids = Array.from({ length: 200 }, (_, i) => `key-${i}`)
    for (const id of ids) a.learn(key(id), VALUE)
    expect(known(a, ids)).toBe(200)
    for (let i = 0; i < 10_000; i++) b.learn(key(`key-${i}`), VALUE)
    expect(known(a, ids)).toBe(0)

    for (const id of ids) a.learn(key(id), VALUE)
    a.close()
    for (let i = 0; i < 10_000; i++) b.learn(key(`key-${i}`), VALUE)
    expect(known(a, ids), 'left alone').toBe(200)
  })
})

describe('a part with a cache', () => {
  test('asks its store once for each key, also for those that are not there', async () => {
    const { store, keys } = await asked()
    const part = await numbered(store, { cache: new EntryCaches(1 << 20).open() })
    for (let i = 0; i < 3; i++) {
      expect(part.get('a')).toBeUndefined()
      expect(part.has('b')).toBe(false)
    }
    expect(keys).toEqual(['a', 'b'])
  })

  test('need not ask for what a commit has written or deleted', async () => {
    const { store, keys } = await asked()
    const part = await numbered(store, { cache: new EntryCaches(1 << 20).open() })
    part.put('a', 1)
    part.delete('b')
    await settle(part, store)
    expect(part.get('a')).toBe(1)
    expect(part.has('b')).toBe(false)
    expect(keys).toEqual([])
  })

  test('asks its store for everything when it is closed, which then says so', async () => {
    const { store } = await asked()
    const part = await numbered(store, { cache: new EntryCaches(1 << 20).open() })
    part.get('a')
    part.close()
    await store.close()
    expect(() => part.get('a')).toThrow(expect.objectContaining({ code: 'STORE_CLOSED' }))
  })

  test('leaves the room to others when it is closed', async () => {
    const { store } = await asked()
    const caches = new EntryCaches(1_000)
    const [cache, other] = [caches.open(), caches.open()]
    const part = await numbered(store, { cache })
    part.get('a')
    part.close()
    for (let i = 0; i < 100; i++) other.learn(key(`${i}`), null)
    const hash = entryHash(hashOf(regionPrefix('part')), bytes('a'))
    expect(cache.get({ orderedKey: bytes('a'), hash }), 'left alone').toBeNull()
  })
})
