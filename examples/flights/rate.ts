/** How fast a number grows, over the last seconds. */
const WINDOW_MS = 5_000

export class Rate {
  readonly #seen: { readonly atMs: number; readonly count: number }[] = []

  /** Per second; 0 as long as there is nothing to compare with. */
  at(count: number, nowMs = performance.now()): number {
    this.#seen.push({ atMs: nowMs, count })
    while (this.#seen.length > 2 && nowMs - (this.#seen[1]?.atMs ?? nowMs) >= WINDOW_MS) this.#seen.shift()
    const [first] = this.#seen
    if (first === undefined || first.atMs === nowMs) return 0
    return Math.round(((count - first.count) * 1000) / (nowMs - first.atMs))
  }
}
