/** Transactions of which nobody knew how they ended, and what the committed offsets said of them later. */
import type { CommitMark } from './reports.ts'

export class CommitLedger {
  /** By process: its EndTxn is on its way. */
  readonly #ending = new Map<string, CommitMark>()
  #doubtful: CommitMark[] = []
  /** Found to be committed, and not to be. */
  readonly resolved = { committed: 0, aborted: 0 }

  get ambiguous(): number {
    return this.#doubtful.length + this.resolved.committed + this.resolved.aborted
  }

  get unresolved(): number {
    return this.#doubtful.length
  }

  ending(who: string, mark: CommitMark): void {
    this.#ending.set(who, mark)
  }

  ended(who: string, known: boolean): void {
    if (!known) this.lost(who)
    this.#ending.delete(who)
  }

  /** The process is no more. */
  lost(who: string): void {
    const mark = this.#ending.get(who)
    if (mark !== undefined) this.#doubtful.push(mark)
    this.#ending.delete(who)
  }

  /** Offsets that are stable: no transaction is pending on them. */
  read(marks: readonly CommitMark[]): void {
    const sequences = new Map(marks.map(({ at, sequence }) => [at, sequence]))
    this.#doubtful = this.#doubtful.filter(({ at, sequence }) => {
      const found = sequences.get(at)
      if (found === undefined) return true
      this.resolved[found >= sequence ? 'committed' : 'aborted'] += 1
      return false
    })
  }
}
