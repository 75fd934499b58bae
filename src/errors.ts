/** The one error class. Match on `code`; `kind` says what can be done about it. */

/**
 * transient: the same call may succeed later. fenced: another instance has taken over. corrupt: local state is damaged
 * or foreign. fatal: needs a person. user: the application's own code, options or data.
 */
export type ErrorKind = 'transient' | 'fenced' | 'corrupt' | 'fatal' | 'user'

const KINDS = {
  // disk and store
  DISK_LOCKED: 'fatal',
  DISK_FAILED: 'fatal',
  STORE_CORRUPT: 'corrupt',
  STORE_CLOSED: 'user',
  PATH_INVALID: 'user',
  // serdes and registry
  DECODE_FAILED: 'user',
  ENCODE_FAILED: 'user',
  SCHEMA_REJECTED: 'user',
  SCHEMA_UNKNOWN: 'user',
  SCHEMA_NOT_REGISTERED: 'user',
  SCHEMA_INVALID: 'user',
  REGISTRY_UNAVAILABLE: 'transient',
  REGISTRY_REFUSED: 'fatal',
  REGISTRY_CHANGED: 'fatal',
  REGISTRY_MISSING: 'user',
  // topology and operators
  TOPOLOGY_INVALID: 'user',
  OPERATOR_FAILED: 'user',
  EMISSION_FAILED: 'user',
  TIMER_FAILED: 'user',
  PUNCTUATOR_FAILED: 'user',
  RESULT_INVALID: 'user',
  PROMISE_RETURNED: 'user',
  CONTEXT_CLOSED: 'user',
  CALL_TIMED_OUT: 'user',
  REGION_VALUE: 'user',
  REGION_CYCLE: 'user',
  RECORD_TOO_LARGE: 'user',
  BUFFER_FULL: 'fatal',
  // Kafka
  BROKER_UNAVAILABLE: 'transient',
  KAFKA_REFUSED: 'fatal',
  GROUP_PROTOCOL: 'fatal',
  INSTANCE_FENCED: 'fatal',
  MEMBERSHIP_LOST: 'fenced',
  PRODUCER_FENCED: 'fenced',
  TRANSACTION_INDEFINITE: 'transient',
  TRANSACTION_ABORTED: 'transient',
  READ_ABANDONED: 'transient',
  OFFSET_OUT_OF_RANGE: 'fatal',
  TOPIC_NOT_CREATED: 'fatal',
  INTERNAL: 'fatal',
  // the runtime: inputs
  RECORD_UNDECODABLE: 'user',
  TIMESTAMP_INVALID: 'user',
  TIMER_WITHOUT_KEY: 'user',
  // the runtime: outputs
  TOPIC_INVALID: 'user',
  PARTITION_INVALID: 'user',
  // the runtime: topics
  TOPIC_MISSING: 'user',
  TOPIC_PARTITIONS: 'user',
  TOPIC_SETTINGS: 'user',
  TOPIC_RECREATED: 'fatal',
  OFFSETS_MISSING: 'fatal',
  OFFSETS_UNSTABLE: 'fatal',
  // the runtime: state and what is committed about it
  METADATA_FOREIGN: 'fatal',
  METADATA_NEWER: 'fatal',
  OFFSETS_INCONSISTENT: 'fatal',
  OFFSETS_OLDER_THAN_STATE: 'fatal',
  STATE_WITHOUT_OFFSETS: 'fatal',
  CLUSTER_CHANGED: 'fatal',
  REGION_CHANGED: 'user',
  CHANGELOG_TRUNCATED: 'fatal',
  RESTORE_TOO_SLOW: 'fatal',
  STATE_WRITE_FAILED: 'fatal',
  STATE_UNREADABLE: 'corrupt',
  STATE_DIR_OCCUPIED: 'user',
  STATE_DIR_FOREIGN: 'user',
  // the application
  OPTION_INVALID: 'user',
  APPLICATION_STATE: 'user',
  GROUP_ACTIVE: 'user',
  RESET_UNFINISHED: 'fatal',
  TASK_ABANDONED: 'transient',
  REGION_UNAVAILABLE: 'transient',
  // the test driver
  DRIVER_STALLED: 'fatal',
  // the command line
  MODULE_NOT_FOUND: 'user',
  MODULE_INVALID: 'user',
  MODULE_FAILED: 'user',
  // record batches
  BATCH_CORRUPT: 'corrupt',
  BATCH_UNSUPPORTED: 'fatal',
  BATCH_TOO_LARGE: 'fatal',
  // embedded broker
  BROKER_CLOSED: 'user',
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof KINDS

/** Every code with its kind, for documentation and tests. */
export const ERROR_KINDS: Readonly<Record<ErrorCode, ErrorKind>> = KINDS

export interface ErrorDetails {
  readonly cause?: unknown
  readonly [name: string]: unknown
}

/** Says what happened, where, and what to do. `details` holds what the message names, for programs. */
export class DruseError extends Error {
  override readonly name = 'DruseError'
  readonly code: ErrorCode
  readonly kind: ErrorKind
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    const { cause, ...rest } = details
    super(`${message} [${code}]`, cause === undefined ? undefined : { cause })
    this.code = code
    this.kind = KINDS[code]
    this.details = rest
  }

  static is(error: unknown, code: ErrorCode): error is DruseError {
    return error instanceof DruseError && error.code === code
  }
}
