/** The bytes of keys that stand in time, and their orders. */
import { describe, expect, test } from 'vitest'
import { bytes, int64, type Serde, string, Windowed } from '../../src/index.ts'
import { idOf } from '../../src/region/entry-table.ts'
import { orderByKeys, timeAt } from '../../src/region/time-order.ts'
import { SESSION_KEYS, sessionStoreKey, WINDOW_KEYS, windowStoreKey } from '../../src/region/timed-keys.ts'

const context = { topic: 't', part: 'key', registry: undefined, writes: true } as const
const codecOf = async <T>(serde: Serde<T>) => serde.open(context)
const NOTHING = new Uint8Array(0)
const hex = (found: Uint8Array): string => Buffer.from(found).toString('hex')

describe('in the changelog', () => {
  test('a window is as WindowKeySchema has it: key, start, sequence number', async () => {
    const codec = await codecOf(windowStoreKey(string, 5_000))
    const encoded = codec.encode(new Windowed('ab', 2 ** 32 + 1, 2 ** 32 + 5_001))
    expect(hex(encoded)).toBe('6162' + '0000000100000001' + '00000000')
    expect(codec.decode(encoded)).toEqual(new Windowed('ab', 2 ** 32 + 1, 2 ** 32 + 5_001))
  })

  test('a session is as SessionKeySchema has it: key, end, start', async () => {
    const codec = await codecOf(sessionStoreKey(string))
    const encoded = codec.encode(new Windowed('ab', 1, 2))
    expect(hex(encoded)).toBe('6162' + '0000000000000002' + '0000000000000001')
    expect(codec.decode(encoded)).toEqual(new Windowed('ab', 1, 2))
  })

  test.each([windowStoreKey(string, 1), sessionStoreKey(string)])(
    'too few bytes are no key: $kind',
    async (serde) => {
      const codec = await codecOf(serde)
      expect(() => codec.decode(Buffer.alloc(7))).toThrow(expect.objectContaining({ code: 'DECODE_FAILED' }))
    },
  )
})

describe('in the store', () => {
  const KEYS = [
    '',
    '00',
    '0000',
    '0001',
    '00ff',
    '01',
    '0100',
    '0101',
    '61',
    '6100',
    '6162',
    'ff',
    'ff00',
    'ffff',
  ]
  const TIMES = [0, 1, 255, 256, 2 ** 40]

  test('windows of a key lie together in the order of time, keys in their own order', async () => {
    const serde = windowStoreKey(bytes, 10)
    const codec = await codecOf(serde)
    const ordered = KEYS.flatMap((key) =>
      TIMES.map((start) => codec.encode(new Windowed(Buffer.from(key, 'hex'), start, start + 10))),
    ).map((key) => serde.ordered?.toOrdered(key) as Uint8Array)
    expect(ordered.toSorted(Buffer.compare).map(hex)).toEqual(ordered.map(hex))
  })

  test('sessions of a key lie in the order of their ends, then of their starts', async () => {
    const serde = sessionStoreKey(bytes)
    const codec = await codecOf(serde)
    const ordered = KEYS.flatMap((key) =>
      TIMES.flatMap((end) =>
        TIMES.filter((start) => start <= end).map((start) =>
          codec.encode(new Windowed(Buffer.from(key, 'hex'), start, end)),
        ),
      ),
    ).map((key) => serde.ordered?.toOrdered(key) as Uint8Array)
    expect(ordered.toSorted(Buffer.compare).map(hex)).toEqual(ordered.map(hex))
  })

  test('numbers stay in the order of numbers', async () => {
    const serde = windowStoreKey(int64, 10)
    const codec = await codecOf(serde)
    const ordered = [-300, -1, 0, 7, 2 ** 45].map((key) =>
      serde.ordered?.toOrdered(codec.encode(new Windowed(key, 50, 60))),
    ) as Uint8Array[]
    expect(ordered.toSorted(Buffer.compare).map(hex)).toEqual(ordered.map(hex))
  })

  test('every form leads back to the bytes of the changelog', async () => {
    for (const [serde, keys] of [
      [windowStoreKey(bytes, 10), WINDOW_KEYS],
      [sessionStoreKey(bytes), SESSION_KEYS],
    ] as const) {
      const codec = await codecOf(serde)
      for (const key of KEYS) {
        const encoded = codec.encode(new Windowed(Buffer.from(key, 'hex'), 7, 17))
        const ordered = serde.ordered?.toOrdered(encoded) as Uint8Array
        expect(hex(serde.ordered?.fromOrdered(ordered) as Uint8Array)).toBe(hex(encoded))
        const order = orderByKeys(keys)
        const place = order.placeOf(idOf(ordered), NOTHING)
        expect(order.idOf(place)).toBe(idOf(ordered))
        expect(timeAt(place)).toBe(keys === WINDOW_KEYS ? 7 : 17)
      }
    }
  })

  test('by time, the order is: times, then keys', async () => {
    const serde = sessionStoreKey(string)
    const codec = await codecOf(serde)
    const sessions = [
      new Windowed('b', 1, 5),
      new Windowed('a', 2, 5),
      new Windowed('b', 2, 5),
      new Windowed('a', 0, 6),
    ]
    const places = sessions.map((session) =>
      orderByKeys(SESSION_KEYS).placeOf(
        idOf(serde.ordered?.toOrdered(codec.encode(session)) as Uint8Array),
        NOTHING,
      ),
    )
    expect(places.toSorted()).toEqual(places)
  })
})
