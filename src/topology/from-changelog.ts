/**
 * The events of a region of another application, by its changelog. A copy of the region tells what an entry was before.
 */
import { NEWEST_SLOT } from '../region/operator-times.ts'
import { entryEvent } from './entry-event.ts'
import type { NodeHost, Step } from './graph.ts'
import { fanOut } from './steps.ts'

export interface FromChangelogOptions {
  /** Of the copy. */
  readonly region: string
  /** Of a region whose entries stand in time. */
  readonly retentionMs: number | undefined
}

export function bindFromChangelog({ region: regionName, retentionMs }: FromChangelogOptions) {
  return (host: NodeHost, children: readonly Step[], operator: string): Step => {
    const copy = host.region(regionName)
    const next = fanOut(children)
    return (record) => {
      const { key, value, timestamp } = record
      const before = copy.entry(key)
      if (value !== null) copy.putAt(key, value, timestamp)
      else if (before !== undefined) copy.delete(key)
      const after = copy.entry(key)
      if (value !== null && after === undefined) {
        // Its retention is over here, though not where it comes from: it was said to be shorter than it is.
        const streamTimeMs = copy.times.at(NEWEST_SLOT)
        host.late({ operator, record, streamTimeMs, windowEnd: streamTimeMs - (retentionMs ?? 0) })
        return
      }
      const event = entryEvent(key, after?.value, before?.value)
      if (event !== undefined) return next(record.with(key, event))
    }
  }
}
