/** One life of an instance, from the start of its process to its end. What it has on its disk outlives it. */
import type { DruseError } from '../errors.ts'
import type { MemoryDisk, Store } from '../index.ts'
import type { Druse } from '../runtime/druse.ts'
import type { OutsideWork } from './outside-work.ts'
import type { SimProcess } from './simulation.ts'

/** `beforeCommit`: when it asks for its next commit; `afterCommit`: when that has happened and it has not heard of it. */
export type CommitCrash = 'beforeCommit' | 'afterCommit'

export class InstanceLife {
  readonly process: SimProcess
  readonly disk: MemoryDisk
  readonly app: Druse
  readonly outside: OutsideWork
  /** What ended the application, beside being told to. */
  failure: DruseError | undefined
  hasStarted = false
  crashesAt: CommitCrash | undefined
  /** Requests of commits, and writes to its disk, that it has no answer to. */
  unanswered = 0
  /** That of replicated regions. */
  processStore: Store | undefined

  constructor(process: SimProcess, disk: MemoryDisk, app: Druse, outside: OutsideWork) {
    this.process = process
    this.disk = disk
    this.app = app
    this.outside = outside
    process.onKilled(() => {
      disk.crash()
      outside.stopped()
    })
    app.onStateChange((state) => {
      if (state === 'ERROR') this.failure = app.health.error
    })
  }

  freeze(): void {
    this.process.pause()
    this.outside.stopped()
  }

  get name(): string {
    return this.process.name
  }

  /** Runs, and has not failed as a whole. */
  get isUp(): boolean {
    return this.process.isRunning && this.failure === undefined
  }
}
