/** Committed offsets that others have changed, or that are gone. */
import { CODE } from '../../../src/kafka/error-codes.ts'
import { COPYING, REPARTITION, Stage, TALLYING } from '../stage.ts'
import { EXTRA, INPUT } from '../workload.ts'
import type { Story } from './story.ts'

/** Less than an instance asks again for. */
const OLD_ANSWERS_MS = 2_000
const ALL = [...COPYING, ...TALLYING]
/** What an instance logs that does not believe an answer. */
const ASKS_AGAIN = 'task: cannot be taken yet, trying again'

export const OFFSET_STORIES: readonly Story[] = [
  {
    name: 'offsets-moved',
    what: 'a tool has moved an offset, and knows nothing of metadata',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      await stage.commitOffsets([{ topic: EXTRA, partition: 1, offset: 1, metadata: '' }])
      await stage.feed()
      await stage.stops(stage.start('i1', disk), 'METADATA_FOREIGN', ['1_1'])
    },
  },
  {
    name: 'offsets-moved-metadata-kept',
    what: 'a tool has moved an offset and kept the metadata: it says another offset',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      const offsets = await stage.committedOffsets()
      await stage.commitOffsets(
        offsets
          .filter(({ topic, partition }) => topic === INPUT && partition === 0)
          .map((at) => ({ ...at, offset: at.offset + 1 })),
      )
      await stage.feed()
      await stage.stops(stage.start('i1', disk), 'OFFSETS_INCONSISTENT', ['0_0'])
    },
  },
  {
    name: 'offsets-set-back',
    what: 'all offsets are those of an earlier commit, metadata and all: the regions have seen more',
    options: { exempt: /aside/ },
    async run(stage) {
      await stage.feed()
      const before = await stage
        .lived()
        .then(async (disk) => ({ disk, offsets: await stage.committedOffsets() }))
      await stage.feed(8)
      await stage.lived(before.disk)
      await stage.commitOffsets(before.offsets.filter(({ topic }) => topic !== INPUT))
      for (const disk of [undefined, before.disk]) {
        const instance = stage.start('i1', disk)
        await stage.stops(instance, 'OFFSETS_OLDER_THAN_STATE', TALLYING)
        await stage.close(instance)
      }
    },
  },
  {
    name: 'offsets-set-back-without-regions',
    what: 'all offsets are those of an earlier commit: the directory has nothing else of a task without regions to tell by',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      const before = await stage.committedOffsets()
      await stage.feed(8)
      await stage.lived(disk)
      await stage.commitOffsets(before.filter(({ topic }) => topic === INPUT))
      await stage.stops(stage.start('i1', disk), 'OFFSETS_OLDER_THAN_STATE', COPYING)
    },
  },
  {
    name: 'offsets-old-for-a-moment',
    what: 'a broker that has just come up answers offsets of long ago, then none, then those that are committed',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      const before = await stage.committedOffsets()
      await stage.feed(8)
      await stage.lived(disk)
      for (const old of [before, []]) {
        await stage.feed(4)
        answerOld(stage, 'i0', old)
        await stage.lived(disk)
        await stage.exact()
      }
    },
  },
  {
    name: 'offsets-old-for-one-that-runs',
    what: 'the same, to an instance that has its tasks open, and is given them again before it believes what it hears',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      const before = await stage.committedOffsets()
      await stage.feed(8)
      stage.start('i0', disk)
      await stage.drained()
      for (const old of [before, []]) {
        answerOld(stage, 'i0', old, rejoining('i0'))
        const heard = stage.logs.length
        const asksAgain = (log: string): boolean => log === `i0: ${ASKS_AGAIN}`
        const areAll = () => stage.logs.slice(heard).filter(asksAgain).length >= ALL.length
        await stage.until('all tasks ask again', areAll, OLD_ANSWERS_MS)
        stage.fates.onAnswer = rejoining('i0')
        await stage.feed(4)
        await stage.drained()
      }
      await stage.exact()
    },
  },
  {
    name: 'offsets-old-for-heirs',
    what: 'tasks move to instances that have never run them, and hear of offsets of long ago, or of none: others know better',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      const before = await stage.committedOffsets()
      await stage.feed(8)
      const first = stage.start('i0', disk)
      await stage.drained()
      for (const old of [before, []]) {
        const heirs = ['i1', 'i2', 'i3'].map((name) => `${name}${old.length}`)
        answerOld(stage, heirs, old)
        const heard = stage.logs.length
        const instances = heirs.map((name) => stage.start(name))
        const has = (task: string) => first.app.health.tasks.some((at) => at.task === task)
        await stage.until('a task without regions has moved', () => !has(COPYING[1]))
        await stage.feed(4)
        await stage.drained()
        const asked = stage.logs.slice(heard).filter((log) => log.endsWith(ASKS_AGAIN))
        if (asked.length === 0) stage.world.broken('nobody has heard of old offsets')
        for (const instance of instances) await stage.close(instance)
        await stage.drained()
      }
      await stage.exact()
    },
  },
  {
    name: 'offsets-old-for-one-that-was-away',
    what: 'an instance that has its tasks still open comes back after others have run them, and hears of its own last commits',
    async run(stage) {
      await stage.feed()
      const away = stage.start('i0')
      await stage.drained()
      const before = await stage.committedOffsets()
      stage.fates.onRequest = ({ name }, { api }) =>
        name === 'i0' && api === 'JoinGroup' ? 'lose' : 'deliver'
      stage.fates.onAnswer = rejoining('i0')
      const other = stage.start('i1')
      await stage.until('the other has all tasks', () => other.app.health.tasks.length === ALL.length)
      await stage.feed(8)
      await stage.drained()
      stage.fates.onRequest = () => 'deliver'
      answerOld(stage, 'i0', before)
      await stage.until('it is back', () => other.app.health.tasks.length < ALL.length)
      await stage.feed(4)
      await stage.drained()
      if (!stage.logs.includes(`i0: ${ASKS_AGAIN}`)) stage.world.broken('it has not asked again')
      await stage.close(away)
      await stage.exact()
    },
  },
  {
    name: 'offsets-expired-without-regions',
    what: 'the offsets have expired, and the directory knows that there were some',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      await stage.expireOffsets((topic) => topic === INPUT)
      await stage.stops(stage.start('i1', disk), 'STATE_WITHOUT_OFFSETS', COPYING)
    },
  },
  {
    name: 'offsets-expired',
    what: 'the offsets have expired: regions do not begin at the first record again',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      await stage.expireOffsets((topic) => topic !== INPUT)
      for (const heir of [disk, undefined]) {
        const instance = stage.start('i1', heir)
        await stage.stops(instance, 'STATE_WITHOUT_OFFSETS', TALLYING)
        await stage.close(instance)
      }
    },
  },
  {
    name: 'offset-of-one-input-expired',
    what: 'the offset of one of two inputs has expired: it is not taken for a new one',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      await stage.expireOffsets((topic, partition) => topic === EXTRA && partition === 0)
      await stage.stops(stage.start('i1', disk), 'OFFSETS_INCONSISTENT', ['1_0'])
    },
  },
  {
    name: 'mirrored-cluster',
    what: 'topics and offsets were copied to another cluster, where the same offsets are other records',
    async run(stage) {
      await stage.feed()
      await stage.lived()
      const offsets = await stage.committedOffsets()
      const other = await Stage.open({ seed: 2, trace: stage.trace })
      await other.feed(12)
      await other.lived()
      await other.commitOffsets(offsets)
      await other.stops(other.start('i1'), 'CLUSTER_CHANGED', ALL)
    },
  },
  {
    name: 'cluster-emptied',
    what: 'the cluster is a new one, and only the directory is left of the old one',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      const other = await Stage.open({ seed: 2, trace: stage.trace })
      await other.feed()
      await other.stops(other.start('i1', disk), 'STATE_WITHOUT_OFFSETS', TALLYING)
    },
  },
  {
    name: 'offsets-held-for-ever',
    what: 'a transaction holds the offsets of a task and never ends: told after its time, the other tasks go on',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      await stage.feed()
      stage.fates.onAnswer = (_, request, response) => {
        if (request.api !== 'OffsetFetch') return 'deliver'
        const { errorCode, partitions } = response as { errorCode: number; partitions: readonly Place[] }
        const held = partitions.map((place) =>
          place.topic === REPARTITION && place.partition === 0
            ? { ...place, errorCode: 88, offset: -1, metadata: '' }
            : place,
        )
        return { answer: { errorCode, partitions: held } }
      }
      const instance = stage.start('i1', disk)
      await stage.stops(instance, 'OFFSETS_UNSTABLE', ['1_0'])
      // Somebody has ended it; the next start goes on.
      stage.fates.onAnswer = () => 'deliver'
      await stage.close(instance)
      stage.start('i2', disk)
      await stage.drained()
      await stage.exact()
    },
  },
]

