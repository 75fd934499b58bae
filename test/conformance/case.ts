/** Recordings of Kafka Streams: what went in, what came out, what the stores held at the end. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** All keys and values are text; numbers are decimal. */
export interface CaseRecord {
  readonly topic: string
  readonly key: string | null
  readonly value: string | null
  /** Milliseconds since 1970. */
  readonly ts: number
  readonly headers?: readonly (readonly [name: string, text: string])[]
}

export interface ClockAdvance {
  readonly advanceWallClockMs: number
}

/** An output or an entry of a store; what a kind of output does not have is left out. */
export interface CaseEntry {
  readonly key: string | null
  readonly value: string | null
  /** Not of what callbacks saw, nor of sessions in stores. */
  readonly ts?: number
  readonly windowStart?: number
  readonly windowEnd?: number
  readonly headers?: readonly (readonly [name: string, text: string])[]
  /** Of an output: the index of the input that caused it. A help to read a case. */
  readonly by?: number
}

export interface Case {
  readonly topology: string
  readonly seed: number
  readonly inputs: readonly (CaseRecord | ClockAdvance)[]
  /** By topic, in order. Names that begin with `@` are no topics: callbacks saw these. */
  readonly outputs: Readonly<Record<string, readonly CaseEntry[]>>
  /** By name, sorted by key, then window. */
  readonly stores: Readonly<Record<string, readonly CaseEntry[]>>
}

const OWN = fileURLToPath(new URL('cases', import.meta.url))

/** Those of the directory that `DRUSE_CONFORMANCE` names, else those that come with the project. */
export function loadCases(): Case[] {
  const directory = process.env.DRUSE_CONFORMANCE ?? OWN
  const files = readdirSync(directory).filter((name) => name.endsWith('.json'))
  if (files.length === 0) throw new Error(`There are no cases in ${directory}`)
  return files.sort().map((name) => JSON.parse(readFileSync(join(directory, name), 'utf8')) as Case)
}
