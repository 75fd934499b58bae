/** mapAsync and mapValuesAsync: calls at once, results in order, commits that pass nothing that is incomplete. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { int64, string, Topology } from '../../src/index.ts'
import { TestDriver } from '../../src/testing/index.ts'
import { Stage, strings } from './stage.ts'

/** Calls that end when the test says so. */
class Calls {
  readonly begun: string[] = []
  readonly #ends = new Map<string, (() => void)[]>()

  /** Resolves to the text in capitals. */
  readonly make = (text: string): Promise<string> => {
    this.begun.push(text)
    return new Promise((resolve) => {
      const ends = this.#ends.get(text) ?? []
      this.#ends.set(text, ends)
      ends.push(() => resolve(text.toUpperCase()))
    })
  }

  end(...texts: readonly string[]): void {
    for (const text of texts) for (const end of this.#ends.get(text) ?? []) end()
  }
}

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
  await stage.topics('in', 'out', 'other', 'dead')
})

afterEach(() => stage.close())

const shouting = (calls: Calls, concurrency?: number) => () => {
  const t = new Topology('shouting')
  t.stream('in', strings)
    .mapValues((value) => value.trim())
    .mapValuesAsync('shout', calls.make, { ...(concurrency && { concurrency }), value: string })
    .to('out')
  return t
}

describe('several records at once', () => {
  test('as many as concurrency says, and results in the order of the input', async () => {
    const calls = new Calls()
    await stage.run(shouting(calls, 3))
    await stage.say('in', ['1', 'a'], ['2', 'b'], ['3', 'c'], ['4', 'd'], [null, 'e'])
    await expect.poll(() => calls.begun).toEqual(['a', 'b', 'c'])
    calls.end('c', 'b')
    // A result is no reason to go on: the first one is not there.
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(calls.begun).toEqual(['a', 'b', 'c'])
    expect(await stage.read('out')).toEqual([])
    calls.end('a')
    await expect.poll(() => calls.begun).toEqual(['a', 'b', 'c', 'd', 'e'])
    calls.end('e', 'd')
    await stage.drained(shouting(calls))
    expect(await stage.read('out')).toEqual([
      ['1', 'A'],
      ['2', 'B'],
      ['3', 'C'],
      ['4', 'D'],
      [null, 'E'],
    ])
  })

  test('of one key one after the other', async () => {
    const calls = new Calls()
    await stage.run(shouting(calls))
    await stage.say('in', ['k', 'a'], ['k', 'b'], ['other', 'c'], ['k', 'd'])
    await expect.poll(() => calls.begun).toEqual(['a', 'c'])
    calls.end('a')
    await expect.poll(() => calls.begun).toEqual(['a', 'c', 'b'])
    calls.end('b', 'c')
    await expect.poll(() => calls.begun).toEqual(['a', 'c', 'b', 'd'])
    calls.end('d')
    await stage.drained(shouting(calls))
    expect((await stage.read('out')).map(([, value]) => value)).toEqual(['A', 'B', 'C', 'D'])
  })

  test('the committed offset stands at the first that is not complete; what is behind it comes out once', async () => {
    const calls = new Calls()
    const first = await stage.run(shouting(calls))
    await stage.say('in', ['1', 'a'], ['2', 'b'], ['3', 'c'])
    await expect.poll(() => calls.begun).toEqual(['a', 'b', 'c'])
    calls.end('a', 'c')
    await expect.poll(() => stage.read('out')).toEqual([['1', 'A']])
    await expect
      .poll(async () => (await stage.committed('shouting', { topic: 'in', partition: 0 }))?.offset)
      .toBe(1)
    await first.close()
    const again = new Calls()
    await stage.run(shouting(again))
    await expect.poll(() => again.begun).toEqual(['b', 'c'])
    again.end('b', 'c')
    await stage.drained(shouting(again))
    expect((await stage.read('out')).map(([, value]) => value)).toEqual(['A', 'B', 'C'])
  })

  test('a result wakes its task, though nothing else happens', async () => {
    const calls = new Calls()
    await stage.run(shouting(calls), { fetchMaxWaitMs: 29_000, commitIntervalMs: 10 })
    await stage.say('in', ['1', 'a'])
    await expect.poll(() => calls.begun).toEqual(['a'])
    calls.end('a')
    await expect.poll(() => stage.read('out'), { timeout: 15_000 }).toEqual([['1', 'A']])
  }, 40_000)

  test('an instance that closes gives its calls up, and does not wait for them', async () => {
    const signals: AbortSignal[] = []
    const topology = () => {
      const t = new Topology('endless')
      t.stream('in', strings).mapValuesAsync('wait', (_value, _key, { signal }) => {
        signals.push(signal)
        return new Promise<string>(() => {})
      })
      return t
    }
    const one = await stage.run(topology)
    await stage.say('in', ['1', 'a'])
    await expect.poll(() => signals).toHaveLength(1)
    expect(signals[0]?.aborted).toBe(false)
    await one.close()
    expect(signals[0]?.aborted).toBe(true)
  })
})

