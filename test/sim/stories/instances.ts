/** Instances that are in each other's way for long: what they know is out of date when they go on. */
import { copyOf, TALLYING } from '../stage.ts'
import { changelogOf } from '../workload.ts'
import type { Story } from './story.ts'

const SESSION_MS = 3_000

export const INSTANCE_STORIES: readonly Story[] = [
  {
    name: 'frozen-while-taking',
    what: 'an instance freezes when it knows what was committed and before it has replayed it; others go on meanwhile',
    async run(stage) {
      await stage.feed()
      await stage.lived()
      let isFrozen = false
      stage.fates.onRequest = ({ name, process }, request) => {
        const begins =
          request.api === 'ListOffsets' &&
          request.partitions[0]?.topic === changelogOf('counts') &&
          name === 'i1'
        // It hears late that it is no member any more.
        if (request.api === 'Heartbeat' && isFrozen && name === 'i1') return { delayMs: 300 }
        if (!begins || isFrozen) return 'deliver'
        isFrozen = true
        process.pause()
        return 'hold'
      }
      const frozen = stage.start('i1')
      await stage.until('it has frozen', () => isFrozen)
      stage.start('i2')
      await stage.passed(SESSION_MS)
      await stage.feed(8)
      await stage.drained()
      frozen.process.resume()
      await stage.passed(SESSION_MS)
      await stage.feed()
      await stage.drained()
      await stage.exact()
    },
  },
  {
    name: 'frozen-while-committing',
    what: 'an instance freezes with everything sent but the end of its transaction; its heir waits, then goes on',
    async run(stage) {
      await stage.feed()
      const first = stage.start('i1')
      await stage.drained()
      let isFrozen = false
      stage.fates.onRequest = ({ name, process }, { api }) => {
        if (api !== 'EndTxn' || name !== 'i1' || isFrozen) return 'deliver'
        isFrozen = true
        process.pause()
        return 'hold'
      }
      await stage.feed()
      await stage.until('it has frozen', () => isFrozen)
      stage.start('i2')
      await stage.feed()
      await stage.drained()
      first.process.resume()
      await stage.feed()
      await stage.drained()
      await stage.passed(SESSION_MS)
      await stage.exact()
    },
  },
  {
    name: 'take-given-up',
    what: 'a task is given up while its directory is being opened, and opened again before that is through',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      await stage.feed()
      let isSlow = false
      stage.fates.onAnswer = ({ name }, { api }) => {
        if (api !== 'OffsetFetch' || name !== 'i1' || isSlow) return 'deliver'
        isSlow = true
        stage.fates.slow(TALLYING.length, 2 * SESSION_MS)
        return 'deliver'
      }
      const first = stage.start('i1', disk)
      await stage.until('it opens directories', () => isSlow)
      const second = stage.start('i2')
      await stage.feed()
      await stage.drained()
      await stage.close(second)
      await stage.feed()
      await stage.drained()
      await stage.passed(2 * SESSION_MS)
      await stage.close(first)
      stage.start('i3', disk)
      await stage.feed()
      await stage.drained()
      await stage.exact()
    },
  },
  {
    name: 'directory-copied',
    what: 'two instances have copies of one directory, and with it one transactional id: they fence each other, exactly once',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      const copy = await copyOf(disk)
      stage.start('i1', disk)
      stage.start('i2', copy)
      for (let n = 0; n < 6; n++) {
        await stage.feed()
        await stage.passed(1_000)
      }
      await stage.drained()
      await stage.passed(SESSION_MS)
      await stage.exact()
    },
  },
]
