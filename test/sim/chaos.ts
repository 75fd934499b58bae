/**
 * Fates drawn from a seed: each seed has some kinds of faults, each at a rate of its own. Whether a fault of a kind comes
 * with, say, the third EndTxn of an instance, and what it does, is a function of the seed and of just that. So a run can
 * be repeated with some of its faults only, and those stay what they were.
 */
import { CODE } from '../../src/kafka/error-codes.ts'
import type { Request } from '../../src/ports.ts'
import type { SimCluster } from '../../src/testing/cluster.ts'
import type { AnswerFate, RequestFate } from '../../src/testing/network.ts'
import { refusal } from '../../src/testing/refusal.ts'
import { SeededRandom } from '../../src/testing/seeded-random.ts'
import type { DiskFate } from '../../src/testing/sim-disk.ts'
import { inPart } from './partial.ts'
import type { Fates, Instance } from './world.ts'

export const FAULTS = [
  'crash',
  'diskCrash',
  'pause',
  'lose',
  'lateRequest',
  'lateAnswer',
  'code',
  'codeAfter',
  'inPart',
  'smallFetch',
  'markers',
  'rebalance',
  'leaderMove',
  'coordinatorMove',
  'nodeDown',
  'brokerRestart',
  'highEpochs',
  'clock',
  'brokerClock',
  'diskFull',
  'power',
  'emptyDirectory',
] as const
export type Fault = (typeof FAULTS)[number]

/** There are far fewer operations of disks than requests. */
const DISK_FAULTS: ReadonlySet<Fault> = new Set(['diskCrash', 'diskFull'])
const NODE_FAULTS: ReadonlySet<Fault> = new Set(['leaderMove', 'coordinatorMove', 'nodeDown'])
const MILD_FAULTS: ReadonlySet<Fault> = new Set([
  'smallFetch',
  'markers',
  'rebalance',
  'clock',
  'brokerClock',
])
/** By which something can be appended after others have taken over. */
const UNFENCED: ReadonlySet<Fault> = new Set([
  'pause',
  'lateRequest',
  'lose',
  'crash',
  'diskCrash',
  'lateAnswer',
])
/** The shortest time-out of requests: what lies longer in a broker's queue is carried out after it was given up. */
export const REQUEST_TIMEOUT_LEAST_MS = 200
/** Of the seeds that have a kind of fault. */
const SHARE = 0.45
/** Of instances that die: enough for a run, and it has to end. */
const DEATHS_MAX = 6
const PAUSES_MAX = 3

export interface ChaosOptions {
  readonly seed: number
  /** Several: what they lead moves. */
  readonly nodes: number
  /** Without all that may make an instance do something again. */
  readonly isMild?: boolean
  /** Of the faults that the seed has, only these happen: their names. Default: all. */
  readonly only?: ReadonlySet<string> | undefined
}

export class Chaos implements Fates {
  /** Probability per chance; 0: not in this seed. */
  readonly rates: Readonly<Record<Fault, number>>
  /** Names of faults, in the order in which they happened: kind, what it came with, and the how manyeth of those. */
  readonly happened: string[] = []
  isOn = true
  /** Requests of instances and operations of their disks. */
  effects = 0
  cluster: SimCluster | undefined
  readonly #seed: number
  readonly #only: ReadonlySet<string> | undefined
  readonly #random: SeededRandom
  readonly #chances = new Map<string, number>()
  readonly #latencyMaxMs: number
  readonly #lagMaxMs: number
  readonly #lateMaxMs: number
  readonly #nodeLagMaxMs: number
  readonly #replicationMaxMs: number
  #deaths = 0
  #pauses = 0

  constructor(random: SeededRandom, { seed, nodes, isMild = false, only }: ChaosOptions) {
    this.#seed = seed
    this.#only = only
    this.#random = random
    const rate = (fault: Fault): number => {
      const found = random.chance(SHARE) ? (DISK_FAULTS.has(fault) ? 0.01 : 0.001) * 40 ** random.next() : 0
      if (isMild && !MILD_FAULTS.has(fault)) return 0
      return nodes === 1 && NODE_FAULTS.has(fault) ? 0 : found
    }
    this.rates = Object.fromEntries(FAULTS.map((fault) => [fault, rate(fault)])) as Record<Fault, number>
    this.#latencyMaxMs = random.pick([0, 1, 3, 15])
    this.#lagMaxMs = this.rates.markers > 0 ? random.pick([5, 50, 400]) : 0
    this.#lateMaxMs = random.pick([300, 1_500, 6_000])
    this.#nodeLagMaxMs = nodes === 1 ? 0 : random.pick([5, 100, 1_000])
    this.#replicationMaxMs = nodes === 1 ? 0 : random.pick([0, 2, 10])
  }

