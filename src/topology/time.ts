/** Time as operators see it, and what they can have done when it has come. */

/**
 * `streamTime`: the newest timestamp that the task has seen, less `TopologyOptions.maxOutOfOrdernessMs`. `wallClock`: the machine's clock. As Kafka Streams'
 * PunctuationType.
 */
export type PunctuationType = 'streamTime' | 'wallClock'

/** Called with the time that has come, which may be later than the one that was due. */
export type Punctuator = (timestampMs: number) => void | Promise<void>

export interface Cancellable {
  /** No further call, whether made by now or not. */
  cancel(): void
}

/** Something that time may come to. */
export interface Due {
  /** Nothing is due before that. */
  readonly nextMs: number
  run(nowMs: number): void | Promise<void>
}

/** The time of one task. */
export interface TaskTime {
  /**
   * The newest timestamp that the task has seen, less what records may be out of order; -1 before the first record. Never
   * goes back, not by a restart either.
   */
  readonly streamTimeMs: number
  /** How far a record of that timestamp moves stream time, the task's or an operator's own. */
  watermarkOf(timestampMs: number): number
  /** Milliseconds since 1970. */
  readonly wallClockMs: number
  /** `operator` is named when the punctuator fails. Errors: OPTION_INVALID. */
  schedule(operator: string, type: PunctuationType, intervalMs: number, punctuator: Punctuator): Cancellable
  /** Runs what is due behind each record and step of time; of several operators, first those that stand before the others. */
  watch(type: PunctuationType, due: Due): void
  /**
   * Called when stream time moves without a record, because the inputs are idle (see `TopologyOptions.idleAfterMs`):
   * of several operators, first those that stand before the others.
   */
  onIdle(callback: (streamTimeMs: number) => void | Promise<void>): void
}
