/**
 * Looks at what the application has committed while a run is on. It asks as the application does, for stable offsets:
 * Kafka 4 answers all others as of the high watermark that its coordinator knows, and after a restart of the broker that
 * may be long ago (GroupCoordinatorService reads, where for stable ones it writes).
 */
import { setTimeout as pause } from 'node:timers/promises'
import { kafkaWire, silentLogger, systemClock } from '../../src/index.ts'
import { Cluster } from '../../src/kafka/cluster.ts'
import { committedOffsets, describeTopics } from '../../src/kafka/topics.ts'
import { applicationOf, creditsOf, topicsOf } from './names.ts'
import { type CommittedInput, OffsetLaw, parseCommitted } from './offset-law.ts'
import { Verdict } from './verdict.ts'

const BUDGET_MS = 3_000
const LOOKS = 50
const LOOK_MS = 20

export class OffsetSampler {
  readonly #verdict: Verdict
  readonly #law: OffsetLaw
  readonly #cluster: Cluster
  readonly #prefix: string
  #samples = 0

  constructor(
    { brokers, prefix }: { readonly brokers: string; readonly prefix: string },
    verdict = new Verdict(),
  ) {
    this.#prefix = prefix
    this.#verdict = verdict
    this.#law = new OffsetLaw(verdict)
    this.#cluster = new Cluster({
      wire: kafkaWire({ brokers: brokers.split(','), clientId: 'sampler' }),
      clock: systemClock,
      log: silentLogger,
      requestTimeoutMs: BUDGET_MS,
      retryBudgetMs: BUDGET_MS,
    })
  }

  get violations(): string[] {
    return this.#verdict.violations
  }

  /** How often it got an answer. */
  get samples(): number {
    return this.#samples
  }

  /** Looks once. Undefined: brokers did not answer, or a transaction went on holding offsets. */
  async sample(): Promise<readonly CommittedInput[] | undefined> {
    const committed = await this.#read().catch(() => undefined)
    if (committed === undefined) return undefined
    this.#samples += 1
    this.#law.judge(committed)
    return committed
  }

  async close(): Promise<void> {
    this.#cluster.close()
  }

  async #read(): Promise<CommittedInput[] | undefined> {
    const wanted = [...topicsOf(this.#prefix).inputs, creditsOf(this.#prefix)]
    const known = await describeTopics(
      this.#cluster,
      wanted.map(({ topic }) => topic),
    )
    const inputs = wanted
      .filter(({ topic }) => known.has(topic))
      .flatMap(({ topic, partitions }) =>
        Array.from({ length: partitions }, (_, partition) => ({ topic, partition })),
      )
    for (let look = 0; look < LOOKS; look++) {
      const found = await committedOffsets(this.#cluster, applicationOf(this.#prefix), inputs, BUDGET_MS)
      if (found.every(({ offset }) => offset !== 'unstable')) {
        return found.flatMap(({ topic, partition, offset, metadata }) =>
          typeof offset === 'number'
            ? (parseCommitted(topic, partition, offset, metadata, this.#verdict) ?? [])
            : [],
        )
      }
      await pause(LOOK_MS)
    }
    return undefined
  }
}
