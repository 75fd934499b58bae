/** The application over what passes by itself: a broker or a registry that is away for long. It is then started again. */
import { Druse, type DruseOptions, type RestoreProgress, type Topology } from '../../src/index.ts'
import { pausing } from './pausing.ts'

/** Longer than a commit takes; the user waits for it. */
const CLOSE_MS = 10_000

export class Application {
  readonly #topology: Topology
  readonly #options: DruseOptions
  readonly #say: (line: string) => void
  readonly #signal: AbortSignal
  readonly #replayed = new Map<string, RestoreProgress>()
  #app: Druse | undefined
  /** By those that were given up. */
  #processedBefore = 0

  constructor(
    topology: Topology,
    options: DruseOptions,
    { say, signal }: { say: (line: string) => void; signal: AbortSignal },
  ) {
    this.#topology = topology
    this.#options = { ...options, onRestore: (progress) => this.#replayed.set(progress.task, progress) }
    this.#say = say
    this.#signal = signal
    signal.addEventListener('abort', () => void this.close(), { once: true })
  }

  /** Undefined while it is none of those that are RUNNING. */
  get running(): Druse | undefined {
    return this.#app?.state === 'RUNNING' ? this.#app : undefined
  }

  get state(): string {
    return this.#app?.state ?? 'not started'
  }

  get tasks(): number {
    return this.#app?.health.tasks.length ?? 0
  }

  get processed(): number {
    return this.#processedBefore + (this.#app?.health.counts.records ?? 0)
  }

  /** The last replay of each task, in this process. */
  get replays(): readonly RestoreProgress[] {
    return [...this.#replayed.values()]
  }

  /** Starts it, if need be again. Errors: those that stopped it, or one of its tasks, and do not pass by themselves. */
  async tend(): Promise<void> {
    try {
      if (this.#app === undefined) {
        this.#app = new Druse(this.#topology, this.#options)
        await this.#app.start()
      }
      const { error, tasks } = this.#app.health
      const failure = error ?? tasks.find((task) => task.error !== undefined)?.error
      if (failure !== undefined) throw failure
    } catch (error) {
      if (this.#signal.aborted) throw error
      await pausing(error, this.#say, this.#signal)
      this.#processedBefore = this.processed
      await this.close()
      this.#app = undefined
    }
  }

  async close(): Promise<void> {
    await this.#app?.close({ timeoutMs: CLOSE_MS })
  }
}
