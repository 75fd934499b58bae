/** The processor operator: any number of regions, any number of records forwarded, synchronous or not. */
import { DruseError } from '../errors.ts'
import type { AnyRegion, RegionHandles } from '../region/definition.ts'
import { isTimestamp } from '../region/layout.ts'
import type { Header } from '../types.ts'
import type { NodeHost, Step } from './graph.ts'
import type { StreamRecord } from './record.ts'
import { fanOut, operatorFailed } from './steps.ts'

export interface ForwardOptions {
  /** Milliseconds since 1970, not negative. Default: that of the record being processed. */
  readonly timestamp?: number
  /** Default: those of the record being processed. */
  readonly headers?: readonly Header[]
}

/** What a processor has beside its regions. */
export interface Forwarding<K, V> {
  /** Sends a record to the operators behind. Only while the processor's call, or the promise it returned, is running. */
  forward(key: K, value: V, options?: ForwardOptions): void
}

export type ProcessContext<Regions extends readonly AnyRegion[], K, V> = RegionHandles<Regions> &
  Forwarding<K, V>

/** A promise is waited for before the next record of the same task; other tasks go on meanwhile. */
export type Processor<K, V, Regions extends readonly AnyRegion[], KO, VO> = (
  record: StreamRecord<K, V>,
  context: ProcessContext<Regions, KO, VO>,
) => void | Promise<void>

type AnyProcessor = (record: StreamRecord, context: object) => void | Promise<void>

export function bindProcessor(
  name: string,
  regions: readonly AnyRegion[],
  processor: AnyProcessor,
): (host: NodeHost, children: readonly Step[]) => Step {
  return (host, children) => {
    const next = fanOut(children)
    let current: StreamRecord | undefined
    let pending: Promise<void> | undefined
    const forward = (key: unknown, value: unknown, options?: ForwardOptions): void => {
      if (current === undefined) {
        throw new DruseError(
          'CONTEXT_CLOSED',
          `forward() of operator '${name}' was called after its record was through; return the promise of what you wait for`,
        )
      }
      const timestamp = options?.timestamp
      if (timestamp !== undefined && !isTimestamp(timestamp)) {
        throw new DruseError('TIMESTAMP_INVALID', `forward() was given the timestamp ${timestamp}`)
      }
      const out = current.with(key, value, timestamp, options?.headers)
      if (pending === undefined) pending = next(out) ?? undefined
      else pending = pending.then(() => next(out))
      // It is waited for when the processor is done, which may be later than its failure.
      pending?.catch(() => {})
    }
    const context: Record<string, unknown> = { forward }
    for (const { kind, name: region } of regions) {
      context[region] = kind === 'global' ? host.globalRegion(region) : host.region(region)
    }

    return (record) => {
      current = record
      pending = undefined
      let running: void | Promise<void>
      try {
        running = processor(record, context)
      } catch (error) {
        if (pending !== undefined) return finish(record, Promise.reject(error))
        current = undefined
        throw operatorFailed(name, record, error)
      }
      if (running === undefined && pending === undefined) {
        current = undefined
        return
      }
      return finish(record, running)
    }

    /** Whatever fails: nothing of the record is at work any more afterwards. */
    async function finish(record: StreamRecord, running: void | Promise<void>): Promise<void> {
      try {
        try {
          await running
        } finally {
          await pending
        }
      } catch (error) {
        throw operatorFailed(name, record, error)
      } finally {
        current = undefined
      }
    }
  }
}
