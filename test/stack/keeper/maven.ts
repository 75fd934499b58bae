/** Java programs from Maven's repositories, in a cache below node_modules. */
import { execFile } from 'node:child_process'
import { access, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)

const CACHE = fileURLToPath(new URL('../../../node_modules/.cache/druse-stack', import.meta.url))
const KAFKA = fileURLToPath(new URL('kafka.xml', import.meta.url))
const JAVA_LOWEST = 17

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
  // What a broker logs through.
  const [group, artifact, log] = version.startsWith('3.')
    ? ['org.slf4j', 'slf4j-reload4j', '1.7.36']
    : ['org.apache.logging.log4j', 'log4j-slf4j-impl', '2.24.3']
  return cached(`kafka-${version}`, (folder) =>
    maven(
      '--file',
      KAFKA,
      'dependency:copy-dependencies',
      `-Dkafka.version=${version}`,
      `-Dlog.group=${group}`,
      `-Dlog.artifact=${artifact}`,
      `-Dlog.version=${log}`,
      `-DoutputDirectory=${folder}`,
    ),
  )
}

/** The jar to start Apicurio Registry with. */
export async function registryJar(version: string): Promise<string> {
  const folder = await cached(`apicurio-${version}`, (folder) =>
    maven(
      '--file',
      KAFKA,
      'dependency:unpack',
      `-Dartifact=io.apicurio:apicurio-registry-app:${version}:tar.gz:all`,
      `-DoutputDirectory=${folder}`,
    ),
  )
  const jar = (await readdir(folder)).find((name) => name.endsWith('-runner.jar'))
  if (jar === undefined) throw new Error(`${folder} has no jar to start the registry with`)
  return join(folder, jar)
}

async function maven(...args: string[]): Promise<void> {
  try {
    await run('mvn', ['--quiet', '--batch-mode', ...args])
  } catch (error) {
    const { code, stdout } = error as { code?: unknown; stdout?: string }
    if (code === 'ENOENT') throw new Error('no Maven')
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
