import type { WantedTopic } from '../../src/index.ts'
import type { Names } from './names.ts'

/** Event times are of 2001: with Kafka's default retention of a week everything would be deleted at once. */
const KEEP = { 'retention.ms': '-1' }

/** The topics that are not Druse's own: inputs and sinks. */
export function topicsOf({ flights, airports, airportDelays, lateFlights }: Names): WantedTopic[] {
  return [
    { topic: flights, partitions: 4, configs: KEEP },
    { topic: airports, partitions: 1, configs: { 'cleanup.policy': 'compact' } },
    { topic: airportDelays, partitions: 4, configs: KEEP },
    { topic: lateFlights, partitions: 4, configs: KEEP },
  ]
}
