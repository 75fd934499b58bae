/** The data files of the npm package vega-datasets, as the records that are fed. */
import { readFile } from 'node:fs/promises'
import { parse } from 'csv-parse/sync'
import type { Airport, Flight } from './serdes.ts'

interface FlightRow {
  readonly date: string
  readonly delay: number
  readonly distance: number
  readonly origin: string
  readonly destination: string
}

type AirportRow = Readonly<
  Record<'iata' | 'name' | 'city' | 'state' | 'country' | 'latitude' | 'longitude', string>
>

/** 20 000 flights of January to March 2001, in order of departure. */
export async function readFlights(): Promise<Flight[]> {
  const rows = JSON.parse(await read('flights-20k.json')) as FlightRow[]
  return rows.map(({ date, delay, distance, origin, destination }) => ({
    departure: localTime(date),
    origin,
    destination,
    delayMinutes: delay,
    distanceMiles: distance,
  }))
}

/** 3 376 airports. */
export async function readAirports(): Promise<Airport[]> {
  const rows = parse<AirportRow>(await read('airports.csv'), { columns: true })
  return rows.map(({ iata, latitude, longitude, name, city, state, country }) => ({
    code: iata,
    name,
    city,
    state,
    country,
    latitude: Number(latitude),
    longitude: Number(longitude),
  }))
}

/** `2001/01/31 23:59`, read as if it were UTC: the same on every machine, and in the order of the clock on the wall. */
export function localTime(date: string): number {
  const [, year, month, day, hour, minute] =
    /^(\d{4})\/(\d\d)\/(\d\d) (\d\d):(\d\d)$/.exec(date)?.map(Number) ?? []
  if (year === undefined || month === undefined)
    throw new Error(`'${date}' is no date of the form 2001/01/31 23:59`)
  return Date.UTC(year, month - 1, day, hour, minute)
}

function read(file: string): Promise<string> {
  return readFile(new URL(`../data/${file}`, import.meta.resolve('vega-datasets')), 'utf8')
}
