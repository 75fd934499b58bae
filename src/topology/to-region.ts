/** A stream written into a region: each record puts its key, null deletes it. The last to arrive stands. */
import type { NodeHost, Step } from './graph.ts'
import { guarded } from './steps.ts'

/** Records without key are dropped, as by a table. */
export function bindToRegion(regionName: string) {
  return (host: NodeHost, _: readonly Step[], name: string): Step => {
    const region = host.region(regionName)
    const write = guarded(name, (key: unknown, value: unknown, timestamp: number) => {
      if (value === null) region.delete(key)
      else region.putAt(key, value, timestamp)
    })
    return (record) => {
      const { key, value, timestamp } = record
      if (key === null) return host.dropped(name, record, 'key')
      write(record, key, value, timestamp)
    }
  }
}
