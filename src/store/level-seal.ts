/**
 * What the files of a LevelDB were when it was closed: names, sizes and checksums, in one more file beside them. A store
 * whose files are still these holds what it held, whatever happened to its disk in between.
 *
 * It is not a flag that has to be taken away when the store is opened: the files are others then.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32c } from '@node-rs/crc32'
import { liveTables } from './level-manifest.ts'
import { damageOf } from './level-table.ts'

export const SEAL_FILE = 'CLOSED'
const FORMAT = 1

type Mark = readonly [bytes: number, crc: number]

/** A file as it was looked at last. */
type Marks = Map<string, Mark>

const isTable = (name: string): boolean => /^\d+\.(ldb|sst)$/.test(name)

/** LevelDB's own notes and its lock are nothing of what it holds. */
const counts = (name: string): boolean =>
  !['LOG', 'LOG.old', 'LOCK', SEAL_FILE].includes(name) && !name.startsWith('~')

/** Looks at the files of one directory; what it has seen of tables, which never change, it does not read again. */
export class LevelSeal {
  readonly #directory: string
  readonly #tables: Marks = new Map()

  constructor(directory: string) {
    this.#directory = directory
  }

  /** Whether the files are those that were closed. Before the store is opened. */
  async isWhole(): Promise<boolean> {
    const sealed = await this.#read()
    if (sealed === undefined) return false
    const names = await this.#names()
    if (names.length !== sealed.size || names.some((name) => !sealed.has(name))) return false
    for (const name of names) {
      const bytes = await readFile(join(this.#directory, name))
      const [size, crc] = sealed.get(name) as Mark
      if (bytes.length !== size || crc32c(bytes) !== crc) return false
      if (isTable(name)) this.#tables.set(name, [size, crc])
    }
    return true
  }

  /**
   * What is wrong with the tables that have not been looked at. Before the store is opened: LevelDB would make new ones
   * of them, or end the process at an entry that makes no sense.
   */
  async damage(): Promise<string | undefined> {
    // Of a table that was not finished, or is no longer used, nothing is read.
    const live = await liveTables(this.#directory)
    for (const name of await this.#names()) {
      if (!isTable(name) || !live.has(Number.parseInt(name, 10)) || this.#tables.has(name)) continue
      const bytes = await readFile(join(this.#directory, name))
      const damage = damageOf(bytes)
      if (damage !== undefined) return `${name}: ${damage}`
      this.#tables.set(name, markOf(bytes))
    }
    return undefined
  }

  /** The text to keep; undefined when a table is not what LevelDB wrote. After the store was closed. */
  async text(): Promise<string | undefined> {
    if ((await this.damage()) !== undefined) return undefined
    const marks: [string, Mark][] = []
    for (const name of await this.#names()) {
      marks.push([name, this.#tables.get(name) ?? markOf(await readFile(join(this.#directory, name)))])
    }
    return `${JSON.stringify({ format: FORMAT, files: Object.fromEntries(marks) })}\n`
  }

  async #names(): Promise<string[]> {
    return (await readdir(this.#directory)).filter(counts).sort()
  }

  async #read(): Promise<ReadonlyMap<string, Mark> | undefined> {
    try {
      const sealed = JSON.parse(await readFile(join(this.#directory, SEAL_FILE), 'utf8'))
      return sealed.format === FORMAT ? new Map<string, Mark>(Object.entries(sealed.files)) : undefined
    } catch {
      // None, or nobody can read it: then nothing is known.
      return undefined
    }
  }
}

function markOf(bytes: Buffer): Mark {
  return [bytes.length, crc32c(bytes)]
}
