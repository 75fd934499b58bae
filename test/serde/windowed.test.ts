/** Windowed keys in topics. */
import { describe, expect, test } from 'vitest'
import { type Serde, sessionWindowed, string, timeWindowed, Windowed } from '../../src/index.ts'

const context = { topic: 't', part: 'key', registry: undefined, writes: true } as const
const codecOf = async <T>(serde: Serde<T>) => serde.open(context)

describe('timeWindowed', () => {
  test('has the bytes of TimeWindowedSerializer: key, start', async () => {
    const codec = await codecOf(timeWindowed(string, { sizeMs: 5_000 }))
    const encoded = codec.encode(new Windowed('é', 10_000, 15_000))
    expect(Buffer.from(encoded).toString('hex')).toBe('c3a9' + '0000000000002710')
    expect(codec.decode(encoded)).toEqual(new Windowed('é', 10_000, 15_000))
  })

  test('takes any object of that shape', async () => {
    const codec = await codecOf(timeWindowed(string, { sizeMs: 5 }))
    const encoded = codec.encode({ key: 'a', windowStart: 1, windowEnd: 6 })
    expect(codec.decode(encoded)).toEqual({ key: 'a', windowStart: 1, windowEnd: 6 })
  })

  test('needs a size', () => {
    expect(() => timeWindowed(string, { sizeMs: -1 })).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID' }),
    )
  })
})

test('sessionWindowed has the bytes of SessionWindowedSerializer: key, end, start', async () => {
  const codec = await codecOf(sessionWindowed(string))
  const encoded = codec.encode(new Windowed('a', 1, 258))
  expect(Buffer.from(encoded).toString('hex')).toBe('61' + '0000000000000102' + '0000000000000001')
  expect(codec.decode(encoded)).toEqual(new Windowed('a', 1, 258))
})

test('the partition is chosen by the key alone', async () => {
  for (const serde of [timeWindowed(string, { sizeMs: 5 }), sessionWindowed(string)]) {
    const codec = await codecOf(serde)
    const encoded = codec.encode(new Windowed('abc', 1, 6))
    expect(Buffer.from(serde.partitionBytes?.(encoded) as Uint8Array).toString()).toBe('abc')
  }
})

test('what a schema has to be fetched for is the key', async () => {
  const asked: string[] = []
  const key: Serde<string> = {
    ...string,
    open: async (at) => ({
      ...(await string.open(at)),
      prepare: (bytes) => {
        asked.push(Buffer.from(bytes).toString())
        return undefined
      },
    }),
  }
  const codec = await codecOf(timeWindowed(key, { sizeMs: 5 }))
  codec.prepare?.(codec.encode(new Windowed('abc', 1, 6)))
  expect(asked).toEqual(['abc'])
})
