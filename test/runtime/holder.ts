/** A process of its own that runs an application on a state directory: `node holder.ts <directory>`. Says when it runs. */
import { Druse, embeddedBroker, ensureTopics, string, Topology } from '../../src/index.ts'

const broker = await embeddedBroker()
await ensureTopics(broker.wire(), [{ topic: 'in', partitions: 1 }])
const topology = new Topology('app')
topology.stream('in', { key: string, value: string }).groupByKey().count('n')
const app = new Druse(topology, { wire: broker.wire(), stateDir: process.argv[2] as string })
await app.start()
await app.untilRunning()
console.log('running')
