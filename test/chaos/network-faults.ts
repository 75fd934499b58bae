/** What networks do, by the proxy of one place. */
import type { Api } from '../../src/ports.ts'
import type { SeededRandom } from '../../src/testing/seeded-random.ts'
import type { Exchange, Fate, KafkaProxy } from '../stack/proxy.ts'
import { shuffled, wait } from './process-faults.ts'
import { SETTINGS } from './settings.ts'
import type { Fault, Stage } from './stage.ts'

const APIS = [
  'AddPartitionsToTxn',
  'Produce',
  'AddOffsetsToTxn',
  'TxnOffsetCommit',
  'EndTxn',
  'InitProducerId',
  'FindCoordinator',
  'OffsetFetch',
  'JoinGroup',
  'SyncGroup',
  'Heartbeat',
  'Fetch',
  'ListOffsets',
  'Metadata',
] as const satisfies readonly Api[]
/** Those of a transaction, where it is worth most. */
const STEPS: readonly Api[] = APIS.slice(0, 5)
/** A request of a kind that comes but seldom is waited for so long. */
const REQUEST_LIMIT_MS = 6_000
/** Most requests of a storm pass. */
const STORM_SHARE = 0.04
/** A time-out, a new epoch, and a transaction or two. */
const LATE_LIMIT_MS = 15_000

interface Blow {
  readonly what: string
  /** Resolves to whether it has struck anything. */
  readonly strike: (stage: Stage, random: SeededRandom, proxy: KafkaProxy) => Promise<boolean>
}

const later = (stage: Stage, random: SeededRandom): Promise<void> => wait(stage, random.between(50, 5_000))

function fateOf(kind: FateName, stage: Stage, random: SeededRandom): Fate {
  if (kind === 'late') return { after: later(stage, random) }
  if (kind === 'lateAnswer') return { answerAfter: later(stage, random) }
  return kind
}

const FATES = ['cut', 'silent', 'torn', 'lose', 'halfOpen', 'late', 'lateAnswer'] as const
type FateName = (typeof FATES)[number]

/** One request of one kind, the nth from now. */
function oneOf(api: Api, kind: FateName): Blow {
  return {
    what: `${api} ${kind}`,
    async strike(stage, random, proxy) {
      let left = STEPS.includes(api) ? random.between(1, 10) : 1
      const struck = Promise.withResolvers<void>()
      proxy.fate = (exchange) => {
        if (exchange.api !== api) return 'pass'
        left -= 1
        if (left !== 0) return 'pass'
        struck.resolve()
        return fateOf(kind, stage, random)
      }
      await Promise.race([struck.promise, wait(stage, REQUEST_LIMIT_MS)])
      return left <= 0
    },
  }
}

const any = (random: SeededRandom): Blow =>
  oneOf(random.chance(0.6) ? random.pick(STEPS) : random.pick(APIS), random.pick(FATES))

/** Many requests of a transaction, now and then. */
const storm: Blow = {
  what: 'storm',
  async strike(stage, random, proxy) {
    let struck = 0
    proxy.fate = ({ api }) => {
      if (!STEPS.includes(api) || !random.chance(STORM_SHARE)) return 'pass'
      struck += 1
      return fateOf(random.pick(['cut', 'torn', 'lose', 'lateAnswer'] as const), stage, random)
    }
    await wait(stage, random.between(2_000, 6_000))
    return struck > 0
  },
}

/** Whatever is sent or answered goes nowhere, and connections stay open. */
const partition: Blow = {
  what: 'partition',
  async strike(stage, random, proxy) {
    proxy.fate = () => 'halfOpen'
    await wait(stage, random.between(1_000, SETTINGS.sessionTimeoutMs + 4_000))
    return true
  },
}

const slow: Blow = {
  what: 'slow',
  async strike(stage, random, proxy) {
    proxy.bytesPerSecond = random.between(10_000, 60_000)
    await wait(stage, random.between(2_000, 6_000))
    return true
  },
}

/** KAFKA-17754: an EndTxn arrives in the middle of a later transaction. */
const lateEnd: Blow = {
  what: 'EndTxn in a later transaction',
  async strike(stage, random, proxy) {
    const release = Promise.withResolvers<void>()
    const done = Promise.withResolvers<void>()
    let late: Exchange | undefined
    let left = random.between(1, 3)
    proxy.fate = (exchange) => {
      if (late === undefined && exchange.api === 'EndTxn') {
        late = exchange
        return { after: release.promise }
      }
      if (late === undefined || exchange.api !== 'TxnOffsetCommit') return 'pass'
      left -= 1
      if (left !== 0) return 'pass'
      release.resolve()
      done.resolve()
      // Behind the late one, and not for ever: its connection may be gone.
      return { after: Promise.race([late.answered, wait(stage, 1_000)]) }
    }
    await Promise.race([done.promise, wait(stage, LATE_LIMIT_MS)])
    release.resolve()
    return left <= 0
  },
}

const MANY = 5
const BLOWS: readonly ((random: SeededRandom) => Blow)[] = [
  ...Array.from({ length: MANY }, () => any),
  () => storm,
  () => partition,
  () => slow,
  () => lateEnd,
  () => lateEnd,
]

/** All kinds, in an order of the seed, over and over. */
export class NetworkFaults {
  readonly #random: SeededRandom
  #left: ((random: SeededRandom) => Blow)[] = []

  constructor(random: SeededRandom) {
    this.#random = random
  }

  readonly fault: Fault = async (stage, random) => {
    if (this.#left.length === 0) this.#left = shuffled(BLOWS, this.#random)
    await strike((this.#left.pop() as (random: SeededRandom) => Blow)(random), stage, random)
  }
}

async function strike(blow: Blow, stage: Stage, random: SeededRandom): Promise<void> {
  const { proxy } = random.pick(stage.places)
  try {
    const hasStruck = await blow.strike(stage, random, proxy)
    if (hasStruck) stage.happened('proxy', blow.what)
    else stage.missed('proxy', blow.what)
  } finally {
    proxy.fate = () => 'pass'
    proxy.bytesPerSecond = undefined
  }
}

/** Always the same to the same request; an EndTxn that comes late comes in the middle of a later transaction. */
export const strikeWith =
  (api: Api, kind: FateName): Fault =>
  async (stage, random) => {
    await strike(api === 'EndTxn' && kind === 'late' ? lateEnd : oneOf(api, kind), stage, random)
    await wait(stage, random.between(500, 1_500))
  }
