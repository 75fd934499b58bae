/** The Java program AvroExchange: built when it is first used, and run. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { cached, JAVA, maven, needJava } from '../stack/keeper/maven.ts'
import type { Found } from '../stack/requests.ts'

const run = promisify(execFile)
const SOURCE = join(import.meta.dirname, 'AvroExchange.java')
const POM = join(import.meta.dirname, 'pom.xml')
const QUICK = ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']

export interface Service {
  readonly brokers: readonly string[]
  /** Of Apicurio's own interface. */
  readonly registry: string
}

/** A record as Java reads it: its value in Avro's JSON encoding. */
export interface JavaRecord {
  readonly key: string
  readonly bytes: Buffer
  readonly json: string
}

export class AvroExchange {
  readonly #dir: string
  readonly #classpath: string

  private constructor(dir: string, classpath: string) {
    this.#dir = dir
    this.#classpath = classpath
  }

  /** Needs a JDK and Maven, which fetches the libraries once. */
  static async find(): Promise<Found<AvroExchange>> {
    try {
      await needJava()
      const version = createHash('sha256')
        .update(await readFile(POM))
        .digest('hex')
        .slice(0, 12)
      const jars = await cached(`avro-exchange-${version}`, (folder) =>
        maven(POM, 'dependency:copy-dependencies', `-DoutputDirectory=${folder}`),
      )
      const dir = await mkdtemp(join(tmpdir(), 'druse-java-'))
      const javac = JAVA === 'java' ? 'javac' : join(dirname(JAVA), 'javac')
      await run(javac, ['-d', dir, '-cp', join(jars, '*'), SOURCE])
      return { found: new AvroExchange(dir, [dir, join(jars, '*')].join(delimiter)) }
    } catch (error) {
      return {
        missing: `Java cannot exchange records: ${(error as Error).message}. It needs a JDK and Maven`,
      }
    }
  }

  async remove(): Promise<void> {
    await rm(this.#dir, { recursive: true, force: true })
  }

  /** Lines of Avro's JSON encoding, with the keys java-0, java-1, … to partition 0. */
  async produce(service: Service, topic: string, schema: object, lines: readonly string[]): Promise<void> {
    await this.#run('produce', service, topic, schema, lines.join('\n'))
  }

  async consume(service: Service, topic: string, schema: object): Promise<JavaRecord[]> {
    const text = await this.#run('consume', service, topic, schema, '')
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [key = '', bytes = '', json = ''] = line.split('\t')
        return { key, bytes: Buffer.from(bytes, 'hex'), json }
      })
  }

  async #run(
    what: string,
    { brokers, registry }: Service,
    topic: string,
    schema: object,
    input: string,
  ): Promise<string> {
    const file = join(this.#dir, `${topic}.avsc`)
    await writeFile(file, JSON.stringify(schema))
    const args = ['-cp', this.#classpath, 'AvroExchange', what, brokers.join(), registry, topic, file]
    const running = run(JAVA, [...QUICK, ...args])
    running.child.stdin?.end(input)
    return (await running).stdout
  }
}
