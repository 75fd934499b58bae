/**
 * Where stories play: instances on a broker, without chance and without faults but those that a story makes. What
 * happens is told in virtual time, one step after the other.
 */
import { type DruseOptions, type MemoryDisk, memoryDisk, silentLogger } from '../../src/index.ts'
import { Cluster } from '../../src/kafka/cluster.ts'
import { CODE } from '../../src/kafka/error-codes.ts'
import { BatchWriter } from '../../src/kafka/record-batch.ts'
import { TransactionBatches } from '../../src/kafka/transaction-batches.ts'
import { TransactionalWriter } from '../../src/kafka/transactional-writer.ts'
import { ANY_NODE, type Api, type Request, type ResponseOf, type Store } from '../../src/ports.ts'
import type { AnswerFate, RequestFate } from '../../src/testing/network.ts'
import { SeededRandom } from '../../src/testing/seeded-random.ts'
import type { DiskFate } from '../../src/testing/sim-disk.ts'
import type { TopicPartition } from '../../src/types.ts'
import { Feeder } from './feeder.ts'
import { checkOutcome } from './outcome.ts'
import { hasComeOut, stateOf } from './supervision.ts'
import { APPLICATION, COPIES, EXTRA, INPUT } from './workload.ts'
import { type Fates, type Instance, Violation, World } from './world.ts'

export const REPARTITION = `${APPLICATION}-by-group-repartition`
export const COPYING = ['0_0', '0_1'] as const
export const TALLYING = ['1_0', '1_1'] as const
/** The directory of the task that tallies this partition. */
export const directoryOf = (partition: number): string => `tasks/${EXTRA}-${partition}`

export interface StageOptions {
  readonly seed?: number
  readonly trace?: ((line: string) => void) | undefined
  /** Laws that the story breaks itself. */
  readonly exempt?: RegExp
  readonly compacts?: boolean
  readonly refuses?: boolean
}

const PARTITIONS = 2
const SETTINGS = {
  commitIntervalMs: 30,
  sessionTimeoutMs: 3_000,
  heartbeatIntervalMs: 500,
  transactionTimeoutMs: 5_000,
  requestTimeoutMs: 1_000,
  rebalanceTimeoutMs: 3_000,
  metadataMaxAgeMs: 2_000,
}
const PATIENCE_MS = 60_000
/** So long nothing may follow from what has stopped. */
const QUIET_MS = 4_000
const ASK_MS = 10_000

export class Stage {
  readonly world: World
  readonly fates: StoryFates
  /** `instance: message`. */
  readonly logs: readonly string[]
  readonly trace: StageOptions['trace']
  #feeder: Feeder | undefined
  #fed = 0

  private constructor(
    world: World,
    fates: StoryFates,
    logs: readonly string[],
    trace: StageOptions['trace'],
  ) {
    this.world = world
    this.fates = fates
    this.logs = logs
    this.trace = trace
  }

  static async open(options: StageOptions = {}): Promise<Stage> {
    const { seed = 1, trace, exempt, compacts, refuses } = options
    const fates = new StoryFates()
    const logs: string[] = []
    const world = await World.open({
      seed,
      inOrder: true,
      trace,
      partitions: PARTITIONS,
      fates,
      settings: SETTINGS,
      logged: (name, message) => logs.push(`${name}: ${message}`),
      ...(exempt && { exempt }),
      ...(compacts && { compacts }),
      ...(refuses && { refuses }),
    })
    return new Stage(world, fates, logs, trace)
  }

  get nowMs(): number {
    return this.world.simulation.nowMs
  }

  /** All that was fed into inputs and is visible there. */
  get fed() {
    return this.#feeder?.committed ?? []
  }

