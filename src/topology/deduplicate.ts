/**
 * Duplicates left out. What was passed on is remembered in a region, by key, id and time:
 *
 *   key    length of the key's bytes (4, big-endian), the key's bytes, the id in UTF-8, time
 *   value  no bytes
 */

import { DruseError } from '../errors.ts'
import type { Serde } from '../ports.ts'
import type { FoundEntry, TimeOrderedRegion } from '../region/definition.ts'
import { NEWEST_SLOT } from '../region/operator-times.ts'
import { Windowed } from '../serde/windowed.ts'
import type { NodeHost, Step } from './graph.ts'
import type { StreamRecord } from './record.ts'
import { fanOut, guarded, settled } from './steps.ts'

/** What tells a record from others of its key. */
export interface KeyedId {
  readonly key: unknown
  readonly id: string
}

export interface DeduplicateOptions {
  readonly region: string
  readonly by: (record: StreamRecord) => string | null
  readonly withinMs: number
  readonly graceMs: number
}

const NOTHING = new Uint8Array(0)
const LENGTH_BYTES = 4

export function keyedIds(key: Serde<unknown>): Serde<KeyedId> {
  return {
    kind: `id(${key.kind})`,
    stableBytes: key.stableBytes,
    open: async (context) => {
      const inner = await key.open(context)
      return {
        encode({ key: own, id }) {
          const bytes = inner.encode(own)
          const length = Buffer.allocUnsafe(LENGTH_BYTES)
          length.writeUInt32BE(bytes.length)
          return Buffer.concat([length, bytes, Buffer.from(id, 'utf8')])
        },
        decode(bytes) {
          const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
          const end = LENGTH_BYTES + all.readUInt32BE(0)
          return { key: inner.decode(all.subarray(LENGTH_BYTES, end)), id: all.toString('utf8', end) }
        },
      }
    },
  }
}

export function bindDeduplicate({ region: regionName, by, withinMs, graceMs }: DeduplicateOptions) {
  return (host: NodeHost, children: readonly Step[], name: string): Step => {
    const region = host.region(regionName) as TimeOrderedRegion<Windowed<KeyedId>, Uint8Array>
    const next = fanOut(children)
    const idOf = guarded(name, (record: StreamRecord) => {
      const id: unknown = settled(by(record))
      if (id === null || typeof id === 'string') return id
      throw new DruseError(
        'RESULT_INVALID',
        `'by' has to return a text or null, and has returned ${typeof id}`,
      )
    })
    return (record) => {
      const { key, timestamp } = record
      const id = key === null ? null : idOf(record, record)
      if (id === null) return next(record)
      const nowMs = host.time.watermarkOf(region.times.at(NEWEST_SLOT))
      if (timestamp + graceMs < nowMs) {
        host.late({ operator: name, record, streamTimeMs: nowMs, windowEnd: timestamp + graceMs })
        return
      }
      const at = (ms: number): Windowed<KeyedId> => new Windowed({ key, id }, ms, ms)
      const decide = (found: readonly FoundEntry[]): void | Promise<void> => {
        if (found.length > 0) return
        region.putAt(at(timestamp), NOTHING, timestamp)
        return next(record)
      }
      const found = region.between(at(Math.max(0, timestamp - withinMs)), at(timestamp + withinMs))
      return found instanceof Promise ? found.then(decide) : decide(found)
    }
  }
}
