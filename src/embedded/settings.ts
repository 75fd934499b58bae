/** What can be set on the broker. Every name has Kafka's meaning; where the default differs, it says so. */
import type { Clock, Logger, Random, Store } from '../ports.ts'

export interface BrokerOptions extends Partial<BrokerSettings> {
  /** Where everything is kept. Absent: in memory, gone with the process. The broker closes it. */
  readonly store?: Store
  readonly clock: Clock
  readonly random: Random
  readonly log?: Logger
}

export interface BrokerSettings {
  /** `offset.metadata.max.bytes`: of a committed offset's metadata, in UTF-16 units as Kafka counts. Default 4096. */
  readonly offsetMetadataMaxBytes: number
  /** `message.max.bytes`: the largest batch of topics that set nothing else. Default 1048588. */
  readonly messageMaxBytes: number
  /** `message.timestamp.after.max.ms` of topics that set nothing else. Default: none, as up to Kafka 3.9; Kafka 4 has one hour. */
  readonly timestampAfterMaxMs: number
  /** `num.partitions`: for CreateTopics with -1. Default 1. */
  readonly defaultPartitions: number
  /** `group.min.session.timeout.ms`. Default 6000. */
  readonly minSessionTimeoutMs: number
  /** `group.max.session.timeout.ms`. Default 1800000. */
  readonly maxSessionTimeoutMs: number
  /** `group.initial.rebalance.delay.ms`. Default 0, so that a demo starts at once; Kafka has 3000. */
  readonly groupInitialRebalanceDelayMs: number
  /** `transaction.max.timeout.ms`. Default 900000. */
  readonly transactionMaxTimeoutMs: number
  /** `transaction.abort.timed.out.transaction.cleanup.interval.ms`. Default 10000. */
  readonly transactionCleanUpIntervalMs: number
  /**
   * The offsets of a transaction are seen a moment after its end is complete, as with the group coordinator of Kafka up to
   * 3.9. Default false: at once, as with its successor.
   */
  readonly asynchronousOffsets: boolean
  /** Of batches kept in memory beside a store, over all partitions. Default 64 MiB. */
  readonly cacheBytesMax: number
  /** `log.cleaner.min.cleanable.ratio`: compact a log by itself when this share of it is dirty. Default 0.5. */
  readonly minCleanableRatio: number
  /** A log is not compacted by itself while less than this of it is dirty. Default 4 MiB; Kafka waits for a full segment. */
  readonly cleanableBytesMin: number
}

export const DEFAULT_SETTINGS: BrokerSettings = {
  offsetMetadataMaxBytes: 4096,
  messageMaxBytes: 1_048_588,
  timestampAfterMaxMs: Number.MAX_SAFE_INTEGER,
  defaultPartitions: 1,
  minSessionTimeoutMs: 6_000,
  maxSessionTimeoutMs: 1_800_000,
  groupInitialRebalanceDelayMs: 0,
  transactionMaxTimeoutMs: 900_000,
  transactionCleanUpIntervalMs: 10_000,
  asynchronousOffsets: false,
  cacheBytesMax: 64 * 1024 * 1024,
  minCleanableRatio: 0.5,
  cleanableBytesMin: 4 * 1024 * 1024,
}

/** What the parts of the broker reach the outside by. */
export interface Context {
  readonly clock: Clock
  /** Resolves when others have had their turn. Errors: BROKER_CLOSED. */
  readonly turn: () => Promise<void>
  readonly random: Random
  readonly log: Logger
  readonly settings: BrokerSettings
}

export function settingsOf(options: BrokerOptions): BrokerSettings {
  const { store, clock, random, log, ...overrides } = options
  return { ...DEFAULT_SETTINGS, ...overrides }
}

/** A random UUID in Kafka's form: 22 characters of base64url, none at the front that looks like an option. */
export function uuid(random: Random): string {
  for (;;) {
    const bytes = Buffer.from(random.bytes(16))
    bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40
    bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80
    const text = bytes.toString('base64url')
    if (!text.startsWith('-')) return text
  }
}

/** Topic id of what does not exist. */
export const ZERO_UUID = 'AAAAAAAAAAAAAAAAAAAAAA'

export const NO_LOG: Logger = { debug() {}, info() {}, warn() {}, error() {} }
