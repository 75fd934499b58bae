/** What a process knows of the commits of tasks that have no store: over restarts, and never in the way. */
import { describe, expect, test } from 'vitest'
import { DruseError, memoryDisk, silentLogger } from '../../src/index.ts'
import type { Store } from '../../src/ports.ts'
import { LastCommits } from '../../src/runtime/last-commits.ts'

const KEY = Buffer.from('\0commit in-0')
const at = (sequence: number) => ({ cluster: 'c', incarnation: 'life', sequence })

async function opened(): Promise<{ store: Store; commits: LastCommits; again: () => LastCommits }> {
  const store = await memoryDisk().open('process')
  const again = (): LastCommits => new LastCommits(() => store, silentLogger)
  return { store, commits: again(), again }
}

describe('the last commits of tasks', () => {
  test('are the newest that were noted, at once and after a restart', async () => {
    const { commits, again } = await opened()
    expect(commits.of('in-0')).toBeUndefined()
    for (let sequence = 1; sequence <= 5; sequence++) commits.note('in-0', at(sequence))
    commits.note('in-1', at(9))
    expect(commits.of('in-0')).toEqual(at(5))
    await commits.quiet()
    const after = again()
    expect([after.of('in-0'), after.of('in-1'), after.of('in-10')]).toEqual([at(5), at(9), undefined])
  })

  test('that others tell of are kept beside what was noted, in memory alone', async () => {
    const { commits, again } = await opened()
    commits.note('in-0', at(5))
    commits.learn('in-0', at(4))
    commits.learn('in-1', at(3))
    expect([commits.all('in-0'), commits.all('in-1'), commits.all('in-2')]).toEqual([[at(5)], [at(3)], []])
    commits.learn('in-0', at(8))
    expect(commits.all('in-0')).toEqual([at(8)])
    commits.noteUnwritten('in-1', at(2))
    commits.note('in-0', at(5))
    expect([commits.all('in-0'), commits.all('in-1')]).toEqual([[at(5)], [at(2)]])
    await commits.quiet()
    const after = again()
    expect([after.all('in-0'), after.all('in-1')]).toEqual([[at(5)], []])
  })

  test('that cannot be read are not known', async () => {
    const { store, commits, again } = await opened()
    commits.note('in-0', at(5))
    await commits.quiet()
    const bytes = Buffer.from(store.getSync(KEY) as Uint8Array)
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 2) ^ 1, bytes.length - 2)
    await store.write([[KEY, bytes]])
    expect(again().of('in-0')).toBeUndefined()
  })

  test('that the store cannot read either', async () => {
    const { store } = await opened()
    const damaged: Store = {
      ...store,
      getSync: () => {
        throw new DruseError('STORE_CORRUPT', 'damaged')
      },
    }
    expect(new LastCommits(() => damaged, silentLogger).of('in-0')).toBeUndefined()
  })

  test('that cannot be written fail nothing, and the next ones are', async () => {
    const { store } = await opened()
    let isFull = true
    const full: Store = {
      ...store,
      getSync: (key) => store.getSync(key),
      write: async (writes) => {
        if (isFull) throw new Error('no space')
        await store.write(writes)
      },
    }
    const commits = new LastCommits(() => full, silentLogger)
    commits.note('in-0', at(5))
    await commits.quiet()
    isFull = false
    expect(new LastCommits(() => full, silentLogger).of('in-0')).toBeUndefined()
    commits.note('in-0', at(6))
    await commits.quiet()
    expect(new LastCommits(() => full, silentLogger).of('in-0')).toEqual(at(6))
  })
})
