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
  /** up to here. */
  #toMs = Number.NEGATIVE_INFINITY
  #changes = 0

  knows(fromMs: number, toMs: number): boolean {
    return this.#fromMs <= fromMs && toMs <= this.#toMs
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
    this.#toMs = Number.POSITIVE_INFINITY
    if (found.length > PLACES_AHEAD) this.#cut()
  }

  /** An entry stands there now. */
  add(place: string, timeMs: number): void {
    this.#changes += 1
    if (timeMs < this.#fromMs || timeMs > this.#toMs) return
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

  /** Those of a stretch that is known, as of the call. Nobody asks for earlier ones any more. */
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
    const next = this.#places.find((place) => timeAt(place) > afterMs)
    return next === undefined ? this.#toMs + 1 : timeAt(next)
  }

  forget(): void {
    this.#changes += 1
    this.#places = []
    this.#fromMs = Number.POSITIVE_INFINITY
    this.#toMs = Number.NEGATIVE_INFINITY
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

  /** Of the time of the first that goes, others may stay. */
  #cut(): void {
    this.#toMs = timeAt(this.#places[PLACES_AHEAD] as string) - 1
    this.#places.length = PLACES_AHEAD
  }
}
