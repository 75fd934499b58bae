/** deduplicate, side outputs, and middleware around operators. */
import { describe, expect, test } from 'vitest'
import { int64, type Middleware, string, Topology } from '../../src/index.ts'
import { TestDriver } from '../../src/testing/index.ts'

const strings = { key: string, value: string }

describe('deduplicate', () => {
  const once = (graceMs?: number) => () => {
    const t = new Topology('once', { onLate: { deadLetter: 'dead' }, onFailure: 'skip' })
    t.stream('in', strings)
      .deduplicate('ids', {
        by: (value) => (value === '-' ? null : (value.split(' ')[0] as string)),
        withinMs: 10,
        ...(graceMs !== undefined && { graceMs }),
      })
      .peek((value) => {
        if (value.endsWith('bad')) throw new Error('not this one')
      })
      .to('out')
    return t
  }
  /** [key, value, time]. */
  type Fed = readonly [string | null, string, number]
  const feed = async (driver: TestDriver, records: readonly Fed[]): Promise<void> => {
    const input = driver.createInputTopic('in', strings)
    for (const [key, value, timestamp] of records) await input.pipeInput(key as string, value, { timestamp })
  }
  const out = (driver: TestDriver) => driver.createOutputTopic('out', strings).readValuesToList()

  test('leaves out what is within the time, in both directions, of what was passed on', async () => {
    await using driver = await TestDriver.create(once(100))
    await feed(driver, [
      ['k', 'x 1', 100],
      ['k', 'x 2', 110],
      ['k', 'x 3', 111],
      ['k', 'x 4', 90],
      ['k', 'x 5', 89],
      ['k', 'y 6', 100],
      ['l', 'x 7', 100],
      ['k', 'x 8', 122],
      ['k', 'x 9', 112],
    ])
    expect(await out(driver)).toEqual(['x 1', 'x 3', 'x 5', 'y 6', 'x 7', 'x 8'])
  })

  test('passes on what has no key or no id', async () => {
    await using driver = await TestDriver.create(once())
    await feed(driver, [
      [null, 'x', 1],
      [null, 'x', 1],
      ['k', '-', 1],
      ['k', '-', 1],
    ])
    expect(await out(driver)).toEqual(['x', 'x', '-', '-'])
  })

  test('is late when the ids of its time may be forgotten, and knows them up to then', async () => {
    await using driver = await TestDriver.create(once(20))
    await feed(driver, [
      ['k', 'x 1', 70],
      ['k', 'y 2', 100],
      ['k', 'x 3', 80],
      ['k', 'z 4', 80],
      ['k', 'z 5', 79],
    ])
    expect(await out(driver)).toEqual(['x 1', 'y 2', 'z 4'])
    const letters = await driver.createOutputTopic('dead', strings).readRecordsToList()
    expect(letters.map(({ value }) => value)).toEqual(['z 5'])
  })

  test('forgets a record that fails behind it, and remembers through a crash', async () => {
    await using driver = await TestDriver.create(once())
    await feed(driver, [
      ['k', 'x bad', 100],
      ['k', 'x 2', 101],
    ])
    await driver.instances[0].crash()
    await driver.instances[0].restart()
    await feed(driver, [
      ['k', 'x 3', 102],
      ['k', 'y 4', 102],
    ])
    expect(await out(driver)).toEqual(['x 2', 'y 4'])
  })

  test('needs a keyed stream, and times that are some', () => {
    const stream = new Topology('refused').stream('in', strings)
    const by = (value: string): string => value
    expect(() => stream.deduplicate('ids', { by, withinMs: -1 })).toThrow(/withinMs is -1/)
    // @ts-expect-error keys may have changed
    expect(() => stream.selectKey(by).deduplicate('ids', { by, withinMs: 1 })).toThrow(
      /a key may have changed/,
    )
  })
})

