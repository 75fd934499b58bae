import type { DataSetName } from './data.ts'

/** Names on the cluster. Jobs with other data or another prefix have others, and run side by side. */
export interface Names {
  readonly application: string
  /** Transactional id of the feeder, and the group of its positions. */
  readonly feeder: string
  readonly flights: string
  readonly airports: string
  readonly airportDelays: string
  readonly lateFlights: string
}

export function namesOf(data: DataSetName, prefix: string): Names {
  const name = (plain: string): string => `${prefix}${plain}${data === 'flights-3m' ? '-3m' : ''}`
  return {
    application: name('flight-delays'),
    feeder: name('flights-feeder'),
    flights: name('flights'),
    airports: name('airports'),
    airportDelays: name('airport-delays'),
    lateFlights: name('late-flights'),
  }
}
