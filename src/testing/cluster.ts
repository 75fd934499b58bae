/**
 * Several nodes in front of one broker: to their clients, a Kafka cluster. The logs and the states of coordinators are
 * the broker's. Who answers for which of them is known here, and it moves; each node hears of that in its own time.
 *
 * A place is a partition, by its leader, or what a coordinator has: Kafka keeps groups and transactional ids in the
 * partitions of internal topics, and whoever leads one of these coordinates all that is in it.
 *
 *   led ──move, its node goes down──► vacant ──election──► loading ──► led
 *
 * A node that does not lead a place refuses what is asked of it there, be it that the place has moved or that it has not
 * yet come. What had been carried out when the place moved, and was not yet answered, is answered with the same
 * refusal: whether it was done, the client has to find out.
 */
import type { EmbeddedBroker } from '../embedded/embedded-broker.ts'
import { CODE } from '../kafka/error-codes.ts'
import type {
  Connection,
  Outcome,
  Request,
  Requests,
  ResponseOf,
  Responses,
  TopicMetadata,
  Wire,
} from '../ports.ts'
import type { TopicPartition } from '../types.ts'
import { refusal } from './refusal.ts'
import type { Simulation } from './simulation.ts'

export interface ClusterOptions {
  /** At least 1; their ids count from 0. */
  readonly nodes: number
  /** Until one node has heard of a change. */
  spreadMs(): number
  /** Until a place that has lost its leader has another one. */
  electionMs(): number
  /** Until a coordinator has read what its predecessor wrote. */
  loadMs(): number
  /** In a node's queue, before a request is looked at. */
  queueMs(): number
  /** Between what is done and its answer: the followers have to have it, too. */
  replicationMs(): number
  /** The broker has done it; whether anybody is told is open. */
  carriedOut?(who: string, request: Request, response: unknown): void
}

interface Place {
  /** -1: nobody. */
  leader: number
  isLoading: boolean
  /** Counts its leaders. */
  epoch: number
  /** By node: whom it takes for the leader; undefined: it has not heard of the place. */
  readonly seen: (number | undefined)[]
  readonly kind: 'partition' | 'group' | 'transaction'
}

/** Of internal topics. */
const SLOTS = 3
const DISCONNECT = { ok: false, reason: 'disconnect' } as const
const NO_ID = 'AAAAAAAAAAAAAAAAAAAAAA'

export class SimCluster {
  readonly simulation: Simulation
  readonly #broker: () => EmbeddedBroker
  readonly #options: ClusterOptions
  readonly #places = new Map<string, Place>()
  readonly #isUp: boolean[]
  readonly #connections = new Set<NodeConnection>()
  /** Told when a place loses its leader. */
  readonly #watchers = new Set<(name: string) => void>()

  constructor(simulation: Simulation, broker: () => EmbeddedBroker, options: ClusterOptions) {
    this.simulation = simulation
    this.#broker = broker
    this.#options = options
    this.#isUp = Array.from({ length: options.nodes }, () => true)
    for (const kind of ['group', 'transaction'] as const) {
      for (let slot = 0; slot < SLOTS; slot++) this.#add(`${kind} ${slot}`, kind, true)
    }
  }

  /** Of somebody. A connection is to the one node that it is first asked to send to. */
  wireOf(who: string): Wire {
    return {
      connect: () => {
        const connection: NodeConnection = new NodeConnection(this, this.simulation, who, () =>
          this.#connections.delete(connection),
        )
        this.#connections.add(connection)
        return connection
      },
    }
  }

  get nodes(): number {
    return this.#options.nodes
  }

  isUp(node: number): boolean {
    return this.#isUp[node] === true
  }

  /** Undefined: nobody at the moment. */
  leaderOf(name: string): number | undefined {
    const leader = this.#places.get(name)?.leader ?? -1
    return leader < 0 ? undefined : leader
  }

