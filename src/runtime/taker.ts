/** Takes many tasks at once, beside the loop: each as soon as Kafka says what was committed for it. */
import { DruseError, type ErrorCode } from '../errors.ts'
import { partitionKey } from '../kafka/partition-key.ts'
import { pause } from '../kafka/retry.ts'
import { type CommittedOffset, committedOffsets } from '../kafka/topics.ts'
import { ABORT_LATENCY_MS } from '../kafka/transactional-writer.ts'
import { type Agreement, agree, type InputPositions } from './agreement.ts'
import { mayPass } from './blame.ts'
import type { DruseSettings } from './options.ts'
import { inputsOf, type TaskId, taskName } from './plan.ts'
import type { RestoreContext } from './restore-task.ts'
import { type FirstStart, isOlder, planFirstStart, type TakenTask, takeTask } from './take.ts'
import { encodeMetadata, type TaskMetadata } from './task-metadata.ts'

export interface TakerHandlers {
  taken(task: TakenTask, signal: AbortSignal): void
  /** Resolves when they are committed, or will not be. */
  firstStarts(starts: readonly FirstStart[], signal: AbortSignal): Promise<void>
  /** It will be tried again. */
  waiting(id: TaskId, error: DruseError): void
  failed(id: TaskId, error: unknown): void
}

const NONE_KEPT: ReadonlyMap<string, TakenTask> = new Map()
const AGAIN_MS = 50
const AFTER_FAILURE_MS = 1_000
/**
 * What a broker that has just come up may say of offsets that are there. In Kafka 4.1.0, and by its code in 4.4.0, the end of
 * a load that was begun under an earlier leader epoch makes the coordinator active whose own load has only begun
 * (CoordinatorRuntime.CoordinatorContext.load): until it has ended, answers are those of long ago, or that there is
 * nothing. Seen for 14 s, on a busy machine. So Kafka is asked again for as long as rebalances may take.
 */
const MAYBE_OLD: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'OFFSETS_INCONSISTENT',
  'OFFSETS_OLDER_THAN_STATE',
  'STATE_WITHOUT_OFFSETS',
])
/** Without an answer for so long, `app.health` says what is waited for. */
const ANSWER_BUDGET_MS = 2_000

export class Taker {
  readonly #context: RestoreContext
  readonly #settings: DruseSettings
  readonly #handlers: TakerHandlers
  readonly #underWay = new Set<Promise<void>>()
  /** Until when Kafka is asked again, since what it first said of the task did not fit. */
  readonly #doubtedUntilMs = new Map<string, number>()

  constructor(context: RestoreContext, settings: DruseSettings, handlers: TakerHandlers) {
    this.#context = context
    this.#settings = settings
    this.#handlers = handlers
  }

  /** `kept`: tasks that are still open here, to go on if nobody has committed for them since. */
  take(ids: readonly TaskId[], kept: ReadonlyMap<string, TakenTask>, signal: AbortSignal): void {
    this.#doubtedUntilMs.clear()
    this.#track(this.#takeAll(ids, kept, signal))
  }

