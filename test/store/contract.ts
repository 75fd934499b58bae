/** What every body of Disk and Store keeps. Run by level.test.ts and memory.test.ts. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type DruseError, ERROR_KINDS, type ErrorCode } from '../../src/errors.ts'
import type { Disk, Entry, RangeBounds, Store, Write } from '../../src/ports.ts'

export const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
export const text = (value: string): Uint8Array => new TextEncoder().encode(value)
export const hex = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Buffer.from(value).toString('hex')

export async function failure(call: () => unknown): Promise<DruseError> {
  try {
    await call()
  } catch (error) {
    expect(error).toMatchObject({ name: 'DruseError' })
    return error as DruseError
  }
  throw new Error('it did not fail')
}

export async function code(call: () => unknown): Promise<ErrorCode> {
  return (await failure(call)).code
}

export async function entriesOf(range: AsyncIterable<Entry>): Promise<string[]> {
  const found: string[] = []
  for await (const [key, value] of range) found.push(`${hex(key)}=${hex(value)}`)
  return found
}

const keysOf = async (store: Store, bounds: RangeBounds = {}): Promise<string[]> =>
  (await entriesOf(store.range(bounds))).map((entry) => entry.split('=')[0] ?? '')

/** A new disk for each test, over the same place when told to start again. */
export type MakeDisk = () => Promise<Disk>

