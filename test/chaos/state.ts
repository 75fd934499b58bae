/** What stands in state directories: LevelDB read as it lies there, in a copy, for opening changes files. */
import { createHash } from 'node:crypto'
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Level } from 'level'
import { REGIONS, type RegionName } from './names.ts'

export interface StoredTask {
  readonly directory: string
  readonly partition: number
  /** Null: it was cut off while it was filled. */
  readonly sequence: number | null
  readonly incarnation: string
  /** By `regionKey`: up to where its changelog is in there. */
  readonly positions: Readonly<Record<string, number>>
  /** By region, then by key as in the changelog, in hexadecimal: timestamp and value, likewise. */
  readonly regions: ReadonlyMap<string, ReadonlyMap<string, string>>
}

export interface StoredState {
  readonly tasks: readonly StoredTask[]
  /** Directories that were moved aside. */
  readonly aside: readonly string[]
}

const META = 0
const ENTRY = 1
/** Of a value, by its format: where its timestamp stands, and where its bytes begin. */
const VALUE_FORMATS: Readonly<Record<number, readonly [timestamp: number, bytes: number]>> = {
  1: [1, 7],
  2: [5, 11],
}
/** Before its JSON; a brace, if there is nothing before. */
const META_HEAD_BYTES = 5
const BRACE = 0x7b

/** Of directories that no process has open. */
export async function readState(stateDirs: readonly string[]): Promise<StoredState> {
  const tasks: StoredTask[] = []
  const aside: string[] = []
  for (const stateDir of stateDirs) {
    for (const name of await names(stateDir)) if (isAside(name)) aside.push(join(stateDir, name))
    for (const name of await names(join(stateDir, 'tasks'))) {
      const directory = join(stateDir, 'tasks', name)
      if (isAside(name)) aside.push(directory)
      else tasks.push(...(await readTask(directory, name)))
    }
  }
  return { tasks, aside }
}

const isAside = (name: string): boolean => name.includes('.aside-')

const names = (directory: string): Promise<string[]> => readdir(directory).catch(() => [])

/**
 * What the state is, in a few characters: of each task the newest directory. The same before and after a restart in which
 * nothing is processed.
 */
export function fingerprintOf({ tasks }: StoredState): string {
  const newest = new Map<string, StoredTask>()
  for (const task of tasks) {
    const before = newest.get(task.incarnation)
    if (before === undefined || (before.sequence ?? -1) < (task.sequence ?? -1)) {
      newest.set(task.incarnation, task)
    }
  }
  const hash = createHash('sha256')
  for (const [incarnation, { positions, regions }] of [...newest].sort()) {
    const entries = [...regions].map(([name, region]) => [name, [...region].sort()])
    hash.update(JSON.stringify([incarnation, Object.entries(positions).sort(), entries.sort()]))
  }
  return hash.digest('hex').slice(0, 16)
}

async function readTask(directory: string, name: string): Promise<StoredTask[]> {
  const copy = await mkdtemp(join(tmpdir(), 'druse-dump-'))
  try {
    await cp(directory, copy, { recursive: true })
    const level: Level<Buffer, Buffer> = new Level(copy, { keyEncoding: 'buffer', valueEncoding: 'buffer' })
    await level.open()
    try {
      return await readLevel(level, directory, name)
    } finally {
      await level.close()
    }
  } finally {
    await rm(copy, { recursive: true })
  }
}

/** None: a task was never committed there. */
async function readLevel(
  level: Level<Buffer, Buffer>,
  directory: string,
  name: string,
): Promise<StoredTask[]> {
  const regions = new Map<string, Map<string, string>>()
  let meta: { sequence: number | null; incarnation: string; regions: Record<string, { position: number }> }
  let found: typeof meta | undefined
  for await (const [key, value] of level.iterator()) {
    if (key[0] === META && key.length === 1) {
      found = JSON.parse(value.subarray(value[0] === BRACE ? 0 : META_HEAD_BYTES).toString())
    }
    if (key[0] !== ENTRY) continue
    const region = key.subarray(2, 2 + (key[1] as number)).toString()
    const entries = regions.get(region) ?? new Map<string, string>()
    regions.set(region, entries)
    const format = VALUE_FORMATS[value[0] as number]
    if (format === undefined) throw new Error(`${directory} has a value of format ${value[0]}`)
    const timestamp = value.readIntBE(format[0], 6)
    const id = keyInChangelog(region, key.subarray(2 + region.length)).toString('hex')
    entries.set(id, `${timestamp} ${value.subarray(format[1]).toString('hex')}`)
  }
  if (found === undefined) return []
  meta = found
  const places = Object.entries(meta.regions).map(([key, { position }]) => [key, position])
  return [
    {
      directory,
      partition: Number(name.slice(name.lastIndexOf('-') + 1)),
      sequence: meta.sequence,
      incarnation: meta.incarnation,
      positions: Object.fromEntries(places),
      regions,
    },
  ]
}

/** Keys of numbers lie with their sign flipped, so that they are in order. */
function keyInChangelog(region: string, key: Buffer): Buffer {
  if ((region as RegionName) !== 'live') return key
  const bytes = Buffer.from(key)
  bytes[0] = (bytes[0] as number) ^ 0x80
  return bytes
}

export const regionNames = Object.keys(REGIONS) as RegionName[]