  /** So many transactions of records in both inputs; every fourth is aborted. */
  async feed(transactions = 4): Promise<void> {
    const { simulation, wire } = this.world
    if (this.#feeder === undefined) {
      const plan = {
        transactions: 0,
        recordsMax: 8,
        partitions: PARTITIONS,
        pauseMs: () => 0,
        isAborted: (n: number) => n % 4 === 3,
      }
      this.#feeder = new Feeder(simulation.process('feeder'), wire, new SeededRandom(24), plan)
      await simulation.settle(this.#feeder.open(), ASK_MS)
    }
    for (let n = 0; n < transactions; n++)
      await simulation.settle(this.#feeder.transact(this.#fed++), PATIENCE_MS)
  }

  start(name = 'i0', disk: MemoryDisk = memoryDisk(), settings: Partial<DruseOptions> = {}): Instance {
    return this.world.start(name, disk, settings)
  }

  /** Has processed everything, and is gone again. Returns its directory. */
  async lived(disk: MemoryDisk = memoryDisk(), settings: Partial<DruseOptions> = {}): Promise<MemoryDisk> {
    const instance = this.start('i0', disk, settings)
    await this.drained()
    await this.close(instance)
    return disk
  }

  async close(instance: Instance): Promise<void> {
    await this.world.close(instance)
    await this.world.checkDisk(instance.disk)
  }

  async passed(ms: number): Promise<void> {
    await this.world.simulation.runUntil(() => false, this.nowMs + ms)
    this.world.assertLaws()
  }

  async until(what: string, isSo: () => boolean, withinMs = PATIENCE_MS): Promise<void> {
    if (await this.world.simulation.runUntil(isSo, this.nowMs + withinMs)) return
    throw new Violation(`${withinMs} ms have passed, and not: ${what}${stateOf(this.world)}`)
  }

  /** Everything that was fed has come out. */
  async drained(): Promise<void> {
    await this.until('everything has come out', () => hasComeOut(this.world, this.#feeder as Feeder))
    // The last commits reach the stores.
    await this.passed(200)
    await this.world.checkQueries()
  }

  /** The tasks that copy have seen everything. */
  isCopied(): boolean {
    return (
      (this.world.ledger.counts.get(COPIES) ?? 0) >= this.fed.filter(({ topic }) => topic === INPUT).length
    )
  }

  /**
   * These tasks stop with this code, and no others; nothing is committed for them any more, whatever comes.
   * Errors: Violation.
   */
  async stops(instance: Instance, code: string, tasks: readonly string[]): Promise<void> {
    const of = (name: string) => instance.app.health.tasks.find(({ task }) => task === name)
    await this.until(`${tasks.join(' ')} have stopped with ${code}`, () =>
      tasks.every((name) => of(name)?.status === 'failed'),
    )
    await this.#stand(tasks)
    for (const { task, error } of instance.app.health.tasks) {
      const expected = tasks.includes(task) ? code : undefined
      if (error?.code !== expected)
        this.world.broken(`${task}: ${error?.code} instead of ${expected} (${error?.message})`)
    }
    this.world.assertLaws()
  }

  /** The application ends with this code, and commits nothing any more. Errors: Violation. */
  async ends(instance: Instance, code: string): Promise<void> {
    await this.until(`the application has ended with ${code}`, () => instance.failure !== undefined)
    const { failure } = instance
    if ((failure as { code?: string }).code !== code)
      this.world.broken(`${instance.name} has ended: ${String(failure)}`)
    await this.#stand([...COPYING, ...TALLYING])
    this.world.assertLaws()
  }

  /** Everything has come out exactly once, and the instances are gone. Errors: Violation. */
  async exact(): Promise<void> {
    const { world } = this
    for (const instance of [...world.instances]) {
      for (const { task, error } of instance.app.health.tasks)
        if (error !== undefined) world.broken(`${task}: ${error.message}`)
      await this.close(instance)
    }
    await this.passed(SETTLE_MS)
    await world.simulation.settle(checkOutcome(world, this.fed), PATIENCE_MS)
    world.assertLaws()
  }

  /** A tool asks the broker. */
  async ask<R extends Request>(request: R): Promise<ResponseOf<R>> {
    const connection = this.world.wire.connect('admin')
    const outcome = await this.world.simulation.settle(connection.send(ANY_NODE, request, ASK_MS), ASK_MS)
    connection.destroy()
    if (!outcome.ok) throw new Error(`${request.api}: ${outcome.reason}`)
    return outcome.response
  }

  async deleteTopic(topic: string): Promise<void> {
    await this.ask({ api: 'DeleteTopics', topics: [topic], timeoutMs: ASK_MS })
  }

  async createTopic(topic: string, configs: Readonly<Record<string, string>> = {}): Promise<void> {
    const wanted = { topic, partitions: PARTITIONS, replicationFactor: -1, configs }
    const { topics } = await this.ask({ api: 'CreateTopics', topics: [wanted], timeoutMs: ASK_MS })
    if (topics[0]?.errorCode !== CODE.NONE) throw new Error(`${topic}: ${topics[0]?.errorMessage}`)
  }

  /** What is in the broker's own record of a topic; the broker is restarted for it. */
  async alterTopic(topic: string, change: (record: TopicRecord) => TopicRecord): Promise<void> {
    await this.world.restartBroker(async (store) => {
      const key = Buffer.from(`t${topic}`)
      const record = JSON.parse(Buffer.from(store.getSync(key) as Uint8Array).toString()) as TopicRecord
      await store.write([[key, Buffer.from(JSON.stringify(change(record)))]])
    })
  }

  /** As an unclean leader election: records at the end of a partition are gone. */
  async loseEnd({ topic, partition }: TopicPartition, from: number): Promise<void> {
    await this.world.restartBroker(async (store) => {
      const record = store.getSync(Buffer.from(`t${topic}`)) as Uint8Array
      const { number } = JSON.parse(Buffer.from(record).toString()) as TopicRecord
      for (const kind of ['b', 'i'] as const) {
        const gte = batchKey(kind, number, partition, from)
        const lt = batchKey(kind, number, partition + 1, 0)
        for await (const [key] of store.range({ gte, lt })) await store.write([[key, null]])
      }
    })
  }

  async deleteRecords(at: TopicPartition, offset = -1): Promise<void> {
    const { partitions } = await this.ask({
      api: 'DeleteRecords',
      partitions: [{ ...at, offset }],
      timeoutMs: ASK_MS,
    })
    if (partitions[0]?.errorCode !== CODE.NONE) throw new Error(`DeleteRecords: ${partitions[0]?.errorCode}`)
  }

  async compact(): Promise<void> {
    await this.world.simulation.settle(this.world.broker.compact(), PATIENCE_MS)
  }

  /** As the group's own tool does, when the group is empty. */
  async commitOffsets(
    partitions: readonly (TopicPartition & { offset: number; metadata: string })[],
  ): Promise<void> {
    const nobody = { groupId: APPLICATION, generationId: -1, memberId: '', groupInstanceId: null }
    const answer = await this.ask({ api: 'OffsetCommit', ...nobody, partitions })
    const code = answer.partitions.find(({ errorCode }) => errorCode !== CODE.NONE)?.errorCode
    if (code !== undefined) throw new Error(`OffsetCommit: ${code}`)
  }

  /** A topic that was created anew gets records of somebody else, up to where the changes of the old one ended. */
  async fillAsFar({ topic, partition }: TopicPartition): Promise<void> {
    const changes = this.world.ledger.changes.get(`${topic}/${partition}`) ?? []
    const writer = new BatchWriter()
    for (let offset = 0; offset <= (changes.at(-1)?.offset ?? -1); offset++)
      writer.add(1, Buffer.from(`other ${offset}`), Buffer.alloc(8))
    const records = writer.build({
      producerId: -1n,
      producerEpoch: -1,
      baseSequence: -1,
      isTransactional: false,
    })
    const partitions = [{ topic, partition, records }]
    await this.ask({ api: 'Produce', transactionalId: null, acks: -1, timeoutMs: ASK_MS, partitions })
  }

  /** Of all inputs of the application. */
  async committedOffsets() {
    const topics = [INPUT, EXTRA, REPARTITION]
    const partitions = topics.flatMap((topic) => [0, 1].map((partition) => ({ topic, partition })))
    const answer = await this.ask({
      api: 'OffsetFetch',
      groupId: APPLICATION,
      partitions,
      requireStable: true,
    })
    return answer.partitions.map(({ topic, partition, offset, metadata }) => ({
      topic,
      partition,
      offset,
      metadata,
    }))
  }

  /** They are not there any more, as if their time were over. */
  async expireOffsets(isExpired: (topic: string, partition: number) => boolean = () => true): Promise<void> {
    await this.world.restartBroker(async (store) => {
      for await (const [key] of store.range({ gte: Buffer.from('o'), lt: Buffer.from('p') })) {
        const [, topic, partition] = JSON.parse(Buffer.from(key).toString('utf8', 1))
        if (isExpired(topic, partition)) await store.write([[key, null]])
      }
    })
  }

  /** A producer of others writes a record and does not end its transaction. Returns how to abort it. */
  async hang({ topic, partition }: TopicPartition): Promise<() => Promise<void>> {
    const { simulation, wire, observer } = this.world
    const cluster = new Cluster({ wire, clock: observer.clock, log: silentLogger })
    const writer = new TransactionalWriter(cluster, {
      transactionalId: () => 'hanging',
      transactionTimeoutMs: 900_000,
    })
    const batches = new TransactionBatches()
    batches.add({ topic, partition }, 1_000, 1, Buffer.from('g1'), Buffer.from('never'))
    const write = async (): Promise<void> => {
      await writer.open()
      await writer.begin(batches.partitions)
      await writer.produce(batches.partitions)
    }
    await simulation.settle(write(), ASK_MS)
    return async () => {
      await simulation.settle(writer.open(), ASK_MS)
      writer.close()
      cluster.close()
    }
  }

  /** Nothing is committed for these tasks, though more comes. */
  async #stand(tasks: readonly string[]): Promise<void> {
    const committed = (): string =>
      [...this.world.ledger.committed]
        .filter(([place]) => tasks.includes(taskOf(place)))
        .map(([place, { sequence }]) => `${place} ${sequence}`)
        .sort()
        .join()
    // What was sent before it stopped may still be on its way.
    await this.passed(QUIET_MS)
    const before = committed()
    await this.feed(2).catch(() => {
      // The story may have taken the feeder's topic away.
    })
    await this.passed(QUIET_MS)
    if (committed() !== before)
      this.world.broken(`though it has stopped: ${before} was committed, now ${committed()}`)
  }
}

/** Longer than a transaction can stay open. */
const SETTLE_MS = 6_500

interface TopicRecord {
  readonly number: number
  readonly partitions: number
  readonly configs: Readonly<Record<string, string>>
}

function taskOf(place: string): string {
  const [topic, partition] = place.split('/')
  return `${topic === INPUT ? 0 : 1}_${partition}`
}

function batchKey(kind: 'b' | 'i', topicNumber: number, partition: number, baseOffset: number): Buffer {
  const key = Buffer.alloc(17)
  key.write(kind, 0, 'latin1')
  key.writeUInt32BE(topicNumber, 1)
  key.writeUInt32BE(partition, 5)
  key.writeBigUInt64BE(BigInt(baseOffset), 9)
  return key
}

/** A directory as it is now, for later: a backup. Nobody has it open. */
export async function copyOf(disk: MemoryDisk): Promise<MemoryDisk> {
  const copy = memoryDisk()
  for (const path of ['process', ...(await disk.list('tasks')).map((name) => `tasks/${name}`)])
    await copyStore(disk, path, copy, path)
  const owner = await disk.readText('owner.json')
  if (owner !== undefined) await copy.writeText('owner.json', owner)
  return copy
}

export async function copyStore(
  from: MemoryDisk,
  path: string,
  to: MemoryDisk,
  toPath: string,
): Promise<void> {
  const [source, target] = [await from.open(path), await to.open(toPath)]
  await empty(target)
  for await (const entry of source.range({})) await target.write([entry])
  await Promise.all([source.close(), target.close()])
}

async function empty(store: Store): Promise<void> {
  for await (const [key] of store.range({})) await store.write([[key, null]])
}

/** Nothing goes wrong by itself. What a story wants to happen to requests it says here. */
export class StoryFates implements Fates {
  onRequest: (instance: Instance, request: Request) => RequestFate = () => 'deliver'
  onAnswer: (instance: Instance, request: Request, response: unknown) => AnswerFate = () => 'deliver'
  #slow = { count: 0, ms: 1 }
  readonly #counts = new Map<Api, number>()

  /** Requests of instances so far. */
  count(api: Api): number {
    return this.#counts.get(api) ?? 0
  }

  /** So many of the next ways and operations take so long. */
  slow(count: number, ms: number): void {
    this.#slow = { count, ms }
  }

  latencyMs(): number {
    if (this.#slow.count === 0) return 1
    this.#slow.count -= 1
    return this.#slow.ms
  }

  brokerLagMs(): number {
    return 0
  }

  arrivesWithoutSender(): boolean {
    return true
  }

  request(instance: Instance, request: Request): RequestFate {
    this.#counts.set(request.api, this.count(request.api) + 1)
    return this.onRequest(instance, request)
  }

  answer(instance: Instance, request: Request, response: unknown): AnswerFate {
    return this.onAnswer(instance, request, response)
  }

  disk(): DiskFate {
    return 'do'
  }
}