describe('side outputs', () => {
  const sorting =
    (onFailure: 'fail' | 'skip' = 'fail') =>
    () => {
      const t = new Topology('sorting', { onFailure })
      const numbers = t.stream('in', strings).process(
        'parse',
        {
          value: int64,
          outputs: { refused: {}, lengths: { key: int64, value: string } },
        },
        ({ key, value }, { forward, outputs }) => {
          outputs.lengths(value.length, key)
          const number = Number(value)
          if (Number.isNaN(number)) outputs.refused(key, value, { timestamp: 7 })
          else forward(key, number)
          if (value === '13') throw new Error('unlucky')
        },
      )
      numbers.outputs.refused.to('refused')
      numbers.to('out')
      numbers.outputs.lengths.filter((_, length) => length > 1).to('lengths', { key: int64, value: string })
      return t
    }

  test('get what they are sent, the others do not; a failed record leaves nothing', async () => {
    await using driver = await TestDriver.create(sorting('skip'))
    await driver.createInputTopic('in', strings).pipeKeyValueList([
      ['a', '1'],
      ['b', 'no'],
      ['c', '13'],
      ['d', '22'],
    ])
    expect(
      await driver.createOutputTopic('out', { key: string, value: int64 }).readKeyValuesToList(),
    ).toEqual([
      ['a', 1],
      ['d', 22],
    ])
    const refused = await driver.createOutputTopic('refused', strings).readRecordsToList()
    expect(refused.map(({ key, value, timestamp }) => [key, value, timestamp])).toEqual([['b', 'no', 7]])
    const lengths = driver.createOutputTopic('lengths', { key: int64, value: string })
    expect(await lengths.readKeyValuesToList()).toEqual([
      [2, 'b'],
      [2, 'd'],
    ])
  })

  test('are shown', () => {
    expect(sorting()().describe()).toMatch(
      /Operator parse: process\n {6}--> parse-refused, parse-lengths, to-out/,
    )
    expect(sorting()().describe()).toMatch('Operator parse-refused: output\n')
  })
})

describe('middleware', () => {
  const traced = (middleware: Middleware) => () => {
    const t = new Topology('traced', { middleware, onFailure: { deadLetter: 'dead' } })
    t.stream('in', strings)
      .mapValues((value) => value.toUpperCase())
      .mapValuesAsync('ask', async (value) => `${value}?`, { value: string })
      .process('last', {}, async ({ key, value }, { forward }) => {
        await Promise.resolve()
        forward(key, value)
      })
      .to('out')
    return t
  }

  test('stands around every operator, what follows in the same task included', async () => {
    const seen: string[] = []
    await using driver = await TestDriver.create(
      traced(({ name, operator }) => (record, next) => {
        seen.push(`${operator} ${record.value}`)
        const pending = next(record)
        if (pending === undefined) seen.push(`/${operator}`)
        else return pending.then(() => void seen.push(`/${name}`))
      }),
    )
    await driver.createInputTopic('in', strings).pipeInput('k', 'a')
    expect(await driver.createOutputTopic('out', strings).readValuesToList()).toEqual(['A?'])
    expect(seen).toEqual(['mapValues a', '/mapValues', 'mapValuesAsync A', '/ask', 'process A?', '/last'])
  })

  test('can change a record, leave it out, or fail it; an operator can be left alone', async () => {
    const asked: string[] = []
    await using driver = await TestDriver.create(
      traced(({ name, operator }) => {
        asked.push(name)
        if (operator !== 'mapValues') return undefined
        return (record, next) => {
          if (record.value === 'drop') return
          if (record.value === 'fail') throw new Error('no')
          return next(record.with(record.key, `${record.value}!`))
        }
      }),
    )
    await driver.createInputTopic('in', strings).pipeKeyValueList([
      ['k', 'a'],
      ['k', 'drop'],
      ['k', 'fail'],
    ])
    expect(await driver.createOutputTopic('out', strings).readValuesToList()).toEqual(['A!?'])
    const [letter] = await driver.createOutputTopic('dead', strings).readRecordsToList()
    expect(letter?.value).toBe('fail')
    const operator = letter?.headers.find(({ key }) => key === 'druse.error.operator')?.value
    expect(Buffer.from(operator as Uint8Array).toString()).toBe('mapValues-1')
    expect(new Set(asked)).toEqual(new Set(['ask', 'last', 'mapValues-1']))
  })
})
