/**
 * Durability. What happens in memory is put here in the order in which it happens, and goes to the store in that
 * order, so that the store always holds a prefix of what happened. Whatever is put without giving way to other
 * events stands in the same atomic write. While a write is under way the next one gathers: one write answers many
 * requests.
 *
 *     idle ──put──▶ gathering ──(microtask)──▶ writing ──done, nothing gathered──▶ idle
 *                       ▲                         │ done, more gathered: writing again
 *                       └─────────────────────────┘ failed ──▶ broken, for ever
 *
 * A write that fails ends the broker: memory is ahead of the store from then on, and must not be told about.
 */
import type { Store, Write } from '../ports.ts'

export interface Journal {
  /** The store behind it; undefined in memory, where nothing is ever written. */
  readonly store: Store | undefined
  put(key: Uint8Array, value: Uint8Array): void
  remove(key: Uint8Array): void
  /** Counts what has been put. */
  readonly sequence: number
  /** The sequence up to which all is in the store. */
  readonly durableSequence: number
  /** When all that has been put so far is in the store; undefined when it is. Rejects when the store has failed. */
  settled(): Promise<void> | undefined
}

export const MEMORY_JOURNAL: Journal = {
  store: undefined,
  put() {},
  remove() {},
  sequence: 0,
  durableSequence: 0,
  settled: () => undefined,
}

export class StoreJournal implements Journal {
  readonly store: Store
  readonly #onFailure: (cause: unknown) => void
  #gathered: Write[] = []
  #sequence = 0
  #durableSequence = 0
  /** Of the write under way. */
  #writing: Promise<void> | undefined
  /** Of the write that will follow it. */
  #next: Promise<void> | undefined
  #failure: { readonly cause: unknown } | undefined

  constructor(store: Store, onFailure: (cause: unknown) => void) {
    this.store = store
    this.#onFailure = onFailure
  }

  get sequence(): number {
    return this.#sequence
  }

  get durableSequence(): number {
    return this.#durableSequence
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.#add([key, value])
  }

  remove(key: Uint8Array): void {
    this.#add([key, null])
  }

  settled(): Promise<void> | undefined {
    if (this.#failure !== undefined) return Promise.reject(this.#failure.cause)
    return this.#next ?? this.#writing
  }

  #add(write: Write): void {
    if (this.#failure !== undefined) return
    this.#gathered.push(write)
    this.#sequence += 1
    if (this.#next !== undefined) return
    this.#next = (this.#writing ?? Promise.resolve()).then(() => this.#write())
    // Those who wait see the failure; nobody may be waiting.
    this.#next.catch(() => {})
  }

  #write(): Promise<void> {
    const writes = this.#gathered
    const sequence = this.#sequence
    this.#gathered = []
    this.#next = undefined
    const writing = this.store.write(writes).then(
      () => {
        this.#durableSequence = sequence
        if (this.#writing === writing) this.#writing = undefined
      },
      (cause: unknown) => {
        this.#failure = { cause }
        this.#gathered = []
        this.#onFailure(cause)
        throw cause
      },
    )
    this.#writing = writing
    writing.catch(() => {})
    return writing
  }
}
