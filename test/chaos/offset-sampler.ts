/**
 * What the application has committed, by a client of its own. While a run is on it never goes back, and the inputs of a
 * task always belong to one commit.
 */
import { createHash } from 'node:crypto'
import { type Admin, Kafka, logLevel } from 'kafkajs'
import { applicationOf, creditsOf, topicsOf } from './names.ts'
import { Verdict } from './verdict.ts'

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

const LAW = 'C3 offsets'
const METADATA_FORMAT = 1

export class OffsetSampler {
  readonly #verdict: Verdict
  readonly #last = new Map<string, CommittedInput>()
  readonly #kafka: Kafka
  readonly #prefix: string
  #admin: Admin | undefined
  #samples = 0

  constructor(
    { brokers, prefix }: { readonly brokers: string; readonly prefix: string },
    verdict = new Verdict(),
  ) {
    this.#prefix = prefix
    this.#verdict = verdict
    this.#kafka = new Kafka({
      brokers: brokers.split(','),
      clientId: 'sampler',
      logLevel: logLevel.NOTHING,
      requestTimeout: 3_000,
      connectionTimeout: 1_000,
      retry: { retries: 0 },
    })
  }

  get violations(): string[] {
    return this.#verdict.violations
  }

  /** How often it got an answer. */
  get samples(): number {
    return this.#samples
  }

  /** Looks once. Undefined: brokers did not answer. */
  async sample(): Promise<readonly CommittedInput[] | undefined> {
    let committed: CommittedInput[]
    try {
      committed = await this.#read()
    } catch {
      await this.close()
      return undefined
    }
    this.#samples += 1
    this.#judge(committed)
    return committed
  }

  async close(): Promise<void> {
    const admin = this.#admin
    this.#admin = undefined
    await admin?.disconnect().catch(() => {})
  }

  async #read(): Promise<CommittedInput[]> {
    if (this.#admin === undefined) {
      const admin = this.#kafka.admin()
      await admin.connect()
      this.#admin = admin
    }
    const known = new Set(await this.#admin.listTopics())
    const topics = [...topicsOf(this.#prefix).inputs, creditsOf(this.#prefix)]
      .map(({ topic }) => topic)
      .filter((topic) => known.has(topic))
    const found = await this.#admin.fetchOffsets({ groupId: applicationOf(this.#prefix), topics })
    return found.flatMap(({ topic, partitions }) =>
      partitions
        .filter(({ offset }) => Number(offset) >= 0)
        .map(({ partition, offset, metadata }) =>
          this.#parse(topic, partition, Number(offset), metadata ?? ''),
        ),
    )
  }

  #parse(topic: string, partition: number, offset: number, metadata: string): CommittedInput {
    const [format, , sequence, incarnation, , repeated, , , , regions] = JSON.parse(metadata)
    const where = `${topic}/${partition}@${offset}`
    if (format !== METADATA_FORMAT) throw new Error(`${where} has metadata of format ${format}`)
    if (repeated !== offset) this.#verdict.say(LAW, `${where}: its metadata is of ${repeated}`)
    const parts = Object.entries(regions as Record<string, [number]>)
    const positions = Object.fromEntries(parts.map(([key, [position]]) => [key, position]))
    return { topic, partition, offset, sequence, incarnation, regions: positions }
  }

  #judge(committed: readonly CommittedInput[]): void {
    const tasks = new Map<string, CommittedInput>()
    for (const now of committed) {
      const where = `${now.topic}/${now.partition}`
      const say = (what: string): void => this.#verdict.say(LAW, `${where}: ${what}`)
      const before = this.#last.get(where)
      this.#last.set(where, now)
      if (before !== undefined) {
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
      const other = tasks.get(now.incarnation)
      tasks.set(now.incarnation, now)
      if (other === undefined) continue
      if (other.partition !== now.partition) say('its life is that of another task')
      if (other.sequence !== now.sequence)
        say(`sequence ${now.sequence}, ${other.topic} has ${other.sequence}`)
      if (JSON.stringify(other.regions) !== JSON.stringify(now.regions)) say('its regions stand elsewhere')
    }
    for (const where of this.#last.keys()) {
      const isThere = committed.some(({ topic, partition }) => `${topic}/${partition}` === where)
      if (!isThere) this.#verdict.say(LAW, `${where}: its offset is gone`)
    }
  }
}
