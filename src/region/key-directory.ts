/**
 * Which entries stand under the keys that were asked for last, in memory: so that the windows of a key that comes again
 * are found without asking the store. Answers for what it knows whole: all ids of a key from a certain one on.
 */

/** Of one key: those that came first are forgotten. */
const IDS_MAX = 256
/** Then the keys that were not asked for lately are forgotten. */
const YOUNG_KEYS_MAX = 5_000

interface Known {
  /** All from here on. */
  from: string
  /** In order. */
  ids: string[]
}

export class KeyDirectory {
  #young = new Map<string, Known>()
  #old = new Map<string, Known>()

  /** Undefined: not known from there on. */
  ids(key: string, from: string): readonly string[] | undefined {
    const known = this.#known(key)
    return known !== undefined && known.from <= from ? known.ids : undefined
  }

  /** All ids from `from` on, in order. */
  learn(key: string, from: string, ids: string[]): void {
    this.#keep(key, { from, ids })
  }

  written(key: string, id: string, isThere: boolean): void {
    const known = this.#known(key)
    if (known === undefined || id < known.from) return
    const { ids } = known
    let at = ids.length
    while (at > 0 && (ids[at - 1] as string) >= id) at -= 1
    const found = ids[at] === id
    if (found === isThere) return
    if (isThere) ids.splice(at, 0, id)
    else ids.splice(at, 1)
    if (ids.length <= IDS_MAX) return
    ids.splice(0, IDS_MAX / 2)
    known.from = ids[0] as string
  }

  forget(key: string): void {
    this.#young.delete(key)
    this.#old.delete(key)
  }

  #known(key: string): Known | undefined {
    const young = this.#young.get(key)
    if (young !== undefined) return young
    const old = this.#old.get(key)
    if (old !== undefined) this.#keep(key, old)
    return old
  }

  #keep(key: string, known: Known): void {
    this.#young.set(key, known)
    if (this.#young.size <= YOUNG_KEYS_MAX) return
    this.#old = this.#young
    this.#young = new Map()
  }
}
