/** For how long nothing has moved. */
export class Standstill {
  #sign = ''
  #sinceMs = performance.now()

  /** Told what the job looks like, as often as it is looked at. */
  see(sign: string): void {
    if (sign === this.#sign) return
    this.#sign = sign
    this.#sinceMs = performance.now()
  }

  get ms(): number {
    return performance.now() - this.#sinceMs
  }
}
