/** Disks that are full, and directories that are damaged while nobody looks. */
import { execFile } from 'node:child_process'
import { readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { SeededRandom } from '../../src/testing/seeded-random.ts'
import { wait } from './process-faults.ts'
import type { Fault } from './stage.ts'

const run = promisify(execFile)
const FULL_MS = 6_000

/** No file may grow: whatever is written fails, in LevelDB and below it. Linux alone has a way to do that to a process. */
export const diskFull: Fault = async (stage, random) => {
  const place = random.pick(stage.places)
  const { pid } = place
  if (pid === undefined) return
  const limit = async (bytes: string): Promise<void> => {
    // It may have ended.
    await run('prlimit', [`--pid=${pid}`, `--fsize=${bytes}:unlimited`]).catch(() => {})
  }
  await limit('0')
  stage.happened('diskFull', 'no byte more')
  const isFull = () => place.pid === pid && place.health?.failed.length === 0
  const deadline = performance.now() + FULL_MS
  while (isFull() && performance.now() < deadline && !stage.signal.aborted) await sleep(50)
  await wait(stage, random.between(0, 1_000))
  await limit('unlimited')
  // An operator who has made room; else the supervisor sees that it is not well.
  if (random.chance(0.5) && place.pid === pid) await place.terminate()
}

export async function hasDiskLimits(): Promise<boolean> {
  return run('prlimit', ['--version']).then(
    () => true,
    () => false,
  )
}

/** Resolves to the stores that it has damaged. */
type Damage = (store: string, random: SeededRandom, stores: readonly string[]) => Promise<string[]>

const filesOf = async (store: string, kind: RegExp): Promise<string[]> =>
  (await readdir(store)).filter((name) => kind.test(name)).map((name) => join(store, name))

const withFile =
  (kind: RegExp, act: (path: string, random: SeededRandom) => Promise<boolean>): Damage =>
  async (store, random) => {
    const files = await filesOf(store, kind)
    return files.length > 0 && (await act(random.pick(files), random)) ? [store] : []
  }

const flipBit = async (path: string, random: SeededRandom): Promise<boolean> => {
  const bytes = await readFile(path)
  if (bytes.length === 0) return false
  const at = random.below(bytes.length)
  bytes[at] = (bytes[at] as number) ^ (1 << random.below(8))
  await writeFile(path, bytes)
  return true
}

const cutOff = async (path: string, random: SeededRandom): Promise<boolean> => {
  const { size } = await stat(path)
  if (size === 0) return false
  await truncate(path, random.below(size))
  return true
}

const remove = async (path: string): Promise<boolean> => {
  await rm(path)
  return true
}

const swap: Damage = async (store, random, stores) => {
  const others = stores.filter((other) => other !== store)
  if (others.length === 0) return []
  const other = random.pick(others)
  await rename(store, `${store}~`)
  await rename(other, store)
  await rename(`${store}~`, other)
  return [store, other]
}

export const DAMAGES: Readonly<Record<string, Damage>> = {
  'CURRENT deleted': withFile(/^CURRENT$/, remove),
  'MANIFEST deleted': withFile(/^MANIFEST/, remove),
  'CURRENT cut off': withFile(/^CURRENT$/, cutOff),
  'a table deleted': withFile(/\.ldb$/, remove),
  'directories swapped': swap,
  'the log cut off': withFile(/\.log$/, cutOff),
  'a bit of MANIFEST': withFile(/^MANIFEST/, flipBit),
}

export const damage: Fault = async (stage, random) => {
  const place = random.pick(stage.places)
  await place.holding(async () => {
    await place.kill()
    const tasks = join(place.stateDir, 'tasks')
    const names = (await readdir(tasks).catch(() => [])).filter((name) => !/[~]|\.aside-\d+$/.test(name))
    if (names.length === 0) return
    const stores = names.map((name) => join(tasks, name))
    const kind = random.pick(Object.keys(DAMAGES))
    const damaged = await (DAMAGES[kind] as Damage)(random.pick(stores), random, stores)
    for (const store of damaged) stage.damaged(store)
    if (damaged.length > 0) stage.happened('damage', kind)
  })
}
