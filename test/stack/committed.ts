/**
 * Reads topics with Kafka's own consumer: what it sees is what anybody's consumer sees, byte by byte. Needs a JDK (17 or
 * later) and Maven, whatever the broker runs on.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { KAFKA_VERSION } from './kafka-version.ts'
import { JAVA, kafkaJars, needJava } from './keeper/maven.ts'

const PROGRAM = fileURLToPath(new URL('ReadCommitted.java', import.meta.url))
const FLAGS = ['-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-XX:-UsePerfData']
const ENDS = 'ends'

export interface CommittedRecord {
  readonly partition: number
  readonly offset: number
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly { readonly key: string; readonly value: Buffer | null }[]
}

export interface PartitionEnds {
  readonly topic: string
  readonly partition: number
  readonly first: number
  readonly lastStable: number
  readonly highWatermark: number
}

/** Errors: no Java, no Maven. */
export async function prepareReader(): Promise<void> {
  await needJava()
  await kafkaJars(KAFKA_VERSION)
}

export interface ReadOptions {
  /** host:port,host:port */
  readonly brokers: string
  readonly topics: readonly string[]
  /** One that exists. Gets a file per topic. */
  readonly directory: string
  /** How long to wait at the end for transactions that are still open. Default 0. */
  readonly patienceMs?: number
}

/** A consumer at work, since it was made, until `finish`. */
export class CommittedReader {
  readonly #directory: string
  readonly #child: ChildProcess
  readonly #ended: Promise<void>

  private constructor(directory: string, child: ChildProcess) {
    this.#directory = directory
    this.#child = child
    let errors = ''
    child.stderr?.on('data', (chunk) => {
      errors += chunk
    })
    this.#ended = new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => {
        if (code === 0) resolve()
        else reject(new Error(`Kafka's consumer has ended with ${code ?? signal}: ${errors.slice(-4_000)}`))
      })
    })
    // `finish` tells.
    this.#ended.catch(() => {})
  }

  static async start({ brokers, topics, directory, patienceMs = 0 }: ReadOptions): Promise<CommittedReader> {
    const classpath = join(await kafkaJars(KAFKA_VERSION), '*')
    const args = [...FLAGS, '-cp', classpath, PROGRAM, brokers, directory, String(patienceMs), ...topics]
    return new CommittedReader(directory, spawn(JAVA, args, { stdio: ['pipe', 'ignore', 'pipe'] }))
  }

  /** Reads on up to the ends of now. Errors: what the consumer has failed with, be it long ago. */
  async finish(): Promise<readonly PartitionEnds[]> {
    this.#child.stdin?.on('error', () => {})
    this.#child.stdin?.end()
    await this.#ended
    const lines = (await readFile(join(this.#directory, ENDS), 'utf8')).split('\n').slice(0, -1)
    return lines.map((line) => {
      const [topic = '', ...numbers] = line.split('\t')
      const [partition, first, lastStable, highWatermark] = numbers.map(Number) as [
        number,
        number,
        number,
        number,
      ]
      return { topic, partition, first, lastStable, highWatermark }
    })
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }
}

/** What there is now, up to the last stable offsets. */
export async function readCommitted(options: ReadOptions): Promise<readonly PartitionEnds[]> {
  return (await CommittedReader.start(options)).finish()
}

/** What a reader has seen of a topic; of a partition in the order in which it came. */
export async function recordsRead(directory: string, topic: string): Promise<CommittedRecord[]> {
  const bytes = await readFile(join(directory, topic))
  const records: CommittedRecord[] = []
  let at = 0
  const int = (): number => {
    at += 4
    return bytes.readInt32BE(at - 4)
  }
  const long = (): number => {
    at += 8
    return Number(bytes.readBigInt64BE(at - 8))
  }
  const blob = (): Buffer | null => {
    const length = int()
    if (length < 0) return null
    at += length
    return bytes.subarray(at - length, at)
  }
  while (at < bytes.length) {
    records.push({
      partition: int(),
      offset: long(),
      timestamp: long(),
      key: blob(),
      value: blob(),
      headers: Array.from({ length: int() }, () => ({ key: String(blob()), value: blob() })),
    })
  }
  return records
}
