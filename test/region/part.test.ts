/** A region's part in its task's hands: two overlays over a store, of either body. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { bytes, double, int32, int64, type Store, string } from '../../src/index.ts'
import { hashOf } from '../../src/region/check.ts'
import type { EntryTable } from '../../src/region/entry-table.ts'
import {
  afterPrefix,
  entryHash,
  isWhole,
  readStatement,
  readStoreValue,
  regionPrefix,
  statementWrite,
  storeKey,
  storeValue,
} from '../../src/region/layout.ts'
import type { RegionPart } from '../../src/region/part.ts'
import { RegionReplica } from '../../src/region/replica.ts'
import { failing } from '../serde/support.ts'
import { all, apply, BODIES, type Bodies, entriesOf, numbered, partOf, settle } from './parts.ts'

type Numbers = RegionPart<string, number>

for (const [body, make] of Object.entries(BODIES)) {
  describe(`over a ${body} store`, () => {
    let bodies: Bodies
    let store: Store
    let part: Numbers
    let now = 1_000

    beforeEach(async () => {
      bodies = await make()
      store = await bodies.open()
      part = await numbered(store, { now: () => now })
    })

    afterEach(() => bodies.close())

    /** a: in the store. b: sealed. c: current. d, e, f: deleted in sealed, in current, put again. */
    async function layered(): Promise<EntryTable> {
      part.putAll([
        ['a', 1],
        ['b', 1],
        ['c', 1],
        ['d', 1],
        ['e', 1],
        ['f', 1],
      ])
      await settle(part, store)
      part.put('b', 2)
      part.delete('d')
      part.delete('f')
      const sealed = part.seal()
      part.put('c', 3)
      part.delete('e')
      part.put('f', 3)
      return sealed
    }
    const LAYERED = [
      ['a', 1],
      ['b', 2],
      ['c', 3],
      ['f', 3],
    ]

    test('what was written is read at once, the newest layer first', async () => {
      await layered()
      expect(['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((key) => part.get(key))).toEqual([
        1,
        2,
        3,
        undefined,
        undefined,
        3,
        undefined,
      ])
      expect(['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((key) => part.has(key))).toEqual([
        true,
        true,
        true,
        false,
        false,
        true,
        false,
      ])
    })

    test('ranges merge all layers, in key order, deletions hidden', async () => {
      await layered()
      expect(await all(part.range())).toEqual(LAYERED)
      expect(await all(part.range({ reverse: true }))).toEqual(LAYERED.toReversed())
    })

    test('two bounds on one side are refused, wherever they stand', () => {
      for (const [one, other] of [
        ['gt', 'gte'],
        ['lt', 'lte'],
      ] as const) {
        for (const bounds of [
          { [one]: 'a', [other]: 'b' },
          { [other]: 'a', [one]: 'b' },
        ]) {
          const error = failing('OPTION_INVALID', () => part.range(bounds))
          expect(error.message).toMatch(new RegExp(`with ${one} and ${other}: give one of them`))
          failing('OPTION_INVALID', () => part.committedRange(bounds))
        }
        expect(() => part.range({ [one]: 'a', [other]: undefined })).not.toThrow()
      }
    })

    test('bounds, inclusive and exclusive, that stand in any layer or in none', async () => {
      await layered()
      const keys = async (bounds: object) => (await all(part.range(bounds))).map(([key]) => key).join('')
      expect(await keys({ gte: 'b' })).toBe('bcf')
      expect(await keys({ gt: 'b' })).toBe('cf')
      expect(await keys({ lte: 'c' })).toBe('abc')
      expect(await keys({ lt: 'c' })).toBe('ab')
      expect(await keys({ gt: 'a', lt: 'f' })).toBe('bc')
      expect(await keys({ gte: 'aa', lte: 'ee' })).toBe('bc')
      expect(await keys({ gte: 'd', lte: 'e' })).toBe('')
      expect(await keys({ gt: 'c', lt: 'a' })).toBe('')
      expect(await keys({ gt: 'a', lt: 'f', reverse: true })).toBe('cb')
    })

    test('a limit counts what is seen, from either end', async () => {
      await layered()
      for (const limit of [0, 1, 2, 3, 4, 5]) {
        expect(await all(part.range({ limit }))).toEqual(LAYERED.slice(0, limit))
        expect(await all(part.range({ limit, reverse: true }))).toEqual(LAYERED.toReversed().slice(0, limit))
      }
    })

    test('a prefix is a range of what begins so', async () => {
      part.putAll([
        ['a', 1],
        ['ab', 2],
        ['ab\u{10ffff}z', 3],
      ])
      await settle(part, store)
      part.putAll([
        ['aba', 4],
        ['ac', 5],
        ['b', 6],
      ])
      expect((await all(part.prefix('ab'))).map(([key]) => key)).toEqual(['ab', 'aba', 'ab\u{10ffff}z'])
      expect(await all(part.prefix('x'))).toEqual([])
      expect((await all(part.prefix(''))).length).toBe(6)
    })

    test('prefixes of bytes, also of those that have no next', async () => {
      const raw = await partOf(store, bytes, int64, { name: 'raw' })
      const beside = await partOf(store, bytes, int64, { name: 'rax' })
      beside.put(Buffer.of(0), 0)
      await settle(beside, store)
      const keys = [[0xfe, 0xff], [0xff], [0xff, 0], [0xff, 0xff, 1]].map((key) => Buffer.from(key))
      for (const [n, key] of keys.entries()) raw.put(key, n)
      const found = async (prefix: number[]) => (await all(raw.prefix(Buffer.from(prefix)))).map(([, n]) => n)
      expect(await found([0xff])).toEqual([1, 2, 3])
      expect(await found([0xff, 0xff])).toEqual([3])
      expect(await found([0xfe])).toEqual([0])
      await settle(raw, store)
      expect(await found([0xff])).toEqual([1, 2, 3])
      expect((await all(raw.range())).length).toBe(4)
    })

    test('a range sees what was there at the call: not what is written, sealed, stored or taken back after it', async () => {
      const sealed = await layered()
      const before = [part.range(), part.range({ reverse: true }), part.prefix('b')]
      part.delete('a')
      part.put('aa', 9)
      part.put('b', 9)
      const reader = (before[0] as AsyncIterable<unknown>)[Symbol.asyncIterator]()
      expect(await reader.next()).toEqual({ done: false, value: ['a', 1] })
      part.committed(0)
      await apply(part, sealed, store)
      await settle(part, store)
      part.mark()
      part.put('c', 9)
      part.undo()
      const rest: unknown[] = []
      for (let next = await reader.next(); !next.done; next = await reader.next()) rest.push(next.value)
      expect(rest).toEqual(LAYERED.slice(1))
      expect(await all(before[1] as AsyncIterable<unknown>)).toEqual(LAYERED.toReversed())
      expect(await all(before[2] as AsyncIterable<unknown>)).toEqual([['b', 2]])
    })

    test('ranges stay within their region', async () => {
      const [short, long] = [
        await numbered(store, { name: 'par' }),
        await numbered(store, { name: 'partition' }),
      ]
      for (const other of [short, long]) {
        other.put('a', 7)
        other.put('\u{10ffff}', 7)
        await settle(other, store)
      }
      part.put('m', 1)
      await settle(part, store)
      expect(await all(part.range())).toEqual([['m', 1]])
      expect(await all(part.range({ gt: '' }))).toEqual([['m', 1]])
      expect(await all(part.range({ lte: '\u{10ffff}', reverse: true }))).toEqual([['m', 1]])
    })

    for (const [serde, values] of [
      [int64, [Number.MIN_SAFE_INTEGER, -(2 ** 33), -1, 0, 1, 255, 256, 2 ** 33, Number.MAX_SAFE_INTEGER]],
      [int32, [-(2 ** 31), -256, -1, 0, 1, 255, 256, 2 ** 31 - 1]],
      [double, [Number.NEGATIVE_INFINITY, -1e300, -1.5, -0.25, 0, 1e-300, 0.5, 2, Number.POSITIVE_INFINITY]],
    ] as const) {
      test(`${serde.kind} keys come in the order of their numbers`, async () => {
        const region = await partOf(store, serde, int64, { name: 'ordered' })
        const shuffled = values
          .map((key, n) => [key, n] as const)
          .toSorted((a, b) => ((a[1] * 7) % 5) - ((b[1] * 7) % 5))
        region.putAll(shuffled.slice(0, 3))
        await settle(region, store)
        region.putAll(shuffled.slice(3, 6))
        region.seal()
        region.putAll(shuffled.slice(6))
        expect((await all(region.range())).map(([key]) => key)).toEqual(values)
        expect(
          (await all(region.range({ gt: values[1] as number, lte: values[6] as number }))).map(([, n]) => n),
        ).toEqual([2, 3, 4, 5, 6])
        expect((await all(region.range({ lt: 0, reverse: true }))).map(([key]) => key)).toEqual(
          values.filter((key) => key < 0).toReversed(),
        )
      })
    }

    test('strings come in the order of their UTF-8 bytes', async () => {
      // UTF-16 would have the last two the other way round.
      const keys = ['', 'A', 'a', 'aa', 'b', 'ä', '\uffff', '\u{10000}']
      part.putAll(keys.slice(4).map((key, n) => [key, n]))
      await settle(part, store)
      part.putAll(keys.slice(0, 4).map((key, n) => [key, n]))
      expect((await all(part.range())).map(([key]) => key)).toEqual(keys)
    })

    test('a key is what it is at the call: bytes may change in place, and there are two zeros', async () => {
      const part = await partOf(store, bytes, int64, { name: 'changing' })
      const key = Buffer.of(1)
      part.put(key, 1)
      key[0] = 2
      expect(part.get(key)).toBeUndefined()
      part.put(key, 2)
      expect(await all(part.range())).toEqual([
        [Buffer.of(1), 1],
        [Buffer.of(2), 2],
      ])

      const zeros = await partOf(store, double, int64, { name: 'zeros' })
      zeros.put(-0, 1)
      zeros.put(0, 2)
      expect(await all(zeros.range())).toEqual([
        [-0, 1],
        [0, 2],
      ])
    })

    test('putIfAbsent tells what was there, in whatever layer', async () => {
      await layered()
      expect(['a', 'b', 'c', 'd', 'e'].map((key) => part.putIfAbsent(key, 9))).toEqual([
        1,
        2,
        3,
        undefined,
        undefined,
      ])
      expect(['a', 'b', 'c', 'd', 'e'].map((key) => part.get(key))).toEqual([1, 2, 3, 9, 9])
    })

    test('entries have the time of the record that wrote them, or the one given', async () => {
      now = 5
      part.put('a', 1)
      now = 6
      part.putAt('b', 2, -3)
      await settle(part, store)
      part.put('c', 3)
      expect(['a', 'b', 'c', 'd'].map((key) => part.entry(key))).toEqual([
        { value: 1, timestamp: 5 },
        { value: 2, timestamp: -3 },
        { value: 3, timestamp: 6 },
        undefined,
      ])
      now = 1_000
    })

    test('null and undefined are no values', () => {
      for (const nothing of [null, undefined]) {
        expect(() => part.put('a', nothing as never)).toThrow(
          expect.objectContaining({ code: 'REGION_VALUE', message: expect.stringMatching(/use delete\(\)/) }),
        )
      }
      expect(part.has('a')).toBe(false)
    })

    describe('undo', () => {
      test('takes back all writes since the mark, and nothing else', async () => {
        part.put('stored', 1)
        await settle(part, store)
        part.put('before', 2)
        part.mark()
        part.put('stored', 9)
        part.put('stored', 10)
        part.delete('before')
        part.put('new', 9)
        part.delete('never')
        part.undo()
        expect(await all(part.range())).toEqual([
          ['before', 2],
          ['stored', 1],
        ])
        // Not even the deletion of what is not there remains.
        const sealed = part.seal()
        const ids: string[] = []
        sealed.forEach((place) => {
          ids.push(sealed.id(place))
        })
        expect(ids).toEqual(['before'])
      })

      test('leaves what was sealed alone', async () => {
        part.mark()
        part.put('a', 1)
        const sealed = part.seal()
        part.put('a', 2)
        part.undo()
        expect(part.get('a')).toBe(1)
        expect(sealed.size).toBe(1)
        part.undo()
        expect(part.get('a')).toBe(1)
      })
    })

    describe('committed reads', () => {
      test('see the store until the sealed overlay is committed, then that, and never the current one', async () => {
        part.putAll([
          ['a', 1],
          ['b', 1],
        ])
        await settle(part, store)
        part.put('a', 2)
        part.delete('b')
        part.put('c', 2)
        const look = async () => [
          part.committedGet('a'),
          part.committedGet('b'),
          part.committedGet('c'),
          (await all(part.committedRange({}))).join(' '),
          (await all(part.committedRange({ gt: 'a', reverse: true, limit: 1 }))).join(' '),
          (await all(part.committedPrefix('c'))).join(' '),
        ]
        const old = [1, 1, undefined, 'a,1 b,1', 'b,1', '']
        expect(await look()).toEqual(old)
        const sealed = part.seal()
        part.put('a', 3)
        part.put('d', 3)
        expect(await look()).toEqual(old)
        part.committed(0)
        const fresh = [2, undefined, 2, 'a,2 c,2', 'c,2', 'c,2']
        expect(await look()).toEqual(fresh)
        await apply(part, sealed, store)
        expect(await look()).toEqual(fresh)
        // The next one is sealed, but not committed because the one before was.
        part.seal()
        expect(await look()).toEqual(fresh)
      })

      test('a committed range is a snapshot, too', async () => {
        part.put('a', 1)
        const sealed = part.seal()
        part.committed(0)
        const range = part.committedRange({})
        await apply(part, sealed, store)
        part.put('a', 2)
        await settle(part, store)
        expect(await all(range)).toEqual([['a', 1]])
      })
    })

    test('one overlay is sealed at a time', () => {
      part.seal()
      expect(() => part.seal()).toThrow('sealed overlay already')
    })

    test('an entry too large for its changelog is refused, with the sizes, and nothing is written', async () => {
      const small = await partOf(store, string, string, { name: 'small', maxRecordBytes: 200 })
      small.put('key', 'x'.repeat(69))
      const refused = expect.objectContaining({
        code: 'RECORD_TOO_LARGE',
        kind: 'user',
        message: expect.stringMatching(
          /region 'small' has 201 bytes.*takes 200; raise the topic's max\.message\.bytes/,
        ),
        details: { region: 'small', bytes: 201, limitBytes: 200 },
      })
      expect(() => small.put('key', 'x'.repeat(70))).toThrow(refused)
      expect(() => small.putIfAbsent('kez', 'x'.repeat(70))).toThrow(refused)
      expect(await all(small.range())).toEqual([['key', 'x'.repeat(69)]])
    })

    test('bytes grow with what is written, and begin anew after a seal', () => {
      expect(part.bytes).toBe(0)
      part.put('a', 1)
      const one = part.bytes
      expect(one).toBeGreaterThan(9)
      part.put('b', 1)
      expect(part.bytes).toBe(2 * one)
      part.seal()
      expect(part.bytes).toBe(0)
    })

    test('a replica reads the same entries, and only the store', async () => {
      await layered()
      const replica = new RegionReplica(await entriesOf('part', string, int64), store)
      expect([replica.get('a'), replica.get('b'), replica.get('x')]).toEqual([1, 1, undefined])
      expect([replica.has('f'), replica.has('x')]).toEqual([true, false])
      expect((await all(replica.range({ gte: 'b', limit: 2 }))).join(' ')).toBe('b,1 c,1')
      expect((await all(replica.prefix('e'))).join(' ')).toBe('e,1')
    })
  })
}