  get kinds(): readonly Fault[] {
    return FAULTS.filter((fault) => this.rates[fault] > 0)
  }

  /** Nobody's requests can have come after others had taken over. */
  get isFenced(): boolean {
    return this.#lagMaxMs < REQUEST_TIMEOUT_LEAST_MS && !this.kinds.some((kind) => UNFENCED.has(kind))
  }

  get counts(): ReadonlyMap<Fault, number> {
    const counts = new Map<Fault, number>()
    for (const name of this.happened) {
      const kind = name.slice(0, name.indexOf('@')) as Fault
      counts.set(kind, (counts.get(kind) ?? 0) + 1)
    }
    return counts
  }

  latencyMs(): number {
    return this.#random.below(this.#latencyMaxMs + 1)
  }

  brokerLagMs(): number {
    if (!this.isOn || this.#lagMaxMs === 0) return 0
    return this.draws('markers', 'broker', 0.3)?.below(this.#lagMaxMs + 1) ?? 0
  }

  nodeLagMs(what: 'spread' | 'election' | 'load' | 'replication'): number {
    return this.#random.below((what === 'replication' ? this.#replicationMaxMs : this.#nodeLagMaxMs) + 1)
  }

  request(instance: Instance, request: Request): RequestFate {
    this.effects += 1
    if (!this.isOn) return 'deliver'
    const { process } = instance
    const what = `${instance.name}.${request.api}`
    const death = this.#dies('crash', what)
    if (death !== undefined) {
      process.kill()
      return death.chance(0.5) ? 'lose' : 'deliver'
    }
    const rest = this.#pausesNow(what)
    if (rest !== undefined) {
      this.#pause(instance, rest)
      return rest.chance(0.5) ? 'hold' : 'deliver'
    }
    this.#moves(request, what)
    if (this.draws('lose', what) !== undefined) return 'lose'
    const late = this.draws('lateRequest', what)
    if (late !== undefined) return { delayMs: late.between(1, this.#lateMaxMs) }
    if (request.api === 'TxnOffsetCommit' && request.partitions.length > 1) {
      const part = this.draws('inPart', what, 0.1)
      const codes = [CODE.COORDINATOR_LOAD_IN_PROGRESS, CODE.KAFKA_STORAGE_ERROR]
      if (part !== undefined) return inPart(request, part.pick(codes)) ?? 'deliver'
    }
    if (request.api === 'Fetch') {
      const small = this.draws('smallFetch', what, 0.15)
      if (small !== undefined) return smaller(request, small.pick([1, 90, 200]))
    }
    if (!WITHOUT_CODE.has(request.api)) {
      const code = this.draws('code', what)
      if (code !== undefined) return { answer: passing(request, code) }
    }
    return 'deliver'
  }

  answer(instance: Instance, request: Request): AnswerFate {
    if (!this.isOn) return 'deliver'
    const what = `${instance.name}.<${request.api}`
    if (this.#dies('crash', what) !== undefined) {
      instance.process.kill()
      return 'lose'
    }
    const rest = this.#pausesNow(what)
    if (rest !== undefined) {
      this.#pause(instance, rest)
      return { delayMs: 0 }
    }
    if (this.draws('lose', what) !== undefined) return 'lose'
    const late = this.draws('lateAnswer', what)
    if (late !== undefined) return { delayMs: late.between(1, this.#lateMaxMs) }
    if (request.api === 'Produce') {
      const after = this.draws('codeAfter', what)
      if (after !== undefined) return { answer: refusal(request, after.pick(AFTER_APPEND)) }
    }
    return 'deliver'
  }

  /** What it was done by may have lost its place when it comes to answering. */
  carriedOut(request: Request, who: string): void {
    if (this.isOn) this.#moves(request, `${who}.<${request.api}`)
  }

  disk(instance: Instance, operation: string): DiskFate {
    this.effects += 1
    if (!this.isOn || !instance.hasStarted) return 'do'
    const what = `${instance.name}.${operation}`
    const death = this.#dies('diskCrash', what)
    if (death !== undefined) return death.chance(0.5) ? 'die' : 'dieAfter'
    if (operation === 'write' && this.draws('diskFull', what) !== undefined) return 'fail'
    return 'do'
  }

  arrivesWithoutSender(): boolean {
    return this.#random.chance(0.6)
  }

  /** If a fault of this kind comes now, with this: the chance that says what it does. */
  draws(fault: Fault, what: string, rate = this.rates[fault]): SeededRandom | undefined {
    if (this.rates[fault] === 0) return undefined
    const at = `${fault}@${what}`
    const chance = (this.#chances.get(at) ?? 0) + 1
    this.#chances.set(at, chance)
    const drawn = mixed(this.#seed, hashOf(at), chance)
    if (drawn >= rate * 2 ** 32) return undefined
    const name = `${at}.${chance}`
    if (this.#only?.has(name) === false) return undefined
    this.happened.push(name)
    return new SeededRandom(drawn ^ 0x5bd1e995)
  }

  /** A place that the request is about loses its leader, or any other one does. */
  #moves(request: Request, what: string): void {
    const { cluster } = this
    if (cluster === undefined || cluster.nodes === 1) return
    const [asked] = cluster.placesOf(request)
    for (const fault of ['leaderMove', 'coordinatorMove'] as const) {
      const places = fault === 'leaderMove' ? cluster.partitions : cluster.coordinators
      const move = places.length === 0 ? undefined : this.draws(fault, what)
      if (move === undefined) continue
      const isMeant = asked !== undefined && places.includes(asked) && move.chance(0.7)
      cluster.move(isMeant ? asked : move.pick(places))
    }
    const down = this.draws('nodeDown', what, this.rates.nodeDown / 4)
    if (down === undefined) return
    const node = down.below(cluster.nodes)
    cluster.takeDown(node)
    // Some never come back.
    if (down.chance(0.2)) return
    cluster.simulation.schedule(undefined, down.between(20, 4_000), `node ${node} is back`, () =>
      cluster.bringUp(node),
    )
  }

  #dies(fault: 'crash' | 'diskCrash', what: string): SeededRandom | undefined {
    const death = this.#deaths >= DEATHS_MAX ? undefined : this.draws(fault, what)
    if (death !== undefined) this.#deaths += 1
    return death
  }

  #pausesNow(what: string): SeededRandom | undefined {
    const rest = this.#pauses >= PAUSES_MAX ? undefined : this.draws('pause', what)
    if (rest !== undefined) this.#pauses += 1
    return rest
  }

  #pause({ process }: Instance, rest: SeededRandom): void {
    process.pause()
    const ms = rest.between(50, 5_000)
    process.simulation.schedule(undefined, ms, `${process.name} resumes`, () => process.resume())
  }
}

const HASHES = new Map<string, number>()

function hashOf(text: string): number {
  let hash = HASHES.get(text)
  if (hash !== undefined) return hash
  hash = 0
  for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0
  HASHES.set(text, hash)
  return hash
}

/** 32 bits that are a function of three numbers: murmur3's mixing. */
function mixed(seed: number, what: number, chance: number): number {
  let hash = seed ^ 0x2545f491
  for (const word of [what, chance]) {
    let part = Math.imul(word, 0xcc9e2d51)
    part = Math.imul((part << 15) | (part >>> 17), 0x1b873593)
    hash ^= part
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

const AFTER_APPEND = [
  CODE.REQUEST_TIMED_OUT,
  CODE.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
  CODE.NOT_LEADER_OR_FOLLOWER,
]

/** Brokers answer with as little as they like. */
function smaller(request: Extract<Request, { api: 'Fetch' }>, maxBytes: number): RequestFate {
  const partitions = request.partitions.map((at) => ({ ...at, maxBytes }))
  return { instead: { ...request, maxBytes, partitions }, answered: (response) => response }
}

const WITHOUT_CODE: ReadonlySet<Request['api']> = new Set([
  'Metadata',
  'Fetch',
  'ListOffsets',
  'CreateTopics',
  'DeleteTopics',
  'DescribeConfigs',
  'DeleteRecords',
  'OffsetCommit',
  'LeaveGroup',
  'DescribeGroups',
])

/** Codes that pass by themselves, with nothing done. */
function passing(request: Request, random: SeededRandom): unknown {
  if (request.api === 'FindCoordinator') return refusal(request, CODE.COORDINATOR_NOT_AVAILABLE)
  const codes =
    request.api === 'Produce'
      ? [CODE.NOT_ENOUGH_REPLICAS, CODE.UNKNOWN_TOPIC_OR_PARTITION]
      : [CODE.COORDINATOR_LOAD_IN_PROGRESS, CODE.COORDINATOR_NOT_AVAILABLE, CODE.NOT_COORDINATOR]
  return refusal(request, random.pick(codes))
}