describe('regions', () => {
  test('a call sees what records of its key before it have written, and what it has written itself', async () => {
    const topology = () => {
      const t = new Topology('counting')
      const counts = t.region('counts', { key: string, value: int64 })
      t.stream('in', strings)
        .mapValuesAsync(
          'count',
          async (_value, key, { counts }) => {
            const before = counts.get(key) ?? 0
            await Promise.resolve()
            counts.put(key, before + 1)
            expect(counts.get(key)).toBe(before + 1)
            return before + 1
          },
          { regions: [counts], value: int64, concurrency: 8 },
        )
        .to('out')
      return t
    }
    await stage.run(topology)
    const keys = Array.from({ length: 60 }, (_, at) => `${(at * 7) % 4}`)
    await stage.say('in', ...keys.map((key) => [key, 'x'] as const))
    await stage.drained(topology)
    const seen = new Map<string, number>()
    expect(await stage.read('out', { key: string, value: int64 })).toEqual(
      keys.map((key) => {
        seen.set(key, (seen.get(key) ?? 0) + 1)
        return [key, seen.get(key)]
      }),
    )
  })

  test('nothing of an attempt that fails is written', async () => {
    const topology = () => {
      const t = new Topology('drafts', { onFailure: { deadLetter: 'dead' } })
      const last = t.region('last', { key: string, value: string })
      t.stream('in', strings)
        .mapValuesAsync(
          'keep',
          async (value, key, { last, attempt }) => {
            const before = last.get(key) ?? '-'
            last.put(key, `${value}${attempt}`)
            if (value === 'bad' || (value === 'second' && attempt === 1)) throw new Error('no')
            return `${before} ${value}${attempt}`
          },
          { regions: [last], value: string, retry: { attempts: 2, backoffMs: 1 } },
        )
        .to('out')
      return t
    }
    await stage.run(topology)
    await stage.say('in', ['k', 'a'], ['k', 'bad'], ['k', 'second'], ['k', 'c'])
    await stage.drained(topology)
    expect((await stage.read('out')).map(([, value]) => value)).toEqual(['- a1', 'a1 second2', 'second2 c1'])
    expect(await stage.read('dead')).toEqual([['k', 'bad']])
  })
})

describe('what comes before', () => {
  test('of several inputs in the order of time, also where a call was made too early for that', async () => {
    const calls: string[] = []
    const topology = () => {
      const t = new Topology('two')
      const last = t.region('last', { key: string, value: string })
      t.stream('in', strings)
        .merge(t.stream('other', strings))
        .mapValuesAsync(
          'chain',
          async (value, key, { last }) => {
            calls.push(value)
            const before = last.get(key) ?? ''
            await new Promise((resolve) => setTimeout(resolve, 1))
            last.put(key, before + value)
            return before + value
          },
          { regions: [last], value: string, concurrency: 3 },
        )
        .to('out')
      return t
    }
    const send = (topic: string, texts: string, step: number) =>
      stage.send(
        topic,
        Array.from(texts, (value, at) => ({ key: 'k', value, timestamp: 10 * at + step })),
        strings,
      )
    await send('in', 'acegikmo', 1)
    await send('other', 'bdfhjlnp', 2)
    await stage.run(topology, { maxTaskIdleMs: 1_000 })
    await stage.drained(topology)
    expect((await stage.read('out')).at(-1)).toEqual(['k', 'abcdefghijklmnop'])
    expect(calls.join('')).toBe('abcdefghijklmnop')
  })

  test('a call behind one that writes sees what that has written', async () => {
    const topology = () => {
      const t = new Topology('behind')
      const last = t.region('last', { key: string, value: string })
      t.stream('in', strings)
        .mapValuesAsync(
          'write',
          async (value, key, { last }) => {
            last.put(key, value)
            return value
          },
          { regions: [last], value: string },
        )
        .mapValuesAsync('read', async (value, key, { last }) => `${value} ${last.get(key)}`, {
          regions: [last],
          value: string,
        })
        .to('out')
      return t
    }
    await stage.run(topology)
    await stage.say('in', ['k', 'a'], ['l', 'b'], ['k', 'c'])
    await stage.drained(topology)
    expect((await stage.read('out')).map(([, value]) => value)).toEqual(['a a', 'b b', 'c c'])
  })

  test('event time from a function that is told the partition’s time, as without looking ahead', async () => {
    const topology = () => {
      const t = new Topology('times')
      t.stream('in', {
        ...strings,
        timestamp: (_value, _key, _record, partitionTimeMs) => partitionTimeMs + 10,
      })
        .mapValuesAsync('same', async (value) => value, { value: string })
        .to('out')
      return t
    }
    await stage.say('in', ['1', 'a'], ['2', 'b'], ['3', 'c'])
    await stage.run(topology)
    await stage.drained(topology)
    expect((await stage.records('out')).map(({ timestamp }) => timestamp)).toEqual([9, 19, 29])
  })
})

