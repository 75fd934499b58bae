/** Brokers and registries as processes, where a JDK and Maven are. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { ClusterSpec } from '../requests.ts'
import { untilBrokerAnswers, untilRegistryAnswers } from './answers.ts'
import type { Engine, Node, Nodes, Registry } from './engine.ts'
import { cached, JAVA, kafkaJars, needJava, registryJar } from './maven.ts'
import { freePort } from './ports.ts'
import { HEAP, newClusterId, settingsOf } from './settings.ts'

const run = promisify(execFile)

const HOST = '127.0.0.1'
const LOG = fileURLToPath(new URL('log4j.properties', import.meta.url))
const QUICK = ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-XX:-UsePerfData', '-Djava.awt.headless=true']
const LOG_LINES_SHOWN = 20

/** `root` is a folder for data. */
export function jars(root: string): Engine {
  return {
    name: 'Java',
    async prepareKafka(version) {
      await needJava()
      await formatted(version)
    },
    nodes: (spec) => openNodes(root, spec),
    async prepareRegistry() {
      await needJava()
      await registryJar()
    },
    openRegistry: () => openRegistry(root),
  }
}

async function openNodes(root: string, spec: ClusterSpec): Promise<Nodes> {
  const folder = await mkdtemp(join(root, 'cluster-'))
  const ports: { readonly node: number; readonly client: number; readonly controller: number }[] = []
  for (let node = 1; node <= spec.nodes; node++) {
    ports.push({ node, client: await freePort(), controller: await freePort() })
  }
  const voters = ports.map(({ node, controller }) => `${node}@${HOST}:${controller}`).join()
  const clusterId = newClusterId()
  const classpath = join(await kafkaJars(spec.version), '*')
  const empty = await formatted(spec.version)
  const processes: JavaProcess[] = []
  const nodes = await Promise.all(
    ports.map(async ({ node, client, controller }): Promise<Node> => {
      const data = join(folder, `data-${node}`)
      await cp(empty, data, { recursive: true })
      // The rest is the metadata of any new cluster; this is the node's own.
      await writeProperties(join(data, 'meta.properties'), {
        version: '1',
        'cluster.id': clusterId,
        'node.id': String(node),
      })
      const properties = join(folder, `node-${node}.properties`)
      await writeProperties(properties, {
        ...settingsOf(spec, node),
        'controller.quorum.voters': voters,
        listeners: `CLIENT://${HOST}:${client},CONTROLLER://${HOST}:${controller}`,
        'advertised.listeners': `CLIENT://${HOST}:${client}`,
        'listener.security.protocol.map': 'CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT',
        'inter.broker.listener.name': 'CLIENT',
        'log.dirs': data,
      })
      const args = [HEAP, `-Dlog4j.configuration=file:${LOG}`, '-cp', classpath, 'kafka.Kafka', properties]
      const process = new JavaProcess(args, join(folder, `node-${node}.log`))
      processes.push(process)
      const address = `${HOST}:${client}`
      return {
        address,
        start: async (brokers) => untilBrokerAnswers(address, brokers, process.start()),
        stop: () => process.end('SIGTERM'),
        kill: () => process.end('SIGKILL'),
      }
    }),
  )
  const remove = async () => {
    await Promise.all(processes.map((process) => process.end('SIGKILL')))
    await rm(folder, { recursive: true, force: true })
  }
  return { nodes, remove }
}

/** What the format tool makes of a data directory. Running it for every node would take a second each. */
async function formatted(version: string): Promise<string> {
  const folder = await cached(`kafka-${version}-formatted`, async (folder) => {
    const classpath = join(await kafkaJars(version), '*')
    const data = join(folder, 'data')
    const properties = join(folder, 'server.properties')
    await writeProperties(properties, {
      ...settingsOf({ nodes: 1, version, configs: {} }, 1),
      'controller.quorum.voters': `1@${HOST}:9093`,
      listeners: `PLAINTEXT://${HOST}:9092,CONTROLLER://${HOST}:9093`,
      'log.dirs': data,
    })
    const tool = ['-cp', classpath, 'kafka.tools.StorageTool']
    await run(JAVA, [...QUICK, ...tool, 'format', '-t', newClusterId(), '-c', properties])
  })
  return join(folder, 'data')
}

async function openRegistry(root: string): Promise<Registry> {
  const jar = await registryJar()
  const port = await freePort()
  const folder = await mkdtemp(join(root, 'registry-'))
  const process = new JavaProcess(['-Xmx256m', '-jar', jar], join(folder, 'log'), {
    cwd: dirname(jar),
    env: { QUARKUS_HTTP_HOST: HOST, QUARKUS_HTTP_PORT: String(port) },
  })
  const url = `http://${HOST}:${port}/apis/ccompat/v7`
  const remove = async () => {
    await process.end('SIGKILL')
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await untilRegistryAnswers(url, process.start())
  } catch (error) {
    await remove()
    throw error
  }
  return { url, remove }
}

async function writeProperties(path: string, properties: Readonly<Record<string, string>>): Promise<void> {
  await writeFile(
    path,
    Object.entries(properties)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(''),
  )
}

class JavaProcess {
  readonly #args: readonly string[]
  readonly #log: string
  readonly #place: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv }
  #child: ChildProcess | undefined
  #ended: Promise<string> = Promise.resolve('')

  constructor(
    args: readonly string[],
    log: string,
    place: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
  ) {
    this.#args = args
    this.#log = log
    this.#place = place
  }

  /** Gives the end of its log when it has ended. */
  start(): Promise<string> {
    if (this.#child !== undefined) throw new Error('It runs')
    const { cwd, env } = this.#place
    // What is killed leaves the native libraries that it has unpacked.
    const temporary = `-Djava.io.tmpdir=${dirname(this.#log)}`
    const child = spawn(JAVA, [...QUICK, temporary, ...this.#args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(cwd === undefined ? {} : { cwd }),
      env: { ...process.env, ...env },
    })
    const log = createWriteStream(this.#log)
    child.stdout.pipe(log, { end: false })
    child.stderr.pipe(log, { end: false })
    this.#child = child
    this.#ended = new Promise((resolve) => {
      child.once('error', (error) => resolve(error.message))
      child.once('close', () => {
        this.#child = undefined
        log.end(async () => {
          const text = await readFile(this.#log, 'utf8').catch(() => '')
          resolve(text.split('\n').slice(-LOG_LINES_SHOWN).join('\n'))
        })
      })
    })
    return this.#ended
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.#child?.kill(signal)
    await this.#ended
  }
}
