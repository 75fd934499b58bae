/**
 * One directory per process of an application:
 *
 *   owner.json            application, worker id, and the process that has it open
 *   process/              the store of replicated regions, and of the last commits of tasks that have no store of their
 *                         own; its lock is the directory's
 *   tasks/<topic>-<n>/    the store of a task, named after the first topic it reads
 *   schema-cache.json     Avro schemas seen, so that state can be read when the registry cannot be asked
 */
import { hostname } from 'node:os'
import { DruseError } from '../errors.ts'
import { pause } from '../kafka/retry.ts'
import type { Clock, Disk, Logger, Random, Store } from '../ports.ts'
import { LastCommits } from './last-commits.ts'
import { type TaskId, taskName } from './plan.ts'
import { shortHash } from './task-metadata.ts'

const OWNER_FILE = 'owner.json'
export const PROCESS_STORE = 'process'
const TASKS = 'tasks'
const TASK_LOCK_BUDGET_MS = 30_000
const TASK_LOCK_RETRY_MS = 20

interface Owner {
  readonly application: string
  readonly workerId: string
  readonly pid: number
  readonly host: string
}

export class StateDirectory {
  #owner: Owner
  #processStore: Store
  readonly disk: Disk
  readonly lastCommits: LastCommits

  private constructor(disk: Disk, owner: Owner, processStore: Store, log: Logger) {
    this.disk = disk
    this.#owner = owner
    this.#processStore = processStore
    this.lastCommits = new LastCommits(() => this.#processStore, log)
  }

  get processStore(): Store {
    return this.#processStore
  }

  /** An empty one instead, because it cannot be trusted; nobody else may have the old one in use. */
  async replaceProcessStore(log: Logger, reason: string): Promise<void> {
    await this.lastCommits.quiet()
    await this.#processStore.close()
    this.#processStore = await openAnew(this.disk, log, reason)
  }

  /** Stays the same over restarts, so that a restarted process fences what it left behind. */
  get workerId(): string {
    return this.#owner.workerId
  }

  /** For a copy of a directory, so that it and the original stop fencing each other. */
  async renewWorkerId(random: Random): Promise<void> {
    const owner = { ...this.#owner, workerId: drawWorkerId(random) }
    await writeOwner(this.disk, owner)
    this.#owner = owner
  }

  /** Errors: STATE_DIR_OCCUPIED (another process, or another instance in this one), STATE_DIR_FOREIGN, DISK_FAILED. */
  static async open(disk: Disk, application: string, random: Random, log: Logger): Promise<StateDirectory> {
    let store: Store
    try {
      store = await disk.open(PROCESS_STORE).catch((error: unknown) => {
        if (DruseError.is(error, 'STORE_CORRUPT')) return openAnew(disk, log, error.message)
        throw error
      })
    } catch (cause) {
      if (!DruseError.is(cause, 'DISK_LOCKED')) throw cause
      const owner = await readOwner(disk)
      const who = owner === undefined ? 'another process' : `process ${owner.pid} on ${owner.host}`
      throw new DruseError(
        'STATE_DIR_OCCUPIED',
        `State directory ${disk.root} is in use by ${who}; stop it, or give each instance a directory of its own`,
        { directory: disk.root, pid: owner?.pid, cause },
      )
    }
    try {
      const owner = await readOwner(disk)
      assertOwn(disk, owner, application)
      const workerId = owner?.workerId ?? drawWorkerId(random)
      const mine: Owner = { application, workerId, pid: process.pid, host: hostname() }
      await writeOwner(disk, mine)
      return new StateDirectory(disk, mine, store, log)
    } catch (error) {
      await store.close()
      throw error
    }
  }

  /** What stands there, without touching it: paths of the stores of tasks. Errors: STATE_DIR_FOREIGN, DISK_FAILED. */
  static async look(disk: Disk, application: string): Promise<readonly string[]> {
    assertOwn(disk, await readOwner(disk), application)
    return (await disk.list(TASKS)).map((name) => `${TASKS}/${name}`)
  }

  async hasTask(task: TaskId): Promise<boolean> {
    return this.disk.exists(taskPath(task))
  }

  /**
   * Waits while another worker of this process, or another take of the task, still holds it.
   * Errors: DISK_LOCKED, DISK_FAILED, STORE_CORRUPT, TASK_ABANDONED when the signal is aborted by then: what the caller
   * knows of the task is out of date.
   */
  async openTask(task: TaskId, clock: Clock, signal: AbortSignal): Promise<Store> {
    const deadline = clock.monotonicMs() + TASK_LOCK_BUDGET_MS
    for (;;) {
      if (signal.aborted) throw taskAbandoned(task)
      try {
        const store = await this.disk.open(taskPath(task))
        if (!signal.aborted) return store
        await store.close()
      } catch (error) {
        if (!DruseError.is(error, 'DISK_LOCKED') || clock.monotonicMs() > deadline) throw error
        await pause(clock, TASK_LOCK_RETRY_MS, signal)
      }
    }
  }

  /** The store must be closed. Resolves to where it is now. */
  async moveTaskAside(task: TaskId): Promise<string> {
    return this.disk.moveAside(taskPath(task))
  }

  /** Of all tasks at once, none of them open. Resolves to where they are now; undefined: there were none. */
  async moveTasksAside(): Promise<string | undefined> {
    return (await this.disk.exists(TASKS)) ? this.disk.moveAside(TASKS) : undefined
  }

  async close(): Promise<void> {
    await this.lastCommits.quiet()
    await this.#processStore.close()
  }
}

async function openAnew(disk: Disk, log: Logger, reason: string): Promise<Store> {
  const movedTo = await disk.moveAside(PROCESS_STORE)
  log.warn(
    { code: 'STORE_CORRUPT', reason, movedTo },
    'global regions: their directory was moved aside, they are loaded anew',
  )
  return disk.open(PROCESS_STORE)
}

function taskPath(task: TaskId): string {
  return `${TASKS}/${lastingName(task)}`
}

/** Stays the same when the topology grows. A topic's name may be as long as a path's part. */
export function lastingName({ sub, partition }: TaskId): string {
  const name = sub.name.length > 200 ? `${sub.name.slice(0, 180)}-${shortHash(sub.name)}` : sub.name
  return `${name}-${partition}`
}

function assertOwn(disk: Disk, owner: Owner | undefined, application: string): void {
  if (owner === undefined || owner.application === application) return
  throw new DruseError(
    'STATE_DIR_FOREIGN',
    `State directory ${disk.root} belongs to application '${owner.application}', not to '${application}'; choose another directory`,
    { directory: disk.root, application: owner.application },
  )
}

/** Not an error of the task: it is taken again, or by another. */
export function taskAbandoned(task: TaskId): DruseError {
  return new DruseError('TASK_ABANDONED', `Task ${taskName(task)} was given up while it was being taken`)
}

function drawWorkerId(random: Random): string {
  return Buffer.from(random.bytes(8)).toString('hex')
}

async function writeOwner(disk: Disk, owner: Owner): Promise<void> {
  await disk.writeText(OWNER_FILE, `${JSON.stringify(owner)}\n`)
}

async function readOwner(disk: Disk): Promise<Owner | undefined> {
  const text = await disk.readText(OWNER_FILE)
  if (text === undefined) return undefined
  let owner: Partial<Owner> | null = null
  let cause: unknown
  try {
    owner = JSON.parse(text) as Partial<Owner> | null
  } catch (error) {
    cause = error
  }
  if (typeof owner?.application === 'string' && typeof owner.workerId === 'string') return owner as Owner
  throw new DruseError(
    'STATE_DIR_FOREIGN',
    `${disk.root}/${OWNER_FILE} cannot be read; this is no directory of Druse, or it is damaged: choose another`,
    { cause },
  )
}
