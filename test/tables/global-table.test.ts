/** Global tables on LevelDB and in memory, also from one to the other. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { memoryDisk, Topology } from '../../src/index.ts'
import { regionPrefix } from '../../src/region/layout.ts'
import { PROCESS_STORE } from '../../src/runtime/state-directory.ts'
import { Stage, strings } from '../runtime/stage.ts'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
  await stage.topics('in', 'out', { topic: 'names', configs: { 'cleanup.policy': 'compact' } })
})

afterEach(() => stage.close())

const joining = (store: 'persistent' | 'memory') => (): Topology => {
  const t = new Topology('app')
  const names = t.globalTable('names', { ...strings, store })
  t.stream('in', strings)
    .leftJoin(
      names,
      (value) => value,
      (_, name) => name ?? 'nobody',
    )
    .to('out', strings)
  return t
}

test('is loaded at each start, and what is in memory is not on the disk', async () => {
  const disk = memoryDisk()
  /** Runs until one record is through; returns how many entries are on the disk then. */
  const run = async (store: 'persistent' | 'memory', key: string): Promise<number> => {
    const instance = await stage.run(joining(store), { disk })
    await stage.say('in', [key, 'a'])
    await stage.drained(joining(store))
    await instance.close()
    const process = await disk.open(PROCESS_STORE)
    const prefix = regionPrefix('names')
    let entries = 0
    for await (const [stored] of process.range({ gte: prefix })) {
      if (Buffer.compare(stored.subarray(0, prefix.length), prefix) === 0) entries += 1
    }
    await process.close()
    return entries
  }
  await stage.say('names', ['a', 'Ann'], ['b', 'Ben'], ['c', null])
  expect(await run('memory', '1')).toBe(0)
  expect(await run('persistent', '2')).toBe(2)
  await stage.say('names', ['a', 'Anna'])
  expect(await run('persistent', '3')).toBe(2)
  expect(await run('memory', '4')).toBe(0)
  expect(await run('memory', 'again')).toBe(0)
  await stage.say('names', ['a', null])
  expect(await run('memory', '5')).toBe(0)
  expect(await run('persistent', '6')).toBe(1)
  expect(await stage.read('out')).toEqual([
    ['1', 'Ann'],
    ['2', 'Ann'],
    ['3', 'Anna'],
    ['4', 'Anna'],
    ['again', 'Anna'],
    ['5', 'nobody'],
    ['6', 'nobody'],
  ])
})

test('follows its topic, in memory too', async () => {
  const instance = await stage.run(joining('memory'))
  const names = joining('memory')().build().globals.get('names')
  if (names === undefined) throw new Error('there is no such region')
  await stage.say('names', ['a', 'Ann'])
  await expect.poll(() => instance.app.region(names).get('a')).toBe('Ann')
  await stage.say('in', ['1', 'a'])
  await stage.drained(joining('memory'))
  expect(await stage.read('out')).toEqual([['1', 'Ann']])
})
