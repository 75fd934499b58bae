/**
 * A process of its own with a broker on LevelDB and two workers: `node child.ts <root> <n> …` Says `worker n committed`
 * or `worker n aborted` on standard output after each answered EndTxn, until it is killed.
 */
import { writeSync } from 'node:fs'
import { EmbeddedBroker } from '../../src/embedded/embedded-broker.ts'
import { levelDisk } from '../../src/store/index.ts'
import { systemClock, systemRandom } from '../../src/system.ts'
import { Session } from '../contract/fixture.ts'
import { createTopic, work } from './story.ts'

const [root = '', ...starts] = process.argv.slice(2)
const store = await levelDisk(root).open('broker')
// A small cache, so that batches are read from the store too.
const options = { store, clock: systemClock, random: systemRandom, cacheBytesMax: 10_000 }
const broker = await EmbeddedBroker.open(options)
const traits = { sessionTimeoutMs: 6_000, patienceMs: 60_000, canCompact: true }
const cluster = { wire: broker.wire(), close: () => broker.close() }
await createTopic(new Session(cluster, traits, 'setup'))
await Promise.all(
  starts.map((start, i) =>
    work(
      new Session(cluster, traits, `worker ${i}`),
      `worker-${i}`,
      Number(start),
      ({ worker, n, committed }) => {
        writeSync(1, `${worker} ${n} ${committed ? 'committed' : 'aborted'}\n`)
      },
    ),
  ),
)
