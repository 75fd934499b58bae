/**
 * Reads topics with Kafka's own consumer: what it sees is what anybody's consumer sees. Needs a JDK (17 or later) and
 * Maven, whatever the broker runs on.
 */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describeOn } from './describe-on.ts'
import { KAFKA_VERSION } from './kafka-version.ts'
import { JAVA, kafkaJars, needJava } from './keeper/maven.ts'
import type { Found } from './requests.ts'

const run = promisify(execFile)
const PROGRAM = fileURLToPath(new URL('ReadCommitted.java', import.meta.url))
const OUTPUT_MAX_BYTES = 1 << 30

export interface ConsumedRecord {
  readonly partition: number
  readonly offset: number
  readonly key: Buffer
  readonly value: Buffer
  /** Of the header that was asked for; empty if there is none. */
  readonly header: string
}

/** Committed records, up to the topic's end; of a partition in order. */
export type Consume = (
  brokers: readonly string[],
  topic: string,
  header: string,
) => Promise<readonly ConsumedRecord[]>

async function find(): Promise<Found<Consume>> {
  try {
    await needJava()
    const classpath = join(await kafkaJars(KAFKA_VERSION), '*')
    return {
      found: async (brokers, topic, header) => {
        const args = ['-Xmx256m', '-cp', classpath, PROGRAM, brokers.join(), topic, header]
        const { stdout } = await run(JAVA, args, { maxBuffer: OUTPUT_MAX_BYTES })
        return stdout.split('\n').slice(0, -1).map(parse)
      },
    }
  } catch (error) {
    return { missing: `There is no Kafka client to compare with (${(error as Error).message}).` }
  }
}

function parse(line: string): ConsumedRecord {
  const [partition = '', offset = '', key = '', value = '', header = ''] = line.split('\t')
  return {
    partition: Number(partition),
    offset: Number(offset),
    key: Buffer.from(key, 'base64'),
    value: Buffer.from(value, 'base64'),
    header,
  }
}

const consumer = await find()

export function describeWithJavaConsumer(title: string, body: (consume: Consume) => void): void {
  describeOn(title, consumer, body)
}
