/** Reading topics with Kafka's own consumer, in tests. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CommittedRecord, prepareReader, readCommitted, recordsRead } from './committed.ts'
import { describeOn } from './describe-on.ts'
import type { Found } from './requests.ts'

/** Committed records, up to the topic's end; of a partition in order. */
export type Consume = (brokers: readonly string[], topic: string) => Promise<readonly CommittedRecord[]>

async function find(): Promise<Found<Consume>> {
  try {
    await prepareReader()
    return { found: consume }
  } catch (error) {
    return { missing: `There is no Kafka client to compare with (${(error as Error).message}).` }
  }
}

async function consume(brokers: readonly string[], topic: string): Promise<readonly CommittedRecord[]> {
  const directory = await mkdtemp(join(tmpdir(), 'druse-consumed-'))
  try {
    await readCommitted({ brokers: brokers.join(), topics: [topic], directory })
    return await recordsRead(directory, topic)
  } finally {
    await rm(directory, { recursive: true })
  }
}

const consumer = await find()

export function describeWithJavaConsumer(title: string, body: (consume: Consume) => void): void {
  describeOn(title, consumer, body)
}
