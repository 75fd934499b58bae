/**
 * The keeper of what tests need beside their own process. Starts it when a test file asks for it (requests.ts) and ends
 * all of it when its standard input ends. Its first line is where it listens; at the end come lines for whoever reads
 * the results: what was used, or what is missing.
 */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Answer, ClusterSpec, Found, Name, Requests } from '../requests.ts'
import { untilBrokerAnswers, untilRegistryAnswers } from './answers.ts'
import { docker } from './docker.ts'
import type { Engine, Nodes } from './engine.ts'
import { jars } from './jars.ts'
import { endMaven } from './maven.ts'

const TAKEN = /address already in use|already allocated|already in use/i
const ATTEMPTS = 3

const root = await mkdtemp(join(tmpdir(), 'druse-stack-'))
// Also of libraries: testcontainers leaves a lock file.
process.env.TMPDIR = root
const engines: readonly Engine[] = [docker(), jars(root)]

/** What has to go at the end. */
const remove = new Set<() => Promise<void>>()
/** For the end: one line each. */
const used = new Set<string>()
const missing = new Set<string>()

const clusters: Nodes[] = []

/** The first engine that can. */
async function engineFor(
  what: string,
  prepare: (engine: Engine) => Promise<void>,
  instead: string,
): Promise<Found<Engine>> {
  const reasons: string[] = []
  for (const engine of engines) {
    try {
      await prepare(engine)
      return { found: engine }
    } catch (error) {
      reasons.push(`${engine.name}: ${(error as Error).message}`)
    }
  }
  missing.add(what)
  const toDo = `Start Docker, or install a JDK (17 or later) and Maven${instead}.`
  return { missing: `Nothing gives ${what} to test on (${reasons.join('; ')}). ${toDo}` }
}

async function openCluster(engine: Engine, spec: ClusterSpec): Promise<Nodes> {
  for (let attempt = 1; ; attempt++) {
    const nodes = await engine.nodes(spec)
    remove.add(nodes.remove)
    const starts = await Promise.allSettled(nodes.nodes.map((node) => node.start(spec.nodes)))
    const failed = starts.find((start) => start.status === 'rejected')
    if (failed === undefined) return nodes
    await removeNow(nodes.remove)
    // Somebody else has taken a port since it was found free.
    if (attempt === ATTEMPTS || !TAKEN.test(String(failed.reason))) throw failed.reason
  }
}

async function removeNow(one: () => Promise<void>): Promise<void> {
  remove.delete(one)
  await one()
}

const addresses = ({ nodes }: Nodes): string[] => nodes.map(({ address }) => address)

async function findKafka(version: string): Promise<Answer<'kafka'>> {
  const { KAFKA_BROKERS } = process.env
  if (KAFKA_BROKERS) {
    const brokers = KAFKA_BROKERS.split(',')
    await untilBrokerAnswers(brokers[0] as string, 1, Promise.resolve('KAFKA_BROKERS names it'))
    used.add(`Kafka: KAFKA_BROKERS=${KAFKA_BROKERS}`)
    return { found: { brokers } }
  }
  const engine = await kafkaEngine(version, ', or set KAFKA_BROKERS=host:port')
  if ('missing' in engine) return engine
  const nodes = await openCluster(engine.found, { nodes: 1, version, configs: {} })
  used.add(`Kafka ${version}: ${engine.found.name}`)
  return { found: { brokers: addresses(nodes) } }
}

const kafkaEngine = (version: string, instead = '') =>
  engineFor('Kafka', (engine) => engine.prepareKafka(version), instead)

async function findRegistry(): Promise<Answer<'registry'>> {
  const { REGISTRY_URL } = process.env
  if (REGISTRY_URL) {
    await untilRegistryAnswers(REGISTRY_URL, Promise.resolve('REGISTRY_URL names it'))
    used.add(`Schema registry: REGISTRY_URL=${REGISTRY_URL}`)
    return { found: { url: REGISTRY_URL } }
  }
  const prepare = (engine: Engine) => engine.prepareRegistry()
  const engine = await engineFor('a schema registry', prepare, ', or set REGISTRY_URL')
  if ('missing' in engine) return engine
  const registry = await engine.found.openRegistry()
  remove.add(registry.remove)
  used.add(`Schema registry: ${engine.found.name}`)
  return { found: { url: registry.url } }
}

/** The same for all that ask. */
function sharing<K, T>(find: (key: K) => Promise<T>): (key: K) => Promise<T> {
  const known = new Map<K, Promise<T>>()
  return (key) => {
    const found = known.get(key) ?? find(key)
    known.set(key, found)
    return found
  }
}

function clusterOf(number: number): Nodes {
  const cluster = clusters[number]
  if (cluster === undefined) throw new Error(`There is no cluster ${number}`)
  return cluster
}

const kafka = sharing(findKafka)
const registry = sharing(findRegistry)

const answers: { [N in Name]: (request: Requests[N]['request']) => Promise<Answer<N>> } = {
  kafka: ({ version }) => kafka(version),
  registry: () => registry(undefined),
  async clusters({ version }) {
    const engine = await kafkaEngine(version)
    return 'missing' in engine ? engine : { found: {} }
  },
  async openCluster(spec) {
    const engine = await kafkaEngine(spec.version)
    if ('missing' in engine) throw new Error(engine.missing)
    const nodes = await openCluster(engine.found, spec)
    return { cluster: clusters.push(nodes) - 1, brokers: addresses(nodes) }
  },
  async closeCluster({ cluster }) {
    await removeNow(clusterOf(cluster).remove)
    return {}
  },
  async node({ cluster, node, act }) {
    const found = clusterOf(cluster).nodes[node - 1]
    if (found === undefined) throw new Error(`There is no node ${node}`)
    await found[act](1)
    return {}
  },
}

async function answer(request: IncomingMessage): Promise<unknown> {
  const name = request.url?.slice(1) as Name
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  const body = JSON.parse(Buffer.concat(parts).toString()) as never
  return answers[name](body)
}

/** Awaited at the end: what is being started cannot be removed yet. */
const underWay = new Set<Promise<void>>()

const server = createServer((request, response) => {
  const done = answer(request)
    .then(
      (answer) => ({ answer }),
      (error: unknown) => ({ error: error instanceof Error ? error.message : String(error) }),
    )
    .then((result) => {
      response.end(JSON.stringify(result))
      underWay.delete(done)
    })
  underWay.add(done)
})

async function close(): Promise<void> {
  server.close()
  endMaven()
  await removeAll()
  // What was only begun then has failed by now, or is there.
  await Promise.all(underWay)
  await removeAll()
  await rm(root, { recursive: true, force: true })
}

async function removeAll(): Promise<void> {
  const removals = await Promise.allSettled(Array.from(remove, removeNow))
  for (const removal of removals) if (removal.status === 'rejected') console.error(removal.reason)
}

const socket = join(root, 'socket')
server.listen(socket)
await once(server, 'listening')
console.log(socket)

process.stdin.resume()
await once(process.stdin, 'close')
await close()
for (const line of used) console.log(line)
if (missing.size > 0) {
  const what = Array.from(missing).join(' and ')
  console.log(
    `Tests that need ${what} did not run: start Docker, or install a JDK (17 or later) and Maven, or set KAFKA_BROKERS (README, "Working on Druse").`,
  )
}
process.exit()
