/**
 * The places in time that come next, in memory: so that a step of time need not look into the store. All places in a stretch
 * of time, and some of entries that stand elsewhere by now: what counts is the entry.
 */
import { timeAt } from './time-order.ts'

/** Read ahead; twice as many are kept. */
export const PLACES_AHEAD = 1_000

export class NextPlaces {
  /** In order. */
  #places: string[] = []
  /** All are known from here on, */
  #fromMs = Number.POSITIVE_INFINITY
  /** up to this one, which is not; undefined: up to the last there is. */
  #end: string | undefined
  #changes = 0

  knows(fromMs: number, toMs: number): boolean {
    return this.#fromMs <= fromMs && (this.#end === undefined || toMs < timeAt(this.#end))
  }

  /** At least those before `end`. */
  knowsFrom(fromMs: number): boolean {
    return this.#fromMs <= fromMs && (this.#end === undefined || fromMs <= timeAt(this.#end))
  }

  get end(): string | undefined {
    return this.#end
  }

  /** There may be some, but none is known. */
  get isUsedUp(): boolean {
    return this.#places.length === 0 && this.#end !== undefined
  }

  /** `places`: all from there on, in order, as of the call; no more are read than are kept. */
  async read(fromMs: number, places: AsyncIterable<string>): Promise<void> {
    this.forget()
    const changes = this.#changes
    const found: string[] = []
    for await (const place of places) {
      found.push(place)
      if (found.length > PLACES_AHEAD) break
    }
    if (this.#changes !== changes) return
    this.#places = found
    this.#fromMs = fromMs
    if (found.length > PLACES_AHEAD) this.#cut()
  }

  /** An entry stands there now. */
  add(place: string, timeMs: number): void {
    this.#changes += 1
    if (timeMs < this.#fromMs || (this.#end !== undefined && place >= this.#end)) return
    const places = this.#places
    const at = this.#at(place)
    if (places[at] === place) return
    places.splice(at, 0, place)
    if (places.length > 2 * PLACES_AHEAD) this.#cut()
  }

  /** No entry stands there any more. */
  remove(place: string): void {
    const at = this.#at(place)
    if (this.#places[at] === place) this.#places.splice(at, 1)
  }

  /** Those of a stretch that are known, as of the call. Nobody asks for earlier ones any more. */
  between(fromMs: number, toMs: number): readonly string[] {
    const places = this.#places
    let first = 0
    while (first < places.length && timeAt(places[first] as string) < fromMs) first += 1
    places.splice(0, first)
    this.#fromMs = fromMs
    let end = 0
    while (end < places.length && timeAt(places[end] as string) <= toMs) end += 1
    return places.slice(0, end)
  }

  /** No place behind this time, which is known, has an earlier one. */
  nextMs(afterMs: number): number {
    const next = this.#places.find((place) => timeAt(place) > afterMs) ?? this.#end
    return next === undefined ? Number.POSITIVE_INFINITY : timeAt(next)
  }

  forget(): void {
    this.#changes += 1
    this.#places = []
    this.#fromMs = Number.POSITIVE_INFINITY
    this.#end = undefined
  }

  /** Where it is, or would be. */
  #at(place: string): number {
    const places = this.#places
    let high = places.length
    // Most come behind the others.
    if (high === 0 || (places[high - 1] as string) < place) return high
    let low = 0
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((places[middle] as string) < place) low = middle + 1
      else high = middle
    }
    return low
  }

  #cut(): void {
    this.#end = this.#places[PLACES_AHEAD] as string
    this.#places.length = PLACES_AHEAD
  }
}