  /** Names of partitions that there are. */
  get partitions(): readonly string[] {
    return [...this.#places].filter(([, { kind }]) => kind === 'partition').map(([name]) => name)
  }

  get coordinators(): readonly string[] {
    return [...this.#places].filter(([, { kind }]) => kind !== 'partition').map(([name]) => name)
  }

  /** The places that a request is about; none: any node can answer it. */
  placesOf(request: Request): readonly string[] {
    switch (request.api) {
      case 'Produce':
      case 'Fetch':
      case 'ListOffsets':
      case 'DeleteRecords':
        return request.partitions.map(placeName)
      case 'JoinGroup':
      case 'SyncGroup':
      case 'Heartbeat':
      case 'LeaveGroup':
      case 'OffsetCommit':
      case 'OffsetFetch':
      case 'TxnOffsetCommit':
        return [slotName('group', request.groupId)]
      case 'DescribeGroups':
        return request.groups.map((groupId) => slotName('group', groupId))
      case 'InitProducerId':
        return request.transactionalId === null ? [] : [slotName('transaction', request.transactionalId)]
      case 'AddPartitionsToTxn':
      case 'AddOffsetsToTxn':
      case 'EndTxn':
        return [slotName('transaction', request.transactionalId)]
      default:
        return []
    }
  }

  /** Another node leads the place from the next election on, if another one is up. */
  move(name: string): void {
    const place = this.#places.get(name)
    if (place === undefined || place.leader < 0) return
    const before = place.leader
    this.#vacate(name, place)
    this.simulation.schedule(undefined, this.#options.electionMs(), `election ${name}`, () =>
      this.#elect(name, place, (node) => node !== before),
    )
  }

  /** As kill -9: its connections break, and what it led is led by others before long. */
  takeDown(node: number): void {
    if (!this.isUp(node) || this.#isUp.filter(Boolean).length === 1) return
    this.simulation.note(undefined, `NODE ${node} DOWN`)
    this.#isUp[node] = false
    for (const connection of [...this.#connections]) if (connection.node === node) connection.break()
    for (const [name, place] of this.#places) if (place.leader === node) this.move(name)
  }

  bringUp(node: number): void {
    if (this.isUp(node)) return
    this.simulation.note(undefined, `NODE ${node} UP`)
    this.#isUp[node] = true
  }

  /** Topics that are in the broker get leaders. */
  async adopt(topics: readonly string[], isKnown = true): Promise<void> {
    const { topics: found } = await this.#broker().carryOut({ api: 'Metadata', topics })
    for (const { topic, partitions } of found) {
      for (const { partition } of partitions) this.#add(placeName({ topic, partition }), 'partition', isKnown)
    }
  }

  /** The broker behind the nodes was killed and is there again. */
  breakAll(): void {
    for (const connection of [...this.#connections]) connection.break()
  }

  /** @internal What a node makes of a request, when its turn has come; undefined: it has died over it. */
  async answer(node: number, who: string, request: Request): Promise<unknown> {
    switch (request.api) {
      case 'Metadata':
        return this.#metadata(node, await this.#broker().carryOut(request))
      case 'DescribeConfigs':
        return this.#configs(node, await this.#broker().carryOut(request))
      case 'FindCoordinator':
        return this.#findCoordinator(node, request)
      case 'CreateTopics': {
        const response = await this.#carryOut(who, request)
        await this.adopt(
          request.topics.map(({ topic }) => topic),
          false,
        )
        return response
      }
      case 'Produce':
      case 'Fetch':
      case 'ListOffsets':
      case 'DeleteRecords':
        return this.#asLeader(node, who, request)
      default: {
        const names = this.placesOf(request)
        return names.length === 0
          ? this.#carryOut(who, request)
          : this.#asCoordinator(node, who, names, request)
      }
    }
  }

  /** @internal */
  queueMs(): number {
    return this.#options.queueMs()
  }

  async #carryOut<R extends Request>(who: string, request: R): Promise<ResponseOf<R>> {
    const response = await this.#broker().carryOut(request)
    this.#options.carriedOut?.(who, request, response)
    return response
  }

  // --- who leads ---

  #add(name: string, kind: Place['kind'], isKnown: boolean): void {
    if (this.#places.has(name)) return
    let leader = this.#places.size % this.nodes
    while (!this.isUp(leader)) leader = (leader + 1) % this.nodes
    const seen = this.#isUp.map((): number | undefined => (isKnown ? leader : undefined))
    const place: Place = { leader, isLoading: false, epoch: 0, seen, kind }
    this.#places.set(name, place)
    if (!isKnown) this.#spread(place)
  }

  #vacate(name: string, place: Place): void {
    this.simulation.note(undefined, `${name} LEAVES NODE ${place.leader}`)
    place.leader = -1
    place.epoch += 1
    for (const watcher of [...this.#watchers]) watcher(name)
  }

  #elect(name: string, place: Place, isWanted: (node: number) => boolean): void {
    const up = this.#isUp.flatMap((isUp, node) => (isUp ? [node] : []))
    const wanted = up.filter(isWanted)
    place.leader = this.simulation.random.pick(wanted.length > 0 ? wanted : up)
    place.epoch += 1
    this.simulation.note(undefined, `${name} IS LED BY NODE ${place.leader}`)
    if (place.kind === 'group') this.#broker().reloadGroups((groupId) => slotName('group', groupId) === name)
    place.isLoading = place.kind !== 'partition'
    const { epoch } = place
    if (place.isLoading) {
      this.simulation.schedule(undefined, this.#options.loadMs(), `loaded ${name}`, () => {
        if (place.epoch === epoch) place.isLoading = false
      })
    }
    this.#spread(place)
  }

  /** Each node hears of it by itself; what it hears is what holds then. */
  #spread(place: Place): void {
    for (let node = 0; node < this.nodes; node++) {
      this.simulation.schedule(undefined, this.#options.spreadMs(), `node ${node} hears`, () => {
        place.seen[node] = place.leader
      })
    }
  }

  // --- what a node answers ---

  #metadata(node: number, response: Responses['Metadata']): Responses['Metadata'] {
    const brokers = this.#isUp.flatMap((isUp, nodeId) =>
      isUp ? [{ nodeId, host: `node-${nodeId}`, port: 9092 }] : [],
    )
    return {
      ...response,
      controllerId: brokers[0]?.nodeId ?? 0,
      brokers,
      topics: response.topics.map((topic) => this.#asSeen(node, topic)),
    }
  }

  #asSeen(node: number, topic: TopicMetadata): TopicMetadata {
    const partitions = topic.partitions.map((found) => {
      const name = placeName({ topic: topic.topic, partition: found.partition })
      // What was made behind the nodes' back, they have known of all along.
      this.#add(name, 'partition', true)
      const place = this.#places.get(name)
      const leader = place?.seen[node]
      if (leader === undefined) return undefined
      const errorCode = leader < 0 ? CODE.LEADER_NOT_AVAILABLE : CODE.NONE
      return { ...found, errorCode, leader, leaderEpoch: place?.epoch ?? 0 }
    })
    if (partitions.every((found) => found !== undefined)) return { ...topic, partitions }
    return { ...topic, errorCode: CODE.UNKNOWN_TOPIC_OR_PARTITION, topicId: NO_ID, partitions: [] }
  }

  #configs(node: number, { topics }: Responses['DescribeConfigs']): Responses['DescribeConfigs'] {
    const isKnown = (topic: string): boolean =>
      this.#places.get(placeName({ topic, partition: 0 }))?.seen[node] !== undefined
    return {
      topics: topics.map((found) =>
        found.errorCode !== CODE.NONE || isKnown(found.topic)
          ? found
          : { ...found, errorCode: CODE.UNKNOWN_TOPIC_OR_PARTITION, configs: {} },
      ),
    }
  }

  #findCoordinator(
    node: number,
    { key, keyType }: Requests['FindCoordinator'],
  ): Responses['FindCoordinator'] {
    const nodeId = this.#places.get(slotName(keyType, key))?.seen[node] ?? -1
    return nodeId < 0 || !this.isUp(nodeId)
      ? { errorCode: CODE.COORDINATOR_NOT_AVAILABLE, nodeId: -1 }
      : { errorCode: CODE.NONE, nodeId }
  }

