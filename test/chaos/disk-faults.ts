/** Disks that are full, and directories that are damaged while nobody looks. */
import { execFile } from 'node:child_process'
import { cp, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { DAMAGES } from '../damage/kinds.ts'
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

/** Kinds that need a copy of the directory from some time ago. */
const OF_OLDER = /\bold/
/** Nobody else uses these names on another cluster. */
const OF_OTHER_CLUSTER = /another cluster/

/** All that test/damage knows, to a store of a process that was killed. */
export const damage: Fault = async (stage, random) => {
  const place = random.pick(stage.places)
  await place.holding(async () => {
    await place.kill()
    const tasks = join(place.stateDir, 'tasks')
    const names = (await readdir(tasks).catch(() => [])).filter((name) => !/[~]|\.aside-\d+$/.test(name))
    if (names.length === 0) return
    const name = random.pick(names)
    const directory = join(tasks, name)
    const older = join(`${place.stateDir}-older`, name)
    const hasOlder = (await readdir(older).catch(() => [])).length > 0
    if (!hasOlder) await cp(directory, older, { recursive: true })
    const kind = random.pick(
      Object.keys(DAMAGES).filter((one) => !OF_OTHER_CLUSTER.test(one) && (hasOlder || !OF_OLDER.test(one))),
    )
    const others = names.filter((other) => other !== name)
    const otherTask = join(tasks, others.length > 0 ? random.pick(others) : name)
    stage.damaged(directory)
    const done = await DAMAGES[kind]?.({ directory, older, otherTask, otherCluster: otherTask, random })
    if (done === undefined) stage.missed('damage', kind)
    else stage.happened('damage', kind)
  })
}
