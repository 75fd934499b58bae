/** The data files of the npm package vega-datasets, as the records that are fed. */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parse } from 'csv-parse/sync'
import { asyncBufferFromFile, parquetScan } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import type { Airport, Flight } from './serdes.ts'

export const DATA_SETS = ['flights-20k', 'flights-3m'] as const
export type DataSetName = (typeof DATA_SETS)[number]

/** Flights in order of departure. */
export interface DataSet {
  readonly flights: number
  /** Those from a position on, in groups: a transaction of the feeder each. */
  from(position: number): AsyncIterable<readonly Flight[]>
  /** How many are later than so many minutes. */
  countLater(minutes: number): Promise<number>
}

/** Of all that the file has, the first `most`. */
export async function openDataSet(name: DataSetName, most = Number.POSITIVE_INFINITY): Promise<DataSet> {
  return name === 'flights-20k' ? openJson(most) : openParquet(most)
}

interface FlightRow {
  readonly date: string
  readonly delay: number
  readonly distance: number
  readonly origin: string
  readonly destination: string
}

/** Small, so that there is something to interrupt. */
const JSON_GROUP = 250

/** 20 000 flights of January to March 2001. */
async function openJson(most: number): Promise<DataSet> {
  const rows = (JSON.parse(await readFile(pathOf('flights-20k.json'), 'utf8')) as FlightRow[]).slice(0, most)
  return {
    flights: rows.length,
    async *from(position) {
      for (let at = position; at < rows.length; at += JSON_GROUP) {
        yield rows.slice(at, at + JSON_GROUP).map(({ date, delay, distance, origin, destination }) => ({
          departure: localTime(date),
          origin,
          destination,
          delayMinutes: delay,
          distanceMiles: distance,
        }))
      }
    },
    countLater: async (minutes) => rows.filter(({ delay }) => delay > minutes).length,
  }
}

const PARQUET_GROUP = 5_000

/** 3 000 000 flights of January to June 2001. Never more than one row group of the file is in memory. */
async function openParquet(most: number): Promise<DataSet> {
  const file = await asyncBufferFromFile(pathOf('flights-3m.parquet'))
  const scan = await parquetScan({
    file,
    compressors,
    parsers: { timestampFromMicroseconds: (micros) => Number(micros / 1000n) },
  })
  const flights = Math.min(most, Number(scan.metadata.num_rows))
  const groupsFrom = (position: number) =>
    scan.ranges
      .map(({ rowStart, rowEnd }) => ({
        rowStart: Math.max(rowStart, position),
        rowEnd: Math.min(rowEnd, flights),
      }))
      .filter(({ rowStart, rowEnd }) => rowStart < rowEnd)
  return {
    flights,
    async *from(position) {
      for (const rows of groupsFrom(position)) {
        const [dates, delays, distances, origins, destinations] = (await Promise.all([
          scan.readColumn({ column: 'date', ...rows }),
          scan.readColumn({ column: 'delay', ...rows }),
          scan.readColumn({ column: 'distance', ...rows }),
          scan.readColumn({ column: 'origin', ...rows }),
          scan.readColumn({ column: 'destination', ...rows }),
        ])) as [number[], bigint[], bigint[], string[], string[]]
        for (let at = 0; at < dates.length; at += PARQUET_GROUP) {
          yield dates.slice(at, at + PARQUET_GROUP).map((departure, i) => ({
            departure,
            origin: origins[at + i] as string,
            destination: destinations[at + i] as string,
            delayMinutes: Number(delays[at + i]),
            distanceMiles: Number(distances[at + i]),
          }))
        }
      }
    },
    async countLater(minutes) {
      let count = 0
      for (const rows of groupsFrom(0)) {
        const delays = (await scan.readColumn({ column: 'delay', ...rows })) as bigint[]
        for (const delay of delays) if (delay > minutes) count++
      }
      return count
    },
  }
}

type AirportRow = Readonly<
  Record<'iata' | 'name' | 'city' | 'state' | 'country' | 'latitude' | 'longitude', string>
>

/** 3 376 airports. */
export async function readAirports(): Promise<Airport[]> {
  const rows = parse<AirportRow>(await readFile(pathOf('airports.csv'), 'utf8'), { columns: true })
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

function pathOf(file: string): string {
  return fileURLToPath(new URL(`../data/${file}`, import.meta.resolve('vega-datasets')))
}
