/** A cluster of several nodes, as its clients see it; and what Druse does there. */
import { expect, test } from 'vitest'
import { EmbeddedBroker } from '../../src/embedded/embedded-broker.ts'
import { Cluster } from '../../src/kafka/cluster.ts'
import { CODE } from '../../src/kafka/error-codes.ts'
import { Fetcher } from '../../src/kafka/fetcher.ts'
import { BatchWriter } from '../../src/kafka/record-batch.ts'
import { describeTopics } from '../../src/kafka/topics.ts'
import type { Api, Outcome, Request, Requests, ResponseOf, Wire } from '../../src/ports.ts'
import { silentLogger } from '../../src/system.ts'
import { type ClusterOptions, SimCluster } from '../../src/testing/cluster.ts'
import { Network } from '../../src/testing/network.ts'
import { type SimProcess, Simulation } from '../../src/testing/simulation.ts'

const TIMEOUT_MS = 10_000
const PARTITIONS = [0, 1, 2]

class Setting {
  readonly simulation = new Simulation({ seed: 1, inOrder: true })
  readonly process: SimProcess = this.simulation.process('client')
  /** All that has arrived at a node, by API. */
  readonly arrived = new Map<Api, number>()
  cluster!: SimCluster
  wire!: Wire

  static async open(options: Partial<ClusterOptions> = {}): Promise<Setting> {
    const setting = new Setting()
    const { simulation, process } = setting
    const { clock } = simulation.process('broker')
    const broker = await EmbeddedBroker.open({ clock, random: simulation.random.fork() })
    let next = 0
    const none = (): number => 0
    const lags = { spreadMs: none, electionMs: none, loadMs: none, queueMs: none, replicationMs: none }
    setting.cluster = new SimCluster(simulation, () => broker, { nodes: 3, ...lags, ...options })
    const network = new Network(simulation, ({ name }) => setting.cluster.wireOf(name), {
      latencyMs: () => 1,
      request: (_, { api }) => {
        setting.arrived.set(api, (setting.arrived.get(api) ?? 0) + 1)
        return 'deliver'
      },
      answer: () => 'deliver',
      arrivesWithoutSender: () => true,
      sent: () => {},
      settled: () => {},
      anyNode: () => next++ % 3,
    })
    setting.wire = network.wireOf(process)
    return setting
  }

  async createTopic(topic = 't'): Promise<void> {
    const topics = [{ topic, partitions: PARTITIONS.length, replicationFactor: -1, configs: {} }]
    await this.send(0, { api: 'CreateTopics', topics, timeoutMs: TIMEOUT_MS })
  }

  /** On a connection of its own. */
  async send<R extends Request>(node: number, request: R): Promise<ResponseOf<R>> {
    const outcome = await this.settle(this.begin(node, request))
    if (!outcome.ok) throw new Error(outcome.reason)
    return outcome.response
  }

  begin<R extends Request>(node: number, request: R): Promise<Outcome<ResponseOf<R>>> {
    return this.wire.connect('admin').send(node, request, TIMEOUT_MS)
  }

  settle<T>(promise: Promise<T>): Promise<T> {
    return this.simulation.settle(promise, 60_000)
  }

  pass(ms: number): Promise<boolean> {
    return this.simulation.runUntil(() => false, this.simulation.nowMs + ms)
  }

  /** Whom a node takes for the leader. */
  async leader(node: number, partition = 0): Promise<number | undefined> {
    const { topics } = await this.send(node, { api: 'Metadata', topics: ['t'] })
    return topics[0]?.partitions.find((found) => found.partition === partition)?.leader
  }

  async produce(node: number): Promise<number | undefined> {
    const { partitions } = await this.send(node, { api: 'Produce', ...batch() })
    return partitions[0]?.errorCode
  }
}

function batch(): Requests['Produce'] {
  const writer = new BatchWriter()
  writer.add(1, null, Buffer.from('v'))
  const owner = { producerId: -1n, producerEpoch: -1, baseSequence: -1, isTransactional: false }
  const partitions = [{ topic: 't', partition: 0, records: writer.build(owner) }]
  return { transactionalId: null, acks: -1, timeoutMs: TIMEOUT_MS, partitions }
}

const heartbeat = {
  api: 'Heartbeat',
  groupId: 'g',
  generationId: 1,
  memberId: 'm',
  groupInstanceId: null,
} as const

