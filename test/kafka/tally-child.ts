/** A process of its own that runs the topology of the fault tests: `node tally-child.ts <brokers> <prefix> <directory>` */
import { Druse, silentLogger } from '../../src/index.ts'
import { kafkaWire } from '../../src/kafka/kafkajs.ts'
import { tallyOf } from '../runtime/tally-topology.ts'
import { ON_KAFKA } from './settings.ts'

const [brokers = '', prefix = '', stateDir = ''] = process.argv.slice(2)
const wire = kafkaWire({ brokers: brokers.split(',') })
const app = new Druse(tallyOf(prefix), {
  ...ON_KAFKA,
  // Kafka is not to end a transaction of which a test holds a request.
  transactionTimeoutMs: 60_000,
  logger: silentLogger,
  wire,
  stateDir,
})
app.onStateChange((state) => console.log(state))
await app.start()
