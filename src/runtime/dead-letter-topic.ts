/**
 * Looking at dead letters, and sending them back to where they came from.
 *
 * A replay is an application of its own, `<topic>-replay`, that reads the dead letters from their beginning and keeps a
 * region of those that it has sent back: each goes in one transaction with its entry there. So a replay can be cut off
 * at any point, and run again: none is sent twice.
 */
import { Topology } from '../dsl/topology.ts'
import { DruseError } from '../errors.ts'
import { Cluster } from '../kafka/cluster.ts'
import { partitionKey } from '../kafka/partition-key.ts'
import { pause } from '../kafka/retry.ts'
import { committedOffsets, describeTopics, listOffsets } from '../kafka/topics.ts'
import type { Logger, Wire } from '../ports.ts'
import { bytes, int64 } from '../serde/index.ts'
import { memoryDisk } from '../store/index.ts'
import { silentLogger, systemClock } from '../system.ts'
import { changelogTopic } from '../topology/internal-topics.ts'
import type { StreamRecord } from '../topology/record.ts'
import type { Header, TopicPartition } from '../types.ts'
import { DEAD_LETTER_HEADER } from './dead-letters.ts'
import { Druse } from './druse.ts'
import { resetApplication } from './reset.ts'
import { TopicReader } from './topic-reader.ts'

export interface DeadLetter {
  /** Where it stands. */
  readonly at: TopicPartition & { readonly offset: number }
  readonly timestamp: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  /** By their names without `druse.error.`: `code`, `message`, ... */
  readonly reason: Readonly<Record<string, string>>
  /** Undefined when its headers do not tell. */
  readonly origin: (TopicPartition & { readonly offset: number }) | undefined
  readonly isReplayed: boolean
}

/** Which dead letters. What is left out chooses all. */
export interface DeadLetterChoice {
  readonly codes?: readonly string[]
  /** Where they came from. */
  readonly origins?: readonly string[]
  /** Where they stand, as `partition@offset`. */
  readonly places?: readonly string[]
}

interface Options extends DeadLetterChoice {
  readonly wire: Wire
  readonly topic: string
}

export interface ReplayOptions extends Options {
  /** Where they go. Default: each to the topic and partition that it came from. */
  readonly to?: string
  /** Puts members of a replay that was killed out of its group. Default false. */
  readonly force?: boolean
  /** Default: none. */
  readonly logger?: Logger
  /** Stops it between two records; what was sent back stays. */
  readonly signal?: AbortSignal
}

export interface Replayed {
  readonly replayed: number
  /** Chosen, but sent back before. */
  readonly before: number
  /** Chosen, but nothing tells where they came from. */
  readonly homeless: number
}

/** On what was sent back: where it stood among the dead letters. */
const REPLAY_HEADER = 'druse.replay.'
const REGION = 'replayed'
const LOOK_AGAIN_MS = 50

const applicationOf = (topic: string): string => `${topic}-replay`

/** Up to the topic's end at the call. Errors: TOPIC_MISSING, BROKER_UNAVAILABLE. */
export async function listDeadLetters(
  { wire, topic, ...choice }: Options,
  onLetter: (letter: DeadLetter) => void,
): Promise<void> {
  const replayed = await replayedOf(wire, topic)
  const isChosen = chooserOf(choice)
  using reader = await TopicReader.open(wire, topic, { key: bytes, value: bytes })
  await reader.read((record) => {
    const { partition, offset } = record
    const letter = letterOf(record, replayed.has(`${partition}@${offset}`))
    if (isChosen(letter)) onLetter(letter)
  })
}

/**
 * Sends dead letters back, each once, however often it is called: with key, value, time and headers as they came, and
 * `druse.replay.topic`, `.partition` and `.offset` instead of `druse.error.*`.
 * Errors: TOPIC_MISSING, GROUP_ACTIVE while another replay of the topic runs, those of `Druse` and `resetApplication`.
 */
export async function replayDeadLetters(options: ReplayOptions): Promise<Replayed> {
  const { wire, topic, to, force = false, logger = silentLogger, signal } = options
  if (to === topic) throw new DruseError('OPTION_INVALID', `Dead letters of '${topic}' are there already`)
  const cluster = new Cluster({ wire, clock: systemClock, log: logger })
  const seen = { replayed: new Set<string>(), before: new Set<string>(), homeless: new Set<string>() }
  const topology = replaying(topic, to, chooserOf(options), seen)
  const application = applicationOf(topic)
  try {
    const changelog = changelogTopic(application, REGION)
    const found = await describeTopics(cluster, [topic, changelog])
    const count = found.get(topic)?.partitions
    if (count === undefined) throw new DruseError('TOPIC_MISSING', `There is no topic '${topic}'`, { topic })
    if (found.has(changelog)) {
      await resetApplication(topology, { wire, logger, keepState: true, to: 'earliest', force })
    }
    const partitions = Array.from({ length: count }, (_, partition) => ({ topic, partition }))
    const ends = await listOffsets(cluster, partitions, 'latest')
    const app = new Druse(topology, { wire, logger, stateDir: memoryDisk() })
    try {
      await app.start()
      for (;;) {
        const failed = app.health.error ?? app.health.tasks.find(({ error }) => error !== undefined)?.error
        if (failed !== undefined) throw failed
        const committed = await committedOffsets(cluster, application, partitions)
        const isDone = committed.every(
          ({ offset, ...at }) =>
            typeof offset === 'number' && offset >= (ends.get(partitionKey(at)) as number),
        )
        if (isDone || signal?.aborted) break
        await pause(systemClock, LOOK_AGAIN_MS, signal ?? cluster.closed)
      }
    } finally {
      await app.close()
    }
  } finally {
    cluster.close()
  }
  return { replayed: seen.replayed.size, before: seen.before.size, homeless: seen.homeless.size }
}

