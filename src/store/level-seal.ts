/**
 * What the files of a LevelDB were when it was closed: names, sizes and checksums, in one more file beside them. A store
 * whose files are still these holds what it held, whatever happened to its disk in between.
 *
 * It is not a flag that has to be taken away when the store is opened: the files are others then.
 */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32c } from '@node-rs/crc32'
import { liveTables } from './level-manifest.ts'
import { damageOf } from './level-table.ts'

export const SEAL_FILE = 'CLOSED'
const FORMAT = 1

type Mark = readonly [bytes: number, crc: number]

/** A table that was read, and which file it was then: its inode, and when the file system last saw it change. */
interface SeenTable {
  readonly mark: Mark
  readonly file: string
}

/** A file as it is now. */
interface File {
  readonly file: string
  /** Whatever changes it from now on changes its time, too. */
  readonly isSettled: boolean
}
type Files = ReadonlyMap<string, File>

/** Any file system tells times apart that are so far apart. */
const TIME_STEP_NS = 2_000_000_000n

const isTable = (name: string): boolean => /^\d+\.(ldb|sst)$/.test(name)

/** LevelDB's own notes and its lock are nothing of what it holds. */
const counts = (name: string): boolean =>
  !['LOG', 'LOG.old', 'LOCK', SEAL_FILE].includes(name) && !name.startsWith('~')

/**
 * Looks at the files of one directory. Tables never change: those that this process has read it does not read again for as
 * long as they are the same files, so that what a store costs to be closed and opened again does not grow with it. All
 * else is small, and read each time.
 */
export class LevelSeal {
  readonly #directory: string
  readonly #seen = new Map<string, SeenTable>()

  constructor(directory: string) {
    this.#directory = directory
  }

  /** Whether the files are those that were closed. Before the store is opened. */
  async isWhole(): Promise<boolean> {
    const sealed = await this.#read()
    if (sealed === undefined) return false
    const names = await this.#names()
    if (names.length !== sealed.size || names.some((name) => !sealed.has(name))) return false
    const files = await this.#files(names)
    for (const name of names) {
      const [size, crc] = sealed.get(name) as Mark
      const known = this.#known(name, files)
      const mark = known ?? markOf(await this.#bytes(name))
      if (mark[0] !== size || mark[1] !== crc) return false
      if (known === undefined) this.#note(name, files, mark)
    }
    return true
  }

  /**
   * What is wrong with the tables that have not been looked at. Before the store is opened: LevelDB would make new ones
   * of them, or end the process at an entry that makes no sense.
   */
  async damage(): Promise<string | undefined> {
    return this.#damage(await this.#files(await this.#names()), new Map())
  }

  /** The text to keep; undefined when a table is not what LevelDB wrote. After the store was closed. */
  async text(): Promise<string | undefined> {
    const names = await this.#names()
    const files = await this.#files(names)
    const marks = new Map<string, Mark>()
    if ((await this.#damage(files, marks)) !== undefined) return undefined
    for (const name of names) {
      if (!marks.has(name)) marks.set(name, markOf(await this.#bytes(name)))
    }
    for (const name of this.#seen.keys()) if (!files.has(name)) this.#seen.delete(name)
    const sorted = names.map((name) => [name, marks.get(name)])
    return `${JSON.stringify({ format: FORMAT, files: Object.fromEntries(sorted) })}\n`
  }

  /** Of the tables that belong to the store; `marks` gets theirs. */
  async #damage(files: Files, marks: Map<string, Mark>): Promise<string | undefined> {
    // Of a table that was not finished, or is no longer used, nothing is read.
    const live = await liveTables(this.#directory)
    for (const name of files.keys()) {
      if (!isTable(name) || !live.has(Number.parseInt(name, 10))) continue
      let mark = this.#known(name, files)
      if (mark === undefined) {
        const bytes = await this.#bytes(name)
        const damage = damageOf(bytes)
        if (damage !== undefined) return `${name}: ${damage}`
        mark = markOf(bytes)
        this.#note(name, files, mark)
      }
      marks.set(name, mark)
    }
    return undefined
  }

  /** Of a table that was read, and is the same file still. */
  #known(name: string, files: Files): Mark | undefined {
    const seen = this.#seen.get(name)
    return seen !== undefined && seen.file === files.get(name)?.file ? seen.mark : undefined
  }

  #note(name: string, files: Files, mark: Mark): void {
    const at = files.get(name)
    if (isTable(name) && at?.isSettled) this.#seen.set(name, { mark, file: at.file })
  }

  #bytes(name: string): Promise<Buffer> {
    return readFile(join(this.#directory, name))
  }

  /** Before they are read: a file that changes afterwards is another one. */
  async #files(names: readonly string[]): Promise<Files> {
    const wanted = new Set(names)
    const files = new Map<string, { readonly file: string; readonly ctimeNs: bigint }>()
    // It is at least as late as when the newest of all files has changed.
    let nowNs = 0n
    for (const name of await readdir(this.#directory)) {
      const { ino, size, ctimeNs } = await stat(join(this.#directory, name), { bigint: true })
      if (ctimeNs > nowNs) nowNs = ctimeNs
      if (wanted.has(name)) files.set(name, { file: `${ino} ${size} ${ctimeNs}`, ctimeNs })
    }
    return new Map(
      Array.from(files, ([name, { file, ctimeNs }]) => [
        name,
        { file, isSettled: nowNs - ctimeNs >= TIME_STEP_NS },
      ]),
    )
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
