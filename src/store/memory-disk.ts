/**
 * Stores in memory, for tests: the bytes outlive their handles, so that a crash can be played. No timers and no
 * chance: all is done within promises, in the order of the calls.
 */
import type { Disk, Store } from '../ports.ts'
import { diskFailed, diskLocked } from './failure.ts'
import { MemoryStore } from './memory-store.ts'
import { MemoryTable } from './memory-table.ts'
import { asidePath, namesOf } from './path.ts'

export interface CrashOptions {
  /**
   * What power loss takes: true takes every unsynced write, a function tells how many of a store's newest. Default
   * false: only the process died. Opening a store syncs it, as LevelDB's recovery does; writes do not, and about the
   * last 64 count as unsynced. Texts are always synced.
   */
  readonly loseUnsynced?: boolean | ((unsynced: number, path: string) => number)
}

/** A disk with what tests need. */
export interface MemoryDisk extends Disk {
  /**
   * Every handle stops at once, with its lock: what it had not answered is dropped, and its calls fail with
   * STORE_CLOSED and change nothing.
   */
  crash(options?: CrashOptions): void
  /**
   * What a disk may do to a store that nobody has open. lostWrite: one of the newest writes is gone, those after it are
   * not, as when LevelDB leaves out a record of its log. flippedBit: in a value. `pick` chooses, below what it is given.
   * Returns whether the store holds anything else than before.
   */
  damage(path: string, damage: 'lostWrite' | 'flippedBit', pick: (choices: number) => number): boolean
  /** While true, every write fails with DISK_FAILED; a handle that met this stays broken, as with LevelDB. */
  full: boolean
}

export function memoryDisk(): MemoryDisk {
  return new MemoryDiskBody()
}

class MemoryDiskBody implements MemoryDisk {
  readonly root = 'memory:'
  full = false
  #tables = new Map<string, MemoryTable>()
  #texts = new Map<string, string>()
  readonly #handles = new Map<string, MemoryStore>()

  async open(path: string): Promise<Store> {
    const place = this.#place(path)
    this.#assertDirectories(path, 'open', true)
    if (this.#handles.has(path)) throw diskLocked(place, 'this process')
    const table = this.#tables.get(path) ?? new MemoryTable()
    table.sync()
    this.#tables.set(path, table)
    const store = new MemoryStore({
      table,
      place,
      isFull: () => this.full,
      released: () => this.#handles.delete(path),
    })
    this.#handles.set(path, store)
    return store
  }

  async exists(path: string): Promise<boolean> {
    namesOf(path)
    return this.#paths().some((other) => isAtOrBelow(other, path))
  }

  async list(path: string): Promise<readonly string[]> {
    const prefix = path === '' ? '' : `${namesOf(path).join('/')}/`
    const below = this.#paths().filter((other) => other.startsWith(prefix))
    return [...new Set(below.map((other) => other.slice(prefix.length).split('/', 1)[0] ?? ''))].sort()
  }

  async moveAside(path: string): Promise<string> {
    const place = this.#place(path)
    if (!(await this.exists(path))) throw diskFailed(place, 'move aside', new Error('nothing is there'))
    for (const held of this.#handles.keys()) {
      if (isAtOrBelow(held, path)) throw diskLocked(place, 'this process')
    }
    for (let n = 1; ; n++) {
      const aside = asidePath(path, n)
      if (this.#paths().some((other) => isAtOrBelow(other, aside))) continue
      const moved = (other: string) => (isAtOrBelow(other, path) ? aside + other.slice(path.length) : other)
      this.#tables = new Map([...this.#tables].map(([other, table]) => [moved(other), table]))
      this.#texts = new Map([...this.#texts].map(([other, text]) => [moved(other), text]))
      return aside
    }
  }

  async readText(path: string): Promise<string | undefined> {
    const text = this.#texts.get(namesOf(path).join('/'))
    if (text === undefined && (await this.exists(path))) {
      throw diskFailed(this.#place(path), 'read', new Error('it is a directory'))
    }
    return text
  }

  async writeText(path: string, text: string): Promise<void> {
    const place = this.#place(path)
    this.#assertDirectories(path, 'write', false)
    if (!this.#texts.has(path) && this.#paths().some((other) => isAtOrBelow(other, path))) {
      throw diskFailed(place, 'write', new Error('it is a directory'))
    }
    if (this.full) throw diskFailed(place, 'write', new Error('no space left (simulated)'))
    this.#texts.set(path, text)
  }

  crash({ loseUnsynced = false }: CrashOptions = {}): void {
    for (const store of this.#handles.values()) store.crash()
    this.#handles.clear()
    if (loseUnsynced === false) return
    for (const [path, table] of this.#tables) {
      table.lose(loseUnsynced === true ? table.unsynced : loseUnsynced(table.unsynced, path))
      // What has been lost or kept by now is settled; a second crash takes nothing more.
      table.sync()
    }
  }

  damage(path: string, damage: 'lostWrite' | 'flippedBit', pick: (choices: number) => number): boolean {
    const table = this.#tables.get(path)
    if (table === undefined || this.#handles.has(path)) return false
    return damage === 'lostWrite' ? table.loseOne(pick) : table.flipBit(pick)
  }

  /** A file cannot be a directory as well. */
  #assertDirectories(path: string, doing: string, orAt: boolean): void {
    for (const text of this.#texts.keys()) {
      if (path.startsWith(`${text}/`) || (orAt && path === text)) {
        throw diskFailed(this.#place(path), doing, new Error(`${text} is a file`))
      }
    }
  }

  #paths(): string[] {
    return [...this.#tables.keys(), ...this.#texts.keys()]
  }

  #place(path: string): string {
    return `${this.root}/${namesOf(path).join('/')}`
  }
}

function isAtOrBelow(path: string, top: string): boolean {
  return path === top || path.startsWith(`${top}/`)
}
