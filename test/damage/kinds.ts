/** What can happen to the files of a LevelDB while nobody has it open. */
import { cp, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { SeededRandom } from '../../src/testing/seeded-random.ts'

export interface Damaging {
  /** Of the store that is damaged. */
  readonly directory: string
  /** The same store, some commits ago. */
  readonly older: string
  /** That of another task. */
  readonly otherTask: string
  /** That of the same task of the same application on another cluster. */
  readonly otherCluster: string
  readonly random: SeededRandom
}

/** Resolves to what was done; undefined: there is nothing to damage in this way. */
export type Damage = (what: Damaging) => Promise<string | undefined>

const FILES = {
  log: /^\d+\.log$/,
  table: /^\d+\.ldb$/,
  manifest: /^MANIFEST-\d+$/,
  current: /^CURRENT$/,
  seal: /^CLOSED$/,
}
type FileKind = keyof typeof FILES

const BLOCK_BYTES = 32 * 1024
const SECTOR_BYTES = 512

async function oneOf(
  { directory, random }: Damaging,
  pattern: RegExp,
): Promise<{ name: string; path: string; bytes: Buffer } | undefined> {
  const found: { name: string; path: string; bytes: Buffer }[] = []
  for (const name of (await readdir(directory)).filter((one) => pattern.test(one)).sort()) {
    const path = join(directory, name)
    found.push({ name, path, bytes: await readFile(path) })
  }
  const filled = found.filter(({ bytes }) => bytes.length > 0)
  return filled.length === 0 ? undefined : random.pick(filled)
}

const flipped =
  (kind: FileKind): Damage =>
  async (what) => {
    const file = await oneOf(what, FILES[kind])
    if (file === undefined) return undefined
    const bit = what.random.below(file.bytes.length * 8)
    file.bytes[bit >> 3] = (file.bytes[bit >> 3] as number) ^ (1 << (bit & 7))
    await writeFile(file.path, file.bytes)
    return `${file.name}: bit ${bit} of ${file.bytes.length * 8}`
  }

const cut =
  (kind: FileKind): Damage =>
  async (what) => {
    const file = await oneOf(what, FILES[kind])
    if (file === undefined) return undefined
    const length = what.random.below(file.bytes.length)
    await truncate(file.path, length)
    return `${file.name}: ${length} of ${file.bytes.length} bytes`
  }

const gone =
  (kind: FileKind): Damage =>
  async (what) => {
    const file = await oneOf(what, FILES[kind])
    if (file === undefined) return undefined
    await rm(file.path)
    return file.name
  }

/** Records of a log, as far as they lie within one block. */
function recordsIn(log: Buffer): { from: number; to: number }[] {
  const found: { from: number; to: number }[] = []
  for (let at = 0; at + 7 <= log.length; ) {
    const left = BLOCK_BYTES - (at % BLOCK_BYTES)
    const length = log.readUInt16LE(at + 4)
    const type = log[at + 6] as number
    if (left < 7 || type === 0) at += left
    else {
      if (type === 1) found.push({ from: at, to: at + 7 + length })
      at += 7 + length
    }
  }
  return found
}

/** Not the last one: without that the log is one of some time ago. */
const droppedRecord: Damage = async (what) => {
  const file = await oneOf(what, FILES.log)
  const records = file === undefined ? [] : recordsIn(file.bytes).slice(0, -1)
  if (file === undefined || records.length === 0) return undefined
  const { from, to } = what.random.pick(records)
  const inOneBlock = file.bytes.length < BLOCK_BYTES
  const how = inOneBlock && what.random.chance(0.5) ? 'cut out' : 'garbled'
  if (how === 'cut out') {
    await writeFile(file.path, Buffer.concat([file.bytes.subarray(0, from), file.bytes.subarray(to)]))
  } else {
    file.bytes[from] = (file.bytes[from] as number) ^ 0xff
    await writeFile(file.path, file.bytes)
  }
  return `${file.name}: ${how}, ${from} to ${to} of ${file.bytes.length}`
}

/** As a disk leaves it that has lost a sector, or a file system that has lost the order of its writes. */
const lostSector: Damage = async (what) => {
  const file = await oneOf(what, /^(\d+\.(log|ldb)|MANIFEST-\d+)$/)
  if (file === undefined) return undefined
  const { random } = what
  const from = random.below(Math.ceil(file.bytes.length / SECTOR_BYTES)) * SECTOR_BYTES
  const size = Math.min(SECTOR_BYTES, file.bytes.length - from)
  const isZero = random.chance(0.5)
  const bytes = isZero ? Buffer.alloc(size) : Buffer.from(random.bytes(size))
  const handle = await open(file.path, 'r+')
  try {
    await handle.write(bytes, 0, size, from)
  } finally {
    await handle.close()
  }
  return `${file.name}: ${isZero ? 'zeros' : 'noise'} at ${from}, ${size} bytes`
}

async function replaceBy(from: string, { directory }: Damaging): Promise<void> {
  await rm(directory, { recursive: true })
  await cp(from, directory, { recursive: true })
}

/** Some of the files are of the older copy, as a restore leaves them that was cut off. */
const mixed: Damage = async (what) => {
  const { directory, older, random } = what
  const taken: string[] = []
  for (const name of (await readdir(older)).sort()) {
    if (!random.chance(0.5)) continue
    await cp(join(older, name), join(directory, name))
    taken.push(name)
  }
  return taken.length === 0 ? undefined : `from the older copy: ${taken.join(' ')}`
}

/** LevelDB reads it again, after all that it has. */
const oldLog: Damage = async (what) => {
  const { directory, older, otherTask, random } = what
  const from = random.chance(0.5) ? older : otherTask
  const log = (await readdir(from)).find((name) => FILES.log.test(name))
  const own = (await readdir(directory)).find((name) => FILES.log.test(name)) ?? '0.log'
  if (log === undefined) return undefined
  const number = Number.parseInt(own, 10) + random.below(3)
  const name = `${String(number).padStart(6, '0')}.log`
  await cp(join(from, log), join(directory, name))
  return `${log} of ${from === older ? 'the older copy' : 'another task'} as ${name}`
}

const garbage: Damage = async ({ directory, random }) => {
  const number = String(1 + random.below(60)).padStart(6, '0')
  const name = random.pick([
    `${number}.ldb`,
    `${number}.log`,
    `${number}.dbtmp`,
    'MANIFEST-999999',
    'CLOSED',
    'note.txt',
    '.swap',
  ])
  const names = await readdir(directory)
  if (names.includes(name) && name !== 'CLOSED') return undefined
  await writeFile(join(directory, name), random.bytes(1 + random.below(5_000)))
  return name
}

/** Every one of them. */
export const DAMAGES: Readonly<Record<string, Damage>> = {
  'log: a bit flipped': flipped('log'),
  'log: cut': cut('log'),
  'log: deleted': gone('log'),
  'log: a record dropped': droppedRecord,
  'log: an old one beside it': oldLog,
  'table: a bit flipped': flipped('table'),
  'table: cut': cut('table'),
  'table: deleted': gone('table'),
  'manifest: a bit flipped': flipped('manifest'),
  'manifest: cut': cut('manifest'),
  'manifest: deleted': gone('manifest'),
  'CURRENT: a bit flipped': flipped('current'),
  'CURRENT: cut': cut('current'),
  'CURRENT: deleted': gone('current'),
  'CLOSED: a bit flipped': flipped('seal'),
  'a sector lost': lostSector,
  'another task’s directory': async (what) => {
    await replaceBy(what.otherTask, what)
    return 'swapped'
  },
  'another cluster’s directory': async (what) => {
    await replaceBy(what.otherCluster, what)
    return 'swapped'
  },
  'an older copy': async (what) => {
    await replaceBy(what.older, what)
    return 'restored'
  },
  'files of an older copy': mixed,
  'an empty directory': async ({ directory }) => {
    for (const name of await readdir(directory)) await rm(join(directory, name))
    return 'emptied'
  },
  'files that are none of LevelDB’s': garbage,
}
