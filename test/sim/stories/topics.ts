/** Topics that are not what they were: deleted, created again, cut at either end, with other partitions. */
import { REPARTITION, type Stage, TALLYING } from '../stage.ts'
import { changelogOf, EXTRA, INPUT } from '../workload.ts'
import type { Story } from './story.ts'

const COUNTS = changelogOf('counts')
const COMPACTED = { 'cleanup.policy': 'compact' }

/** Another topic under the same name, at once. */
async function recreate(stage: Stage, topic: string, configs = {}): Promise<void> {
  await stage.deleteTopic(topic)
  await stage.createTopic(topic, configs)
}

export const TOPIC_STORIES: readonly Story[] = [
  {
    name: 'input-deleted',
    what: 'an input is deleted while the application runs: it ends with TOPIC_MISSING',
    async run(stage) {
      await stage.feed()
      const instance = stage.start()
      await stage.drained()
      await stage.deleteTopic(EXTRA)
      await stage.ends(instance, 'TOPIC_MISSING')
    },
  },
  {
    name: 'sink-deleted',
    what: 'a sink is deleted while the application runs: it ends with TOPIC_MISSING',
    async run(stage) {
      await stage.feed()
      const instance = stage.start()
      await stage.drained()
      await stage.deleteTopic('copies')
      await stage.feed()
      await stage.ends(instance, 'TOPIC_MISSING')
    },
  },
  {
    name: 'input-recreated-running',
    what: 'an input is deleted and created again while the application runs: it ends with TOPIC_RECREATED',
    async run(stage) {
      await stage.feed()
      const instance = stage.start()
      await stage.drained()
      await recreate(stage, EXTRA)
      await stage.ends(instance, 'TOPIC_RECREATED')
    },
  },
  {
    name: 'input-recreated-running-and-filled',
    what: 'the same, with so many records that the old offset is there again: only the topic’s id tells, and it is looked at',
    async run(stage) {
      await stage.feed()
      const instance = stage.start()
      await stage.drained()
      instance.process.pause()
      await recreate(stage, EXTRA)
      await stage.feed(24)
      instance.process.resume()
      await stage.ends(instance, 'TOPIC_RECREATED')
    },
  },
  {
    name: 'input-recreated',
    what: 'an input is deleted and created again meanwhile: its tasks have the offset of their other input alone',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      await recreate(stage, EXTRA)
      await stage.feed()
      await stage.stops(stage.start('i1', disk), 'OFFSETS_INCONSISTENT', TALLYING)
    },
  },
  {
    name: 'input-recreated-offsets-restored',
    what: 'the same, and a tool has brought the offsets back: they count other records',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      const offsets = await stage.committedOffsets()
      await recreate(stage, EXTRA)
      await stage.feed(16)
      await stage.commitOffsets(offsets.filter(({ topic }) => topic === EXTRA))
      await stage.stops(stage.start('i1', disk), 'TOPIC_RECREATED', TALLYING)
    },
  },
  {
    name: 'input-records-deleted',
    what: 'records of an input are deleted that nobody has processed: nothing is passed over',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      await stage.feed()
      await stage.deleteRecords({ topic: INPUT, partition: 0 })
      await stage.stops(stage.start('i1', disk), 'OFFSET_OUT_OF_RANGE', ['0_0'])
    },
  },
  {
    name: 'input-records-deleted-running',
    what: 'the same, of a task that runs and stands still for a while',
    async run(stage) {
      await stage.feed()
      const instance = stage.start()
      await stage.drained()
      instance.process.pause()
      await stage.feed()
      await stage.deleteRecords({ topic: EXTRA, partition: 1 })
      await stage.passed(1_000)
      instance.process.resume()
      await stage.stops(instance, 'OFFSET_OUT_OF_RANGE', ['1_1'])
    },
  },
  {
    name: 'repartitioned-records-deleted',
    what: 'records of a repartition topic are deleted that nobody has processed',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      const [before] = (await stage.committedOffsets()).filter(({ topic }) => topic === REPARTITION)
      await stage.feed()
      stage.fates.onRequest = (instance, request) => {
        // What is read of it never comes: its tasks fall behind.
        const reads = request.api === 'Fetch' && request.partitions.some(({ topic }) => topic === REPARTITION)
        return reads && instance.name === 'i1' ? 'lose' : 'deliver'
      }
      const behind = stage.start('i1', disk)
      await stage.until('the inputs are copied', () => stage.isCopied())
      await stage.close(behind)
      await stage.deleteRecords({ topic: REPARTITION, partition: before?.partition as number })
      await stage.stops(stage.start('i2', disk), 'OFFSET_OUT_OF_RANGE', ['1_0'])
    },
  },
  {
    name: 'repartition-recreated',
    what: 'a repartition topic is deleted with what nobody has processed, and made again by the start',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      await stage.deleteTopic(REPARTITION)
      await stage.feed()
      await stage.stops(stage.start('i1', disk), 'OFFSETS_INCONSISTENT', TALLYING)
    },
  },
  {
    name: 'partitions-added',
    what: 'an input has more partitions: the application ends with TOPIC_PARTITIONS, and goes on when started again',
    async run(stage) {
      await stage.feed()
      const instance = stage.start()
      await stage.drained()
      await stage.alterTopic(INPUT, (record) => ({ ...record, partitions: 3 }))
      await stage.ends(instance, 'TOPIC_PARTITIONS')
      await stage.close(instance)
      stage.start('i1', instance.disk)
      await stage.drained()
      await stage.exact()
    },
  },
  {
    name: 'partitions-added-where-keys-meet',
    what: 'an input of a region has more partitions: equal keys would meet in other tasks, so it does not start',
    async run(stage) {
      await stage.feed()
      const instance = stage.start()
      await stage.drained()
      await stage.alterTopic(EXTRA, (record) => ({ ...record, partitions: 3 }))
      await stage.ends(instance, 'TOPIC_PARTITIONS')
      await stage.close(instance)
      await stage.ends(stage.start('i1', instance.disk), 'TOPIC_PARTITIONS')
    },
  },
  {
    name: 'changelog-recreated',
    what: 'a changelog is another topic, as long as the old one: state that fits it by chance is not taken',
    async run(stage) {
      await stage.feed(12)
      const disk = await stage.lived()
      await recreate(stage, COUNTS, COMPACTED)
      // Of another region, but nobody can tell that by its positions.
      for (const partition of [0, 1]) await stage.fillAsFar({ topic: COUNTS, partition })
      await stage.feed()
      await stage.stops(stage.start('i1', disk), 'TOPIC_RECREATED', TALLYING)
    },
  },
  {
    name: 'changelog-recreated-running',
    what: 'the same under a running application: no position goes back, and it ends with TOPIC_RECREATED',
    async run(stage) {
      await stage.feed(12)
      const instance = stage.start()
      await stage.drained()
      await recreate(stage, COUNTS, COMPACTED)
      await stage.feed()
      await stage.ends(instance, 'TOPIC_RECREATED')
    },
  },
  {
    name: 'changelog-beginning-deleted',
    what: 'the beginning of a changelog is deleted: an empty directory cannot be filled, one that is whole goes on',
    async run(stage) {
      await stage.feed(12)
      const disk = await stage.lived()
      const alter = (policy: string) =>
        stage.alterTopic(COUNTS, (record) => ({
          ...record,
          configs: { ...record.configs, 'cleanup.policy': policy },
        }))
      await alter('compact,delete')
      for (const partition of [0, 1]) await stage.deleteRecords({ topic: COUNTS, partition }, 2)
      await alter('compact')
      const empty = stage.start('i1')
      await stage.stops(empty, 'CHANGELOG_TRUNCATED', TALLYING)
      await stage.close(empty)
      stage.start('i2', disk)
      await stage.drained()
    },
  },
  {
    name: 'changelog-end-lost',
    what: 'Kafka has lost the end of a changelog: not even a directory that is whole goes on',
    async run(stage) {
      await stage.feed(12)
      const disk = await stage.lived()
      await stage.loseEnd({ topic: COUNTS, partition: 0 }, 3)
      await stage.feed()
      const empty = stage.start('i1')
      await stage.stops(empty, 'CHANGELOG_TRUNCATED', ['1_0'])
      await stage.close(empty)
      await stage.stops(stage.start('i2', disk), 'CHANGELOG_TRUNCATED', ['1_0'])
    },
  },
  {
    name: 'changelog-end-lost-running',
    what: 'the same under a running application: the next commit of the task notices it',
    async run(stage) {
      await stage.feed(12)
      const instance = stage.start()
      await stage.drained()
      await stage.loseEnd({ topic: COUNTS, partition: 0 }, 3)
      await stage.feed(8)
      await stage.stops(instance, 'CHANGELOG_TRUNCATED', ['1_0'])
    },
  },
]