test('only its leader takes what is for a partition', async () => {
  const setting = await Setting.open()
  await setting.createTopic()
  const leader = (await setting.leader(1)) as number
  const codes = []
  for (const node of [0, 1, 2]) codes.push(await setting.produce(node))
  expect(codes.filter((code) => code === CODE.NONE)).toHaveLength(1)
  expect(codes[leader]).toBe(CODE.NONE)
  expect(codes[(leader + 1) % 3]).toBe(CODE.NOT_LEADER_OR_FOLLOWER)
})

test('a request for partitions of several leaders is answered for those of this one', async () => {
  const setting = await Setting.open()
  await setting.createTopic()
  const leaders = []
  for (const partition of PARTITIONS) leaders.push(await setting.leader(0, partition))
  expect(new Set(leaders).size).toBe(3)
  const partitions = PARTITIONS.map((partition) => ({ topic: 't', partition, at: 'earliest' as const }))
  const answer = await setting.send(leaders[1] as number, {
    api: 'ListOffsets',
    isolation: 'read_committed',
    partitions,
  })
  const { NONE, NOT_LEADER_OR_FOLLOWER } = CODE
  expect(answer.partitions.map(({ errorCode }) => errorCode)).toEqual([
    NOT_LEADER_OR_FOLLOWER,
    NONE,
    NOT_LEADER_OR_FOLLOWER,
  ])
  expect(answer.partitions.map(({ partition }) => partition)).toEqual(PARTITIONS)
})

test('a place moves: nobody leads it, then another node, and nodes hear of it in their own time', async () => {
  const setting = await Setting.open({ electionMs: () => 100, spreadMs: () => 500 })
  await setting.createTopic()
  await setting.pass(1_000)
  const before = (await setting.leader(0)) as number
  setting.cluster.move('t/0')
  expect(await setting.produce(before)).toBe(CODE.NOT_LEADER_OR_FOLLOWER)
  expect(setting.cluster.leaderOf('t/0')).toBeUndefined()
  await setting.pass(200)
  const after = setting.cluster.leaderOf('t/0') as number
  expect(after).not.toBe(before)
  expect(await setting.leader(after)).toBe(before)
  expect(await setting.produce(after)).toBe(CODE.NONE)
  await setting.pass(500)
  expect(await setting.leader(before)).toBe(after)
})

test('what was done when the place moved is answered as if it had not been', async () => {
  const setting = await Setting.open({ replicationMs: () => 50, electionMs: () => 10 })
  await setting.createTopic()
  const leader = (await setting.leader(0)) as number
  const producing = setting.begin(leader, { api: 'Produce', ...batch() })
  await setting.pass(20)
  setting.cluster.move('t/0')
  expect(await setting.settle(producing)).toMatchObject({
    response: { partitions: [{ errorCode: CODE.NOT_LEADER_OR_FOLLOWER }] },
  })
  await setting.pass(50)
  const partitions = [{ topic: 't', partition: 0, at: 'latest' as const }]
  const latest = await setting.send(setting.cluster.leaderOf('t/0') as number, {
    api: 'ListOffsets',
    isolation: 'read_committed',
    partitions,
  })
  expect(latest.partitions[0]?.offset).toBe(1)
})

test('a coordinator that has moved loads first, and only then knows the group', async () => {
  const setting = await Setting.open({ electionMs: () => 10, loadMs: () => 100 })
  const { nodeId } = await setting.send(2, { api: 'FindCoordinator', key: 'g', keyType: 'group' })
  expect(await setting.send(nodeId, heartbeat)).toEqual({ errorCode: CODE.UNKNOWN_MEMBER_ID })
  expect(await setting.send((nodeId + 1) % 3, heartbeat)).toEqual({ errorCode: CODE.NOT_COORDINATOR })
  const [place] = setting.cluster.placesOf(heartbeat) as [string]
  setting.cluster.move(place)
  await setting.pass(20)
  const next = setting.cluster.leaderOf(place) as number
  expect(next).not.toBe(nodeId)
  expect(await setting.send(next, heartbeat)).toEqual({ errorCode: CODE.COORDINATOR_LOAD_IN_PROGRESS })
  await setting.pass(100)
  expect(await setting.send(next, heartbeat)).toEqual({ errorCode: CODE.UNKNOWN_MEMBER_ID })
})

