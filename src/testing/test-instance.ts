import type { Health } from '../runtime/druse.ts'
import { type MemoryDisk, memoryDisk } from '../store/index.ts'
import type { CommitCrash, InstanceLife } from './instance-life.ts'
import type { World } from './world.ts'

export interface CrashTestOptions {
  /**
   * `'now'` (default). `'beforeCommit'`: when it asks Kafka to commit the next time, which does not happen.
   * `'afterCommit'`: when the next commit has happened and it has not heard of it.
   */
  readonly at?: 'now' | CommitCrash
}

export interface RestartTestOptions {
  /** Starts without anything on its disk, as on another machine. Default false: with what it had there. */
  readonly emptyDirectory?: boolean
}

/** An instance of the application: a process with a state directory. */
export class TestInstance {
  readonly name: string
  readonly #world: World
  #disk: MemoryDisk = memoryDisk()
  #life: InstanceLife

  /** @internal See `TestDriver`. It is on its way when this returns. */
  constructor(world: World, name: string) {
    this.name = name
    this.#world = world
    this.#life = world.start(name, this.#disk)
  }

  /** `stopped`: it has crashed, has been closed, or has failed as a whole. */
  get state(): 'running' | 'frozen' | 'stopped' {
    const { process, isUp } = this.#life
    return isUp ? 'running' : process.isDead || process.isRunning ? 'stopped' : 'frozen'
  }

  /** What `Druse.health` tells in it, its tasks among others. */
  get health(): Health {
    return this.#life.app.health
  }

  /**
   * As kill -9: nothing of it reaches anything any more; its directory stays. Its tasks go to other instances when its
   * session is over (`sessionTimeoutMs`), or come back with `restart`. May be called by an operator, too. With `at`, it
   * dies in the middle of its next commit: let something be processed.
   */
  crash({ at = 'now' }: CrashTestOptions = {}): void {
    if (at === 'now') this.#life.process.kill()
    else this.#life.crashesAt = at
  }

  /** As SIGSTOP: no time passes in it, and nothing reaches it or leaves it. */
  freeze(): void {
    this.#life.freeze()
  }

  /** As SIGCONT. */
  thaw(): void {
    this.#life.process.resume()
  }

  /** Commits what is done, leaves the group and stops. Errors: as `TestDriver.untilIdle`. */
  close(): Promise<void> {
    return this.#world.inTurn(async () => {
      await this.#world.end(this.#life)
      await this.#world.untilIdle()
    })
  }

  /**
   * Starts it again, after it was closed if it runs, and resolves when the application has nothing left to do.
   * Errors: those of `Druse.start`, as `TestDriver.untilIdle`.
   */
  restart({ emptyDirectory = false }: RestartTestOptions = {}): Promise<void> {
    return this.#world.inTurn(async () => {
      await this.#world.end(this.#life)
      if (emptyDirectory) this.#disk = memoryDisk()
      this.#life = this.#world.start(this.name, this.#disk)
      await this.#world.untilIdle()
    })
  }

  /** @internal */
  end(): Promise<void> {
    return this.#world.end(this.#life)
  }
}
