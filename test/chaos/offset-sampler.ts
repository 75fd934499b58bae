/**
 * Looks at what the application has committed while a run is on. It asks as the application does, for stable offsets.
 *
 * Kafka's coordinator may answer offsets of long ago, or none, while it loads (see src/runtime/taker.ts). So what is
 * behind is asked for again, and counts if it stays. Commits that went back and were caught up meanwhile stand in Kafka's
 * log of them, where offset-log.ts finds them after the run.
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
const OLD_ANSWERS_MS = 90_000
const OLD_ANSWERS_PAUSE_MS = 250

export class OffsetSampler {
  readonly #verdict: Verdict
  readonly #law: OffsetLaw
  readonly #cluster: Cluster
  readonly #prefix: string
  #samples = 0
  #oldAnswers = 0
  #isClosed = false

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

  /** How often what was answered was behind, and was not when asked again. */
  get oldAnswers(): number {
    return this.#oldAnswers
  }

  /** Looks once. Undefined: brokers did not answer, or a transaction went on holding offsets. */
  async sample(): Promise<readonly CommittedInput[] | undefined> {
    let committed = await this.#read().catch(() => undefined)
    if (committed === undefined) return undefined
    if (this.#law.isBehind(committed)) {
      const untilMs = performance.now() + OLD_ANSWERS_MS
      while (this.#law.isBehind(committed) && performance.now() < untilMs && !this.#isClosed) {
        await pause(OLD_ANSWERS_PAUSE_MS)
        committed = (await this.#read().catch(() => undefined)) ?? committed
      }
      if (!this.#law.isBehind(committed)) this.#oldAnswers += 1
    }
    this.#samples += 1
    this.#law.judge(committed)
    return committed
  }

  async close(): Promise<void> {
    this.#isClosed = true
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
