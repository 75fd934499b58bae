/** Processes that die, stand still, come and go. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { SeededRandom } from '../../src/testing/seeded-random.ts'
import { type Armed, POINTS, type Point } from './failpoints.ts'
import type { Place } from './place.ts'
import { SETTINGS } from './settings.ts'
import type { Fault, Stage } from './stage.ts'

const POINT_LIMIT_MS = 12_000
/** It has to be come to, however slow the machine is. */
const FIRST_POINT_LIMIT_MS = 90_000
const RUNNING_LIMIT_MS = 20_000
/** A point in the flow of records is not hit at once. */
const NTH_MAX = 12

/** Cut short at the end of the faults. */
export const wait = (stage: Stage, ms: number): Promise<void> =>
  sleep(ms, undefined, { signal: stage.signal }).catch(() => {})

export const kill: Fault = async (stage, random) => {
  const { places } = stage
  const variant = random.below(10)
  if (variant === 0) {
    stage.happened('kill', 'all at once')
    await Promise.all(places.map((place) => place.kill()))
    return
  }
  const place = random.pick(places)
  if (variant === 1) {
    stage.happened('kill', 'and another directory')
    await place.holding(async () => {
      await place.kill()
      await place.emptyDirectory()
    })
    return
  }
  stage.happened('kill', 'and the same directory')
  await place.kill()
}

export const freeze: Fault = async (stage, random) => {
  const { places } = stage
  const all = random.chance(0.15)
  const frozen = all ? places : [random.pick(places)]
  const { ms, what } = standstill(random)
  stage.happened('freeze', all ? `all, ${what}` : what)
  for (const place of frozen) place.freeze()
  await wait(stage, ms)
  for (const place of frozen) place.thaw()
}

function standstill(random: SeededRandom): { ms: number; what: string } {
  const { sessionTimeoutMs, transactionTimeoutMs } = SETTINGS
  if (random.chance(0.2)) {
    return {
      ms: sessionTimeoutMs + transactionTimeoutMs + random.between(1_500, 3_000),
      what: 'beyond session and transaction',
    }
  }
  return { ms: sessionTimeoutMs + random.between(500, 3_000), what: 'beyond the session' }
}

export const rebalance: Fault = async (stage, random) => {
  const guest = random.pick(stage.guests)
  stage.happened('rebalance', 'an instance comes')
  guest.start()
  await wait(stage, random.between(500, 6_000))
  const how = random.chance(0.7) ? 'leaves' : 'dies'
  stage.happened('rebalance', `and ${how}`)
  await (how === 'leaves' ? guest.terminate() : guest.kill())
}

export const rolling: Fault = async (stage, random) => {
  stage.happened('rolling', 'restart')
  for (const place of stage.places) {
    if (stage.signal.aborted) return
    await place.terminate()
    if (random.chance(0.7)) await untilRunning(stage, place)
  }
}

async function untilRunning(stage: Stage, place: Place): Promise<void> {
  const deadline = performance.now() + RUNNING_LIMIT_MS
  while (place.health?.state !== 'RUNNING' && performance.now() < deadline && !stage.signal.aborted) {
    await sleep(50)
  }
}

/** SIGKILL at every point, then SIGSTOP at every point, each in an order of the seed; over and over. */
export class Failpoints {
  readonly #random: SeededRandom
  readonly #hits = new Map<string, number>()
  #left: { readonly point: Point; readonly signal: Armed['signal'] }[] = []

  constructor(random: SeededRandom) {
    this.#random = random
  }

  readonly fault: Fault = async (stage, random) => {
    const { point, signal } = this.#next()
    const place = random.pick(stage.places)
    const isOften = point.occasion === 'flow' && !/^(DeleteRecords|Heartbeat)/.test(point.name)
    const armed = { point: point.name, nth: isOften ? random.between(1, NTH_MAX) : 1, signal }
    const hit = place.untilPointHit(POINT_LIMIT_MS)
    let terminated: Promise<void> | undefined
    if (point.occasion === 'start') await place.holding(() => place.kill(), armed)
    else {
      place.arm(armed)
      if (point.occasion === 'stop') terminated = place.terminate()
    }
    const isHit = await hit
    if (!isHit) place.arm(undefined)
    else if (signal === 'SIGSTOP') {
      const { ms } = random.chance(0.5) ? { ms: random.between(200, 1_500) } : standstill(random)
      await wait(stage, ms)
      place.thaw()
    }
    await terminated
    if (isHit) stage.happened('failpoint', `${signal} at ${point.name}`)
    else stage.missed('failpoint', point.name)
  }

  /** A first start that dies at every step: the topics are there and nothing is committed, or not all of it is known. */
  async onFirstStart(stage: Stage, place: Place): Promise<void> {
    for (const [point, nth] of FIRST_STEPS) {
      const hit = place.untilPointHit(FIRST_POINT_LIMIT_MS)
      const armed: Armed = { point, nth, signal: 'SIGKILL' }
      await place.holding(() => place.kill(), armed)
      if (!(await hit)) throw new Error(`The first start did not come to ${point}`)
      stage.happened('failpoint', `SIGKILL at ${point}, first start`)
    }
  }

  /** A point was hit. */
  hit(point: string): void {
    this.#hits.set(point, (this.#hits.get(point) ?? 0) + 1)
  }

  get hits(): ReadonlyMap<string, number> {
    return this.#hits
  }

  #next() {
    if (this.#left.length === 0) {
      const points = POINTS.filter(({ occasion }) => occasion !== 'firstStart')
      // Taken from the end.
      this.#left = (['SIGSTOP', 'SIGKILL'] as const).flatMap((signal) =>
        shuffled(points, this.#random).map((point) => ({ point, signal })),
      )
    }
    return this.#left.pop() as { readonly point: Point; readonly signal: Armed['signal'] }
  }
}

const FIRST_STEPS = [
  ['CreateTopics.before', 1],
  ['CreateTopics.answered', 1],
  ['AddOffsetsToTxn.answered', 1],
  ['TxnOffsetCommit.answered', 1],
  ['EndTxn.answered', 1],
] as const

export function shuffled<T>(list: readonly T[], random: SeededRandom): T[] {
  const left = [...list]
  return list.map(() => left.splice(random.below(left.length), 1)[0] as T)
}
