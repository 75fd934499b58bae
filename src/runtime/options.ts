import { DruseError } from '../errors.ts'
import { COMPRESSIONS, type Compression } from '../kafka/compression.ts'
import type { Clock, Disk, Logger, Random, Registry, Wire } from '../ports.ts'
import type { RestoreProgress } from './restore.ts'

/**
 * `exactly_once`: sink records, region changes and input offsets become visible together, in one transaction.
 * `at_least_once`: one after the other; after a failure records since the last commit are processed again, onto
 * regions and sinks that may have seen them.
 */
export type ProcessingGuarantee = 'exactly_once' | 'at_least_once'

/** What can be tuned. Defaults are Kafka Streams' under exactly_once_v2 where it has the same setting. */
export interface DruseSettings extends Numbers {
  /** Default `exactly_once` (`processing.guarantee`). Changing it needs all instances of the application stopped. */
  readonly processingGuarantee: ProcessingGuarantee
  /**
   * Static membership (`group.instance.id`): an instance that comes back under its id within the session time-out gets its
   * tasks back without a rebalance, and `close` does not leave the group. Unique in the application. Default: none.
   */
  readonly groupInstanceId: string | undefined
  /**
   * How batches are compressed that go to sinks, changelogs and repartition topics. Default `'none'`
   * (the producer's `compression.type`). What is read may be compressed with any of them.
   */
  readonly compression: Compression
}

interface Numbers {
  /** The longest time from a record's processing to its commit. Default 100 ms (`commit.interval.ms`). */
  readonly commitIntervalMs: number
  /** A commit is started after so many records, too. Default 20 000. */
  readonly commitRecords: number
  /** A commit is started when its effects take so many bytes in memory, too. Default 16 MiB. */
  readonly commitBytes: number
  /** A partition is not fetched while so many of its records wait. Default 1 000 (`buffered.records.per.partition`). */
  readonly bufferedRecordsPerPartition: number
  /**
   * Entries of regions that are kept in memory beside LevelDB, those used last, over all tasks of the process.
   * Default 32 MiB (`statestore.cache.max.bytes`, which merges updates too; this one merges none).
   */
  readonly regionCacheBytes: number
  /** The broker aborts a transaction that takes longer. Default 10 000 ms (`transaction.timeout.ms`). */
  readonly transactionTimeoutMs: number
  /** Without a heartbeat for so long, the group goes on without this instance. Default 45 000 ms. */
  readonly sessionTimeoutMs: number
  /** Default 3 000 ms. */
  readonly heartbeatIntervalMs: number
  /**
   * How long the group waits in a rebalance until this instance has committed, and how long a task asks Kafka again before
   * it stops because its committed offsets are older than what is known of them. Default 60 000 ms.
   */
  readonly rebalanceTimeoutMs: number
  /** How long a broker may hold back the answer to a fetch when there is nothing new. Default 500 ms. */
  readonly fetchMaxWaitMs: number
  /** Of one request. Default 30 000 ms. */
  readonly requestTimeoutMs: number
  /** How often topics are looked at for changes of partitions and identity. Default 300 000 ms (`metadata.max.age.ms`). */
  readonly metadataMaxAgeMs: number
  /**
   * How often what was processed is deleted from repartition topics, which have no retention. Needs the right to delete
   * in them; without it they grow. Default 30 000 ms (`repartition.purge.interval.ms`).
   */
  readonly repartitionPurgeIntervalMs: number
  /**
   * How long a task that has records of one input waits for those of another that has none, so that they are taken in
   * the order of their timestamps. 0: only for what is known to be on the brokers already; -1: for nothing.
   * Default 0 (`max.task.idle.ms`).
   */
  readonly maxTaskIdleMs: number
  /** Of internal topics; -1 is the broker's default. Default -1 (`replication.factor`). */
  readonly replicationFactor: number
}

export interface DruseOptions extends Partial<DruseSettings> {
  /** The cluster: real Kafka, or an embedded broker's `wire()`. */
  readonly wire: Wire
  /** State directory of this process: a path, or a Disk. Two processes never share one. */
  readonly stateDir: string | Disk
  /** Where Avro schemas get their ids, the same for everyone who reads and writes the topics. Needed for Avro only. */
  readonly registry?: Registry
  /** Default: warnings and errors as lines on standard error. */
  readonly logger?: Logger
  /** Called while state is replayed from changelogs. */
  readonly onRestore?: (progress: RestoreProgress) => void
  /** For simulation. Default: the machine's. */
  readonly clock?: Clock
  /** For simulation. Default: the machine's. */
  readonly random?: Random
}

