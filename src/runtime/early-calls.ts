/**
 * Calls of asynchronous operators that are made while their records wait for their turn.
 *
 *   waiting ──its key is free──► running ──► ready ──► its turn
 *      ▲                            │          │
 *      └── another record of its key comes first: given up
 *
 * Records of one key call one after the other, each when the one before is through, so a call sees what those before it
 * have written. Nothing that is here is in effect: all of it may be dropped at any time, and made anew.
 */
import type { CallResult, EarlyCall } from '../topology/async-calls.ts'
import type { CompiledSource } from '../topology/compile.ts'
import type { Step } from '../topology/graph.ts'
import type { StreamRecord } from '../topology/record.ts'
import { forwardEach } from '../topology/steps.ts'
import type { Head } from './input-queue.ts'

/** A record whose turn will come. */
export interface Upcoming {
  readonly head: Head
  readonly compiled: CompiledSource
}

/** Collects the calls that a chain asks for. */
type Collect = (ahead: Step, record: StreamRecord) => readonly EarlyCall[]

export class EarlyCalls {
  readonly #limit: number
  readonly #woken: () => void
  readonly #records = new Map<Head, EarlyRecord>()
  #asked: EarlyCall[] = []

  /** `limit`: of records. `woken`: the calls of a record are complete. */
  constructor(limit: number, woken: () => void) {
    this.#limit = limit
    this.#woken = woken
  }

  /** For the compiled chains. */
  readonly ask = (call: EarlyCall): void => {
    this.#asked.push(call)
  }

  /** Makes calls for the records that come next. Returns whether those of the first one are complete. */
  look(upcoming: Iterable<Upcoming>): boolean {
    const wanted = new Set<Head>()
    const keys = new Set<string>()
    let first: EarlyRecord | undefined
    let looked = 0
    for (const { head, compiled } of upcoming) {
      const { ahead } = compiled
      if (ahead !== undefined && head.record !== undefined) {
        const record = this.#recordOf(head, head.record, ahead, compiled)
        if (looked === 0) first = record
        wanted.add(head)
        if (record.key !== undefined && keys.has(record.key)) record.giveUp()
        else record.start()
        if (record.key !== undefined) keys.add(record.key)
      }
      looked += 1
      if (looked >= this.#limit) break
    }
    for (const head of this.#records.keys()) if (!wanted.has(head)) this.#drop(head)
    return first === undefined || first.isReady
  }

  /** At the record's turn: what its calls have come to takes effect. Throws what one of them failed with. */
  takeEffect(head: Head): void | Promise<void> {
    const record = this.#records.get(head)
    if (record === undefined) return
    this.#records.delete(head)
    return record.takeEffect()
  }

  close(): void {
    for (const head of this.#records.keys()) this.#drop(head)
  }

  #recordOf(head: Head, record: StreamRecord, ahead: Step, { source }: CompiledSource): EarlyRecord {
    const known = this.#records.get(head)
    if (known !== undefined) return known
    const { key } = head.raw
    const own = key === null ? undefined : (source.key.partitionBytes?.(key) ?? key)
    const made = new EarlyRecord(own && Buffer.from(own).toString('latin1'), {
      begin: () => this.#collect(ahead, record),
      collect: this.#collect,
      woken: this.#woken,
    })
    this.#records.set(head, made)
    return made
  }

  readonly #collect: Collect = (ahead, record) => {
    this.#asked = []
    if (ahead(record) !== undefined) throw new Error('what is done ahead does not wait')
    return this.#asked
  }

  #drop(head: Head): void {
    this.#records.get(head)?.giveUp()
    this.#records.delete(head)
  }
}

interface EarlyRecordOptions {
  readonly begin: () => readonly EarlyCall[]
  readonly collect: Collect
  readonly woken: () => void
}

class EarlyRecord {
  /** As bytes; undefined: none, it is in nobody's way. */
  readonly key: string | undefined
  readonly #options: EarlyRecordOptions
  #running: AbortController | undefined
  #results: { readonly next: Step; readonly result: CallResult }[] = []
  #failure: { readonly error: unknown } | undefined
  isReady = false

  constructor(key: string | undefined, options: EarlyRecordOptions) {
    this.key = key
    this.#options = options
  }

  start(): void {
    if (this.#running !== undefined) return
    const running = new AbortController()
    this.#running = running
    let calls: readonly EarlyCall[]
    try {
      calls = this.#options.begin()
    } catch (error) {
      this.#failure = { error }
      this.isReady = true
      return
    }
    if (calls.length === 0) {
      this.isReady = true
      return
    }
    this.#make(calls, running.signal).then(
      () => this.#end(running),
      (error: unknown) => this.#end(running, { error }),
    )
  }

  /** Nothing was in effect yet, so nothing is left. */
  giveUp(): void {
    this.#running?.abort()
    this.#running = undefined
    this.#results = []
    this.#failure = undefined
    this.isReady = false
  }

  takeEffect(): void | Promise<void> {
    if (this.#failure !== undefined) throw this.#failure.error
    return forwardEach(this.#results, ({ next, result }) => {
      result.apply()
      return next(result.record)
    })
  }

  /** One after the other, each followed by those behind it. */
  async #make(calls: readonly EarlyCall[], signal: AbortSignal): Promise<void> {
    for (const { operator, record, ahead, next } of calls) {
      const result = await operator.run(record, signal)
      if (signal.aborted) return
      this.#results.push({ next, result })
      if (ahead !== undefined) await this.#make(this.#options.collect(ahead, result.record), signal)
    }
  }

  #end(running: AbortController, failure?: { readonly error: unknown }): void {
    if (this.#running !== running) return
    this.#failure = failure
    this.isReady = true
    this.#options.woken()
  }
}
