import type { Stage, StageOptions } from '../stage.ts'

/** A fault that lasts until somebody looks after it, and how it has to end. */
export interface Story {
  readonly name: string
  readonly what: string
  readonly options?: Omit<StageOptions, 'trace'>
  /** Errors: Violation. */
  run(stage: Stage): Promise<void>
}
