/** What a process of the fleet tells, one line of JSON each, and what it is told. */
import type { ApplicationState } from '../../src/index.ts'
import type { Armed } from './failpoints.ts'

export interface ChildSpec {
  readonly brokers: readonly string[]
  readonly prefix: string
  readonly stateDir: string
  readonly registryUrl: string | undefined
  /** Of test/sim/mutants.ts. */
  readonly mutant: string | undefined
  readonly armed: Armed | undefined
}

/** Where a transaction stands in the committed offsets: of one of its partitions. */
export interface CommitMark {
  /** `topic/partition` */
  readonly at: string
  readonly sequence: number
}

export type Report =
  | { readonly kind: 'point'; readonly armed: Armed }
  /** A store, or that it was tried. */
  | { readonly kind: 'opening' | 'movedAside'; readonly path: string }
  /** A region's replay has ended. */
  | { readonly kind: 'restored'; readonly records: number }
  /** EndTxn is about to be sent. */
  | { readonly kind: 'ending'; readonly mark: CommitMark }
  /** Whether it was answered, be it with an error. */
  | { readonly kind: 'ended'; readonly known: boolean }
  /** Committed offsets, as they were read: -1 is none. */
  | { readonly kind: 'offsets'; readonly marks: readonly CommitMark[] }
  | {
      readonly kind: 'health'
      readonly state: ApplicationState
      readonly commits: number
      readonly recoveries: number
      readonly running: number
      readonly heapBytes: number
      readonly failed: readonly Failure[]
    }
  /** The application has ended by itself, or has not started. */
  | { readonly kind: 'stopped'; readonly failure: Failure }
  /** A mistake of the program: a rejection that nobody has handled, an exception that nobody has caught. */
  | { readonly kind: 'unhandled'; readonly message: string }

export interface Failure {
  readonly task?: string
  readonly code: string
  readonly message: string
}

export type Order = { readonly kind: 'arm'; readonly armed: Armed | undefined }
