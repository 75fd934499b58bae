/** Texts in order, in chunks: a new one moves few others. */

const CHUNK_MAX = 512

export class SortedIds {
  /** None is empty. */
  readonly #chunks: string[][] = []

  constructor(ids: Iterable<string>) {
    const sorted = [...ids].sort(compare)
    for (let at = 0; at < sorted.length; at += CHUNK_MAX / 2) {
      this.#chunks.push(sorted.slice(at, at + CHUNK_MAX / 2))
    }
  }

  /** Has no effect when it is there. */
  add(id: string): void {
    const chunks = this.#chunks
    if (chunks.length === 0) {
      chunks.push([id])
      return
    }
    const index = Math.min(this.#chunkOf(id), chunks.length - 1)
    const chunk = chunks[index] as string[]
    const at = lowerBound(chunk, id)
    if (chunk[at] === id) return
    chunk.splice(at, 0, id)
    if (chunk.length > CHUNK_MAX) chunks.splice(index + 1, 0, chunk.splice(CHUNK_MAX / 2))
  }

  delete(id: string): void {
    const index = this.#chunkOf(id)
    const chunk = this.#chunks[index]
    if (chunk === undefined) return
    const at = lowerBound(chunk, id)
    if (chunk[at] !== id) return
    chunk.splice(at, 1)
    if (chunk.length === 0) this.#chunks.splice(index, 1)
  }

  /** From `first` on, as long as `isWithin` says so. */
  from(first: string, isWithin: (id: string) => boolean): string[] {
    const found: string[] = []
    const start = this.#chunkOf(first)
    for (let index = start; index < this.#chunks.length; index++) {
      const chunk = this.#chunks[index] as string[]
      for (let at = index === start ? lowerBound(chunk, first) : 0; at < chunk.length; at++) {
        const id = chunk[at] as string
        if (!isWithin(id)) return found
        found.push(id)
      }
    }
    return found
  }

  /** The first chunk that ends with this text or a later one. */
  #chunkOf(id: string): number {
    let low = 0
    let high = this.#chunks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const last = (this.#chunks[middle] as string[]).at(-1) as string
      if (last < id) low = middle + 1
      else high = middle
    }
    return low
  }
}

function lowerBound(sorted: readonly string[], id: string): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] as string) < id) low = middle + 1
    else high = middle
  }
  return low
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