/** For a while the broker tells these instances of offsets of long ago. */
function answerOld(
  stage: Stage,
  instances: string | readonly string[],
  old: readonly (Place & Then)[],
  otherwise: OnAnswer = () => 'deliver',
): void {
  const untilMs = stage.nowMs + OLD_ANSWERS_MS
  const heard = new Set([instances].flat())
  stage.fates.onAnswer = (from, request, response) => {
    const isOld = request.api === 'OffsetFetch' && heard.has(from.name) && stage.nowMs <= untilMs
    if (!isOld) return otherwise(from, request, response)
    const { errorCode, partitions } = response as { errorCode: number; partitions: readonly Place[] }
    const said = partitions.map((place) => {
      const { topic, partition } = place
      const then = old.find((at) => at.topic === topic && at.partition === partition)
      return { ...place, errorCode: 0, offset: then?.offset ?? -1, metadata: then?.metadata ?? '' }
    })
    return { answer: { errorCode, partitions: said } }
  }
}

/** It is told once that the group rebalances: it joins again, and has its tasks still open. */
function rejoining(instance: string): OnAnswer {
  let isTold = false
  return ({ name }, { api }) => {
    if (api !== 'Heartbeat' || name !== instance || isTold) return 'deliver'
    isTold = true
    return { answer: { errorCode: CODE.REBALANCE_IN_PROGRESS } }
  }
}

type OnAnswer = Stage['fates']['onAnswer']

interface Then {
  readonly offset: number
  readonly metadata: string
}

interface Place {
  readonly topic: string
  readonly partition: number
}
