/**
 * A disk whose operations take time and can be the last thing that a process does. Those of one store happen in the
 * order of their calls; between stores there is no order. Ranges and point reads take no time: nothing depends on when.
 */
import type { Disk, Store, Write } from '../ports.ts'
import type { MemoryDisk } from '../store/index.ts'
import type { SimProcess } from './simulation.ts'

/** `dieAfter`: it is carried out, and nobody hears of it. `fail`: as when the disk is full. */
export type DiskFate = 'do' | 'die' | 'dieAfter' | 'fail'

export interface DiskHooks {
  latencyMs(): number
  operation(process: SimProcess, operation: string, path: string): DiskFate
  /** Before a write is carried out, and after it, before anybody hears of it. */
  writing(process: SimProcess, path: string, writes: readonly Write[]): void
  written(process: SimProcess, path: string, store: Store): Promise<void>
  movedAside(process: SimProcess, path: string): void
}

export function simDisk(process: SimProcess, disk: MemoryDisk, hooks: DiskHooks): Disk {
  const body = new SimDisk(process, disk, hooks)
  return {
    root: disk.root,
    open: (path) => body.open(path),
    exists: (path) => body.operate('exists', path, () => disk.exists(path)),
    list: (path) => body.operate('list', path, () => disk.list(path)),
    moveAside: (path) => {
      hooks.movedAside(process, path)
      return body.operate('moveAside', path, () => disk.moveAside(path))
    },
    readText: (path) => body.operate('readText', path, () => disk.readText(path)),
    writeText: (path, text) => body.operate('writeText', path, () => disk.writeText(path, text)),
  }
}

class SimDisk {
  readonly #process: SimProcess
  readonly #disk: MemoryDisk
  readonly #hooks: DiskHooks

  constructor(process: SimProcess, disk: MemoryDisk, hooks: DiskHooks) {
    this.#process = process
    this.#disk = disk
    this.#hooks = hooks
  }

  operate<T>(operation: string, path: string, inner: () => Promise<T>): Promise<T> {
    const process = this.#process
    const what = `disk ${operation} ${path}`
    return new Promise((resolve, reject) => {
      process.simulation.schedule(process, this.#hooks.latencyMs(), what, () => {
        const fate = this.#hooks.operation(process, operation, path)
        if (fate === 'die') return process.kill()
        const isFull = this.#disk.full
        if (fate === 'fail') this.#disk.full = true
        inner()
          .then(
            (result) => (fate === 'dieAfter' ? process.kill() : resolve(result)),
            (error: unknown) => (fate === 'dieAfter' ? process.kill() : reject(error)),
          )
          .finally(() => {
            if (fate === 'fail') this.#disk.full = isFull
          })
      })
    })
  }

  async open(path: string): Promise<Store> {
    const store = await this.operate('open', path, () => this.#disk.open(path))
    let last: Promise<unknown> = Promise.resolve()
    /** After those before it, however they end. */
    const inTurn = <T>(operation: string, inner: () => Promise<T>): Promise<T> => {
      const before = last
      const result = before.then(() => this.operate(operation, path, inner))
      last = result.catch(() => undefined)
      return result
    }
    return {
      asClosed: store.asClosed,
      getSync: (key) => store.getSync(key),
      getMany: (keys) => inTurn('getMany', () => store.getMany(keys)),
      range: (bounds) => store.range(bounds),
      write: (writes) =>
        inTurn('write', async () => {
          this.#hooks.writing(this.#process, path, writes)
          await store.write(writes)
          await this.#hooks.written(this.#process, path, store)
        }),
      distrust: () => store.distrust(),
      close: () => inTurn('close', () => store.close()),
    }
  }
}
