/** What laws find: a few of each kind in words, the rest counted. */

const SHOWN = 4

export class Verdict {
  readonly #found = new Map<string, string[]>()

  /** `law`: as check.ts has them, C1 to C10, and of what. */
  say(law: string, what: string): void {
    const list = this.#found.get(law) ?? []
    this.#found.set(law, list)
    list.push(what)
  }

  get violations(): string[] {
    return [...this.#found].flatMap(([law, list]) => {
      const shown = list.slice(0, SHOWN).map((what) => `${law}: ${what}`)
      return list.length > SHOWN ? [...shown, `${law}: and ${list.length - SHOWN} more`] : shown
    })
  }

  /** Both are lists of names: what is missing, what is there that should not be, what is there twice, what is out of order. */
  same(law: string, where: string, expected: readonly string[], found: readonly string[]): void {
    const isSame = expected.length === found.length && expected.every((name, i) => name === found[i])
    if (isSame) return
    const left = new Map<string, number>()
    for (const name of found) left.set(name, (left.get(name) ?? 0) + 1)
    const missing: string[] = []
    for (const name of expected) {
      const count = left.get(name) ?? 0
      if (count === 0) missing.push(name)
      else if (count === 1) left.delete(name)
      else left.set(name, count - 1)
    }
    const wanted = new Set(expected)
    const twice = [...left.keys()].filter((name) => wanted.has(name))
    const foreign = [...left.keys()].filter((name) => !wanted.has(name))
    if (missing.length > 0) this.say(law, `${where}: ${some(missing)} missing`)
    if (twice.length > 0) this.say(law, `${where}: ${some(twice)} more than once`)
    if (foreign.length > 0) this.say(law, `${where}: ${some(foreign)} should not be there`)
    if (missing.length + twice.length + foreign.length > 0) return
    const at = expected.findIndex((name, i) => name !== found[i])
    this.say(law, `${where}: out of order, at ${at} stands ${found[at]} where ${expected[at]} should`)
  }
}

function some(names: readonly string[]): string {
  const more = names.length > SHOWN ? ` and ${names.length - SHOWN} more` : ''
  return names.slice(0, SHOWN).join(', ') + more
}