function replaying(
  topic: string,
  to: string | undefined,
  isChosen: (letter: DeadLetter) => boolean,
  seen: Readonly<Record<keyof Replayed, Set<string>>>,
): Topology {
  const t = new Topology(applicationOf(topic))
  const region = t.region(REGION, { key: int64, value: int64, store: 'memory' })
  // Of the letter under way, by its partition, which is one task's.
  const homes = new Map<number, { readonly topic: string; readonly partition?: number }>()
  t.stream(topic, { key: bytes, value: bytes })
    .process('replay', { regions: [region] }, (record, { replayed, forward, wallClockMs }) => {
      const { partition, offset } = record
      const letter = letterOf(record, replayed.has(offset))
      if (!isChosen(letter)) return
      const place = `${partition}@${offset}`
      const home = to === undefined ? letter.origin : { topic: to }
      if (home === undefined) {
        seen.homeless.add(place)
        return
      }
      if (letter.isReplayed) {
        seen.before.add(place)
        return
      }
      seen.replayed.add(place)
      replayed.put(offset, wallClockMs)
      homes.set(partition, home)
      forward(record.key, record.value, { headers: sentBack(record) })
    })
    .to((_value, _key, { partition }) => (homes.get(partition) as { readonly topic: string }).topic, {
      key: bytes,
      value: bytes,
      partitioner: (_value, _key, { record, partitions }) => {
        const partition = homes.get(record.partition)?.partition
        return partition !== undefined && partition < partitions ? partition : undefined
      },
    })
  return t
}

function sentBack({ topic, partition, offset, headers }: StreamRecord): Header[] {
  const place = Object.entries({ topic, partition, offset })
  return [
    ...headers.filter(({ key }) => !key.startsWith(DEAD_LETTER_HEADER) && !key.startsWith(REPLAY_HEADER)),
    ...place.map(([name, value]) => ({ key: REPLAY_HEADER + name, value: Buffer.from(String(value)) })),
  ]
}

/** As `partition@offset`. */
async function replayedOf(wire: Wire, topic: string): Promise<ReadonlySet<string>> {
  const places = new Set<string>()
  const changelog = changelogTopic(applicationOf(topic), REGION)
  let reader: TopicReader<number, number>
  try {
    reader = await TopicReader.open(wire, changelog, { key: int64, value: int64 })
  } catch (error) {
    if (DruseError.is(error, 'TOPIC_MISSING')) return places
    throw error
  }
  try {
    await reader.read(({ partition, key }) => {
      places.add(`${partition}@${key}`)
    })
  } finally {
    reader.close()
  }
  return places
}

function letterOf(
  record: StreamRecord<Uint8Array | null, Uint8Array | null>,
  isReplayed: boolean,
): DeadLetter {
  const { topic, partition, offset, timestamp, key, value, headers } = record
  const reason: Record<string, string> = {}
  // The last ones: a record that became a dead letter twice has those of its first time before them.
  for (const header of headers) {
    if (!header.key.startsWith(DEAD_LETTER_HEADER) || header.value === null) continue
    reason[header.key.slice(DEAD_LETTER_HEADER.length)] = Buffer.from(header.value).toString('utf8')
  }
  const place = { partition: Number(reason.partition), offset: Number(reason.offset) }
  const isKnown =
    reason.topic !== undefined && Number.isSafeInteger(place.partition) && Number.isSafeInteger(place.offset)
  const origin = isKnown ? { topic: reason.topic as string, ...place } : undefined
  return { at: { topic, partition, offset }, timestamp, key, value, reason, origin, isReplayed }
}

function chooserOf({ codes, origins, places }: DeadLetterChoice): (letter: DeadLetter) => boolean {
  return ({ at, reason, origin }) =>
    (codes === undefined || codes.includes(reason.code ?? '')) &&
    (origins === undefined || origins.includes(origin?.topic ?? '')) &&
    (places === undefined || places.includes(`${at.partition}@${at.offset}`))
}
