import type { Topology } from '../../src/index.ts'

/** Takes what a callback saw, as an output of a name that begins with `@`. */
export type See = (sink: string, key: unknown, value: unknown) => void

/** Builds one of the recorded topologies. Regions are named as the stores in the recording. */
export type Build = (t: Topology, see: See) => void

export type Family = Readonly<Record<string, Build>>
