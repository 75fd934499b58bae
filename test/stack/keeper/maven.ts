/** Java programs from Maven's central repository, in a cache below node_modules. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { access, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)

const CACHE = fileURLToPath(new URL('../../../node_modules/.cache/druse-stack', import.meta.url))
const POM = fileURLToPath(new URL('kafka.xml', import.meta.url))
const JAVA_LOWEST = 17
const ATTEMPTS = 2
const REGISTRY = {
  version: '3.0.9',
  address:
    'https://repo.maven.apache.org/maven2/io/apicurio/apicurio-registry-app/3.0.9/apicurio-registry-app-3.0.9-all.tar.gz',
  sha256: '2b28181501a20cbf6efcd77f9b7153908fc01f3d3a7c32024c0bd9e1b04c8a43',
}

const ending = new AbortController()

/** Ends what runs, and lets nothing more begin. */
export function endMaven(): void {
  ending.abort()
}

export const JAVA = process.env.JAVA_HOME ? join(process.env.JAVA_HOME, 'bin', 'java') : 'java'

/** Throws what is missing. */
export async function needJava(): Promise<void> {
  const { stderr } = await run(JAVA, ['-version']).catch(() => ({ stderr: '' }))
  const version = /version "(\d+)/.exec(stderr)?.[1]
  if (version === undefined) throw new Error('no java')
  if (Number(version) < JAVA_LOWEST) throw new Error(`java is ${version}, not ${JAVA_LOWEST} or later`)
}

/** The folder with the jars of a broker. */
export function kafkaJars(version: string): Promise<string> {
  // Kafka 3 logs through something else than Kafka 4.
  const log = version.startsWith('3.')
    ? ['-Dlog.group=org.slf4j', '-Dlog.artifact=slf4j-reload4j', '-Dlog.version=1.7.36']
    : []
  return cached(`kafka-${version}`, (folder) =>
    maven(
      POM,
      'dependency:copy-dependencies',
      `-Dkafka.version=${version}`,
      ...log,
      `-DoutputDirectory=${folder}`,
    ),
  )
}

/** The jar to start Apicurio Registry with. Maven itself cannot have it: a parent of its POM is not published. */
export async function registryJar(): Promise<string> {
  const folder = await cached(`apicurio-${REGISTRY.version}`, async (folder) => {
    const response = await fetch(REGISTRY.address, { signal: ending.signal })
    if (!response.ok) throw new Error(`${REGISTRY.address} answers ${response.status}`)
    const archive = Buffer.from(await response.arrayBuffer())
    if (createHash('sha256').update(archive).digest('hex') !== REGISTRY.sha256) {
      throw new Error(`${REGISTRY.address} is not what it was`)
    }
    const path = join(folder, 'archive')
    await writeFile(path, archive)
    await run('tar', ['-xzf', path, '-C', folder])
    await rm(path)
  })
  const jar = (await readdir(folder)).find((name) => name.endsWith('-runner.jar'))
  if (jar === undefined) throw new Error(`${folder} has no jar to start the registry with`)
  return join(folder, jar)
}

/** Maven's local repository bears one writer at a time. Of other runs it cannot know: hence the attempts. */
let last: Promise<void> = Promise.resolve()

export function maven(pom: string, ...args: string[]): Promise<void> {
  const done = last.then(() => runMaven(['--file', pom, ...args], ATTEMPTS))
  last = done.catch(() => {})
  return done
}

async function runMaven(args: readonly string[], attempts: number): Promise<void> {
  try {
    await run('mvn', ['--quiet', '--batch-mode', '--strict-checksums', ...args], { signal: ending.signal })
  } catch (error) {
    const { code, stdout } = error as { code?: unknown; stdout?: string }
    if (code === 'ENOENT') throw new Error('no Maven')
    if (attempts > 1 && !ending.signal.aborted) return runMaven(args, attempts - 1)
    throw new Error(`Maven has failed: ${stdout?.split('\n').find((line) => line.includes('ERROR'))}`)
  }
}

/** A folder that is there as a whole or not at all, also when two runs want it at once. */
export async function cached(name: string, fill: (folder: string) => Promise<void>): Promise<string> {
  const folder = join(CACHE, name)
  if (await isThere(folder)) return folder
  await mkdir(dirname(folder), { recursive: true })
  const filling = await mkdtemp(`${folder}-`)
  try {
    await fill(filling)
    await rename(filling, folder)
  } catch (error) {
    await rm(filling, { recursive: true, force: true })
    if (!(await isThere(folder))) throw error
  }
  return folder
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
