/** What a store holds, in memory: outlives the handles that are opened on it. */
import type { RangeBounds, Write } from '../ports.ts'
import { tightest } from './bounds.ts'

/** LevelDB syncs when it turns a log into a table, so the tail that power loss can take is bounded there too. */
const UNSYNCED_WRITES_MAX = 64

/** A latin1 string has a byte per character, so strings are ordered as the bytes are. */
type Id = string
export type Row = { readonly id: Id; readonly key: Buffer; readonly value: Buffer }
/** What to put back to undo one write, in the order of undoing. */
type Undo = readonly (readonly [Id, Row | undefined])[]

export interface Selection {
  readonly rows: readonly Row[]
  readonly first: number
  readonly step: 1 | -1
  readonly count: number
}

export class MemoryTable {
  /** Nothing has come between its last owner and the next. */
  asClosed = false
  readonly #rows = new Map<Id, Row>()
  #unsynced: Undo[] = []
  /** Never changed in place: a range keeps the array it began with. */
  #sorted: readonly Row[] = []
  readonly #changed = new Set<Id>()

  get unsynced(): number {
    return this.#unsynced.length
  }

  get(key: Uint8Array): Buffer | undefined {
    const row = this.#rows.get(idOf(key))
    return row === undefined ? undefined : Buffer.from(row.value)
  }

  apply(writes: readonly Write[]): void {
    const undo: [Id, Row | undefined][] = []
    for (const [key, value] of writes) {
      const id = idOf(key)
      undo.push([id, this.#rows.get(id)])
      this.#set(id, value === null ? undefined : { id, key: Buffer.from(key), value: Buffer.from(value) })
    }
    this.#unsynced.push(undo.reverse())
    if (this.#unsynced.length > UNSYNCED_WRITES_MAX) this.#unsynced.shift()
  }

  sync(): void {
    this.#unsynced = []
  }

  /** Takes back the newest writes, whole ones. */
  lose(writes: number): void {
    if (writes > 0) this.asClosed = false
    for (let n = 0; n < writes; n++) {
      for (const [id, row] of this.#unsynced.pop() ?? []) this.#set(id, row)
    }
  }

  /** Takes back one of the unsynced writes, as far as no later one has written the same. Returns whether that was anything. */
  loseOne(pick: (choices: number) => number): boolean {
    const at = pick(this.#unsynced.length)
    const later = new Set(this.#unsynced.slice(at + 1).flatMap((undo) => undo.map(([id]) => id)))
    const lost = (this.#unsynced[at] ?? []).filter(([id]) => !later.has(id))
    if (lost.length === 0) return false
    for (const [id, row] of lost) this.#set(id, row)
    this.asClosed = false
    this.sync()
    return true
  }

  flipBit(pick: (choices: number) => number): boolean {
    const rows = [...this.#rows.values()].filter(({ value }) => value.length > 0)
    if (rows.length === 0) return false
    const row = rows[pick(rows.length)] as Row
    const value = Buffer.from(row.value)
    const bit = pick(value.length * 8)
    value[bit >> 3] = (value[bit >> 3] as number) ^ (1 << (bit & 7))
    this.#set(row.id, { ...row, value })
    this.asClosed = false
    return true
  }

  /** The rows of a range as they are now, first to last in its direction. */
  select(bounds: RangeBounds): Selection {
    const { gte, gt, lte, lt, reverse, limit = Number.POSITIVE_INFINITY } = tightest(bounds)
    const rows = this.#inOrder()
    const from = gte ? seek(rows, gte, false) : gt ? seek(rows, gt, true) : 0
    const to = lte ? seek(rows, lte, true) : lt ? seek(rows, lt, false) : rows.length
    const count = Math.min(Math.max(0, to - from), limit)
    return reverse ? { rows, first: to - 1, step: -1, count } : { rows, first: from, step: 1, count }
  }

  /** Merges what has changed into a new array: linear in the table, however much has changed. */
  #inOrder(): readonly Row[] {
    if (this.#changed.size === 0) return this.#sorted
    const merged: Row[] = []
    let at = 0
    for (const id of [...this.#changed].sort()) {
      for (let row = this.#sorted[at]; row !== undefined && row.id <= id; row = this.#sorted[++at]) {
        if (row.id < id) merged.push(row)
      }
      const changed = this.#rows.get(id)
      if (changed !== undefined) merged.push(changed)
    }
    for (let row = this.#sorted[at]; row !== undefined; row = this.#sorted[++at]) merged.push(row)
    this.#changed.clear()
    this.#sorted = merged
    return merged
  }

  #set(id: Id, row: Row | undefined): void {
    if (row === undefined) this.#rows.delete(id)
    else this.#rows.set(id, row)
    this.#changed.add(id)
  }
}

function idOf(key: Uint8Array): Id {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1')
}

/** Index of the first row at or (`after`) beyond a key. */
function seek(rows: readonly Row[], key: Uint8Array, after: boolean): number {
  const id = idOf(key)
  let low = 0
  let high = rows.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const other = rows[middle]?.id ?? ''
    if (other < id || (after && other === id)) low = middle + 1
    else high = middle
  }
  return low
}
