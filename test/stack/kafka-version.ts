/** The Kafka version of whoever does not say which. */
export const KAFKA_VERSION = '4.1.0'
