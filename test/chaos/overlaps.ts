/**
 * Aborted transactions that overlap: two producers write to one partition in turns, and both abort, the later first. None
 * of it may ever be seen. A reader that takes aborted transactions for one after the other sees some of it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { DruseError, kafkaWire, silentLogger, systemClock } from '../../src/index.ts'
import { Cluster } from '../../src/kafka/cluster.ts'
import { TransactionBatches } from '../../src/kafka/transaction-batches.ts'
import { TransactionalWriter } from '../../src/kafka/transactional-writer.ts'
import { INPUTS } from './names.ts'

const INTERVAL_MS = 700
const RETRY_MS = 500
const BUDGET_MS = 5_000
const MESSAGE_BYTES_MAX = 1_048_588
const FIRST_MS = 1_600_000_000_000
/** An abort marker has such a key: its version 0 and its type 0, in two bytes each. */
const MARKER_KEY = Buffer.alloc(4)

export interface OverlapOptions {
  /** host:port,host:port */
  readonly brokers: string
  readonly prefix: string
}

/** Until the signal. Brokers that are away are waited for. Resolves to how often it was done. */
export async function overlap({ brokers, prefix }: OverlapOptions, signal: AbortSignal): Promise<number> {
  const cluster = new Cluster({
    wire: kafkaWire({ brokers: brokers.split(','), clientId: 'overlap' }),
    clock: systemClock,
    log: silentLogger,
    requestTimeoutMs: BUDGET_MS,
    retryBudgetMs: BUDGET_MS,
  })
  const [first, second] = ['first', 'second'].map(
    (name) =>
      new TransactionalWriter(cluster, {
        transactionalId: () => `${prefix}overlap-${name}`,
        transactionTimeoutMs: 5_000,
      }),
  ) as [TransactionalWriter, TransactionalWriter]
  const send = async (writer: TransactionalWriter, partition: number, id: string): Promise<void> => {
    const batches = new TransactionBatches()
    const to = { topic: `${prefix}raw`, partition }
    const headers = [
      { key: 'id', value: Buffer.from(id) },
      { key: 'fate', value: Buffer.from('aborted') },
    ]
    batches.add(to, MESSAGE_BYTES_MAX, FIRST_MS, MARKER_KEY, Buffer.from(id), headers)
    await writer.produce(batches.partitions)
  }
  let times = 0
  while (!signal.aborted) {
    try {
      // Aborts what an attempt before has left open.
      await first.open(signal)
      await second.open(signal)
      for (; !signal.aborted; times++) {
        const at = { topic: `${prefix}raw`, partition: times % INPUTS.raw }
        await first.begin([at])
        await send(first, at.partition, `x.overlap${times}.1`)
        await second.begin([at])
        await send(second, at.partition, `x.overlap${times}.2`)
        await second.open()
        await send(first, at.partition, `x.overlap${times}.3`)
        await first.open()
        await sleep(INTERVAL_MS, undefined, { signal }).catch(() => {})
      }
    } catch (error) {
      if (!(error instanceof DruseError)) throw error
      await sleep(RETRY_MS)
    }
  }
  // What is left open would stand in the way of all readers until its time is over.
  for (const writer of [first, second]) await writer.open().catch(() => {})
  first.close()
  second.close()
  cluster.close()
  return times
}
