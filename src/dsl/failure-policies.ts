import type { ErrorPolicy, LatePolicy } from '../types.ts'

export interface FailurePolicies {
  /**
   * For records that cannot be decoded, of sources that do not say; of internal topics it is always the topology's. Default
   * 'fail'.
   */
  readonly onUndecodable?: ErrorPolicy
  /**
   * For records whose processing throws, of sources that do not say. Behind a repartition it is that of the sources before
   * it where they agree, else the topology's; the record is the one in the internal topic. Default 'fail'.
   */
  readonly onFailure?: ErrorPolicy
  /**
   * For records that come after their window has closed, of sources that do not say. Behind a repartition as `onFailure`.
   * Default 'drop', as in Kafka Streams.
   */
  readonly onLate?: LatePolicy
}