describe('a call that fails', () => {
  test('is tried again, each time after a longer pause, and then left to the policy', async () => {
    const tries: string[] = []
    await using driver = await TestDriver.create(() => {
      const t = new Topology('failing', { onFailure: { deadLetter: 'dead' } })
      t.stream('in', strings)
        .mapValuesAsync(
          'ask',
          async (value, _key, { attempt }) => {
            tries.push(`${value}${attempt}`)
            if (value === 'bad' || attempt < 3) throw new TypeError('not now')
            return value
          },
          { value: string, retry: { attempts: 3, backoffMs: 1_000 } },
        )
        .to('out')
      return t
    })
    const input = driver.createInputTopic('in', strings)
    await input.pipeInput('1', 'a')
    await input.pipeInput('2', 'bad')
    await driver.advanceWallClockTime(10_000)
    expect(await driver.createOutputTopic('out', strings).readValuesToList()).toEqual(['a'])
    const letters = await driver.createOutputTopic('dead', strings).readRecordsToList()
    expect(letters.map(({ value }) => value)).toEqual(['bad'])
    expect(tries.filter((one) => one.startsWith('a'))).toEqual(['a1', 'a2', 'a3'])
    expect(tries.filter((one) => one.startsWith('bad'))).toEqual(['bad1', 'bad2', 'bad3'])
  })

  test('and one that takes too long: its signal is aborted', async () => {
    const signals: AbortSignal[] = []
    const topology = () => {
      const t = new Topology('slow', { onFailure: { deadLetter: 'dead' } })
      t.stream('in', strings)
        .mapValuesAsync(
          'ask',
          async (value, _key, { signal }) => {
            if (value !== 'slow') return value
            signals.push(signal)
            return new Promise<string>(() => {})
          },
          { value: string, timeoutMs: 20 },
        )
        .to('out')
      return t
    }
    await stage.run(topology)
    await stage.say('in', ['1', 'slow'], ['2', 'b'])
    await stage.drained(topology)
    expect(await stage.read('out')).toEqual([['2', 'b']])
    const [letter] = await stage.records('dead')
    const cause = letter?.headers.find(({ key }) => key === 'druse.error.cause')?.value
    expect(Buffer.from(cause as Uint8Array).toString()).toBe('CALL_TIMED_OUT')
    expect(signals.map(({ aborted }) => aborted)).toEqual([true])
  })
})

describe('in a chain', () => {
  test('with other operators, branches and further calls: as if calls took no time', async () => {
    const seen: string[] = []
    const topology = () => {
      const t = new Topology('chain')
      const totals = t.region('totals', { key: string, value: int64 })
      const lines = t.stream('in', strings).filter((value) => value !== 'none')
      lines.to('other')
      const { short, long } = lines
        .split()
        .branch('short', (value) => value.length < 3)
        .defaultBranch('long')
      short
        .mapValuesAsync('double', async (value) => value + value, { value: string, concurrency: 4 })
        .peek((value) => {
          seen.push(value)
        })
        .mapAsync('swap', async (value, key) => [value, key] as const, { key: string, value: string })
        .to('out')
      long
        .process('total', { regions: [totals] }, ({ key, value }, { totals, forward }) => {
          const total = (totals.get(key) ?? 0) + value.length
          totals.put(key, total)
          forward(key, `${total}`)
        })
        .mapValuesAsync('stars', async (value) => `*${value}`, { value: string })
        .to('out', { key: string })
      return t
    }
    await stage.run(topology)
    const input = [
      ['k', 'a'],
      ['l', 'none'],
      ['m', 'long'],
      ['l', 'bb'],
      ['m', 'longer'],
      ['k', 'c'],
    ] as const
    await stage.say('in', ...input)
    await stage.drained(topology)
    expect(await stage.read('out')).toEqual([
      ['aa', 'k'],
      ['m', '*4'],
      ['bbbb', 'l'],
      ['m', '*10'],
      ['cc', 'k'],
    ])
    expect(await stage.read('other')).toEqual(input.filter(([, value]) => value !== 'none'))
    expect(seen.toSorted()).toEqual(['aa', 'bbbb', 'cc'])
  })

  test('options that make no sense are refused', () => {
    const stream = () => new Topology('refused').stream('in', strings)
    for (const options of [{ concurrency: 0 }, { timeoutMs: 0.5 }, { retry: { attempts: 0 } }]) {
      expect(() => stream().mapValuesAsync('ask', async (value) => value, options)).toThrow(
        /whole number from 1/,
      )
    }
  })
})