  /** Resolves when nothing is being taken any more; takes that were given up have closed their stores then. */
  async idle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay)
  }

  #track(taking: Promise<void>): void {
    const tracked = taking.finally(() => this.#underWay.delete(tracked))
    this.#underWay.add(tracked)
  }

  async #takeAll(
    ids: readonly TaskId[],
    kept: ReadonlyMap<string, TakenTask>,
    signal: AbortSignal,
  ): Promise<void> {
    const { cluster, log } = this.#context.surroundings
    const { clock } = cluster
    // Counted from when it is first known that somebody has to be waited for.
    let patientUntilMs: number | undefined
    for (let left = ids; left.length > 0 && !signal.aborted; ) {
      let agreements: ReadonlyMap<TaskId, Agreement>
      try {
        agreements = await this.#agreements(left, kept, signal)
      } catch (error) {
        if (signal.aborted) return
        if (!mayPass(error)) {
          for (const id of left) this.#handlers.failed(id, error)
          return
        }
        for (const id of left) this.#handlers.waiting(id, error)
        log.warn({ error }, 'tasks: the committed offsets cannot be read, trying again')
        await pause(clock, AFTER_FAILURE_MS, signal)
        continue
      }
      if (signal.aborted) return
      const again: TaskId[] = []
      for (const [id, agreement] of agreements) {
        if (agreement.kind === 'unstable') again.push(id)
        else if (agreement.kind === 'new') this.#track(this.#startFirst(id, kept, signal))
        else this.#track(this.#takeOne(id, agreement, kept.get(taskName(id)), signal))
      }
      left = again
      if (again.length === 0) return
      if (patientUntilMs === undefined) {
        patientUntilMs = clock.monotonicMs() + this.#settings.transactionTimeoutMs + ABORT_LATENCY_MS
        const waiting = again.map(taskName).join(' ')
        log.info({ tasks: waiting }, 'tasks: waiting until an earlier owner’s transaction has ended')
      } else if (clock.monotonicMs() > patientUntilMs) {
        for (const id of again) this.#handlers.failed(id, unstable(id))
        return
      }
      await pause(clock, AGAIN_MS, signal)
    }
  }

  /** Each by itself, so that an input that cannot be looked at holds up no other task. */
  async #startFirst(id: TaskId, kept: ReadonlyMap<string, TakenTask>, signal: AbortSignal): Promise<void> {
    // It would hold the store that is to be looked at.
    await kept.get(taskName(id))?.state.close()
    const start = await this.#attempt(id, NONE_KEPT, signal, () => planFirstStart(this.#context, id, signal))
    if (start === undefined || signal.aborted) return
    await this.#handlers.firstStarts([start], signal)
    await this.#takeAll([id], NONE_KEPT, signal)
  }

  async #takeOne(
    id: TaskId,
    { metadata, positions }: Extract<Agreement, { kind: 'committed' }>,
    kept: TakenTask | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const own = kept?.state.committed
    // Without transactions an owner in between may have left changes without a commit: they are replayed.
    if (
      kept !== undefined &&
      // By a take that was given up, after an answer that was not the newest.
      !kept.state.isClosed &&
      metadata.guarantee === 'exactly_once' &&
      own?.sequence === metadata.sequence &&
      own.incarnation === metadata.incarnation &&
      // Otherwise an owner in between has committed, and Kafka does not say so yet.
      !isOlder(this.#context.surroundings, id, metadata)
    ) {
      this.#handlers.taken(kept, signal)
      return
    }
    await kept?.state.close()
    const taken = await this.#attempt(id, NONE_KEPT, signal, (isPatient) =>
      takeTask(this.#context, id, metadata, positions, isPatient, signal),
    )
    if (taken === undefined) return
    if (metadata.guarantee === 'exactly_once' && this.#settings.processingGuarantee === 'at_least_once') {
      await taken.state.close()
      await this.#changeGuarantee(id, metadata, positions, signal)
    } else this.#handlers.taken(taken, signal)
  }

  /**
   * Committed before the first record, like a first start: what a commit without a transaction leaves behind when it
   * fails must not be looked at as what transactions leave behind.
   */
  async #changeGuarantee(
    id: TaskId,
    metadata: TaskMetadata,
    positions: InputPositions,
    signal: AbortSignal,
  ): Promise<void> {
    const { surroundings } = this.#context
    const { plan } = surroundings
    const next = { ...metadata, guarantee: 'at_least_once', sequence: metadata.sequence + 1 } as const
    const offsets = inputsOf(plan, id).flatMap((at) => {
      const position = positions.get(partitionKey(at))
      if (position === undefined) return []
      const topic = surroundings.topicHash(at.topic)
      const { offset } = position
      return [{ ...at, offset, metadata: encodeMetadata({ ...next, ...position, topic }) }]
    })
    if (signal.aborted) return
    await this.#handlers.firstStarts([{ id, offsets }], signal)
    await this.#takeAll([id], NONE_KEPT, signal)
  }

  /**
   * Undefined: given up, or failed and told, or tried again after a pause, because the error may pass by itself. That
   * begins with the committed offsets: what was known of them may be out of date by then.
   */
  async #attempt<T>(
    id: TaskId,
    kept: ReadonlyMap<string, TakenTask>,
    signal: AbortSignal,
    attempt: (isPatient: boolean) => Promise<T>,
  ): Promise<T | undefined> {
    // Not as of its end: what it refused only to ask again would be its last word.
    const isPatient = this.#isPatient(id)
    try {
      return await attempt(isPatient)
    } catch (error) {
      await this.#afterFailure(id, kept, error, isPatient, signal)
      return undefined
    }
  }

  async #afterFailure(
    id: TaskId,
    kept: ReadonlyMap<string, TakenTask>,
    error: unknown,
    isPatient: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, log } = this.#context.surroundings
    if (signal.aborted) return
    if (!mayPass(error) && !(isPatient && this.#mayBeOld(id, error))) return this.#handlers.failed(id, error)
    this.#handlers.waiting(id, error)
    log.warn({ task: taskName(id), error }, 'task: cannot be taken yet, trying again')
    await pause(clock, AFTER_FAILURE_MS, signal)
    await this.#takeAll([id], kept, signal)
  }

  #mayBeOld(id: TaskId, error: unknown): error is DruseError {
    if (!(error instanceof DruseError) || !MAYBE_OLD.has(error.code)) return false
    const name = taskName(id)
    const { clock } = this.#context.surroundings
    if (!this.#doubtedUntilMs.has(name))
      this.#doubtedUntilMs.set(name, clock.monotonicMs() + this.#settings.rebalanceTimeoutMs)
    return true
  }

  #isPatient(id: TaskId): boolean {
    const untilMs = this.#doubtedUntilMs.get(taskName(id)) ?? Number.POSITIVE_INFINITY
    return this.#context.surroundings.clock.monotonicMs() < untilMs
  }

  async #agreements(
    ids: readonly TaskId[],
    kept: ReadonlyMap<string, TakenTask>,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<TaskId, Agreement>> {
    const { surroundings } = this.#context
    const { plan, cluster } = surroundings
    const wanted = ids.map((id) => ({ id, inputs: inputsOf(plan, id) }))
    const committed = await committedOffsets(
      cluster,
      plan.graph.application,
      wanted.flatMap(({ inputs }) => inputs),
      ANSWER_BUDGET_MS,
    )
    const byKey = new Map(committed.map((at) => [partitionKey(at), at]))
    const agreements = new Map<TaskId, Agreement>()
    for (const { id, inputs } of wanted) {
      try {
        const found = inputs.map((at) => byKey.get(partitionKey(at)) as CommittedOffset)
        agreements.set(id, agree(id, found, surroundings))
      } catch (error) {
        this.#track(this.#afterFailure(id, kept, error, this.#isPatient(id), signal))
      }
    }
    return agreements
  }
}

function unstable(id: TaskId): DruseError {
  return new DruseError(
    'OFFSETS_UNSTABLE',
    `A transaction holds the offsets of task ${taskName(id)} and does not end, longer than its time-out allows. Look for hanging transactions (kafka-transactions.sh find-hanging)`,
    { task: taskName(id) },
  )
}