describe('layout', () => {
  test('keys: region, length of its name, name, key', () => {
    expect(storeKey(regionPrefix('ab'), Buffer.of(7, 8)).toString('hex')).toBe('0102' + '6162' + '0708')
    expect(storeKey(regionPrefix('ab'), Buffer.alloc(0)).toString('hex')).toBe('01026162')
  })

  test('values: format, check, time, bytes', () => {
    const hash = entryHash(hashOf(regionPrefix('ab')), Buffer.from('key'))
    const value = storeValue(hash, 0x010203040506, Buffer.of(9))
    expect(value.toString('hex')).toBe('02' + '0dbf1b21' + '010203040506' + '09')
    expect(readStoreValue(value)).toEqual({ timestamp: 0x010203040506, value: Buffer.of(9) })
    for (const timestamp of [-1, 0, 2 ** 47 - 1, -(2 ** 47)]) {
      for (const bytes of ['', 'v']) {
        const read = readStoreValue(storeValue(hash, timestamp, Buffer.from(bytes)))
        expect(read).toEqual({ timestamp, value: Buffer.from(bytes) })
      }
    }
  })

  test('an entry with any one bit changed, cut, longer, or of another key, is not whole', () => {
    const prefix = hashOf(regionPrefix('ab'))
    for (const key of ['', 'k', 'key', 'keys', 'a longer key, of some words']) {
      const hash = entryHash(prefix, Buffer.from(key))
      for (const bytes of ['', 'v', 'value', 'some value of some length, as there are']) {
        const value = storeValue(hash, 1_795_000_000_123, Buffer.from(bytes))
        expect(isWhole(hash, value)).toBe(true)
        for (let bit = 0; bit < value.length * 8; bit++) {
          const damaged = Buffer.from(value)
          damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7))
          expect(isWhole(hash, damaged), `bit ${bit} of ${key}=${bytes}`).toBe(false)
        }
        for (let cut = 0; cut < value.length; cut++) expect(isWhole(hash, value.subarray(0, cut))).toBe(false)
        expect(isWhole(hash, Buffer.concat([value, Buffer.of(0)]))).toBe(false)
        expect(isWhole(entryHash(prefix, Buffer.from(`${key}x`)), value)).toBe(false)
        expect(isWhole(entryHash(hashOf(regionPrefix('ac')), Buffer.from(key)), value)).toBe(false)
      }
    }
  })

  test('a statement that was changed is damage, not guessed at; one without a check is of an earlier version', () => {
    const key = Buffer.of(0)
    const [, value] = statementWrite(key, { position: 4 })
    expect(readStatement(key, value as Uint8Array)).toEqual({ position: 4 })
    const refused = expect.objectContaining({ code: 'STORE_CORRUPT' })
    for (let byte = 0; byte < (value as Uint8Array).length; byte++) {
      const damaged = Buffer.from(value as Uint8Array)
      damaged[byte] = (damaged[byte] as number) ^ 1
      expect(() => readStatement(key, damaged)).toThrow(refused)
      expect(() => readStatement(key, damaged.subarray(0, byte))).toThrow(refused)
    }
    expect(() => readStatement(Buffer.of(1), value as Uint8Array)).toThrow(refused)
    expect(() => readStatement(key, Buffer.from('{"format":1}'))).toThrow(/earlier version/)
  })

  test('the first key after a prefix', () => {
    const following = (...bytes: number[]) => afterPrefix(Buffer.from(bytes))?.toString('hex')
    expect(following(1, 2)).toBe('0103')
    expect(following(1, 0xff)).toBe('02')
    expect(following(0xff, 0xff)).toBeUndefined()
    expect(following()).toBeUndefined()
  })
})
