/**
 * Units: what a task carries out as a whole or not at all, and what is answered for alone when it fails. Beside the
 * records of its inputs these are what time has come to. They may lie within one another, as when a record moves time: what
 * fails inside is taken back alone, and what is around it goes on.
 */
import type { Header } from '../types.ts'

/** As in a topic. */
export interface RawEntry {
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
}

/** Something that an operator has kept until its time had come. It is no longer kept when the unit begins. */
interface Kept {
  readonly operator: string
  readonly key: unknown
  readonly timestamp: number
  /** For a dead letter. */
  bytes(): RawEntry
}

/** A result that an operator has held back: of a window, of a row, of a record without a match. */
export interface Emission extends Kept {
  readonly kind: 'emission'
  /** Where the key does not tell. */
  readonly windowEnd?: number
  /** Its own. */
  readonly headers?: readonly Header[]
}

export interface TimerCall extends Kept {
  readonly kind: 'timer'
}

/** No policy applies: nothing is kept of it that could be left out. */
export interface Punctuation {
  readonly kind: 'punctuation'
  readonly operator: string
  readonly timestamp: number
}

export type KeptUnit = Emission | TimerCall

export type TimeUnit = KeptUnit | Punctuation
