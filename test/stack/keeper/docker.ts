/** Brokers and registries as containers, by testcontainers. */
import {
  type ContainerRuntimeClient,
  GenericContainer,
  getContainerRuntimeClient,
  getReaper,
  ImageName,
  Network,
  type StartedTestContainer,
  Wait,
} from 'testcontainers'
import type { ClusterSpec } from '../requests.ts'
import { untilBrokerAnswers, untilRegistryAnswers } from './answers.ts'
import type { Engine, Node, Nodes, Registry } from './engine.ts'
import { freePort } from './ports.ts'
import { HEAP, newClusterId, settingsOf } from './settings.ts'

const REGISTRY_IMAGE = 'apicurio/apicurio-registry:3.0.9'
const REGISTRY_PORT = 8080
const CLIENT_PORT = 9092
const STARTUP_LIMIT_MS = 120_000
/** For a controlled shutdown, before Docker kills. */
const STOP_LIMIT_S = 60

const kafkaImage = (version: string): string => `apache/kafka:${version}`

const LOG_LINES_SHOWN = 20

export function docker(): Engine {
  return {
    name: 'Docker',
    prepareKafka: (version) => prepare(kafkaImage(version)),
    nodes: openNodes,
    prepareRegistry: () => prepare(REGISTRY_IMAGE),
    openRegistry,
  }
}

async function prepare(image: string): Promise<void> {
  let client: ContainerRuntimeClient
  try {
    client = await getContainerRuntimeClient()
  } catch {
    throw new Error('it does not answer')
  }
  const name = ImageName.fromString(image)
  if (!(await client.image.exists(name))) await client.image.pull(name)
  // Removes the containers of a keeper that was killed; TESTCONTAINERS_RYUK_DISABLED=true does without.
  await getReaper(client)
}

type Container = ReturnType<ContainerRuntimeClient['container']['getById']>

async function openNodes(spec: ClusterSpec): Promise<Nodes> {
  const client = await getContainerRuntimeClient()
  const { host } = client.info.containerRuntime
  const network = spec.nodes > 1 ? await new Network().start() : undefined
  const alias = (node: number) => (network === undefined ? 'localhost' : `kafka-${node}`)
  const clusterId = newClusterId()
  const ids = Array.from({ length: spec.nodes }, (_, i) => i + 1)
  const voters = ids.map((node) => `${node}@${alias(node)}:9093`).join()
  const firstStarts: Promise<StartedTestContainer>[] = []
  const nodes: Node[] = []
  for (const node of ids) {
    const port = await freePort()
    const address = `${host}:${port}`
    const unstarted = new GenericContainer(kafkaImage(spec.version))
      .withExposedPorts({ container: CLIENT_PORT, host: port })
      .withEnvironment({
        ...environmentOf({
          ...settingsOf(spec, node),
          'controller.quorum.voters': voters,
          // The broker cannot reach itself where clients reach it.
          listeners: `CLIENT://:${CLIENT_PORT},BROKER://:9094,CONTROLLER://:9093`,
          'advertised.listeners': `CLIENT://${address},BROKER://${alias(node)}:9094`,
          'listener.security.protocol.map': 'CLIENT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT',
          'inter.broker.listener.name': 'BROKER',
          'log.dirs': '/tmp/kafka-data',
        }),
        CLUSTER_ID: clusterId,
        KAFKA_HEAP_OPTS: HEAP,
      })
      .withWaitStrategy(Wait.forLogMessage(/Kafka Server started/))
      .withStartupTimeout(STARTUP_LIMIT_MS)
    if (network !== undefined) unstarted.withNetwork(network).withNetworkAliases(alias(node))
    let container: StartedTestContainer | undefined
    const running = () => {
      if (container === undefined) throw new Error(`Node ${node} was never started`)
      return client.container.getById(container.getId())
    }
    nodes.push({
      address,
      async start(brokers) {
        if (container === undefined) {
          const first = unstarted.start()
          firstStarts.push(first)
          container = await first
        } else await running().start()
        await untilBrokerAnswers(address, brokers, untilEnded(running()))
      },
      stop: () => running().stop({ t: STOP_LIMIT_S }),
      kill: () => running().kill(),
    })
  }
  let removed: Promise<void> | undefined
  const removeAll = async () => {
    // One that is being started cannot be removed before it is.
    const starts = await Promise.allSettled(firstStarts)
    const started = starts.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []))
    await Promise.all(started.map((container) => container.stop({ timeout: 0 })))
    await network?.stop()
  }
  const remove = () => {
    removed ??= removeAll()
    return removed
  }
  return { nodes, remove }
}

async function openRegistry(): Promise<Registry> {
  const container = await new GenericContainer(REGISTRY_IMAGE)
    .withExposedPorts(REGISTRY_PORT)
    .withWaitStrategy(Wait.forListeningPorts())
    .withStartupTimeout(STARTUP_LIMIT_MS)
    .start()
  const url = `http://${container.getHost()}:${container.getMappedPort(REGISTRY_PORT)}/apis/ccompat/v7`
  const client = await getContainerRuntimeClient()
  await untilRegistryAnswers(url, untilEnded(client.container.getById(container.getId())))
  return { url, remove: async () => void (await container.stop({ timeout: 0 })) }
}

/** Gives the end of its log. */
async function untilEnded(container: Container): Promise<string> {
  try {
    await container.wait()
    const log = await container.logs({ stdout: true, stderr: true, tail: LOG_LINES_SHOWN })
    return log.toString()
  } catch (error) {
    return (error as Error).message
  }
}

/** As the image reads it: a dot is one underscore, an underscore two, a dash three. */
function environmentOf(properties: Readonly<Record<string, string>>): Record<string, string> {
  const name = (property: string) =>
    `KAFKA_${property.replaceAll('_', '__').replaceAll('-', '___').replaceAll('.', '_').toUpperCase()}`
  return Object.fromEntries(
    Object.entries(properties).map(([property, value]) => [name(property), value] as const),
  )
}
