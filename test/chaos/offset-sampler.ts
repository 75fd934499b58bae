/** Looks at what the application has committed while a run is on, by a client of its own. */
import { type Admin, Kafka, logLevel } from 'kafkajs'
import { applicationOf, creditsOf, topicsOf } from './names.ts'
import { type CommittedInput, OffsetLaw, parseCommitted } from './offset-law.ts'
import { Verdict } from './verdict.ts'

export class OffsetSampler {
  readonly #verdict: Verdict
  readonly #law: OffsetLaw
  readonly #kafka: Kafka
  readonly #prefix: string
  #admin: Admin | undefined
  /** What the admin has been asked for alone. */
  readonly #asked = new Set<string>()
  #samples = 0

  constructor(
    { brokers, prefix }: { readonly brokers: string; readonly prefix: string },
    verdict = new Verdict(),
  ) {
    this.#prefix = prefix
    this.#verdict = verdict
    this.#law = new OffsetLaw(verdict)
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
    this.#law.judge(committed)
    return committed
  }

  async close(): Promise<void> {
    const admin = this.#admin
    this.#admin = undefined
    this.#asked.clear()
    await admin?.disconnect().catch(() => {})
  }

  async #read(): Promise<CommittedInput[]> {
    if (this.#admin === undefined) {
      const admin = this.#kafka.admin()
      await admin.connect()
      this.#admin = admin
    }
    const known = new Set(await this.#admin.listTopics())
    const read = [...topicsOf(this.#prefix).inputs, creditsOf(this.#prefix)].filter(({ topic }) =>
      known.has(topic),
    )
    const topics = read.map(({ topic }) => topic)
    const groupId = applicationOf(this.#prefix)
    // kafkajs asks for the partitions that it knows of; of topics that are new to it together it may miss some.
    for (const topic of topics.filter((topic) => !this.#asked.has(topic))) {
      await this.#admin.fetchOffsets({ groupId, topics: [topic] })
      this.#asked.add(topic)
    }
    const found = await this.#admin.fetchOffsets({ groupId, topics })
    for (const { topic, partitions } of read) {
      const count = found.find((one) => one.topic === topic)?.partitions.length
      if (count !== partitions) throw new Error(`kafkajs asked for ${count} partitions of ${topic}`)
    }
    return found.flatMap(({ topic, partitions }) =>
      partitions
        .filter(({ offset }) => Number(offset) >= 0)
        .flatMap(
          ({ partition, offset, metadata }) =>
            parseCommitted(topic, partition, Number(offset), metadata ?? '', this.#verdict) ?? [],
        ),
    )
  }
}
