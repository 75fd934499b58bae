/** What travels through the topics and stands in the regions: a type and an Avro serde each, from schemas/. */
import { readFileSync } from 'node:fs'
import { avro, type Serde } from '../../src/index.ts'

export interface Flight {
  /** By the clock on the wall of the origin, as if that were UTC: milliseconds since 1970. */
  readonly departure: number
  readonly origin: string
  readonly destination: string
  readonly delayMinutes: number
  readonly distanceMiles: number
}

export interface Airport {
  readonly code: string
  readonly name: string
  readonly city: string
  readonly state: string
  readonly country: string
  readonly latitude: number
  readonly longitude: number
}

export interface DelayStats {
  readonly flights: number
  readonly delayed: number
  readonly totalDelayMinutes: number
  readonly maxDelayMinutes: number
}

export interface AirportDelay extends DelayStats {
  readonly airport: string
  readonly name: string | null
}

export interface LateFlight {
  readonly departure: number
  readonly origin: string
  readonly destination: string
  readonly delayMinutes: number
}

export const flightAvro = fromFile<Flight>('flight')
export const airportAvro = fromFile<Airport>('airport')
export const delayStatsAvro = fromFile<DelayStats>('delay-stats')
export const airportDelayAvro = fromFile<AirportDelay>('airport-delay')
export const lateFlightAvro = fromFile<LateFlight>('late-flight')

function fromFile<T>(name: string): Serde<T> {
  return avro<T>(readFileSync(new URL(`../../schemas/${name}.avsc`, import.meta.url), 'utf8'))
}