  async #asCoordinator(
    node: number,
    who: string,
    names: readonly string[],
    request: Request,
  ): Promise<unknown> {
    const places = names.map((name) => this.#places.get(name) as Place)
    if (places.some(({ leader }) => leader !== node)) return refusal(request, CODE.NOT_COORDINATOR)
    if (places.some(({ isLoading }) => isLoading)) return refusal(request, CODE.COORDINATOR_LOAD_IN_PROGRESS)
    return this.#unlessMoved(
      names,
      WRITES.has(request.api),
      () => this.#carryOut(who, request),
      () => refusal(request, CODE.NOT_COORDINATOR),
    )
  }

  async #asLeader(node: number, who: string, request: PartitionRequest): Promise<unknown> {
    const codes = request.partitions.map((at) => {
      const place = this.#places.get(placeName(at))
      if (place === undefined || place.seen[node] === undefined) return CODE.UNKNOWN_TOPIC_OR_PARTITION
      return place.leader === node ? CODE.NONE : CODE.NOT_LEADER_OR_FOLLOWER
    })
    const isLed = (at: TopicPartition): boolean =>
      codes[request.partitions.indexOf(at as never)] === CODE.NONE
    const led = request.partitions.filter(isLed)
    const isWhole = led.length === request.partitions.length
    const part = isWhole ? request : ({ ...request, partitions: led } as PartitionRequest)
    // A fetch that has to tell of an error does not wait.
    const now = part.api === 'Fetch' && !isWhole ? { ...part, maxWaitMs: 0 } : part
    const done =
      led.length === 0
        ? undefined
        : await this.#unlessMoved(
            led.map(placeName),
            WRITES.has(now.api),
            () => this.#carryOut(who, now as Request),
            () => refusal(now, CODE.NOT_LEADER_OR_FOLLOWER),
          )
    if (isWhole) return done
    const answered = [...((done as { partitions: readonly unknown[] } | undefined)?.partitions ?? [])]
    const merged = request.partitions.map((at, i) => {
      if (codes[i] === CODE.NONE) return answered.shift()
      const one = { ...request, partitions: [at] } as Request
      return (refusal(one, codes[i] as number) as { partitions: readonly unknown[] }).partitions[0]
    })
    return { errorCode: CODE.NONE, partitions: merged }
  }

  /** What is done, and then waits for followers, or only waits: until one of the places loses its leader. */
  #unlessMoved(
    names: readonly string[],
    isWrite: boolean,
    work: () => Promise<unknown>,
    moved: () => unknown,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      let isOver = false
      const end = (settle: () => void): void => {
        if (isOver) return
        isOver = true
        this.#watchers.delete(watcher)
        settle()
      }
      const watcher = (name: string): void => {
        if (names.includes(name)) end(() => resolve(moved()))
      }
      this.#watchers.add(watcher)
      work().then(
        (response) => {
          const ms = isWrite ? this.#options.replicationMs() : 0
          if (ms === 0) end(() => resolve(response))
          else this.simulation.schedule(undefined, ms, 'replicated', () => end(() => resolve(response)))
        },
        (error: unknown) => end(() => reject(error)),
      )
    })
  }
}

