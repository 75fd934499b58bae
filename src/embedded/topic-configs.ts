/** Settings of topics: which there are, what they are when nobody sets them, which values they take. */
import type { BrokerSettings } from './settings.ts'

type Check = (value: string) => boolean

interface Config {
  readonly default: (settings: BrokerSettings) => string
  readonly check: Check
}

const LONG_MAX = 9_223_372_036_854_775_807n
const INT_MAX = 2_147_483_647n

const CONFIGS: Readonly<Record<string, Config>> = {
  'cleanup.policy': { default: () => 'delete', check: listOf('delete', 'compact') },
  'compression.type': {
    default: () => 'producer',
    check: oneOf('producer', 'uncompressed', 'gzip', 'snappy', 'lz4', 'zstd'),
  },
  'delete.retention.ms': { default: () => '86400000', check: integer(0n, LONG_MAX) },
  'file.delete.delay.ms': { default: () => '60000', check: integer(0n, LONG_MAX) },
  'flush.messages': { default: () => String(LONG_MAX), check: integer(1n, LONG_MAX) },
  'flush.ms': { default: () => String(LONG_MAX), check: integer(0n, LONG_MAX) },
  'index.interval.bytes': { default: () => '4096', check: integer(0n, INT_MAX) },
  'max.compaction.lag.ms': { default: () => String(LONG_MAX), check: integer(1n, LONG_MAX) },
  'max.message.bytes': { default: (s) => String(s.messageMaxBytes), check: integer(0n, INT_MAX) },
  'message.timestamp.after.max.ms': {
    default: ({ timestampAfterMaxMs: max }) =>
      max === Number.MAX_SAFE_INTEGER ? String(LONG_MAX) : String(max),
    check: integer(0n, LONG_MAX),
  },
  'message.timestamp.before.max.ms': { default: () => String(LONG_MAX), check: integer(0n, LONG_MAX) },
  'message.timestamp.type': { default: () => 'CreateTime', check: oneOf('CreateTime', 'LogAppendTime') },
  'min.cleanable.dirty.ratio': { default: (s) => String(s.minCleanableRatio), check: ratio },
  'min.compaction.lag.ms': { default: () => '0', check: integer(0n, LONG_MAX) },
  'min.insync.replicas': { default: () => '1', check: integer(1n, INT_MAX) },
  preallocate: { default: () => 'false', check: oneOf('true', 'false') },
  'retention.bytes': { default: () => '-1', check: integer(-1n, LONG_MAX) },
  'retention.ms': { default: () => '604800000', check: integer(-1n, LONG_MAX) },
  'segment.bytes': { default: () => '1073741824', check: integer(14n, INT_MAX) },
  'segment.index.bytes': { default: () => '10485760', check: integer(4n, INT_MAX) },
  'segment.jitter.ms': { default: () => '0', check: integer(0n, LONG_MAX) },
  'segment.ms': { default: () => '604800000', check: integer(1n, LONG_MAX) },
  'unclean.leader.election.enable': { default: () => 'false', check: oneOf('true', 'false') },
}

/** The first thing wrong with them; undefined: nothing. */
export function faultOf(configs: Readonly<Record<string, string>>): string | undefined {
  for (const [name, value] of Object.entries(configs)) {
    const config = Object.hasOwn(CONFIGS, name) ? CONFIGS[name] : undefined
    if (config === undefined) return `Unknown topic config name: ${name}`
    if (!config.check(value)) return `Invalid value ${value} for configuration ${name}`
  }
  return undefined
}

/** Every setting in force. */
export function effective(
  configs: Readonly<Record<string, string>>,
  settings: BrokerSettings,
): Record<string, string> {
  const all: Record<string, string> = {}
  for (const [name, config] of Object.entries(CONFIGS)) all[name] = configs[name] ?? config.default(settings)
  return all
}

/** The settings that this broker acts on. */
export interface LogConfig {
  readonly isCompacted: boolean
  readonly isDeleted: boolean
  readonly maxMessageBytes: number
  readonly deleteRetentionMs: number
  readonly isAppendTime: boolean
  readonly timestampAfterMaxMs: number
  readonly minCleanableRatio: number
}

export function logConfig(configs: Readonly<Record<string, string>>, settings: BrokerSettings): LogConfig {
  const all = effective(configs, settings)
  const policies = (all['cleanup.policy'] ?? '').split(',').map((policy) => policy.trim())
  return {
    isCompacted: policies.includes('compact'),
    isDeleted: policies.includes('delete'),
    maxMessageBytes: Number(all['max.message.bytes']),
    deleteRetentionMs: Number(all['delete.retention.ms']),
    isAppendTime: all['message.timestamp.type'] === 'LogAppendTime',
    timestampAfterMaxMs: Number(all['message.timestamp.after.max.ms']),
    minCleanableRatio: Number(all['min.cleanable.dirty.ratio']),
  }
}

function oneOf(...values: string[]): Check {
  return (value) => values.includes(value)
}

function listOf(...values: string[]): Check {
  return (value) => value.split(',').every((item) => values.includes(item.trim()))
}

function integer(min: bigint, max: bigint): Check {
  return (value) => /^-?\d{1,19}$/.test(value) && BigInt(value) >= min && BigInt(value) <= max
}

function ratio(value: string): boolean {
  return value.trim() !== '' && Number(value) >= 0 && Number(value) <= 1
}
