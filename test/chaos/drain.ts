/** Waiting until an application has nothing more to do. */
import { setTimeout as pause } from 'node:timers/promises'
import { silentLogger, systemClock } from '../../src/index.ts'
import { Cluster } from '../../src/kafka/cluster.ts'
import { kafkaWire } from '../../src/kafka/kafkajs.ts'
import { partitionKey } from '../../src/kafka/partition-key.ts'
import { listOffsets } from '../../src/kafka/topics.ts'
import { creditsOf, topicsOf } from './names.ts'
import type { CommittedInput } from './offset-law.ts'
import { OffsetSampler } from './offset-sampler.ts'

const LOOK_MS = 250

export interface DrainOptions {
  /** host:port,host:port */
  readonly brokers: string
  readonly prefix: string
  /** Whether Avro is among the inputs. */
  readonly orders: boolean
}

/**
 * Resolves when every input, and what the application sends to itself, is committed up to its very end, aborted
 * transactions and markers passed; the feeder has to have ended. Undefined: it took longer than that; else how long.
 */
export async function untilDrained(options: DrainOptions, timeoutMs: number): Promise<number | undefined> {
  const { brokers, prefix, orders } = options
  const startedMs = Date.now()
  const inputs = topicsOf(prefix).inputs.filter(({ topic }) => orders || topic !== `${prefix}orders`)
  const places = [...inputs, creditsOf(prefix)].flatMap(({ topic, partitions }) =>
    Array.from({ length: partitions }, (_, partition) => ({ topic, partition })),
  )
  const cluster = new Cluster({
    wire: kafkaWire({ brokers: brokers.split(','), clientId: 'drain' }),
    clock: systemClock,
    log: silentLogger,
  })
  const sampler = new OffsetSampler(options)
  try {
    for (;;) {
      const committed = await sampler.sample()
      const ends = await listOffsets(cluster, places, 'latest', 'read_uncommitted').catch(() => undefined)
      if (committed !== undefined && ends !== undefined && isDone(committed, ends)) {
        return Date.now() - startedMs
      }
      if (Date.now() - startedMs > timeoutMs) return undefined
      await pause(LOOK_MS)
    }
  } finally {
    await sampler.close()
    cluster.close()
  }
}

function isDone(committed: readonly CommittedInput[], ends: ReadonlyMap<string, number>): boolean {
  const offsets = committed.filter(
    ({ topic, partition, offset }) => ends.get(partitionKey({ topic, partition })) === offset,
  )
  return offsets.length === ends.size
}
