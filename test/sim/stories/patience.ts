/** What does not work for minutes: it is tried again and again, but not in a tight loop, and goes on when it works. */
import type { Api } from '../../../src/ports.ts'
import type { Stage } from '../stage.ts'
import { EXTRA, INPUT, TALLIES } from '../workload.ts'
import { Violation } from '../world.ts'
import type { Story } from './story.ts'

const LASTS_MS = 120_000
/** Longer than any pause between two attempts. */
const BACK_MS = 15_000
/** Of a kind, in the mean over the time that it lasts, with four tasks. */
const REQUESTS_PER_SECOND = 8
/** Fetches and heartbeats have intervals of their own. */
const EVENTS_PER_SECOND = 150

const TRIED: readonly Api[] = [
  'InitProducerId',
  'OffsetFetch',
  'AddPartitionsToTxn',
  'Produce',
  'TxnOffsetCommit',
  'EndTxn',
  'JoinGroup',
  'ListOffsets',
]

/** Nothing is asked more often than a broker can bear, however long it lasts. Errors: Violation. */
async function bear(stage: Stage): Promise<void> {
  const before = new Map(TRIED.map((api) => [api, stage.fates.count(api)]))
  const events = stage.world.simulation.count
  await stage.passed(LASTS_MS)
  const seconds = LASTS_MS / 1_000
  for (const api of TRIED) {
    const perSecond = (stage.fates.count(api) - (before.get(api) ?? 0)) / seconds
    if (perSecond > REQUESTS_PER_SECOND) throw new Violation(`${perSecond.toFixed(1)} ${api} per second`)
  }
  const perSecond = (stage.world.simulation.count - events) / seconds
  if (perSecond > EVENTS_PER_SECOND) throw new Violation(`${perSecond.toFixed(0)} events per second`)
}

/** What could not be done is done soon, exactly once. Errors: Violation. */
async function recover(stage: Stage): Promise<void> {
  await stage.feed(2)
  const untilMs = stage.nowMs + BACK_MS
  await stage.drained()
  if (stage.nowMs > untilMs)
    throw new Violation(`it went on only ${stage.nowMs - untilMs + BACK_MS} ms later`)
  await stage.exact()
}

export const PATIENCE_STORIES: readonly Story[] = [
  {
    name: 'no-producer',
    what: 'no producer can be had for two minutes',
    async run(stage) {
      await stage.feed()
      stage.start()
      await stage.drained()
      let isStruck = false
      stage.fates.onAnswer = (_, { api }) => {
        if (api === 'InitProducerId') return { answer: { errorCode: 51, producerId: -1n, producerEpoch: -1 } }
        if (api !== 'EndTxn' || isStruck) return 'deliver'
        isStruck = true
        return 'lose'
      }
      await stage.feed()
      await bear(stage)
      stage.fates.onAnswer = () => 'deliver'
      await recover(stage)
    },
  },
  {
    name: 'no-commit',
    what: 'every commit fails for two minutes',
    async run(stage) {
      await stage.feed()
      stage.start()
      await stage.drained()
      stage.fates.onRequest = (_, { api }) => (api === 'EndTxn' ? 'lose' : 'deliver')
      await stage.feed()
      await bear(stage)
      stage.fates.onRequest = () => 'deliver'
      await recover(stage)
    },
  },
  {
    name: 'fenced-again-and-again',
    what: 'the broker takes the producer for fenced, for two minutes',
    async run(stage) {
      await stage.feed()
      stage.start()
      await stage.drained()
      stage.fates.onRequest = (_, request) => {
        if (request.api !== 'AddPartitionsToTxn') return 'deliver'
        const partitions = request.partitions.map((place) => ({ ...place, errorCode: 90 }))
        return { answer: { partitions } }
      }
      await stage.feed()
      await bear(stage)
      stage.fates.onRequest = () => 'deliver'
      await recover(stage)
    },
  },
  {
    name: 'no-offsets',
    what: 'the committed offsets cannot be read for two minutes',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      await stage.feed()
      stage.fates.onAnswer = (_, { api }) =>
        api === 'OffsetFetch' ? { answer: { errorCode: 14, partitions: [] } } : 'deliver'
      stage.start('i1', disk)
      await bear(stage)
      stage.fates.onAnswer = () => 'deliver'
      await recover(stage)
    },
  },
  {
    name: 'no-room',
    what: 'there is no room on the disk for two minutes where tasks are to be restored',
    async run(stage) {
      await stage.feed()
      await stage.lived()
      await stage.feed()
      const instance = stage.start('i1')
      await stage.until('it has started', () => instance.hasStarted)
      instance.disk.full = true
      await bear(stage)
      instance.disk.full = false
      await recover(stage)
    },
  },
  {
    name: 'no-assignment',
    what: 'the group turns the member away for two minutes',
    async run(stage) {
      await stage.feed()
      const instance = stage.start()
      await stage.drained()
      stage.fates.onAnswer = (_, { api }) => {
        if (api === 'SyncGroup') return { answer: { errorCode: 22, assignment: new Uint8Array(0) } }
        return api === 'Heartbeat' ? { answer: { errorCode: 22 } } : 'deliver'
      }
      await stage.feed()
      await bear(stage)
      stage.fates.onAnswer = () => 'deliver'
      if (instance.failure !== undefined) throw instance.failure
      await recover(stage)
    },
  },
  {
    name: 'appends-put-off',
    what: 'every other append is put off, for too few replicas: the same bytes go to the same place, later',
    async run(stage) {
      await stage.feed()
      stage.start()
      let n = 0
      stage.fates.onRequest = (_, request) => {
        if (request.api !== 'Produce' || ++n % 2 === 0) return 'deliver'
        const partitions = request.partitions.map(({ topic, partition }) => ({
          topic,
          partition,
          errorCode: 19,
          baseOffset: -1,
        }))
        return { answer: { partitions } }
      }
      for (let round = 0; round < 5; round++) {
        await stage.feed(2)
        await stage.passed(500)
      }
      await stage.drained()
      await stage.exact()
    },
  },
  {
    name: 'hanging-transaction',
    what: 'a transaction of others before an input does not end: told, nothing is read beyond it, the rest goes on',
    async run(stage) {
      await stage.feed()
      const instance = stage.start()
      await stage.drained()
      const end = await stage.hang({ topic: INPUT, partition: 0 })
      await stage.feed(8)
      await bear(stage)
      const told = stage.logs.filter((line) => line.includes('stands at an open transaction'))
      if (told.length === 0) throw new Violation('nothing tells of it')
      if (instance.app.health.tasks.some(({ status }) => status !== 'running'))
        throw new Violation('a task does not run')
      if (stage.isCopied()) throw new Violation('it was read beyond an open transaction')
      const tallied = stage.world.ledger.counts.get(TALLIES) ?? 0
      if (tallied < stage.fed.filter(({ topic }) => topic === EXTRA).length)
        throw new Violation('other inputs stand still, too')
      await end()
      await recover(stage)
    },
  },
]
