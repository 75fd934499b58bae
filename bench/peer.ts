/** Kafka Streams' side: built by Maven at first use, run by the JDK. */
import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Program } from './run.ts'

const DIRECTORY = fileURLToPath(new URL('peer', import.meta.url))
const CLASSES = join(DIRECTORY, 'target', 'classes')
const LIBRARIES = join(DIRECTORY, 'target', 'libraries')
const SOURCES = ['pom.xml', join('src', 'main', 'java', 'Peer.java')]

/** Errors: without JDK or Maven, or when it cannot be built. */
export function kafkaStreams(): Program {
  if (!isBuilt()) build()
  const classPath = [CLASSES, join(LIBRARIES, '*')].join(delimiter)
  return { name: 'kafka-streams', command: [java(), '-Xmx2g', '-cp', classPath, 'Peer'] }
}

function isBuilt(): boolean {
  const built = join(CLASSES, 'Peer.class')
  if (!existsSync(built) || !existsSync(LIBRARIES)) return false
  return SOURCES.every((source) => statSync(join(DIRECTORY, source)).mtimeMs < statSync(built).mtimeMs)
}

function build(): void {
  const goals = ['-q', '-B', 'clean', 'package']
  const { error, status, stdout, stderr } = spawnSync('mvn', goals, { cwd: DIRECTORY, encoding: 'utf8' })
  if (error !== undefined) {
    throw new Error(
      `Maven is needed to build the Kafka Streams program: 'mvn' cannot be run (${error.message})`,
    )
  }
  if (status !== 0) throw new Error(`mvn ${goals.join(' ')} failed in ${DIRECTORY}\n${stdout}${stderr}`)
}

function java(): string {
  const home = process.env.JAVA_HOME
  const command = home ? join(home, 'bin', 'java') : 'java'
  const { error } = spawnSync(command, ['-version'])
  if (error !== undefined) {
    throw new Error(
      `A JDK (17 or later) is needed to run Kafka Streams: '${command}' cannot be run (${error.message})`,
    )
  }
  return command
}
