/** C3: what is committed never goes back, and the inputs of a task always belong to one commit. */
import { createHash } from 'node:crypto'
import type { Verdict } from './verdict.ts'

export interface CommittedInput {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly sequence: number
  /** Of the task's life; the same for all inputs of a task. */
  readonly incarnation: string
  /** Positions in changelogs, by what `regionKey` makes of the region's name. */
  readonly regions: Readonly<Record<string, number>>
}

/** How regions are called in metadata and in state directories. */
export const regionKey = (name: string): string =>
  createHash('sha256').update(`region ${name}`).digest('hex').slice(0, 8)

export const OFFSETS = 'C3 offsets'
const METADATA_FORMAT = 1

/** What stands beside an offset says the same. Undefined: it is not the application's. */
export function parseCommitted(
  topic: string,
  partition: number,
  offset: number,
  metadata: string,
  verdict: Verdict,
): CommittedInput | undefined {
  const where = `${topic}/${partition}@${offset}`
  let parsed: unknown
  try {
    parsed = JSON.parse(metadata)
  } catch {}
  if (!Array.isArray(parsed) || parsed[0] !== METADATA_FORMAT || parsed.length < 10) {
    verdict.say(OFFSETS, `${where}: its metadata is '${metadata}'`)
    return undefined
  }
  const [, , sequence, incarnation, , repeated, , , , regions] = parsed
  if (repeated !== offset) verdict.say(OFFSETS, `${where}: its metadata is of ${repeated}`)
  const parts = Object.entries(regions as Record<string, [number]>)
  const positions = Object.fromEntries(parts.map(([key, [position]]) => [key, position]))
  return { topic, partition, offset, sequence, incarnation, regions: positions }
}

const placeOf = ({ topic, partition }: CommittedInput): string => `${topic}/${partition}`

/** Looks at one sample after the other. */
export class OffsetLaw {
  readonly #verdict: Verdict
  readonly #last = new Map<string, CommittedInput>()

  constructor(verdict: Verdict) {
    this.#verdict = verdict
  }

  /** Whether something is gone, or of an earlier commit than before. */
  isBehind(committed: readonly CommittedInput[]): boolean {
    const found = new Map(committed.map((at) => [placeOf(at), at]))
    return [...this.#last].some(([where, before]) => {
      const now = found.get(where)
      return now === undefined || (now.incarnation === before.incarnation && now.sequence < before.sequence)
    })
  }

  /** What is committed next of one input. */
  follow(now: CommittedInput): void {
    const where = placeOf(now)
    const say = (what: string): void => this.#verdict.say(OFFSETS, `${where}: ${what}`)
    const before = this.#last.get(where)
    this.#last.set(where, now)
    if (before === undefined) return
    if (now.incarnation !== before.incarnation) say('begun anew')
    if (now.sequence < before.sequence) say(`sequence ${now.sequence} after ${before.sequence}`)
    if (now.offset < before.offset) say(`offset ${now.offset} after ${before.offset}`)
    if (now.sequence === before.sequence && now.offset !== before.offset) {
      say(`sequence ${now.sequence} has offset ${before.offset}, then ${now.offset}`)
    }
    for (const [key, position] of Object.entries(before.regions)) {
      const then = now.regions[key] ?? -1
      if (then < position) say(`a region is at ${then} after ${position}`)
    }
  }

  judge(committed: readonly CommittedInput[]): void {
    const tasks = new Map<string, CommittedInput>()
    for (const now of committed) {
      const say = (what: string): void => this.#verdict.say(OFFSETS, `${placeOf(now)}: ${what}`)
      this.follow(now)
      const other = tasks.get(now.incarnation)
      tasks.set(now.incarnation, now)
      if (other === undefined) continue
      if (other.partition !== now.partition) say('its life is that of another task')
      if (other.sequence !== now.sequence)
        say(`sequence ${now.sequence}, ${other.topic} has ${other.sequence}`)
      if (JSON.stringify(other.regions) !== JSON.stringify(now.regions)) say('its regions stand elsewhere')
    }
    for (const where of this.#last.keys()) {
      const isThere = committed.some((at) => placeOf(at) === where)
      if (!isThere) this.#verdict.say(OFFSETS, `${where}: its offset is gone`)
    }
  }
}