export function diskContract(makeDisk: MakeDisk): void {
  const openStore = async (): Promise<Store> => (await makeDisk()).open('part-0')

  describe('reads and writes', () => {
    test('what was written is read, what was not is undefined', async () => {
      const store = await openStore()
      await store.write([[text('a'), text('1')]])
      expect(hex(store.getSync(text('a')))).toBe('31')
      expect(store.getSync(text('b'))).toBeUndefined()
      await store.close()
    })

    test('keys and values may be empty', async () => {
      const store = await openStore()
      expect(store.getSync(bytes())).toBeUndefined()
      await store.write([
        [bytes(), bytes()],
        [bytes(0), bytes()],
      ])
      expect(hex(store.getSync(bytes()))).toBe('')
      expect(hex(store.getSync(bytes(0)))).toBe('')
      expect(await entriesOf(store.range({}))).toEqual(['=', '00='])
      await store.write([[bytes(), null]])
      expect(store.getSync(bytes())).toBeUndefined()
      await store.close()
    })

    test('getMany answers in the order asked, twice for a key asked twice', async () => {
      const store = await openStore()
      await store.write([
        [text('a'), text('1')],
        [text('b'), text('2')],
      ])
      const found = await store.getMany([text('b'), text('x'), text('a'), text('b')])
      expect(found.map(hex)).toEqual(['32', undefined, '31', '32'])
      expect(await store.getMany([])).toEqual([])
      await store.close()
    })

    test('getMany answers for the moment of the call', async () => {
      const store = await openStore()
      await store.write([[text('a'), text('1')]])
      const found = store.getMany([text('a')])
      await store.write([[text('a'), text('2')]])
      expect((await found).map(hex)).toEqual(['31'])
      await store.close()
    })

    test('the last write of a key in a batch holds, a delete too', async () => {
      const store = await openStore()
      await store.write([
        [text('a'), text('1')],
        [text('a'), text('2')],
        [text('b'), text('1')],
        [text('b'), null],
        [text('never'), null],
      ])
      expect(await entriesOf(store.range({}))).toEqual(['61=32'])
      await store.write([])
      await store.close()
    })

    test('writes take effect in the order of their calls', async () => {
      const store = await openStore()
      // Many at once, or a pool of threads would rarely mix up the few that write the same key.
      const keys = Array.from({ length: 400 }, (_, n) => text(`key-${n}`))
      await Promise.all(
        keys.flatMap((key) => [1, 2, 3, 4, 5].map((value) => store.write([[key, bytes(value)]]))),
      )
      expect(keys.map((key) => hex(store.getSync(key)))).toEqual(keys.map(() => '05'))
      await store.close()
    })

    test('the bytes given and the bytes got are the caller’s own', async () => {
      const store = await openStore()
      const key = text('key')
      const value = text('value')
      const written = store.write([[key, value]])
      key.fill(0)
      value.fill(0)
      await written
      store.getSync(text('key'))?.fill(0)
      for await (const entry of store.range({})) for (const part of entry) part.fill(0)
      expect(hex(store.getSync(text('key')))).toBe(hex(text('value')))
      expect(await keysOf(store)).toEqual([hex(text('key'))])
      await store.close()
    })

    test('views of a larger buffer are taken as what they show', async () => {
      const store = await openStore()
      const buffer = bytes(1, 2, 3, 4, 5, 6)
      await store.write([[buffer.subarray(1, 3), buffer.subarray(3, 5)]])
      expect(hex(store.getSync(bytes(2, 3)))).toBe('0405')
      expect(hex(store.getSync(buffer.subarray(1, 3)))).toBe('0405')
      await store.close()
    })
  })

  describe('ranges', () => {
    const KEYS = [
      bytes(),
      bytes(0),
      bytes(0, 0),
      bytes(1),
      bytes(0x7f),
      bytes(0x80),
      bytes(0xff),
      bytes(0xff, 0),
    ]
    const filled = async (): Promise<Store> => {
      const store = await openStore()
      await store.write([...KEYS].reverse().map((key): Write => [key, key]))
      return store
    }

    test('keys are ordered as unsigned bytes, a prefix first', async () => {
      const store = await filled()
      expect(await keysOf(store)).toEqual(['', '00', '0000', '01', '7f', '80', 'ff', 'ff00'])
      expect(await keysOf(store, { reverse: true })).toEqual([
        'ff00',
        'ff',
        '80',
        '7f',
        '01',
        '0000',
        '00',
        '',
      ])
      await store.close()
    })

    test.each<[string, RangeBounds, string[]]>([
      ['gte and lte include', { gte: bytes(1), lte: bytes(0x80) }, ['01', '7f', '80']],
      ['gt and lt exclude', { gt: bytes(1), lt: bytes(0x80) }, ['7f']],
      [
        'bounds that are no keys',
        { gt: bytes(0, 1), lt: bytes(0xff, 0xff) },
        ['01', '7f', '80', 'ff', 'ff00'],
      ],
      ['reverse with bounds', { gt: bytes(0), lte: bytes(0x7f), reverse: true }, ['7f', '01', '0000']],
      ['limit', { gte: bytes(1), limit: 2 }, ['01', '7f']],
      ['limit from the end', { reverse: true, limit: 2 }, ['ff00', 'ff']],
      ['limit 0', { limit: 0 }, []],
      ['a limit beyond 32 bits', { gte: bytes(0xff), limit: 2 ** 33 }, ['ff', 'ff00']],
      ['no limit', { gte: bytes(0xff), limit: Number.POSITIVE_INFINITY }, ['ff', 'ff00']],
      ['bounds the wrong way round', { gte: bytes(2), lt: bytes(1) }, []],
      ['an empty gte', { gte: bytes(), limit: 1 }, ['']],
      ['an empty gt', { gt: bytes(), limit: 1 }, ['00']],
      ['an empty lt', { lt: bytes() }, []],
      ['an empty lte', { lte: bytes() }, ['']],
      ['the tighter of gt and gte', { gt: bytes(1), gte: bytes(1), lt: bytes(0xff) }, ['7f', '80']],
      ['the tighter of gte and gt', { gt: bytes(0), gte: bytes(1), lt: bytes(0xff) }, ['01', '7f', '80']],
      ['the tighter of lt and lte', { gte: bytes(1), lt: bytes(0x80), lte: bytes(0x80) }, ['01', '7f']],
      ['the tighter of lte and lt', { gte: bytes(1), lt: bytes(0xff), lte: bytes(0x7f) }, ['01', '7f']],
    ])('%s', async (_, bounds, keys) => {
      const store = await filled()
      expect(await keysOf(store, bounds)).toEqual(keys)
      await store.close()
    })

    test('a range holds what stood there at the call, whatever is written later', async () => {
      const store = await openStore()
      await store.write([
        [text('a'), text('1')],
        [text('b'), text('1')],
      ])
      const range = store.range({})
      await store.write([
        [text('a'), text('2')],
        [text('b'), null],
        [text('c'), text('2')],
      ])
      expect(await entriesOf(range)).toEqual(['61=31', '62=31'])
      expect(await entriesOf(store.range({}))).toEqual(['61=32', '63=32'])
      await store.close()
    })

    test('a long range is whole, also when asked ahead', async () => {
      const store = await openStore()
      const count = 5000
      await store.write(
        Array.from(
          { length: count },
          (_, n): Write => [text(String(n).padStart(6, '0')), new Uint8Array(30)],
        ),
      )
      expect((await keysOf(store)).length).toBe(count)
      const iterator = store.range({})[Symbol.asyncIterator]()
      const results = await Promise.all(Array.from({ length: count + 2 }, () => iterator.next()))
      const keys = results.flatMap((result) => (result.done === true ? [] : [hex(result.value[0])]))
      expect(keys).toEqual(await keysOf(store))
      expect(results.slice(-2).map((result) => result.done)).toEqual([true, true])
      await store.close()
    })

    test('a consumer may stop early, throw, or never begin', async () => {
      const store = await filled()
      for await (const [key] of store.range({})) {
        expect(hex(key)).toBe('')
        break
      }
      const thrown = async () => {
        for await (const _ of store.range({})) throw new Error('mine')
      }
      await expect(thrown()).rejects.toThrow('mine')
      store.range({})
      const returned = store.range({})[Symbol.asyncIterator]()
      await returned.return?.()
      expect(await returned.next()).toMatchObject({ done: true })
      // An iterator left open would make this fail or hang.
      await store.close()
    })

    test('a finished range stays finished', async () => {
      const store = await filled()
      const range = store.range({ gte: bytes(0xff, 0) })
      expect(await entriesOf(range)).toEqual(['ff00=ff00'])
      expect(await entriesOf(range)).toEqual([])
      await store.close()
    })

    test('any range equals the same range of a sorted array', async () => {
      const store = await openStore()
      const key = fc.uint8Array({ maxLength: 3 })
      const model = new Map<string, string>()
      const bounds = fc.record(
        { gte: key, gt: key, lte: key, lt: key, reverse: fc.boolean(), limit: fc.nat(8) },
        { requiredKeys: [] },
      )
      const writes = fc.array(fc.tuple(key, fc.option(key)), { maxLength: 10 })
      await fc.assert(
        fc.asyncProperty(writes, bounds, async (batch, range) => {
          await store.write(batch)
          for (const [k, v] of batch) {
            if (v === null) model.delete(hex(k) ?? '')
            else model.set(hex(k) ?? '', hex(v) ?? '')
          }
          const inside = (k: string): boolean =>
            (range.gte === undefined || k >= (hex(range.gte) ?? '')) &&
            (range.gt === undefined || k > (hex(range.gt) ?? '')) &&
            (range.lte === undefined || k <= (hex(range.lte) ?? '')) &&
            (range.lt === undefined || k < (hex(range.lt) ?? ''))
          const expected = [...model.keys()].filter(inside).sort()
          if (range.reverse === true) expected.reverse()
          expect(await entriesOf(store.range(range))).toEqual(
            expected.slice(0, range.limit).map((k) => `${k}=${model.get(k)}`),
          )
        }),
        { numRuns: 200 },
      )
      await store.close()
    })
  })

  describe('opening and closing', () => {
    test('a store keeps its data when opened again', async () => {
      const disk = await makeDisk()
      const store = await disk.open('app/regions/part-0')
      await store.write([[text('a'), text('1')]])
      await store.close()
      const again = await disk.open('app/regions/part-0')
      expect(await entriesOf(again.range({}))).toEqual(['61=31'])
      await again.close()
    })

    test('a store is as it was closed, unless its owner did not trust it', async () => {
      const disk = await makeDisk()
      const lives: boolean[] = []
      for (const isTrusted of [true, true, false, true, true]) {
        const store = await disk.open('s')
        lives.push(store.asClosed)
        await store.write([[text('a'), text(String(lives.length))]])
        if (!isTrusted) store.distrust()
        await store.close()
      }
      // The first is not one that anybody has closed.
      expect(lives).toEqual([false, true, true, false, true])
      const copied = await disk.open('t')
      expect(copied.asClosed).toBe(false)
      await copied.close()
    })

    test('close waits for the writes already called', async () => {
      const disk = await makeDisk()
      const store = await disk.open('s')
      const writes = [store.write([[text('a'), text('1')]]), store.write([[text('b'), text('2')]])]
      await store.close()
      await Promise.all(writes)
      const again = await disk.open('s')
      expect(await entriesOf(again.range({}))).toEqual(['61=31', '62=32'])
      await again.close()
    })

    test('a closed store answers nothing but STORE_CLOSED', async () => {
      const store = await openStore()
      await store.write([[text('a'), text('1')]])
      const begun = store.range({})[Symbol.asyncIterator]()
      const unread = store.range({})
      await store.close()
      expect(await code(() => store.getSync(text('a')))).toBe('STORE_CLOSED')
      expect(await code(() => store.getMany([text('a')]))).toBe('STORE_CLOSED')
      expect(await code(() => store.write([[text('a'), text('2')]]))).toBe('STORE_CLOSED')
      expect(await code(() => store.write([]))).toBe('STORE_CLOSED')
      expect(await code(() => store.range({}))).toBe('STORE_CLOSED')
      expect(await code(() => begun.next())).toBe('STORE_CLOSED')
      expect(await code(() => entriesOf(unread))).toBe('STORE_CLOSED')
      await begun.return?.()
      await store.close()
    })

    test('a range that has read ahead stops with its store', async () => {
      const store = await openStore()
      await store.write([
        [text('a'), text('1')],
        [text('b'), text('2')],
      ])
      const range = store.range({})[Symbol.asyncIterator]()
      expect(await range.next()).toMatchObject({ done: false })
      await store.close()
      expect(await code(() => range.next())).toBe('STORE_CLOSED')
    })

    test('a store has one handle at a time', async () => {
      const disk = await makeDisk()
      const answers = await Promise.allSettled([disk.open('a/s'), disk.open('a/s')])
      const opened = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
      const refused = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason] : []))
      expect([opened.length, refused.length]).toEqual([1, 1])
      expect(refused[0]).toMatchObject({ code: 'DISK_LOCKED', kind: ERROR_KINDS.DISK_LOCKED })
      expect(refused[0].message).toContain(`${disk.root}/a/s`)
      expect(refused[0].message).toContain('close its other handle first')
      expect(await code(() => disk.open('a/s'))).toBe('DISK_LOCKED')
      const other = await disk.open('a/t')
      await opened[0]?.close()
      await (await disk.open('a/s')).close()
      await other.close()
    })
  })

  describe('paths', () => {
    test.each([
      '',
      '/',
      '..',
      'a/../b',
      './a',
      '/a',
      'a/',
      'a//b',
      'a b',
      'ä',
      'a\\b',
      'a\0',
      'x'.repeat(250),
    ])('refuses %j', async (path) => {
      const disk = await makeDisk()
      expect(await code(() => disk.open(path))).toBe('PATH_INVALID')
      expect(await code(() => disk.exists(path))).toBe('PATH_INVALID')
      expect(await code(() => disk.moveAside(path))).toBe('PATH_INVALID')
      expect(await code(() => disk.readText(path))).toBe('PATH_INVALID')
      expect(await code(() => disk.writeText(path, ''))).toBe('PATH_INVALID')
      if (path !== '') expect(await code(() => disk.list(path))).toBe('PATH_INVALID')
    })

    test('exists and list see stores, texts and the directories above them', async () => {
      const disk = await makeDisk()
      expect(await disk.list('')).toEqual([])
      expect(await disk.list('app')).toEqual([])
      expect(await disk.exists('app')).toBe(false)
      await (await disk.open('app/part-1')).close()
      await (await disk.open('app/part-0')).close()
      await disk.writeText('app/worker.id', 'x')
      await disk.writeText('apple', 'x')
      expect(await disk.list('')).toEqual(['app', 'apple'])
      expect(await disk.list('app')).toEqual(['part-0', 'part-1', 'worker.id'])
      expect(await disk.exists('app')).toBe(true)
      expect(await disk.exists('app/part-1')).toBe(true)
      expect(await disk.exists('app/worker.id')).toBe(true)
      expect(await disk.exists('app/part')).toBe(false)
      expect(await disk.exists('apple/below')).toBe(false)
      expect(await disk.list('apple/below')).toEqual([])
    })
  })

  describe('moveAside', () => {
    test('keeps what is moved, and each thing moved before', async () => {
      const disk = await makeDisk()
      for (const value of ['1', '2']) {
        const store = await disk.open('app/s')
        expect(await entriesOf(store.range({}))).toEqual([])
        await store.write([[text('a'), text(value)]])
        await store.close()
        expect(await disk.moveAside('app/s')).toBe(`app/s.aside-${value}`)
        expect(await disk.exists('app/s')).toBe(false)
      }
      expect(await disk.list('app')).toEqual(['s.aside-1', 's.aside-2'])
      const first = await disk.open('app/s.aside-1')
      expect(await entriesOf(first.range({}))).toEqual(['61=31'])
      await first.close()
    })

    test('refuses while the store, or one below the path, is open', async () => {
      const disk = await makeDisk()
      const store = await disk.open('app/s')
      expect(await code(() => disk.moveAside('app/s'))).toBe('DISK_LOCKED')
      expect(await code(() => disk.moveAside('app'))).toBe('DISK_LOCKED')
      await store.write([[text('a'), text('1')]])
      await store.close()
      expect(await disk.moveAside('app')).toBe('app.aside-1')
      expect(await disk.list('app.aside-1')).toEqual(['s'])
    })

    test('fails for what is not there', async () => {
      const disk = await makeDisk()
      expect(await code(() => disk.moveAside('nothing'))).toBe('DISK_FAILED')
    })

    test('cuts a name that leaves no room for the suffix', async () => {
      const disk = await makeDisk()
      const name = 'x'.repeat(249)
      await (await disk.open(`a/${name}`)).close()
      const aside = await disk.moveAside(`a/${name}`)
      expect(aside).toBe(`a/${'x'.repeat(241)}.aside-1`)
      await (await disk.open(aside)).close()
    })
  })

  describe('texts', () => {
    test('are replaced whole, in the order of the calls', async () => {
      const disk = await makeDisk()
      expect(await disk.readText('app/id')).toBeUndefined()
      await disk.writeText('app/id', 'first, and longer, ä€𝄞')
      expect(await disk.readText('app/id')).toBe('first, and longer, ä€𝄞')
      await Promise.all(Array.from({ length: 20 }, (_, n) => disk.writeText('app/id', String(n))))
      expect(await disk.readText('app/id')).toBe('19')
      await disk.writeText('app/id', '')
      expect(await disk.readText('app/id')).toBe('')
      expect(await disk.list('app')).toEqual(['id'])
    })

    test('are not stores, and stores are not texts', async () => {
      const disk = await makeDisk()
      await disk.writeText('text', 'x')
      await (await disk.open('store')).close()
      expect(await code(() => disk.open('text'))).toBe('DISK_FAILED')
      expect(await code(() => disk.open('text/below'))).toBe('DISK_FAILED')
      expect(await code(() => disk.writeText('text/below', 'x'))).toBe('DISK_FAILED')
      expect(await code(() => disk.readText('store'))).toBe('DISK_FAILED')
      expect(await code(() => disk.writeText('store', 'x'))).toBe('DISK_FAILED')
      expect(await disk.readText('text/below')).toBeUndefined()
      expect(await disk.readText('text')).toBe('x')
    })
  })
}
