/**
 * The job: per airport, how late its flights arrive.
 *
 *   flights ──┬── more than two hours late ─────────────────────────────► late-flights
 *             └── by origin ──► delay-stats (regions delays, airports) ──► airport-delays
 *   airports ──────────────────────────────────────────────┘
 */
import { type DruseOptions, string, Topology } from '../../src/index.ts'
import { DEFAULT_DIRECTORY, registryIn } from './directory.ts'
import { type Names, namesOf } from './names.ts'
import {
  airportAvro,
  airportDelayAvro,
  type DelayStats,
  delayStatsAvro,
  type Flight,
  flightAvro,
  lateFlightAvro,
} from './serdes.ts'

const DELAYED_MINUTES = 15
export const LATE_MINUTES = 120

/** The topology, and its region of figures per origin airport, for queries. */
export function flightsJob(names: Names) {
  const topology = new Topology(names.application)

  // One part per partition of the repartition topic.
  const delays = topology.region('delays', { key: string, value: delayStatsAvro })

  // All airports, in every process.
  const airports = topology.globalRegion('airports', {
    topic: names.airports,
    key: string,
    value: airportAvro,
  })

  const flights = topology.stream(names.flights, { key: string, value: flightAvro })

  flights
    .filter((flight) => flight.delayMinutes > LATE_MINUTES)
    .mapValues(({ departure, origin, destination, delayMinutes }) => ({
      departure,
      origin,
      destination,
      delayMinutes,
    }))
    .to(names.lateFlights, { value: lateFlightAvro })

  flights
    .groupBy('by-origin', (flight) => flight.origin)
    .process(
      'delay-stats',
      { regions: [delays, airports], value: airportDelayAvro },
      ({ key: airport, value: flight }, { delays, airports, forward }) => {
        const stats = withFlight(delays.get(airport), flight)
        delays.put(airport, stats)
        forward(airport, { airport, name: airports.get(airport)?.name ?? null, ...stats })
      },
    )
    .to(names.airportDelays)

  return { topology, delays }
}

/** For `druse describe` and `druse run`. */
export const { topology } = flightsJob(namesOf('flights-20k', ''))

/** For `druse run`: schemas have the ids that the demo gave them. */
export function options(): Partial<DruseOptions> {
  return { registry: registryIn(DEFAULT_DIRECTORY) }
}

function withFlight(stats: DelayStats | undefined, { delayMinutes }: Flight): DelayStats {
  const isDelayed = delayMinutes > DELAYED_MINUTES
  return {
    flights: (stats?.flights ?? 0) + 1,
    delayed: (stats?.delayed ?? 0) + (isDelayed ? 1 : 0),
    totalDelayMinutes: (stats?.totalDelayMinutes ?? 0) + delayMinutes,
    maxDelayMinutes: Math.max(stats?.maxDelayMinutes ?? delayMinutes, delayMinutes),
  }
}
