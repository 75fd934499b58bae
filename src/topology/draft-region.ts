/** A region as a call sees it that is made before its record's turn: what it writes takes effect when that has come. */
import { DruseError } from '../errors.ts'
import type {
  KeyRange,
  PrefixOptions,
  TimedRegion,
  WindowReads,
  WritableRegion,
} from '../region/definition.ts'
import { isSameKey } from '../serde/same-key.ts'

type Windows = WindowReads<unknown, unknown>

/** Reads see the call's own writes by `get` and `has`; `range`, `prefix`, `fetch` and `fetchAll` see what is in effect. */
export class DraftRegion implements WritableRegion<unknown, unknown> {
  readonly #region: TimedRegion<unknown, unknown>
  readonly #operator: string
  /** In order; undefined: deleted. */
  readonly #writes: (readonly [key: unknown, value: unknown])[] = []
  #isOpen = true

  constructor(region: TimedRegion<unknown, unknown>, operator: string) {
    this.#region = region
    this.#operator = operator
  }

  get(key: unknown): unknown {
    this.#check()
    const own = this.#writes.findLast(([written]) => isSameKey(written, key))
    return own === undefined ? this.#region.get(key) : own[1]
  }

  has(key: unknown): boolean {
    return this.get(key) !== undefined
  }

  range(bounds?: KeyRange<unknown>): AsyncIterable<readonly [key: unknown, value: unknown]> {
    this.#check()
    return this.#region.range(bounds)
  }

  prefix(prefix: unknown, options?: PrefixOptions): AsyncIterable<readonly [key: unknown, value: unknown]> {
    this.#check()
    return this.#region.prefix(prefix, options)
  }

  /** Only of a region of windows. */
  fetch(...of: Parameters<Windows['fetch']>): ReturnType<Windows['fetch']> {
    this.#check()
    return (this.#region as unknown as Windows).fetch(...of)
  }

  fetchAll(...of: Parameters<Windows['fetchAll']>): ReturnType<Windows['fetchAll']> {
    this.#check()
    return (this.#region as unknown as Windows).fetchAll(...of)
  }

  put(key: unknown, value: unknown): void {
    this.#check()
    if (value === null || value === undefined) {
      throw new DruseError('REGION_VALUE', `A region holds no ${value}; use delete() to remove an entry`)
    }
    this.#writes.push([key, value])
  }

  putIfAbsent(key: unknown, value: unknown): unknown {
    const found = this.get(key)
    if (found === undefined) this.put(key, value)
    return found
  }

  putAll(entries: Iterable<readonly [key: unknown, value: unknown]>): void {
    for (const [key, value] of entries) this.put(key, value)
  }

  delete(key: unknown): void {
    this.#check()
    this.#writes.push([key, undefined])
  }

  /** The attempt is over. */
  close(): void {
    this.#isOpen = false
  }

  apply(timestamp: number): void {
    for (const [key, value] of this.#writes) {
      if (value === undefined) this.#region.delete(key)
      else this.#region.putAt(key, value, timestamp)
    }
  }

  #check(): void {
    if (this.#isOpen) return
    throw new DruseError(
      'CONTEXT_CLOSED',
      `A region of operator '${this.#operator}' was used after its call had ended or was given up`,
    )
  }
}
