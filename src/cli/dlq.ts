/** `druse dlq`: shows dead letters, and sends them back. */
import { DruseError } from '../errors.ts'
import type { Wire } from '../ports.ts'
import { type DeadLetter, listDeadLetters, replayDeadLetters } from '../runtime/dead-letter-topic.ts'
import { consoleLogger } from '../system.ts'
import { deadLetterTopics } from '../topology/graph.ts'
import { isTopicName } from '../topology/topic-name.ts'
import type { DlqArguments, ReplayArguments } from './arguments.ts'
import { isFile, loadModule } from './module.ts'
import { openWire } from './way-to-kafka.ts'

/** Errors: OPTION_INVALID without a way to Kafka, those of `loadModule` and `listDeadLetters`. */
export async function listDlq(
  what: string,
  given: DlqArguments,
  print: (text: string) => void,
): Promise<void> {
  await atDeadLetters(what, given, async (wire, topics) => {
    let count = 0
    for (const topic of topics) {
      await listDeadLetters({ wire, topic, ...given.choice }, (letter) => {
        count += 1
        print(line(letter))
      })
    }
    print(`${count} ${count === 1 ? 'dead letter' : 'dead letters'}\n`)
  })
}

/** Errors: as of `listDlq`, and those of `replayDeadLetters`. */
export async function replayDlq(
  signal: AbortSignal,
  what: string,
  given: ReplayArguments,
  print: (text: string) => void,
): Promise<void> {
  await atDeadLetters(what, given, async (wire, topics, logger) => {
    const { choice, to, force } = given
    for (const topic of topics) {
      const done = await replayDeadLetters({
        wire,
        topic,
        ...choice,
        ...(to && { to }),
        force,
        logger,
        signal,
      })
      print(`${topic}: ${done.replayed} replayed, ${done.before} before`)
      print(done.homeless === 0 ? '\n' : `, ${done.homeless} of unknown origin: say where with --to\n`)
    }
  })
}

async function atDeadLetters(
  what: string,
  given: DlqArguments,
  work: (wire: Wire, topics: readonly string[], logger: ReturnType<typeof consoleLogger>) => Promise<void>,
): Promise<void> {
  const module = isTopicName(what) && !(await isFile(what)) ? undefined : await loadModule(what)
  const topics = new Set<string>()
  for (const node of module?.topology.build().nodes ?? []) {
    if (node.kind !== 'source' && node.kind !== 'repartition') continue
    for (const topic of deadLetterTopics(node)) topics.add(topic)
  }
  if (module === undefined) topics.add(what)
  else if (topics.size === 0) throw new DruseError('OPTION_INVALID', `No source of ${what} has dead letters`)
  const logger = consoleLogger(given.logLevel ?? 'warn')
  const { wire, close } = await openWire(given, (await module?.options()) ?? {}, 'druse-dlq', logger)
  try {
    await work(wire, [...topics].sort(), logger)
  } finally {
    await close()
  }
}

function line({ at, timestamp, key, reason, origin, isReplayed }: DeadLetter): string {
  const from = origin === undefined ? 'unknown' : `${origin.topic}/${origin.partition}@${origin.offset}`
  const code = reason.cause === undefined ? reason.code : `${reason.code} (${reason.cause})`
  const parts = [
    `${at.topic}/${at.partition}@${at.offset}`,
    code ?? 'no reason',
    `from ${from}`,
    new Date(timestamp).toISOString(),
    `key ${key === null ? 'null' : textOf(key)}`,
    ...(isReplayed ? ['replayed'] : []),
  ]
  const message = reason.message === undefined ? '' : `    ${reason.message}\n`
  return `${parts.join('  ')}\n${message}`
}

/** As text, if it is one; else in hexadecimal digits. */
function textOf(key: Uint8Array): string {
  const text = Buffer.from(key).toString('utf8')
  const isText = !/\p{Cc}|\uFFFD/u.test(text)
  return isText ? JSON.stringify(text) : `0x${Buffer.from(key).toString('hex')}`
}