test('a node that goes down breaks its connections; others lead what it led', async () => {
  const setting = await Setting.open({ electionMs: () => 10 })
  await setting.createTopic()
  const leader = (await setting.leader(0)) as number
  const partitions = [{ topic: 't', partition: 0, offset: 0, maxBytes: 1_000 }]
  const isolation = 'read_committed' as const
  const fetch = {
    api: 'Fetch',
    maxWaitMs: 5_000,
    minBytes: 1,
    maxBytes: 1_000,
    isolation,
    partitions,
  } as const
  const waiting = setting.begin(leader, fetch)
  await setting.pass(20)
  setting.cluster.takeDown(leader)
  expect(await setting.settle(waiting)).toMatchObject({ ok: false, reason: 'disconnect' })
  await expect(setting.produce(leader)).rejects.toThrow('disconnect')
  await setting.pass(20)
  expect(await setting.produce(setting.cluster.leaderOf('t/0') as number)).toBe(CODE.NONE)
  setting.cluster.bringUp(leader)
  expect(await setting.produce(leader)).toBe(CODE.NOT_LEADER_OR_FOLLOWER)
})

test('a rebalance that was under way when the coordinator moved has not happened', async () => {
  const setting = await Setting.open()
  const join = (memberId: string) =>
    ({
      api: 'JoinGroup',
      groupId: 'g',
      sessionTimeoutMs: 6_000,
      rebalanceTimeoutMs: 6_000,
      memberId,
      groupInstanceId: null,
      protocolType: 'consumer',
      protocols: [{ name: 'p', metadata: new Uint8Array(0) }],
    }) as const
  const [place] = setting.cluster.placesOf(heartbeat) as [string]
  const coordinator = (): number => setting.cluster.leaderOf(place) as number
  const { memberId } = await setting.send(coordinator(), join(''))
  const { generationId } = await setting.send(coordinator(), join(memberId))
  const membership = { groupId: 'g', generationId, memberId, groupInstanceId: null }
  await setting.send(coordinator(), { api: 'SyncGroup', ...membership, assignments: [] })

  const other = await setting.send(coordinator(), join(''))
  const joining = setting.begin(coordinator(), join(other.memberId))
  await setting.pass(20)
  expect(await setting.send(coordinator(), { api: 'Heartbeat', ...membership })).toEqual({
    errorCode: CODE.REBALANCE_IN_PROGRESS,
  })
  setting.cluster.move(place)
  expect(await setting.settle(joining)).toMatchObject({
    response: { errorCode: CODE.NOT_COORDINATOR },
  })
  await setting.pass(10)
  expect(await setting.send(coordinator(), { api: 'Heartbeat', ...membership })).toEqual({
    errorCode: CODE.NONE,
  })
  expect(await setting.send(coordinator(), join(other.memberId))).toMatchObject({
    errorCode: CODE.UNKNOWN_MEMBER_ID,
  })
})

test('a fetch waits for data though partitions of other brokers are read, too', async () => {
  const setting = await Setting.open()
  await setting.createTopic()
  const { wire, process, arrived } = setting
  const cluster = new Cluster({ wire, clock: process.clock, log: silentLogger })
  const fetcher = new Fetcher(
    cluster,
    { isolation: 'read_committed', maxWaitMs: 500 },
    { deliver: () => {}, failed: () => {} },
  )
  for (const partition of PARTITIONS) fetcher.add({ topic: 't', partition }, 0)
  await setting.pass(10_000)
  fetcher.close()
  cluster.close()
  // Three brokers, each twice a second; and some while their leaders are looked up.
  expect(arrived.get('Fetch')).toBeGreaterThan(50)
  expect(arrived.get('Fetch')).toBeLessThan(75)
})

test('a topic that is known to exist is waited for where it has not been heard of', async () => {
  const setting = await Setting.open({ spreadMs: () => 3_000 })
  await setting.createTopic()
  const { wire, process, simulation } = setting
  const cluster = new Cluster({ wire, clock: process.clock, log: silentLogger })
  expect(await setting.settle(describeTopics(cluster, ['t']))).toEqual(new Map())
  const found = await setting.settle(describeTopics(cluster, ['t', 'other'], ['t']))
  expect([...found.keys()]).toEqual(['t'])
  expect(simulation.nowMs).toBeGreaterThanOrEqual(3_000)
  cluster.close()
})
