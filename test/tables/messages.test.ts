/** What tables send through internal topics: bytes and back, for any values, and for serdes that prepare. */
import { describe, expect, test } from 'vitest'
import { type Codec, DruseError, int64, type Serde, string } from '../../src/index.ts'
import { Change } from '../../src/topology/change.ts'
import { changeSerde } from '../../src/topology/change-serde.ts'
import { responseSerde, subscriberSerde, subscriptionSerde } from '../../src/topology/foreign-key-messages.ts'

const context = { topic: 'internal', part: 'value', registry: undefined, writes: true } as const
const open = async <T>(serde: Serde<T>): Promise<Codec<T>> => serde.open(context)

/** Strings, of which each has to be prepared before it is decoded. */
function slow(): { serde: Serde<string>; prepared: string[] } {
  const prepared: string[] = []
  const serde: Serde<string> = {
    ...string,
    open: async () => {
      const codec = await open(string)
      return {
        ...codec,
        prepare: async (bytes) => void prepared.push(codec.decode(bytes)),
      }
    },
  }
  return { serde, prepared }
}

function refusal(decode: () => unknown): string {
  try {
    decode()
  } catch (error) {
    if (DruseError.is(error, 'DECODE_FAILED')) return error.message
    throw error
  }
  throw new Error('nothing was refused')
}

describe('changes', () => {
  const changes = [new Change('new', null), new Change(null, 'old'), new Change('', 'x'), new Change('ä', '')]

  test('go there and back', async () => {
    const codec = await open(changeSerde(string))
    for (const change of changes) expect(codec.decode(codec.encode(change))).toEqual(change)
  })

  test('are prepared, both halves', async () => {
    const { serde, prepared } = slow()
    const codec = await open(changeSerde(serde))
    for (const change of changes) await codec.prepare?.(codec.encode(change))
    expect(prepared).toEqual(['new', 'old', '', 'x', 'ä', ''])
    expect((await open(changeSerde(string))).prepare).toBeUndefined()
  })

  test('of other bytes are refused', async () => {
    const codec = await open(changeSerde(string))
    for (const bytes of [[], [0], [4, 1], [3, 0, 0, 0], [3, 0, 0, 0, 2, 65]]) {
      expect(refusal(() => codec.decode(Uint8Array.from(bytes)))).toMatch(/topic "internal" as a change/)
    }
  })
})

describe('of a foreign-key join', () => {
  test('subscriptions go there and back', async () => {
    const codec = await open(subscriptionSerde(int64))
    for (const instruction of [
      'subscribe',
      'subscribeAndAnswer',
      'unsubscribe',
      'unsubscribeAndAnswer',
    ] as const) {
      const subscription = { instruction, partition: 300, version: '12@orders+1', key: -5 }
      expect(codec.decode(codec.encode(subscription))).toEqual(subscription)
    }
    for (const bytes of [[], [2, 0, 0, 0, 0, 0, 0, 0], [1, 9, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 9]]) {
      expect(refusal(() => codec.decode(Uint8Array.from(bytes)))).toMatch(/as a subscription/)
    }
  })

  test('responses go there and back, their values prepared', async () => {
    const { serde, prepared } = slow()
    const codec = await open(responseSerde(serde))
    const partition = -1
    for (const foreignValue of ['Ann', '', null]) {
      const response = { version: '', foreignValue, partition }
      const bytes = codec.encode(response)
      await codec.prepare?.(bytes)
      expect(codec.decode(bytes)).toEqual(response)
    }
    expect(prepared).toEqual(['Ann', ''])
    for (const bytes of [[], [2], [1, 0], [0, 0, 4, 65]]) {
      expect(refusal(() => codec.decode(Uint8Array.from(bytes)))).toMatch(/as a response/)
    }
  })

  test('subscribers stand by foreign key, then by key as values', async () => {
    const serde = subscriberSerde(string, int64)
    const codec = await open(serde)
    const ordered = serde.ordered as NonNullable<typeof serde.ordered>
    const subscribers = [-300, -1, 0, 2, 300].map((key) => ({ foreignKey: 'c', key }))
    const bytes = subscribers.map((subscriber) => Buffer.from(ordered.toOrdered(codec.encode(subscriber))))
    expect([...bytes].sort(Buffer.compare)).toEqual(bytes)
    expect(bytes.map((each) => codec.decode(ordered.fromOrdered(each)))).toEqual(subscribers)
    const all = Buffer.from(ordered.toOrdered(codec.encode({ foreignKey: 'c' })))
    const other = ordered.toOrdered(codec.encode({ foreignKey: 'cc', key: 0 }))
    expect(bytes.every((each) => each.subarray(0, all.length).equals(all))).toBe(true)
    expect(Buffer.from(other).subarray(0, all.length).equals(all)).toBe(false)
    expect(refusal(() => codec.decode(Uint8Array.from([0, 0, 0, 2, 65])))).toMatch(/as a subscriber/)
  })
})
