/** Records that their operator refuses: dead letters come out exactly once, like everything else. */
import { memoryDisk } from '../../../src/index.ts'
import type { Story } from './story.ts'

export const RECORD_STORIES: readonly Story[] = [
  {
    name: 'records-refused',
    what: 'records become dead letters, while commits fail and instances die before, in and after them',
    options: { refuses: true },
    async run(stage) {
      await stage.feed(8)
      let n = 0
      stage.fates.onRequest = ({ process }, { api }) => {
        if (api !== 'EndTxn') return 'deliver'
        n += 1
        if (n % 5 === 2) return 'lose'
        if (n % 7 === 4) process.kill()
        return 'deliver'
      }
      stage.fates.onAnswer = (_, { api }) => (api === 'EndTxn' && n % 3 === 0 ? 'lose' : 'deliver')
      for (let life = 0; life < 6; life++) {
        const instance = stage.start(`i${life}`, memoryDisk())
        await stage.feed(4)
        await stage.passed(3_000)
        if (instance.process.isDead) stage.world.forget(instance)
        else await stage.close(instance)
      }
      stage.fates.onRequest = () => 'deliver'
      stage.fates.onAnswer = () => 'deliver'
      stage.start('last')
      await stage.drained()
      if (!stage.fed.some((record) => stage.world.isRefused(record))) throw new Error('nothing was refused')
      await stage.exact()
    },
  },
]
