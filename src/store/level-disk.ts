/**
 * Stores on LevelDB, below one directory. Directories are created for their owner alone (0700), text files too (0600);
 * LevelDB's own files have its modes within such a directory.
 */
import { mkdir, open, readdir, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve, sep } from 'node:path'
import { Level } from 'level'
import { DruseError } from '../errors.ts'
import type { Disk, Store } from '../ports.ts'
import { diskFailed, diskLocked, storeCorrupt } from './failure.ts'
import { codeOf, levelFailure } from './level-failure.ts'
import { LevelSeal, SEAL_FILE } from './level-seal.ts'
import { type ByteLevel, LevelStore } from './level-store.ts'
import { asidePath, isName, namesOf } from './path.ts'

/**
 * Real paths of the stores that this process holds. State of the process, because LevelDB's lock is: POSIX drops a
 * file's lock when *any* descriptor of the file is closed in the process, and LevelDB 1.20 closes one when it refuses
 * a second open. So a second open must not reach LevelDB, or another process could walk in. Worker threads do not
 * see each other's list.
 */
const held = new Set<string>()

/** Stores below `root`, a directory that is created when first needed. Errors: see `Disk`, and PATH_INVALID. */
export function levelDisk(root: string): Disk {
  return new LevelDisk(resolve(root))
}

class LevelDisk implements Disk {
  readonly root: string
  /** By real path: what this process has seen of the stores that it has opened. */
  readonly #seals = new Map<string, LevelSeal>()
  #texts: Promise<unknown> = Promise.resolve()
  #temporaries = 0

  constructor(root: string) {
    this.root = root
  }

  async open(path: string): Promise<Store> {
    const place = this.#place(path)
    const real = await attempt(place, 'open', async () => {
      await mkdir(place, { recursive: true, mode: 0o700 })
      return realpath(place)
    })
    if (held.has(real)) throw diskLocked(place, 'this process')
    held.add(real)
    try {
      await assertNotHeadless(place)
      const seal = this.#seals.get(real) ?? new LevelSeal(real)
      this.#seals.set(real, seal)
      const asClosed = await this.#check(real, place, seal)
      const level: ByteLevel = new Level(real, { keyEncoding: 'view', valueEncoding: 'view' })
      await attempt(place, 'open', () => level.open())
      return new LevelStore({
        level,
        place,
        asClosed,
        closed: async (isTrusted) => {
          if (isTrusted) await this.#seal(real, seal)
          else this.#seals.delete(real)
        },
        released: () => held.delete(real),
      })
    } catch (error) {
      held.delete(real)
      throw error
    }
  }

  async exists(path: string): Promise<boolean> {
    const place = this.#place(path)
    return attempt(place, 'look at', () => unlessMissing(() => stat(place).then(() => true), false))
  }

  /** Names in ascending order; an empty path lists the root. */
  async list(path: string): Promise<readonly string[]> {
    const place = path === '' ? this.root : this.#place(path)
    const names = await attempt(place, 'list', () => unlessMissing(() => readdir(place), []))
    return names.filter(isName).sort()
  }

  async moveAside(path: string): Promise<string> {
    const place = this.#place(path)
    const real = await attempt(place, 'move aside', () => realpath(place))
    for (const other of held) {
      if (other === real || other.startsWith(real + sep)) throw diskLocked(place, 'this process')
    }
    held.add(real)
    try {
      await assertUnlocked(real, place, 'move aside')
      for (let n = 1; ; n++) {
        const aside = asidePath(path, n)
        if (await this.exists(aside)) continue
        this.#seals.delete(real)
        await attempt(place, 'move aside', async () => {
          await rename(place, this.#place(aside))
          await syncDirectory(dirname(place))
        })
        return aside
      }
    } finally {
      held.delete(real)
    }
  }

  async readText(path: string): Promise<string | undefined> {
    const place = this.#place(path)
    return attempt(place, 'read', () => unlessMissing(() => readFile(place, 'utf8'), undefined))
  }

  /** Also safe over power loss. Texts are written in the order of the calls. */
  async writeText(path: string, text: string): Promise<void> {
    const place = this.#place(path)
    const written = this.#texts.then(() => attempt(place, 'write', () => this.#replace(place, text)))
    this.#texts = written.catch(() => undefined)
    return written
  }

  /** Whether the store is as it was closed. Errors: STORE_CORRUPT, DISK_LOCKED. */
  async #check(real: string, place: string, seal: LevelSeal): Promise<boolean> {
    return attempt(place, 'open', async () => {
      const names = await readdir(real)
      if (!names.includes('CURRENT')) return false
      // What another process writes is not to be judged.
      await assertUnlocked(real, place, 'open')
      if (await seal.isWhole()) return true
      const damage = await seal.damage()
      if (damage !== undefined) throw storeCorrupt(place, damage)
      return false
    })
  }

  /** Without it the store is looked at more closely when it is opened next, and no more than that. */
  async #seal(real: string, seal: LevelSeal): Promise<void> {
    try {
      const text = await seal.text()
      if (text !== undefined) await this.#replace(join(real, SEAL_FILE), text)
    } catch {}
  }

  async #replace(place: string, text: string): Promise<void> {
    const directory = dirname(place)
    await mkdir(directory, { recursive: true, mode: 0o700 })
    // `~` is in no valid name: what a crash leaves here is never listed or read.
    const temporary = join(directory, `~${process.pid}-${++this.#temporaries}`)
    try {
      const file = await open(temporary, 'w', 0o600)
      try {
        await file.writeFile(text)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(temporary, place)
    } catch (error) {
      await rm(temporary, { force: true })
      throw error
    }
    await syncDirectory(directory)
  }

  #place(path: string): string {
    return join(this.root, ...namesOf(path))
  }
}

async function attempt<T>(place: string, doing: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (error) {
    throw error instanceof DruseError ? error : levelFailure(place, doing, error)
  }
}

async function unlessMissing<T>(act: () => Promise<T>, missing: T): Promise<T> {
  try {
    return await act()
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return missing
    throw error
  }
}

/** LevelDB takes a directory without CURRENT for a new one, and deletes the tables it finds there. */
async function assertNotHeadless(place: string): Promise<void> {
  const names = await attempt(place, 'open', () => readdir(place))
  if (names.includes('CURRENT')) return
  for (const name of names) {
    const isTable = /\.(ldb|sst)$/.test(name)
    // The first open may be cut off before CURRENT is written, but not after a log has content.
    const isLog = /^\d+\.log$/.test(name)
    if (isTable || (isLog && (await stat(join(place, name))).size > 0)) {
      throw storeCorrupt(place, `its file CURRENT is missing beside ${name}`)
    }
  }
}

/**
 * Asks LevelDB for the lock and nothing more: an open that may neither create nor find a store locks first, then
 * fails without touching the store's files, which a damaged one needs.
 */
async function assertUnlocked(real: string, place: string, doing: string): Promise<void> {
  const names = await unlessMissing(() => readdir(real), [])
  if (!names.includes('LOCK')) return
  try {
    await new Level(real, { createIfMissing: false, errorIfExists: true }).open()
  } catch (error) {
    const failure = levelFailure(place, doing, error)
    if (failure.code === 'DISK_LOCKED') throw failure
    return
  }
  throw diskFailed(place, doing)
}

async function syncDirectory(directory: string): Promise<void> {
  // Windows cannot open a directory; its renames need no sync.
  if (process.platform === 'win32') return
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
