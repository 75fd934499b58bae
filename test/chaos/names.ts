/** What the topics, regions and the group of a chaos run are called. */

export interface ChaosTopic {
  readonly topic: string
  readonly partitions: number
}

export interface ChaosTopics {
  readonly inputs: readonly ChaosTopic[]
  /** What the application writes, dead letters included. */
  readonly sinks: readonly ChaosTopic[]
  /** Both: they have to exist before anything starts. */
  readonly all: readonly ChaosTopic[]
}

/** By what the input is called: partitions, and those of its sinks. */
export const INPUTS = {
  /** W1: a number per key. */
  numbers: 4,
  /** W2: transfers by branch. */
  transfers: 3,
  /** W3: ids by list. */
  items: 4,
  /** W4 */
  pairs: 3,
  /** W5: puts, deletes and sweeps. */
  changes: 3,
  /** W6: bytes of all kinds. */
  raw: 2,
  /** W7: Avro, where there is a registry. */
  orders: 2,
} as const

export type InputName = keyof typeof INPUTS

/** `right` has another partition count than `left`, so that a pair's records are seldom on one leader. */
export const SINKS = {
  counts: 4,
  statements: 3,
  lists: 4,
  left: 3,
  right: 2,
  live: 3,
  copies: 2,
  totals: 2,
  /** Dead letters. */
  refused: 2,
} as const

export type SinkName = keyof typeof SINKS

/** A region has as many parts as the input of its task has partitions. */
export const REGIONS = {
  counts: INPUTS.numbers,
  balances: INPUTS.transfers,
  lists: INPUTS.items,
  live: INPUTS.changes,
  spend: INPUTS.orders,
} as const

export type RegionName = keyof typeof REGIONS

export const applicationOf = (prefix: string): string => `${prefix}chaos`
export const changelogOf = (prefix: string, region: RegionName): string =>
  `${applicationOf(prefix)}-${region}-changelog`
/** What the application sends to itself. Its partitions are those of the transfers, for both feed one region. */
export const creditsOf = (prefix: string): ChaosTopic => ({
  topic: `${applicationOf(prefix)}-credits-repartition`,
  partitions: INPUTS.transfers,
})

export function topicsOf(prefix: string): ChaosTopics {
  const named = (counts: Readonly<Record<string, number>>): ChaosTopic[] =>
    Object.entries(counts).map(([name, partitions]) => ({ topic: `${prefix}${name}`, partitions }))
  const inputs = named(INPUTS)
  // Regions and sinks may share a name, an input and a sink may not.
  const sinks = named(SINKS)
  return { inputs, sinks, all: [...inputs, ...sinks] }
}