/** What stands in a log afterwards. */
const WRITES: ReadonlySet<Request['api']> = new Set([
  'Produce',
  'InitProducerId',
  'AddPartitionsToTxn',
  'AddOffsetsToTxn',
  'TxnOffsetCommit',
  'OffsetCommit',
  'EndTxn',
  'SyncGroup',
])

type PartitionRequest = {
  [A in 'Produce' | 'Fetch' | 'ListOffsets' | 'DeleteRecords']: { readonly api: A } & Requests[A]
}['Produce' | 'Fetch' | 'ListOffsets' | 'DeleteRecords']

interface Waiting {
  readonly request: Request
  readonly settle: (outcome: Outcome<unknown>) => void
}

/** One socket to one node, which takes requests one after the other. */
class NodeConnection implements Connection {
  node = -1
  readonly #cluster: SimCluster
  readonly #simulation: Simulation
  readonly #who: string
  readonly #onClosed: () => void
  readonly #queue: Waiting[] = []
  #current: Waiting | undefined
  #isBroken = false

  constructor(cluster: SimCluster, simulation: Simulation, who: string, onClosed: () => void) {
    this.#cluster = cluster
    this.#simulation = simulation
    this.#who = who
    this.#onClosed = onClosed
  }

  /** How long is waited for the answer is the network's business. */
  send<R extends Request>(node: number, request: R): Promise<Outcome<ResponseOf<R>>> {
    if (this.node < 0) this.node = node
    if (this.#isBroken || !this.#cluster.isUp(node)) return Promise.resolve(DISCONNECT)
    return new Promise((resolve) => {
      this.#queue.push({ request, settle: resolve as (outcome: Outcome<unknown>) => void })
      if (this.#current === undefined) this.#next()
    })
  }

  destroy(): void {
    this.break()
  }

  /** What is under way is carried out, or not; nobody hears of it. */
  break(): void {
    if (this.#isBroken) return
    this.#isBroken = true
    this.#onClosed()
    const left = [...(this.#current === undefined ? [] : [this.#current]), ...this.#queue.splice(0)]
    this.#current = undefined
    for (const { settle } of left) settle(DISCONNECT)
  }

  #next(): void {
    const waiting = this.#queue.shift()
    this.#current = waiting
    if (waiting === undefined) return
    const ms = this.#cluster.queueMs()
    if (ms === 0) this.#handle(waiting)
    else
      this.#simulation.schedule(undefined, ms, `handle ${waiting.request.api}`, () => this.#handle(waiting))
  }

  #handle(waiting: Waiting): void {
    if (this.#current !== waiting) return
    this.#cluster.answer(this.node, this.#who, waiting.request).then(
      (response) => this.#answered(waiting, { ok: true, response } as Outcome<unknown>),
      () => this.break(),
    )
  }

  #answered(waiting: Waiting, outcome: Outcome<unknown>): void {
    if (this.#current !== waiting) return
    waiting.settle(outcome)
    this.#next()
  }
}

function placeName({ topic, partition }: TopicPartition): string {
  return `${topic}/${partition}`
}

function slotName(kind: 'group' | 'transaction', key: string): string {
  let hash = 0
  for (let i = 0; i < key.length; i++) hash = (Math.imul(hash, 31) + key.charCodeAt(i)) | 0
  return `${kind} ${Math.abs(hash % SLOTS)}`
}
