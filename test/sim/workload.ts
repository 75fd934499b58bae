/**
 * What is simulated: raw copies of one input with all kinds of keys, and a tally of two inputs, one of which comes
 * through a repartition topic, with two regions. A record's timestamp is its name: it comes out with whatever it caused.
 */
import { bytes, type ErrorPolicy, int64, string, Topology } from '../../src/index.ts'

export const APPLICATION = 'sim'
export const INPUT = 'in'
export const EXTRA = 'extra'
export const COPIES = 'copies'
export const TALLIES = 'tallies'
export const REGIONS = ['counts', 'lasts'] as const
export type RegionName = (typeof REGIONS)[number]
export const changelogOf = (region: RegionName): string => `${APPLICATION}-${region}-changelog`

const GROUPS = 5
/** Keys of groups are the tally's: `extra` is keyed by them already. */
export const groupOf = (id: number): string => `g${id % GROUPS}`
export const ALL_GROUPS = Array.from({ length: GROUPS }, (_, i) => `g${i}`)

export interface Tally {
  readonly count: number
  /** How many keys of the task had a last value then; -1: not asked. */
  readonly keys: number
}

/** Count, and the keys where they were counted. */
export function encodeTally({ count, keys }: Tally): Uint8Array {
  return Buffer.from(`${count} ${keys}`, 'latin1')
}

export function decodeTally(value: Uint8Array): Tally {
  const [count, keys] = Buffer.from(value).toString('latin1').split(' ').map(Number)
  return { count: count as number, keys: keys as number }
}

/** These records' operators look through a region, and wait for something outside. */
export const asksForKeys = (id: number): boolean => id % 6 === 5

/** These are refused where records are: they go to the copies, as dead letters, and leave nothing else behind. */
export const isRefused = (topic: string, id: number): boolean => topic === EXTRA && id % 7 === 3

/** `store`: of one of the two regions. `outside`: takes its time. `refuses`: whether some records are refused. */
export function simulated(store: 'persistent' | 'memory', outside: () => Promise<void>, refuses: boolean) {
  const topology = new Topology(APPLICATION)
  const counts = topology.region('counts', { key: string, value: int64 })
  const lasts = topology.region('lasts', { key: string, value: bytes, store })
  const onFailure: ErrorPolicy = refuses ? { deadLetter: COPIES } : 'fail'
  const input = topology.stream(INPUT, { key: bytes, value: bytes })
  input.to(COPIES)
  input
    .map((value, _, record) => [groupOf(record.timestamp), value])
    .repartition('by-group', { key: string, value: bytes })
    .merge(topology.stream(EXTRA, { key: string, value: bytes, onFailure }))
    .process('tally', { regions: [counts, lasts], key: string, value: bytes }, (record, context) => {
      const { key, timestamp, topic } = record
      const value = record.value as Uint8Array | null
      const count = (context.counts.get(key) ?? 0) + 1
      context.counts.put(key, count)
      if (value === null) context.lasts.delete(key)
      else context.lasts.put(key, value)
      const refused = refuses && isRefused(topic, timestamp)
      if (refused && !asksForKeys(timestamp)) throw new Error('refused')
      if (!asksForKeys(timestamp)) {
        context.forward(key, encodeTally({ count, keys: -1 }))
        return undefined
      }
      return (async () => {
        let keys = 0
        for await (const _ of context.lasts.range()) keys += 1
        await outside()
        if (refused) throw new Error('refused, when others have had their turn')
        context.forward(key, encodeTally({ count, keys }))
      })()
    })
    .to(TALLIES)
  return { topology, regions: { counts, lasts } }
}
