/** Fates drawn from a seed: each seed has some kinds of faults, each at a rate of its own. */
import { CODE } from '../../src/kafka/error-codes.ts'
import type { Request } from '../../src/ports.ts'
import type { AnswerFate, RequestFate } from '../../src/testing/network.ts'
import type { SeededRandom } from '../../src/testing/seeded-random.ts'
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
  'markers',
  'rebalance',
  'brokerRestart',
  'clock',
  'diskFull',
  'power',
  'emptyDirectory',
] as const
export type Fault = (typeof FAULTS)[number]

/** There are far fewer operations of disks than requests. */
const DISK_FAULTS: ReadonlySet<Fault> = new Set(['diskCrash', 'diskFull'])
/** Of the seeds that have a kind of fault. */
const SHARE = 0.45
/** Of instances that die: enough for a run, and it has to end. */
const DEATHS_MAX = 6
const PAUSES_MAX = 3

export class Chaos implements Fates {
  /** Probability per effect; 0: not in this seed. */
  readonly rates: Readonly<Record<Fault, number>>
  readonly counts = new Map<Fault, number>()
  isOn = true
  readonly #random: SeededRandom
  readonly #latencyMaxMs: number
  readonly #lagMaxMs: number
  readonly #lateMaxMs: number
  #deaths = 0
  #pauses = 0

  constructor(random: SeededRandom) {
    this.#random = random
    const rate = (fault: Fault): number =>
      random.chance(SHARE) ? (DISK_FAULTS.has(fault) ? 0.01 : 0.001) * 40 ** random.next() : 0
    this.rates = Object.fromEntries(FAULTS.map((fault) => [fault, rate(fault)])) as Record<Fault, number>
    this.#latencyMaxMs = random.pick([0, 1, 3, 15])
    this.#lagMaxMs = this.rates.markers > 0 ? random.pick([5, 50, 400]) : 0
    this.#lateMaxMs = random.pick([300, 1_500, 6_000])
  }

  get kinds(): readonly Fault[] {
    return FAULTS.filter((fault) => this.rates[fault] > 0)
  }

  latencyMs(): number {
    return this.#random.below(this.#latencyMaxMs + 1)
  }

  brokerLagMs(): number {
    if (!this.isOn || !this.draws('markers', 0.3)) return 0
    return this.#random.below(this.#lagMaxMs + 1)
  }

  request(instance: Instance, request: Request): RequestFate {
    if (!this.isOn) return 'deliver'
    const { process } = instance
    if (this.#dies('crash')) {
      process.kill()
      return this.#random.chance(0.5) ? 'lose' : 'deliver'
    }
    if (this.#pausesNow()) {
      this.#pause(instance)
      return this.#random.chance(0.5) ? 'hold' : 'deliver'
    }
    if (this.draws('lose')) return 'lose'
    if (this.draws('lateRequest')) return { delayMs: this.#random.between(1, this.#lateMaxMs) }
    if (request.api === 'TxnOffsetCommit' && this.draws('inPart', 0.1)) {
      const fate = inPart(
        request,
        this.#random.pick([CODE.COORDINATOR_LOAD_IN_PROGRESS, CODE.KAFKA_STORAGE_ERROR]),
      )
      if (fate !== undefined) return fate
    }
    if (this.draws('code')) {
      const answer = passing(request, this.#random)
      if (answer !== undefined) return { answer }
    }
    return 'deliver'
  }

  answer(instance: Instance, request: Request): AnswerFate {
    if (!this.isOn) return 'deliver'
    if (this.#dies('crash')) {
      instance.process.kill()
      return 'lose'
    }
    if (this.#pausesNow()) {
      this.#pause(instance)
      return { delayMs: 0 }
    }
    if (this.draws('lose')) return 'lose'
    if (this.draws('lateAnswer')) return { delayMs: this.#random.between(1, this.#lateMaxMs) }
    if (this.draws('codeAfter') && request.api === 'Produce') {
      const errorCode = this.#random.pick([
        CODE.REQUEST_TIMED_OUT,
        CODE.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        CODE.NOT_LEADER_OR_FOLLOWER,
      ])
      return { answer: { partitions: produced(request, errorCode) } }
    }
    return 'deliver'
  }

  disk(instance: Instance, operation: string): DiskFate {
    if (!this.isOn || !instance.hasStarted) return 'do'
    if (this.#dies('diskCrash')) return this.#random.chance(0.5) ? 'die' : 'dieAfter'
    if (operation === 'write' && this.draws('diskFull')) return 'fail'
    return 'do'
  }

  arrivesWithoutSender(): boolean {
    return this.#random.chance(0.6)
  }

  /** Whether a fault of this kind comes now. */
  draws(fault: Fault, rate = this.rates[fault]): boolean {
    if (this.rates[fault] === 0 || !this.#random.chance(rate)) return false
    this.counts.set(fault, (this.counts.get(fault) ?? 0) + 1)
    return true
  }

  #dies(fault: 'crash' | 'diskCrash'): boolean {
    if (this.#deaths >= DEATHS_MAX || !this.draws(fault)) return false
    this.#deaths += 1
    return true
  }

  #pausesNow(): boolean {
    if (this.#pauses >= PAUSES_MAX || !this.draws('pause')) return false
    this.#pauses += 1
    return true
  }

  #pause({ process }: Instance): void {
    process.pause()
    const ms = this.#random.between(50, 5_000)
    process.simulation.schedule(undefined, ms, `${process.name} resumes`, () => process.resume())
  }
}

/** Codes that pass by themselves, with nothing done. */
function passing(request: Request, random: SeededRandom): unknown {
  const errorCode = random.pick([
    CODE.COORDINATOR_LOAD_IN_PROGRESS,
    CODE.COORDINATOR_NOT_AVAILABLE,
    CODE.NOT_COORDINATOR,
  ])
  switch (request.api) {
    case 'AddPartitionsToTxn':
    case 'TxnOffsetCommit':
      return {
        partitions: request.partitions.map(({ topic, partition }) => ({ topic, partition, errorCode })),
      }
    case 'AddOffsetsToTxn':
    case 'EndTxn':
    case 'Heartbeat':
      return { errorCode }
    case 'InitProducerId':
      return { errorCode, producerId: -1n, producerEpoch: -1 }
    case 'OffsetFetch':
      return { errorCode, partitions: [] }
    case 'FindCoordinator':
      return { errorCode: CODE.COORDINATOR_NOT_AVAILABLE, nodeId: -1 }
    case 'Produce':
      return {
        partitions: produced(
          request,
          random.pick([CODE.NOT_ENOUGH_REPLICAS, CODE.UNKNOWN_TOPIC_OR_PARTITION]),
        ),
      }
    case 'JoinGroup': {
      const { memberId } = request
      return { errorCode, generationId: -1, protocolName: '', leader: '', memberId, members: [] }
    }
    case 'SyncGroup':
      return { errorCode, assignment: new Uint8Array(0) }
    default:
      return undefined
  }
}

function produced({ partitions }: Extract<Request, { api: 'Produce' }>, errorCode: number) {
  return partitions.map(({ topic, partition }) => ({ topic, partition, errorCode, baseOffset: -1 }))
}
