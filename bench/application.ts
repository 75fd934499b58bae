/** Druse's side: an ordinary application of the public interface, a process of its own until it gets SIGTERM. */
import { Druse, kafkaWire, string, Topology } from '../src/index.ts'

const [kind, brokers, application, input, output, stateDir] = process.argv.slice(2) as string[]
if (stateDir === undefined)
  throw new Error('give kind, brokers, application, input, output and state directory')

const topology = new Topology(application as string)
const stream = topology.stream(input as string, { key: string, value: string })
if (kind === 'pass') stream.mapValues((value) => value.toUpperCase()).to(output as string, { value: string })
else
  stream
    .groupByKey()
    .count('counts')
    .toStream()
    .mapValues(String)
    .to(output as string, { value: string })

const app = new Druse(topology, {
  wire: kafkaWire({ brokers: (brokers as string).split(',') }),
  stateDir,
  commitIntervalMs: 100,
})
app.onStateChange((state) => {
  if (state === 'ERROR') process.exitCode = 1
})
process.once('SIGTERM', () => app.close())
await app.start()
