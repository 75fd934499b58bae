/**
 * The records that a task has sent and that wait for their commit, in order. Their bytes are copied into one buffer:
 * thousands of records that live until a commit are no work for the garbage collector, and what an operator does to its
 * bytes afterwards changes nothing.
 */
import type { Header } from '../types.ts'
import type { Destination } from './placement.ts'

export interface Output {
  readonly to: Destination
  readonly timestamp: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly Header[]
}

const FIRST_CAPACITY_BYTES = 4096
/** Of a field that is null. */
const NONE = -1

export class OutputLog {
  /** By record, as are those below. Of a record the key's bytes come first, the value's behind them. */
  readonly #to: Destination[] = []
  readonly #timestamps: number[] = []
  readonly #headers: (readonly Header[])[] = []
  readonly #keyLengths: number[] = []
  readonly #valueLengths: number[] = []
  #bytes: Buffer = Buffer.allocUnsafeSlow(FIRST_CAPACITY_BYTES)
  #end = 0

  get size(): number {
    return this.#to.length
  }

  push({ to, timestamp, key, value, headers }: Output): void {
    this.#to.push(to)
    this.#timestamps.push(timestamp)
    this.#headers.push(headers)
    this.#keyLengths.push(this.#append(key))
    this.#valueLengths.push(this.#append(value))
  }

  /** Takes back all records but the first so many. */
  truncate(size: number): void {
    for (let i = size; i < this.size; i++) {
      this.#end -= Math.max(0, this.#keyLengths[i] as number) + Math.max(0, this.#valueLengths[i] as number)
    }
    for (const column of [this.#to, this.#timestamps, this.#headers, this.#keyLengths, this.#valueLengths]) {
      column.length = size
    }
  }

  /** Where each record goes, in order. */
  get destinations(): readonly Destination[] {
    return this.#to
  }

  /** Key and value are views. */
  forEach(
    visit: (
      to: Destination,
      timestamp: number,
      key: Uint8Array | null,
      value: Uint8Array | null,
      headers: readonly Header[],
    ) => void,
  ): void {
    let at = 0
    const next = (length: number): Buffer | null => {
      if (length === NONE) return null
      at += length
      return this.#bytes.subarray(at - length, at)
    }
    const { size } = this
    for (let i = 0; i < size; i++) {
      const key = next(this.#keyLengths[i] as number)
      const value = next(this.#valueLengths[i] as number)
      const headers = this.#headers[i] as readonly Header[]
      visit(this.#to[i] as Destination, this.#timestamps[i] as number, key, value, headers)
    }
  }

  /** Returns the length, as it is noted. */
  #append(field: Uint8Array | null): number {
    if (field === null) return NONE
    const from = this.#end
    this.#end += field.length
    if (this.#end > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(this.#end, this.#bytes.length * 2))
      this.#bytes.copy(grown, 0, 0, from)
      this.#bytes = grown
    }
    this.#bytes.set(field, from)
    return field.length
  }
}
