/**
 * The wire contract on real Kafka, the one that decides: where another broker differs, that one is wrong.
 * Give it a cluster of one node that nobody else needs: KAFKA_BROKERS=host:port
 */
import { test } from 'vitest'
import { kafkajsWire } from '../../src/kafka/kafkajs.ts'
import type { Traits } from '../contract/fixture.ts'
import { wireContract } from '../contract/wire.contract.ts'

const brokers = process.env.KAFKA_BROKERS?.split(',')

/** Kafka's defaults: group.min.session.timeout.ms, and transactions looked through every 10 s. */
const TRAITS: Traits = { sessionTimeoutMs: 6_000, patienceMs: 30_000, canCompact: false }

if (brokers === undefined) {
  test.skip('the wire contract on real Kafka: KAFKA_BROKERS is not set', () => {})
} else {
  wireContract('Kafka', TRAITS, async () => ({ wire: kafkajsWire({ brokers }), close: async () => {} }))
}
