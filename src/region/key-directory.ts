/**
 * Which entries stand under the keys that were asked for last, in memory: so that the windows of a key that comes again
 * are found without asking the store. Answers for what it knows whole: all ids of a key from a certain one on.
 */

/** Of one key: those that came first are forgotten. */
const IDS_MAX = 256
/** What a key takes beside its text and its ids, roughly; and an id beside its own. */
const KEY_BYTES = 200
const ID_BYTES = 40

interface Known {
  /** All from here on. */
  from: string
  /** In order. */
  ids: string[]
}

export class KeyDirectory {
  readonly #spend: (bytes: number) => void
  #young = new Map<string, Known>()
  #old = new Map<string, Known>()

  /** `spend` is told what it takes; when there is no room for more, it is aged. */
  constructor(spend: (bytes: number) => void) {
    this.#spend = spend
  }

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
    if (ids.length > IDS_MAX) {
      ids.splice(0, IDS_MAX / 2)
      known.from = ids[0] as string
    }
    if (isThere) this.#spend(ID_BYTES + id.length)
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

  /** Keys that were not asked for since the last time are forgotten. */
  age(): void {
    this.#old = this.#young
    this.#young = new Map()
  }

  #keep(key: string, known: Known): void {
    this.#young.set(key, known)
    this.#spend(KEY_BYTES + key.length + known.ids.length * (ID_BYTES + (known.ids[0]?.length ?? 0)))
  }
}
