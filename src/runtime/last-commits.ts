/**
 * The newest commit that this process knows of, of each task: so that offsets which were set back are noticed. Of tasks
 * that keep nothing on disk themselves it is written, behind the commits; what others tell, and what the task's own store
 * says, is kept in memory. What is lost of it is protection, never anything else, and it is never newer than what is
 * committed.
 */
import { DruseError } from '../errors.ts'
import type { Logger, Store, Write } from '../ports.ts'
import { readStatement, statementWrite } from '../region/layout.ts'
import { type CommitKnowledge, KnownCommits, type LastCommit } from './known-commits.ts'

export class LastCommits implements CommitKnowledge {
  readonly #store: () => Store
  readonly #log: Logger
  readonly #known = new Map<string, LastCommit>()
  readonly #heard = new KnownCommits()
  readonly #unwritten = new Set<string>()
  #writing: Promise<void> | undefined

  /** `store`: where they are kept; another one may come to stand in its place, with nothing in it. */
  constructor(store: () => Store, log: Logger) {
    this.#store = store
    this.#log = log
  }

  all(task: string): readonly LastCommit[] {
    const noted = this.of(task)
    if (noted !== undefined) this.#heard.learn(task, noted)
    return this.#heard.all(task)
  }

  learn(task: string, commit: LastCommit): void {
    this.#heard.learn(task, commit)
  }

  /** What was noted. Undefined: nothing, or what it was cannot be read. */
  of(task: string): LastCommit | undefined {
    const known = this.#known.get(task)
    if (known !== undefined) return known
    const key = keyOf(task)
    try {
      const bytes = this.#store().getSync(key)
      return bytes && readStatement<LastCommit>(key, bytes)
    } catch (error) {
      if (!DruseError.is(error, 'STORE_CORRUPT')) throw error
      this.#log.warn({ task, error }, 'task: what was known of its last commit cannot be read')
      return undefined
    }
  }

  /** Of a commit that was answered, or that Kafka has told of and that is believed, whatever was known before. */
  note(task: string, { cluster, incarnation, sequence }: LastCommit): void {
    this.noteUnwritten(task, { cluster, incarnation, sequence })
    this.#known.set(task, { cluster, incarnation, sequence })
    this.#unwritten.add(task)
    this.#writing ??= this.#write()
  }

  /** The same, of a task whose own store says it after a restart. */
  noteUnwritten(task: string, commit: LastCommit): void {
    this.#heard.replace(task, commit)
  }

  /** Resolves when nothing is being written any more. */
  async quiet(): Promise<void> {
    await this.#writing
  }

  async #write(): Promise<void> {
    while (this.#unwritten.size > 0) {
      const writes = Array.from(this.#unwritten, (task): Write => {
        return statementWrite(keyOf(task), this.#known.get(task) as LastCommit)
      })
      this.#unwritten.clear()
      try {
        await this.#store().write(writes)
      } catch (error) {
        this.#log.warn({ error }, 'tasks: what is known of their last commits could not be written')
      }
    }
    this.#writing = undefined
  }
}

function keyOf(task: string): Buffer {
  return Buffer.from(`\0commit ${task}`, 'utf8')
}