const DEFAULTS: Numbers = {
  commitIntervalMs: 100,
  commitRecords: 20_000,
  commitBytes: 16 << 20,
  bufferedRecordsPerPartition: 1_000,
  regionCacheBytes: 32 << 20,
  transactionTimeoutMs: 10_000,
  sessionTimeoutMs: 45_000,
  heartbeatIntervalMs: 3_000,
  rebalanceTimeoutMs: 60_000,
  fetchMaxWaitMs: 500,
  requestTimeoutMs: 30_000,
  metadataMaxAgeMs: 300_000,
  repartitionPurgeIntervalMs: 30_000,
  maxTaskIdleMs: 0,
  replicationFactor: -1,
}

const LEAST: Partial<Record<keyof Numbers, number>> = { replicationFactor: -1, maxTaskIdleMs: -1 }

/** Timers that are set for longer go off at once. */
const TIMER_MS_MAX = 2 ** 31 - 1

/** Errors: OPTION_INVALID. */
export function settingsOf(options: Partial<DruseSettings>): DruseSettings {
  const { processingGuarantee = 'exactly_once', groupInstanceId } = options
  if (processingGuarantee !== 'exactly_once' && processingGuarantee !== 'at_least_once') {
    throw new DruseError(
      'OPTION_INVALID',
      `Option processingGuarantee is ${processingGuarantee}; it is exactly_once or at_least_once`,
      { option: 'processingGuarantee' },
    )
  }
  if (groupInstanceId !== undefined && !GROUP_INSTANCE_ID.test(groupInstanceId)) {
    throw new DruseError(
      'OPTION_INVALID',
      `Option groupInstanceId is '${groupInstanceId}'; it has 1 to 249 letters, digits, dots, dashes or underscores`,
      { option: 'groupInstanceId' },
    )
  }
  const compression = compressionOf(options.compression)
  const settings: Record<keyof Numbers, number> = { ...DEFAULTS }
  for (const name of Object.keys(DEFAULTS) as (keyof Numbers)[]) {
    const value = options[name] ?? DEFAULTS[name]
    const least = LEAST[name] ?? 1
    const most = name.endsWith('Ms') ? TIMER_MS_MAX : Number.MAX_SAFE_INTEGER
    const isInRange = Number.isSafeInteger(value) && value >= least && value <= most
    if (!isInRange || (name === 'replicationFactor' && value === 0)) {
      throw new DruseError(
        'OPTION_INVALID',
        `Option ${name} is ${value}; it has to be a whole number from ${least}${most === TIMER_MS_MAX ? ` to ${most}` : ''}`,
        { option: name },
      )
    }
    settings[name] = value
  }
  if (settings.heartbeatIntervalMs * 2 > settings.sessionTimeoutMs) {
    throw new DruseError(
      'OPTION_INVALID',
      `heartbeatIntervalMs (${settings.heartbeatIntervalMs}) has to be at most half of sessionTimeoutMs (${settings.sessionTimeoutMs})`,
      { option: 'heartbeatIntervalMs' },
    )
  }
  const isTransactional = processingGuarantee === 'exactly_once'
  if (isTransactional && settings.commitIntervalMs >= settings.transactionTimeoutMs) {
    throw new DruseError(
      'OPTION_INVALID',
      `commitIntervalMs (${settings.commitIntervalMs}) has to be less than transactionTimeoutMs (${settings.transactionTimeoutMs})`,
      { option: 'commitIntervalMs' },
    )
  }
  return { ...settings, processingGuarantee, groupInstanceId, compression }
}

/** Errors: OPTION_INVALID. */
export function compressionOf(compression: Compression = 'none'): Compression {
  if (COMPRESSIONS.includes(compression)) return compression
  throw new DruseError(
    'OPTION_INVALID',
    `Option compression is ${compression}; it has to be one of ${COMPRESSIONS.join(', ')}`,
    { option: 'compression' },
  )
}

/** As Kafka checks it. */
const GROUP_INSTANCE_ID = /^(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}$/
