/** Unclean elections: a leader without the last records, and those that were acknowledged are gone. */
import { EXTRA, INPUT } from '../workload.ts'
import type { Story } from './story.ts'

export const ELECTION_STORIES: readonly Story[] = [
  {
    name: 'input-end-lost',
    what: 'Kafka has lost the end of an input that was processed: nothing is read in place of it',
    async run(stage) {
      await stage.feed(12)
      const disk = await stage.lived()
      await stage.loseEnd({ topic: INPUT, partition: 0 }, 3)
      await stage.stops(stage.start('i1', disk), 'OFFSET_OUT_OF_RANGE', ['0_0'])
    },
  },
  {
    name: 'input-end-lost-running',
    what: 'the same under a running application, of one of two inputs of a task',
    async run(stage) {
      await stage.feed(12)
      const instance = stage.start()
      await stage.drained()
      await stage.loseEnd({ topic: EXTRA, partition: 1 }, 1)
      await stage.stops(instance, 'OFFSET_OUT_OF_RANGE', ['1_1'])
    },
  },
]
